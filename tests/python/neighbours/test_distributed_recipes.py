"""The recipes of docs/distributed.md, run as they stand on that page."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc

PAGE = Path(__file__).parents[3] / "docs" / "distributed.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is only in the source tree")


def recipe(name, folder):
    """Write the program that the page shows as `name` to a file; return its path."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(rf"^```py\n(# {re.escape(name)}.*?)^```", text, re.MULTILINE | re.DOTALL)
    path = folder / name
    path.write_text(code, encoding="utf-8")
    return path


def run(folder, *arguments):
    """Run a program of Python; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def figures(printed, name):
    (line,) = (line for line in printed.splitlines() if line.startswith(name))
    return [float(part) for part in line.removeprefix(name).split()]


def test_ddp(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("PyTorch is built without gloo")
    # A machine that is busy may take too long for the first meeting of the processes.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--max-restarts", "2"]
    printed = run(tmp_path, *launcher, recipe("ddp.py", tmp_path))
    (unexplained,) = figures(printed, "unexplained:")
    assert unexplained < 0.1


@pytest.mark.parametrize(
    "backend", ["loky", "dask", pytest.param("ray", marks=pytest.mark.nightly)]
)
def test_many_models(backend, tmp_path):
    pytest.importorskip("joblib", reason="joblib is not installed")
    if backend == "dask":
        pytest.importorskip("dask.distributed", reason="Dask is not installed")
    if backend == "ray":
        pytest.importorskip("ray", reason="Ray is too large for this environment")
    errors = figures(run(tmp_path, recipe("many_models.py", tmp_path), backend), "errors:")
    assert len(errors) == 4
    assert all(error < 0.3 for error in errors)


@pytest.fixture
def table(tmp_path, rng):
    """Return the path of a model, a table of sequences, and the predictions for them."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    model = lc.Sequential([lc.layers.Input((None, 1)), lc.layers.LSTM(4), lc.layers.Dense(1)])
    path = str(tmp_path / "model.safetensors")
    model.save(path)
    rows = [rng.standard_normal(length).astype("float32") for length in rng.integers(2, 9, 20)]
    frame = pandas.DataFrame({"values": rows})
    return path, frame, model.predict([row[:, None] for row in rows], verbose=0)[:, 0]


@pytest.fixture
def partitions(tmp_path, monkeypatch):
    """Return the program of the page as a module."""
    recipe("partitions.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "partitions", raising=False)
    return importlib.import_module("partitions")


@pytest.mark.nightly
def test_partitions_of_ray(table, partitions, tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is too large for this environment")
    data = pytest.importorskip("ray.data", reason="Ray has no data sets here")
    path, frame, expected = table
    folders = os.pathsep.join([str(tmp_path), *sys.path])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": folders}})
    try:
        rows = data.from_pandas([frame[:7], frame[7:8], frame[8:]])
        options = {"batch_format": "pandas", "fn_kwargs": {"path": path}}
        found = rows.map_batches(partitions.predict, **options).to_pandas()
    finally:
        ray.shutdown()
    order = {tuple(row): value for row, value in zip(frame["values"], expected, strict=True)}
    assert len(found) == len(frame)
    for values, prediction in zip(found["values"], found["prediction"], strict=True):
        assert prediction == order[tuple(values)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_partitions(table, partitions, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    distributed = pytest.importorskip("dask.distributed", reason="Dask is not installed")
    path, frame, expected = table
    parts = [frame[:7], frame[7:8], frame[8:8], frame[8:]]
    threads = lc.get_num_threads()
    spark = pandas.concat(partitions.predict_all(iter(parts), path))
    np.testing.assert_array_equal(spark["prediction"], expected)
    lc.set_num_threads(threads)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(lambda folder: sys.path.insert(0, folder), str(tmp_path))
        found = client.gather(client.map(partitions.predict, parts, path=path))
    np.testing.assert_array_equal(pandas.concat(found)["prediction"], expected)
