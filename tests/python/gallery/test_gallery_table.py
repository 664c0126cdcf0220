"""The gallery is complete: every program has a page, a test and figures in the table."""

import fnmatch
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
    index = (ROOT / "docs" / "gallery" / "index.md").read_text(encoding="utf-8")
    assert f"(./{gallery['page'](name).name})" in index
    quick = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))[name]["quick"]
    assert len(quick) >= 2  # seeds
    assert len({tuple(figures) for figures in quick.values()}) == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_page_shows_the_program_to_readers_of_the_source_tree(gallery, name):
    page = gallery["page"](name)
    text = page.read_text(encoding="utf-8")
    assert re.search(r"^## When .*the wrong tool$", text, re.MULTILINE)
    links = re.findall(r"\]\(([^)]*\.py)\)", text)
    assert f"../../examples/gallery/{name}.py" in links  # a directive is no link
    assert all((page.parent / link).exists() for link in links)
    assert re.search(rf"^    python examples/gallery/{name}\.py +# \S", text, re.MULTILINE)
    assert re.search(rf"^    python examples/gallery/{name}\.py --full +# \S", text, re.MULTILINE)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short(name):
    program = (ROOT / "examples" / "gallery" / f"{name}.py").read_text(encoding="utf-8")
    assert len(program.splitlines()) <= 150


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_figure_has_a_name_a_unit_and_a_direction(gallery, name):
    modes = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))[name]
    names = {key for seeds in modes.values() for figures in seeds.values() for key in figures}
    used = set()
    for key in names:
        assert "_" not in key  # words, not names of variables
        _, best = gallery["measure"](name, key)
        assert best in ("higher", "lower", "") or float(best) > 0
        fitting = [p for p in gallery["measures"](name) if fnmatch.fnmatchcase(key, p)]
        used.add(fitting[0])
    assert used == set(gallery["measures"](name))
    with pytest.raises(ValueError, match="declares no MEASURES"):
        gallery["measures"]("__main__")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (8.2e-18, "8e-18"), (0.0113, "0.0113"), (0.96249, "0.962"), (8000, "8000")],
)
def test_figures_are_rounded(gallery, value, text):
    assert gallery["shown"](value) == text


def test_the_table_shows_the_stored_figures(gallery):
    results = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))
    assert gallery["TABLE"].read_text(encoding="utf-8") == gallery["table"](results)
    assert sorted(results) == PROGRAMS


def test_figures_are_stored_beside_those_of_other_modes_and_seeds(gallery, tmp_path, monkeypatch):
    places = gallery["write"].__globals__
    monkeypatch.setitem(places, "RESULTS", tmp_path / "results.json")
    monkeypatch.setitem(places, "TABLE", tmp_path / "reached.md")
    figure = {"LSTM": 0.25, "seconds": 1.0}
    gallery["write"]({"character_model": {"full": {"0": {**figure}}}})
    gallery["write"]({"character_model": {"quick": {"1": {**figure}}}})
    gallery["write"]({"character_model": {"quick": {"0": {**figure, "LSTM": 3e-9}}}})
    stored = json.loads((tmp_path / "results.json").read_text())["character_model"]
    assert stored == {
        "quick": {"0": {"LSTM": 3e-9}, "1": {"LSTM": 0.25}},
        "full": {"0": {"LSTM": 0.25}},
    }
    assert [*stored] == ["quick", "full"]
    table = (tmp_path / "reached.md").read_text()
    assert "| quick | LSTM | bits a character | lower | 3e-09, 0.25 |" in table
