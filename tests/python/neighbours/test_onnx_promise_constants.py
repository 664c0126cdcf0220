"""Small files of functions, names and constants take what is promised at most, or are refused."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from fuzz_kit import FUZZ
from onnx_constant_kit import FILES, SMALL

import rules  # isort: skip

if not sys.platform.startswith("linux"):
    pytest.skip("only Linux says what a process took at most", allow_module_level=True)

CHILD = """
import ctypes, json, pathlib, sys, time, warnings
from lstmcore import onnx as lc_onnx
import rules

warnings.simplefilter("ignore", RuntimeWarning)
for path in json.loads(sys.argv[1]):
    content = pathlib.Path(path).read_bytes()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier files have left is not there for this one
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, begin, kind = rules._status("VmHWM"), time.process_time(), ""
    try:
        model = lc_onnx.load(content)
    except Exception as error:
        kind, model = f"{type(error).__name__}: {error}", None
    print(json.dumps([kind, rules._status("VmHWM") - before, time.process_time() - begin]))
    del model
"""


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Return what loading each of the files took, in a process that has loaded one before."""
    folder, paths = tmp_path_factory.mktemp("promise"), []
    for number, model in enumerate(FILES.values()):
        paths.append(str(folder / f"{number}.onnx"))
        (folder / f"{number}.onnx").write_bytes(model.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([paths[-1], *paths])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(FUZZ)])},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == len(FILES), done.stderr
    return dict(zip(FILES, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_small_files_take_little(name, taken):
    error, grown, seconds = taken[name]
    size = FILES[name].ByteSize()
    assert size <= SMALL
    assert (error == "") == ("allowed" in name), error
    assert not error or error.startswith("ValueError: ")
    assert grown <= rules.most_bytes(size), f"{grown / (1 << 20):.1f} MiB"
    assert seconds <= rules.SECONDS
