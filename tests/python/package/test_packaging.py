"""Promises about the installed package as a whole."""

import importlib.metadata
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import lstmcore
from lstmcore import _core
from lstmcore._extras import PACKAGES

ROOT = Path(__file__).parents[3]


def test_every_version_number_is_the_same():
    assert lstmcore.__version__ == _core.__version__
    assert lstmcore.__version__ == importlib.metadata.version("lstmcore")


def test_version_matches_the_header():
    header = ROOT / "cpp" / "include" / "lstmcore" / "version.hpp"
    if not header.exists():
        pytest.skip("only in the source tree")
    found = re.search(r'#define LSTMCORE_VERSION "(.*)"', header.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == lstmcore.__version__


@pytest.mark.parametrize(
    "name",
    ["py.typed", "_core.pyi", "data/movie_snippets.tsv.gz", "data/movie_snippets.NOTICE.txt"],
)
def test_package_holds_its_files(name):
    assert resources.files("lstmcore").joinpath(*name.split("/")).is_file()


def test_runtime_dependencies_are_three():
    required = importlib.metadata.requires("lstmcore") or []
    names = {re.split(r"[^\w-]", line)[0] for line in required if "extra ==" not in line}
    assert names == {"numpy", "safetensors", "tqdm"}


def test_errors_name_the_packages_of_the_extras():
    project = ROOT / "pyproject.toml"
    if not project.exists():
        pytest.skip("only in the source tree")
    text = project.read_text(encoding="utf-8")
    for extra, packages in PACKAGES.items():
        found = re.search(rf"^{extra} = \[(.*)\]$", text, re.MULTILINE)
        assert found is not None, extra
        assert re.findall(r'"([\w-]+)', found[1]) == packages.split()


def test_no_page_says_to_install_unpublished_packages():
    if not (ROOT / "docs").exists():
        pytest.skip("only in the source tree")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder, endings in (
        ("docs", ["md"]),
        ("examples", ["py", "ipynb", "md"]),
        ("python", ["py"]),
    ):
        pages += [path for end in endings for path in (ROOT / folder).rglob(f"*.{end}")]
    unpublished = re.compile(r"pip install +(-\S+ +)*[\"'\\]*lstmcore(?!-)")
    wrong = [str(path) for path in pages if unpublished.search(path.read_text(encoding="utf-8"))]
    assert len(pages) > 100
    assert not wrong


def test_importing_loads_no_other_framework():
    program = "import sys, json, lstmcore; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    loaded = {name.split(".")[0] for name in json.loads(output)}
    frameworks = {
        "aeon",
        "jax",
        "keras",
        "onnx",
        "onnxruntime",
        "scipy",
        "sklearn",
        "sktime",
        "tensorflow",
        "torch",
    }
    frameworks |= {"matplotlib", "pandas", "IPython"}
    assert "lstmcore" in loaded
    assert not loaded & frameworks


def test_everything_that_is_exported_exists():
    missing = [name for name in lstmcore.__all__ if not hasattr(lstmcore, name)]
    assert not missing


def test_public_names_are_documented():
    undocumented = [
        name
        for name in lstmcore.__all__
        if callable(getattr(lstmcore, name)) and not getattr(lstmcore, name).__doc__
    ]
    assert not undocumented
