"""The gallery is complete: every program has a page, a test and figures in the table."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = sorted(path.stem for path in (ROOT / "examples" / "gallery").glob("[!_]*.py"))

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs" / "gallery").exists(), reason="the pages are only in the source tree"
)


@pytest.fixture(scope="module")
def gallery():
    return runpy.run_path(str(ROOT / "examples" / "gallery" / "__main__.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_a_page_a_test_and_figures(gallery, name):
    assert name in gallery["programs"]()
    others = {*Path(__file__).parent.glob("test_*.py")} - {Path(__file__)}
    assert any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in others)
    index = (ROOT / "docs" / "gallery" / "pictures.md").read_text(encoding="utf-8")
    assert f"(./{gallery['page'](name).name})" in index
    quick = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))[name]["quick"]
    assert len(quick) >= 2  # seeds
    assert len({tuple(figures) for figures in quick.values()}) == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short(name):
    program = (ROOT / "examples" / "gallery" / f"{name}.py").read_text(encoding="utf-8")
    assert len(program.splitlines()) <= 150


def test_the_table_shows_the_stored_figures(gallery):
    results = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))
    assert gallery["TABLE"].read_text(encoding="utf-8") == gallery["table"](results)
    assert sorted(results) == PROGRAMS
