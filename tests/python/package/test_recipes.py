"""Recipes for package managers agree with the package; `make test-recipes` builds them."""

import json
import re
import sys
from pathlib import Path

import pytest

import lstmcore

ROOT = Path(__file__).parents[3]
PACKAGING = ROOT / "cpp" / "packaging"

pytestmark = pytest.mark.skipif(not PACKAGING.exists(), reason="only in the source tree")


def test_vcpkg_has_the_version_of_the_header():
    port = json.loads((PACKAGING / "vcpkg" / "lstmcore" / "vcpkg.json").read_text(encoding="utf-8"))
    assert port["version"] == lstmcore.__version__
    assert {"name": "eigen3", "version>=": "3.4.0"} in port["dependencies"]


def test_recipes_of_the_library_have_the_static_one_alone():
    port = (PACKAGING / "vcpkg" / "lstmcore" / "portfile.cmake").read_text(encoding="utf-8")
    assert "ONLY_STATIC_LIBRARY" in port
    assert "-DLSTMCORE_SHARED=OFF" in port
    recipe = (PACKAGING / "conan" / "conanfile.py").read_text(encoding="utf-8")
    assert 'package_type = "static-library"' in recipe
    assert 'cache_variables["LSTMCORE_SHARED"] = False' in recipe


def test_conda_renders_with_the_version_and_the_requirements():
    pytest.importorskip("jinja2")
    pytest.importorskip("yaml")
    sys.path.insert(0, str(ROOT / "tests" / "packaging"))
    try:
        from render_conda import rendered
    finally:
        sys.path.pop(0)
    recipe = rendered(PACKAGING / "conda" / "meta.yaml")
    assert recipe["package"] == {"name": "lstmcore", "version": lstmcore.__version__}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^dependencies = (\[.*\])$", project, re.MULTILINE)
    wanted = [line.replace(">=", " >=") for line in json.loads(found[1])]
    assert recipe["requirements"]["run"][1:] == wanted
    build = re.search(r"^requires = (\[.*\])$", project, re.MULTILINE)
    for line in json.loads(build[1]):
        expected = line.replace("cmeel-eigen", "eigen").replace(">=", " >=")
        assert expected in recipe["requirements"]["host"]


def test_recipes_build_the_tree_that_they_lie_in():
    conda = (PACKAGING / "conda" / "meta.yaml").read_text(encoding="utf-8")
    assert (PACKAGING / "conda" / re.search(r"path: (\S+)", conda)[1]).resolve() == ROOT
    port = (PACKAGING / "vcpkg" / "lstmcore" / "portfile.cmake").read_text(encoding="utf-8")
    path = re.search(r"CMAKE_CURRENT_LIST_DIR}/([./]+)", port)[1]
    assert (PACKAGING / "vcpkg" / "lstmcore" / path).resolve() == ROOT
