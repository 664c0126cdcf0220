"""Tables in every form, and the one-line errors of ``lstmcore`` for broken ones."""

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import cli
from lstmcore.cli.layout import METADATA_NAME
from lstmcore.cli.tables import read_table
from table_kit import run, sign_of_the_end, walks, write


@pytest.fixture(autouse=True)
def one_thread():
    lc.set_num_threads(1)  # these models are small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def classifier(folder):
    """Train a small model on walks, for tests in which its quality does not matter."""
    data = write(folder / "few.csv", *walks(40, 1, sign_of_the_end))
    model = str(folder / "few.safetensors")
    options = ["--key", "walk", "--target", "end", "--units", "4", "--epochs", "2", "--quiet"]
    assert cli.main(["train", data, "--out", model, *options]) == 0
    return model, data


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.txt", "a"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tables_are_read_in_every_form(tmp_path, name, mark, line_end):
    separator = "\t" if ".tsv" in name else ","
    lines = [["name", "x"], ["ä, b" if separator == "\t" else '"ä, b"', "1.5"], ["c", "-2e3"]]
    text = mark + "".join(separator.join(line) + line_end for line in lines)
    content = text.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    table = read_table(str(path))
    assert table.names == ["name", "x"]
    assert table.texts("name") == ["ä, b", "c"]
    assert table.numbers("x").tolist() == [1.5, -2000.0]
    assert list(table.lines) == [2, 3]


def test_semicolons_separate_where_the_header_has_them(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name;x\na;1\n")
    assert read_table(str(path)).names == ["name", "x"]


BROKEN = [
    ("", "expected a header with the names of columns, got nothing"),
    ("a,b\n", "expected rows below the header, got none"),
    ("a,,c\n1,2,3\n", "expected a name for each column, got none for number 2"),
    ("a,a\n1,2\n", "expected distinct column names, got 'a' twice"),
    ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 fields like the header, got 3"),
    ('a,b\n1,2\n"1,2\n', "line 3: unexpected end of data; a field that contains quotes"),
    ('a,b\n"1"2,2\n', "line 2: ',' expected after"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_tables_cause_one_line_errors(tmp_path, capsys, content, message):
    path = tmp_path / "data.csv"
    path.write_text(content)
    status, out, err = run(capsys, "train", path, "--target", "b", "--out", tmp_path / "m")
    assert (status, out) == (1, "")
    assert err.startswith(f"lstmcore: error: {path}")
    assert err.count("\n") == 1
    assert message in err


def test_a_gzip_file_does_not_hold_a_thousand_times_its_bytes(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 2_000_000))
    size = path.stat().st_size
    assert size < 40_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"data.csv.gz: expected a gzip file that holds at mo"):
            read_table(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * (100 * size + (1 << 20)) < 8_000_000  # which it would have


def test_no_more_is_asked_of_gzip_than_a_piece(tmp_path, monkeypatch):
    """`read(n)` allocates n bytes at once, also for a file that holds fewer."""
    asked = []
    own = gzip.GzipFile.read

    def read(file, size=-1):
        asked.append(size)
        return own(file, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    path = tmp_path / "data.csv.gz"
    rows = np.random.default_rng(0).integers(0, 10_000_000, (150_000, 2))
    text = "\n".join(["a,b", *(f"{a},{b}" for a, b in rows)])
    path.write_bytes(gzip.compress(text.encode(), 1))
    assert len(read_table(str(path))) == len(rows)
    assert len(asked) > 2
    assert 0 < min(asked) <= max(asked) <= 1 << 20


def test_a_table_that_does_not_fit_into_memory_is_an_error(tmp_path, capsys, monkeypatch):
    def read_bytes(path):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    status, _, err = run(capsys, "train", path, "--target", "b", "--out", tmp_path / "m")
    assert (status, err) == (1, "lstmcore: error: not enough memory\n")


def test_tables_that_repeat_themselves_may_be_compressed(tmp_path):
    """Sixty columns of one-hot codes shrink to a fiftieth."""
    rows = np.eye(60, dtype=int)[np.random.default_rng(0).integers(0, 60, 3000)]
    header = ",".join(f"c{place}" for place in range(60))
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(text) > 40 * path.stat().st_size
    assert len(read_table(str(path))) == 3000


def test_a_table_takes_a_few_times_the_bytes_of_its_file(tmp_path):
    """Eight bytes for a field, and eight for a row."""
    path = tmp_path / "data.csv"
    path.write_bytes(b"walk,step,end\n" + b"a,1,2\n" * 50_000)
    tracemalloc.start()
    try:
        table = read_table(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.texts("step")[-1] == "1"
    assert peak < 10 * path.stat().st_size


def test_bytes_that_are_not_text_are_reported(tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_bytes("a,b\n1,2\né,3\n".encode("latin-1"))
    _, _, err = run(capsys, "train", path, "--target", "b", "--out", tmp_path / "m")
    assert f"{path}, line 3: expected text in UTF-8, got the byte 0xe9" in err
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n")[:-6])
    _, _, err = run(capsys, "train", path, "--target", "b", "--out", tmp_path / "m")
    assert f"{path}: damaged gzip file" in err


# Errors in a table of sequences: rows to replace, more options, and the error text.
HEADER = ["id", "day", "x", "y"]
ROWS = [[f"s{place // 2}", f"2024-01-{place + 1:02}", place, place % 4 // 2] for place in range(24)]
KEYED = ["--key", "id", "--target", "y"]
REFUSED = [
    ({}, KEYED, "line 2, column 'day': expected a number, got the date '2024-01-01'; sort by it"),
    ({4: ["s2", "x", "", 0]}, [*KEYED, "--drop", "day"], "line 6, column 'x': expected a number"),
    ({4: ["s2", "x", "", 0]}, [*KEYED, "--drop", "day"], "(1 of 24 missing); fill it in"),
    ({4: ["s2", "x", "NA", 0]}, [*KEYED, "--drop", "day"], "got 'NA' (1 of 24 missing)"),
    ({4: ["s2", "x", "inf", 0]}, [*KEYED, "--drop", "day"], "expected a finite number, got 'inf'"),
    ({4: ["s2", "x", "wet", 0]}, [*KEYED, "--drop", "day"], "got 'wet'; convert it to a number"),
    ({4: ["", "x", 1, 0]}, [*KEYED, "--time", "day"], "column 'id': expected a key, got an empty"),
    ({4: ["s2", "x", 1, 0]}, [*KEYED, "--time", "day"], "line 6, column 'day': expected a number"),
    ({4: ["s2", "", 1, ""]}, [*KEYED, "--drop", "day"], "column 'y': expected a target, got an em"),
    (
        {4: ["s2", "", 1, "NA"]},
        [*KEYED, "--drop", "day"],
        "column 'y': expected a number, got 'NA'",
    ),
    ({}, ["--key", "ID", "--target", "y"], "--key: expected columns of"),
    ({}, ["--key", "idd", "--target", "y"], "got 'idd'; did you mean 'id'?"),
    ({}, ["--key", "id", "--target", "id"], "--key: expected a column other than --target"),
    ({}, [*KEYED, "--features", "x", "--drop", "z"], "--drop: expected columns of"),
    ({}, [*KEYED, "--drop", "x", "day"], "columns of numbers besides target, key and time"),
    ({}, [*KEYED, "--text", "x"], "--text: has no meaning for a table with --key"),
    ({}, [*KEYED, "--window", "2"], "--window: has no meaning for a table with --key"),
    (
        {},
        ["--target", "y"],
        "expected one column of texts besides the target, got id, day, x; pass",
    ),
    (
        {},
        ["--target", "y", "--text", "id", "--time", "day"],
        "--time: has no meaning for a table of",
    ),
    ({}, ["--target", "x", "--horizon", "30"], "got no window for train, validation"),
    ({}, ["--target", "x", "--horizon", "2", "--task", "classify"], "--task: expected regress"),
    ({}, ["--target", "day", "--horizon", "2"], "line 2, column 'day': expected a number"),
    (
        {3: ["s1", "", 1, 0]},
        [*KEYED, "--features", "x", "--per", "sequence"],
        "--per: expected one",
    ),
    ({}, [*KEYED, "--features", "x", "--task", "regress", "--seed", "-1"], None),
]


@pytest.mark.parametrize(("changes", "options", "message"), REFUSED)
def test_tables_unfit_for_training_cause_one_line_errors(
    tmp_path, capsys, changes, options, message
):
    rows = [changes.get(place, row) for place, row in enumerate(ROWS)]
    data = write(tmp_path / "data.csv", HEADER, rows)
    out = tmp_path / "model.safetensors"
    arguments = ["train", data, "--out", str(out), "--epochs", "1", "--quiet", *options]
    if message is None:
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2
        assert "expected a whole number of at least 0, got '-1'" in capsys.readouterr().err
        return
    status, printed, err = run(capsys, *arguments)
    assert (status, printed) == (1, "")
    assert err.startswith("lstmcore: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not out.exists()


def test_a_single_class_is_an_error(tmp_path, capsys):
    data = write(tmp_path / "data.csv", HEADER, [[*row[:3], "same"] for row in ROWS])
    arguments = ["train", data, *KEYED, "--drop", "day", "--out", tmp_path / "model.safetensors"]
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert "expected at least two classes in column 'y', got only 'same'" in err


def test_too_few_sequences_are_an_error(tmp_path, capsys):
    data = write(tmp_path / "data.csv", HEADER, ROWS[:6])
    arguments = ["train", data, *KEYED, "--drop", "day", "--out", tmp_path / "model.safetensors"]
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert "expected more sequences, so that some of each class can be held out, got 3" in err


@pytest.mark.parametrize("name", ["m.keras", "nowhere/m.safetensors", ""])
def test_the_output_path_is_checked_before_training(tmp_path, capsys, name):
    status, printed, err = run(
        capsys, "train", "missing.csv", "--target", "y", "--out", tmp_path / name
    )
    assert (status, printed) == (1, "")
    assert err.startswith("lstmcore: error: --out: expected")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.tab", "t.csv.gz", "T.GZ"])
def test_a_model_does_not_replace_a_table(tmp_path, capsys, name):
    path = tmp_path / name
    path.write_text("label,text\n")
    status, printed, err = run(capsys, "train", path, "--target", "label", "--out", path)
    assert (status, printed) == (1, "")
    assert err.startswith("lstmcore: error: --out: expected an ending of lstmcore, such as .safe")
    assert path.read_text() == "label,text\n"


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_the_output_never_replaces_the_input(classifier, tmp_path, capsys, link):
    model, data = classifier
    source = tmp_path / "table"  # without an ending
    source.write_bytes(Path(data).read_bytes())
    out = source
    if link is not None:
        out = tmp_path / "link"
        getattr(out, link)(source)
    before = source.read_bytes()
    options = ["--key", "walk", "--target", "end"]
    status, printed, err = run(capsys, "train", source, *options, "--out", out)
    assert (status, printed) == (1, "")
    assert err == (
        f"lstmcore: error: --out: expected a file other than the one that is read, got {out}\n"
    )
    assert source.read_bytes() == before
    status, _, err = run(capsys, "convert", model, model)
    assert status == 1
    assert err.startswith("lstmcore: error: OUT: expected a file other than the one that is read")


def test_a_class_that_was_not_trained_on_is_named(classifier, tmp_path, capsys):
    model, data = classifier
    table = read_table(data)
    rows = [[*row[:2], "sideways"] for row in zip(*table.columns, strict=True)]
    status, _, err = run(capsys, "evaluate", model, write(tmp_path / "data.csv", table.names, rows))
    assert status == 1
    assert "line 2, column 'end': expected one of down, up, got 'sideways'" in err


def test_damaged_metadata_is_an_error(classifier, tmp_path, capsys):
    path, data = classifier
    good = json.loads(lc.load(path).metadata[METADATA_NAME])
    damaged = tmp_path / "damaged.safetensors"
    for text in (
        "no json",
        "[]",
        "{}",
        json.dumps({**good, "more": 1}),
        json.dumps({**good, "kind": "picture"}),
        json.dumps({**good, "means": []}),
        json.dumps({**good, "scales": [0.0]}),
        json.dumps({**good, "features": [1]}),
        json.dumps({**good, "features": ["a", "b"], "means": [0, 0], "scales": [1, 1]}),
        json.dumps({**good, "kind": "series", "horizon": "2"}),
    ):
        model = lc.load(path)
        model.metadata = {METADATA_NAME: text}
        model.save(damaged)
        for command in ("predict", "evaluate"):
            status, out, err = run(capsys, command, damaged, data)
            assert (status, out) == (1, "")
            assert METADATA_NAME in err


# ---- many columns -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(folder):
    """Write a table of 40,000 columns."""
    path = folder / "wide.csv"
    names, row = [f"c{number}" for number in range(40_000)], ["1"] * 40_000
    path.write_text("\n".join(map(",".join, [names, row, row])) + "\n", encoding="utf-8")
    return str(path)


def test_errors_list_the_first_of_many_columns(wide, classifier, capsys, tmp_path):
    out = str(tmp_path / "m.safetensors")
    for arguments in (
        ["train", wide, "--target", "nothing", "--out", out],
        ["train", wide, "--target", "c0", "--out", out],
        ["evaluate", classifier[0], wide],
    ):
        assert cli.main(arguments) == 1
        said = capsys.readouterr().err
        assert len(said) < 1000
        assert "... (" in said
        assert " in all)" in said


def test_a_name_that_comes_twice_is_named(folder):
    path = folder / "twice.csv"
    path.write_text("a,b,c,b,a\n1,2,3,4,5\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected distinct column names, got 'a' twice"):
        read_table(str(path))
