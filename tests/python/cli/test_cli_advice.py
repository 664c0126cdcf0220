"""Advice about fields that are not numbers names options that exist and that help."""

import re

import pytest

import lstmcore as lc
from lstmcore import cli
from table_kit import run, write

HEADER = ["id", "day", "x", "y"]
ROWS = [[f"s{place // 4}", f"2024-01-{place + 1:02}", place, place / 7] for place in range(28)]
KEYED = ["--key", "id", "--target", "y"]
SERIES = ["--horizon", "1", "--window", "2", "--target", "y"]


@pytest.fixture(autouse=True)
def one_thread():
    lc.set_num_threads(1)  # these models are small


def with_field(tmp_path, column, field):
    """Write a table with `field` in its first row."""
    place = HEADER.index(column)
    first = [field if number == place else entry for number, entry in enumerate(ROWS[0])]
    return write(tmp_path / "data.csv", HEADER, [first, *ROWS[1:]])


def train(capsys, data, tmp_path, *options):
    out = tmp_path / "model.safetensors"
    sizes = ["--units", 2, "--epochs", 1, "--quiet"]
    return run(capsys, "train", data, "--out", out, *sizes, *options)


# Column, its first field, options, advice. All columns that are not dropped are used.
TRAIN = [
    ("y", "", SERIES, "fill it in"),
    ("y", "NA", SERIES, "fill it in"),
    ("y", "NA", [*KEYED, "--drop", "day"], "fill it in, or leave the row out of the table"),
    ("y", "", [*KEYED, "--drop", "day"], "fill it in, or leave the row out of the table"),
    ("y", "2024-01-01", SERIES, "name a column of numbers with --target"),
    ("y", "wet", SERIES, "name a column of numbers with --target"),
    (
        "y",
        "wet",
        [*KEYED, "--drop", "day", "--task", "regress"],
        "name a column of numbers with --target, or pass --task classify",
    ),
    ("x", "", [*KEYED, "--drop", "day"], "fill it in, or leave the column out with --drop x"),
    (
        "x",
        "wet",
        [*KEYED, "--drop", "day"],
        "convert it to a number, or leave the column out with --drop x",
    ),
    ("x", "", [*SERIES, "--features", "x"], "fill it in, or take the column out of --features"),
    ("x", 0, KEYED, "sort by it with --time day, or leave the column out with --drop day"),
    (
        "x",
        "2024-01-01",
        [*KEYED, "--time", "day"],
        "leave the column out with --drop x",
    ),
    (
        "x",
        0,
        [*SERIES, "--features", "day"],
        "sort by it with --time day, or take the column out of --features",
    ),
    ("x", "inf", [*SERIES, "--time", "x"], "--time x needs a number or a date in every row"),
]


@pytest.mark.parametrize(("column", "field", "options", "advice"), TRAIN)
def test_training_errors_end_with_advice(tmp_path, capsys, column, field, options, advice):
    status, _, err = train(capsys, with_field(tmp_path, column, field), tmp_path, *options)
    assert status == 1
    assert err.endswith(f"; {advice}\n")


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (KEYED, ["--time", "day"]),
        (KEYED, ["--drop", "day"]),
        ([*SERIES, "--features", "day"], None),
        ([*SERIES[:-1], "day"], ["--target", "y"]),
    ],
)
def test_advice_of_training_can_be_followed(tmp_path, capsys, options, more):
    data = write(tmp_path / "data.csv", HEADER, ROWS)
    status, _, err = train(capsys, data, tmp_path, *options)
    assert status == 1
    if more is None:  # taken out of --features, as advised
        options, more = SERIES, ["--features", "x"]
    else:
        assert more[0] in err
    assert train(capsys, data, tmp_path, *options, *more)[0] == 0


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("column", "field", "options", "advice"),
    [
        ("x", "", KEYED, "fill it in, or name the columns of numbers with --features"),
        (
            "x",
            "wet",
            KEYED,
            "convert it to a number, or name the columns of numbers with --features",
        ),
        ("x", "2024-01-01", KEYED, "name the columns of numbers with --features"),
        ("y", "", SERIES, "fill it in"),
        ("y", "wet", SERIES, {"predict": "convert it to a number, as in training"}),
        ("y", "wet", SERIES, {"evaluate": "name a column of numbers with --target"}),
    ],
)
def test_commands_advise_no_option_that_they_lack(
    tmp_path, capsys, command, column, field, options, advice
):
    if isinstance(advice, dict):
        if command not in advice:
            return
        advice = advice[command]
    good = write(tmp_path / "good.csv", HEADER, ROWS)
    dropped = ["--drop", "day"] if options is KEYED else []
    assert train(capsys, good, tmp_path, *options, *dropped)[0] == 0
    data = with_field(tmp_path, column, field)
    status, out, err = run(capsys, command, tmp_path / "model.safetensors", data)
    assert (status, out) == (1, "")  # not even a table's header
    assert err.endswith(f"; {advice}\n")
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    known = capsys.readouterr().out
    assert all(option in known for option in re.findall(r"--\w+", err))


def test_a_series_that_is_too_short_is_reported_before_any_forecast(tmp_path, capsys):
    rows = [["long", *row[1:]] for row in ROWS]
    good = write(tmp_path / "good.csv", HEADER, rows)
    assert train(capsys, good, tmp_path, *SERIES, "--key", "id")[0] == 0
    data = write(tmp_path / "data.csv", HEADER, [*rows, ["short", "2024-03-01", 1, 1.0]])
    status, out, err = run(capsys, "predict", tmp_path / "model.safetensors", data)
    assert (status, out) == (1, "")
    assert "expected at least 2 rows in series 'short' (window 2), got 1" in err
