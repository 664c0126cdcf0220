"""The gallery is complete: every program has a page, a test and figures in the table."""

import fnmatch
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "gallery"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
ELSEWHERE = sorted(path.stem for path in (FOLDER / "elsewhere").glob("[!_]*.py"))

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


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_program_of_another_folder_has_a_page_and_figures(gallery, name):
    assert name in gallery["programs"]()
    page = gallery["page"](name)
    assert page.parent == ROOT / "docs"
    index = (ROOT / "docs" / "gallery" / "index.md").read_text(encoding="utf-8")
    assert f"**[{gallery['title'](name)}](../{page.name})**" in index
    quick = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))[name]["quick"]
    assert len(quick) >= 2  # seeds


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


def pages_and_programs(gallery):
    """Yield the text of each page of the gallery, and the stored runs of its programs, by mode."""
    results = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))
    by_page = {}
    for name in PROGRAMS:
        by_page.setdefault(gallery["page"](name), []).append(results[name])
    for page, programs in sorted(by_page.items()):
        yield page.name, page.read_text(encoding="utf-8"), programs


def test_pages_quote_seeds_that_are_stored(gallery):
    quoted = 0
    for page, text, programs in pages_and_programs(gallery):
        stored = {seed for modes in programs for runs in modes.values() for seed in runs}
        for phrase in re.findall(r"[Ss]eeds? ((?:\d+(?:, | and | to )?)+)", text):
            seeds = set(re.findall(r"\d+", phrase))
            assert seeds <= stored, f"{page} quotes seeds {phrase}"
            quoted += len(seeds)
    assert quoted > 20  # they are found


def test_pages_quote_figures_of_full_runs_that_are_stored(gallery):
    """What a paragraph about `--full`, or the table that it introduces, says with three digits."""
    quoted = 0
    for page, text, programs in pages_and_programs(gallery):
        runs = [run for modes in programs for mode in modes.values() for run in mode.values()]
        stored = [value for run in runs for value in run.values()]
        paragraphs = text.split("\n\n")
        for place, paragraph in enumerate(paragraphs):
            if "--full`" not in paragraph:
                continue
            if paragraph.endswith(":"):
                paragraph += paragraphs[place + 1]
            for number in re.findall(r"(?<![\d.])\d\.\d{3,4}(?!\d)", paragraph):
                last = 10.0 ** -len(number.partition(".")[2])
                near = [value for value in stored if abs(value - float(number)) < 0.51 * last]
                assert near, f"{page} quotes {number}, which no stored run has"
                quoted += 1
    assert quoted > 50


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short(name):
    program = (ROOT / "examples" / "gallery" / f"{name}.py").read_text(encoding="utf-8")
    assert len(program.splitlines()) <= 150


@pytest.mark.parametrize("name", PROGRAMS + ELSEWHERE)
def test_a_figure_has_a_name_a_unit_and_a_direction(gallery, name):
    modes = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))[name]
    names = {key for seeds in modes.values() for figures in seeds.values() for key in figures}
    for key in names:
        assert "_" not in key  # words, not names of variables
        best = gallery["measure"](name, key).best
        assert best in ("higher", "lower", "") or float(best) > 0
    for declaration in (
        gallery["declared"](name, "MEASURES"),
        gallery["declared"](name, "WISHED", {}),
    ):
        fitting = ([p for p in declaration if fnmatch.fnmatchcase(key, p)] for key in names)
        assert {patterns[0] for patterns in fitting if patterns} == set(declaration)


def test_a_program_that_measures_nothing_is_refused(gallery, monkeypatch):
    files = {"broken": FOLDER / "__main__.py"}
    monkeypatch.setitem(gallery["declared"].__globals__, "programs", lambda: files)
    with pytest.raises(ValueError, match="declares no MEASURES"):
        gallery["measure"]("broken", "accuracy")


def test_a_figure_that_no_pattern_fits_is_refused(gallery):
    with pytest.raises(ValueError, match="no pattern of MEASURES fits the figure 'speed'"):
        gallery["measure"]("weather", "speed")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (8.2e-18, "8e-18"), (0.0113, "0.0113"), (0.96249, "0.962"), (8000, "8000")],
)
def test_figures_are_rounded(gallery, value, text):
    assert gallery["shown"](value) == text


def test_the_table_shows_the_stored_figures(gallery):
    results = json.loads(gallery["RESULTS"].read_text(encoding="utf-8"))
    assert gallery["TABLE"].read_text(encoding="utf-8") == gallery["table"](results)
    assert sorted(results) == sorted(PROGRAMS + ELSEWHERE)


@pytest.mark.parametrize(
    ("wished", "value", "met"),
    [
        (">= 0.9", 0.9, True),
        ("> 0.9", 0.9, False),
        ("<= 0.9", 0.9, True),
        ("< 0.9", 0.9, False),
        ("< ridge, lags", 1.9, True),
        ("< ridge, lags", 2.1, False),
        ("<= 0.75 * ridge, lags", 1.5, True),
        ("<= 0.75 * ridge, lags", 1.6, False),
        (">= ridge, lags + 0.5", 2.5, True),
        (">= ridge, lags + 0.5", 2.4, False),
        ("> 2 * ridge, lags + 1", 5.5, True),
        ("< 3; < ridge, lags", 2.5, False),
        ("< 3; < ridge, lags", 1.5, True),
    ],
)
def test_figures_are_compared_with_wishes(gallery, wished, value, met):
    assert gallery["fulfilled"](wished, value, {"ridge, lags": 2.0}) is met


@pytest.mark.parametrize(
    ("wished", "message"),
    [("better than ridge", "is no wish"), ("> ridge", "names no figure of the run")],
)
def test_a_wish_that_means_nothing_is_refused(gallery, wished, message):
    with pytest.raises(ValueError, match=message):
        gallery["fulfilled"](wished, 0.5, {"LSTM": 0.5})


def test_the_table_says_what_was_reached(gallery):
    """In none, some and all seeds; and a dash where a run lacks a figure."""
    runs = {"0": {"LSTM, way": 0.97, "extra": 0.1}, "1": {"LSTM, way": 0.9, "other": 0.2}}
    lines = gallery["table"]({"video": {"quick": runs, "full": {"0": {"LSTM, way": 0.96}}}})
    assert "LSTM, way | accuracy | higher | ≥ 0.97 | 0.97, 0.9 | 1 of 2 |\n" in lines
    assert "| full | LSTM, way | accuracy | higher | ≥ 0.97 | 0.96 | **no** |\n" in lines
    assert "| extra | accuracy | higher |  | 0.1, – |  |\n" in lines
    assert "| other | accuracy | higher |  | –, 0.2 |  |\n" in lines
    runs = {"0": {"LSTM": 1.0, "seasonal naive": 2.0, "ridge": 2.0}}
    line = gallery["table"]({"traffic": {"quick": runs}})
    assert "| \\< seasonal naive; \\< ridge | 1 | yes |\n" in line


@pytest.fixture
def pages(gallery, tmp_path, monkeypatch):
    """Return an empty folder that figures are stored in, and the folder of a run's pictures."""
    folder, drawn = tmp_path / "pages", tmp_path / "drawn"
    folder.mkdir()
    drawn.mkdir()
    places = gallery["write"].__globals__
    monkeypatch.setitem(places, "RESULTS", folder / "results.json")
    monkeypatch.setitem(places, "TABLE", folder / "reached.md")
    monkeypatch.setitem(places, "PICTURES", folder)
    return folder, drawn


def test_figures_are_stored_beside_those_of_other_modes_and_seeds(gallery, pages):
    folder, drawn = pages
    (drawn / "character_model.svg").write_text("<svg/>")
    figure = {"LSTM": 0.25, "seconds": 1.0}
    gallery["write"]({"character_model": {"full": {"0": {**figure}}}}, drawn)
    gallery["write"]({"character_model": {"quick": {"1": {**figure}}}}, drawn)
    gallery["write"]({"character_model": {"quick": {"0": {**figure, "LSTM": 3e-9}}}}, drawn)
    stored = json.loads((folder / "results.json").read_text())["character_model"]
    assert stored == {
        "quick": {"0": {"LSTM": 3e-9}, "1": {"LSTM": 0.25}},
        "full": {"0": {"LSTM": 0.25}},
    }
    assert [*stored] == ["quick", "full"]
    table = (folder / "reached.md").read_text(encoding="utf-8")
    assert "| quick | LSTM | bits a character | lower |  | 3e-09, 0.25 |" in table
    assert (folder / "character_model.svg").exists()


def test_figures_that_the_table_cannot_show_are_not_stored(gallery, pages):
    """Otherwise each later attempt to store anything fails as well."""
    folder, drawn = pages
    (drawn / "weather_sea.svg").write_text("<svg/>")
    with pytest.raises(ValueError, match="no pattern of MEASURES"):
        gallery["write"]({"weather": {"quick": {"0": {"speed": 0.25, "seconds": 1.0}}}}, drawn)
    assert [*folder.iterdir()] == []


@pytest.fixture
def run_file(gallery, tmp_path, monkeypatch):
    """Return a function that runs a program with this text, and returns its exit status."""

    def call(text):
        path = tmp_path / "broken.py"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setitem(gallery["declared"].__globals__, "programs", lambda: {"broken": path})
        monkeypatch.delitem(sys.modules, "broken", raising=False)
        return gallery["run_here"]("broken", False, 0, tmp_path, tmp_path / "figures.json")

    return call


RUN = "def run(full, seed, pictures):\n    return {'LSTM': 0.5}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_package_of_nobody\n" + RUN, "the package a_package_of_nobody"),
        (RUN.replace("return", "import a_package_of_nobody\n    return"), "the package a_package_"),
        ("NEEDS = ('a-program-of-nobody',)\n" + RUN, "the program a-program-of-nobody"),
    ],
)
def test_what_is_not_installed_is_named_and_no_failure(gallery, run_file, capsys, text, said):
    assert run_file(text) == gallery["MISSING"]
    assert f"broken: skipped, since it needs {said}" in capsys.readouterr().err


def test_a_program_whose_needs_are_installed_runs(run_file, tmp_path):
    assert run_file("NEEDS = ('sh',)\n" + RUN) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["LSTM"] == 0.5


def test_a_missing_part_of_ours_is_a_failure(run_file):
    with pytest.raises(ModuleNotFoundError, match="lstmcore"):
        run_file("import lstmcore.a_room_of_nobody\n" + RUN)
