"""Several series in one table, and rows that are not in date order."""

import numpy as np
import pytest

import lstmcore as lc
from table_kit import run, write

SIZES = ["--horizon", 1, "--window", 3, "--units", 2, "--epochs", 1, "--quiet"]
DAYS = [f"2010-01-{day + 1:02}" for day in range(30)]
SALES = np.random.default_rng(0).normal(100, 9, (2, 30)).round(2).tolist()
ROWS = [
    [shop, day, value]
    for shop, values in zip("AB", SALES, strict=True)
    for day, value in zip(DAYS, values, strict=True)
]
HEADER = ["shop", "date", "sales"]


@pytest.fixture(autouse=True)
def one_thread():
    lc.set_num_threads(1)  # these models are small


def train(capsys, tmp_path, header, rows, *options):
    data = write(tmp_path / "data.csv", header, rows)
    out = tmp_path / "model.safetensors"
    return run(capsys, "train", data, "--target", "sales", "--out", out, *SIZES, *options)


@pytest.mark.parametrize("mixed", [False, True])
def test_two_series_are_not_taken_for_one(tmp_path, capsys, mixed):
    rows = sorted(ROWS, key=lambda row: row[1]) if mixed else ROWS
    status, _, err = train(capsys, tmp_path, HEADER, rows, "--time", "date")
    assert status == 1
    second = 3 if mixed else 32
    assert err.endswith(
        f"data.csv, line {second}, column 'date': expected distinct times, got '2010-01-01' also "
        "in line 2; --key shop if that tells several series apart\n"
    )
    status, _, err = train(capsys, tmp_path, HEADER, rows, "--time", "date", "--key", "shop")
    assert (status, err) == (0, "")
    # The same check applies to tables for predictions.
    path = tmp_path / "data.csv"
    write(path, HEADER, [*rows, ["A", "2010-01-30", 1]])
    for command in ("predict", "evaluate"):
        status, out, err = run(capsys, command, tmp_path / "model.safetensors", path)
        assert (status, out) == (1, "")
        assert "expected distinct times for shop 'A', got '2010-01-30' also in line" in err
        assert err.endswith("; remove one of them\n")


def test_equal_times_are_recognized_in_any_format(tmp_path, capsys):
    rows = [["A", day + "T00:00", value] for _, day, value in ROWS[:30]]
    rows.append(["A", "2010-01-03T01:00+01:00", 5])
    status, _, err = train(capsys, tmp_path, HEADER, rows, "--time", "date")
    assert status == 1
    assert "got '2010-01-03T01:00+01:00' also in line 4; --key COLUMN tells" in err


def test_a_sequence_has_each_time_once(tmp_path, capsys):
    rows = [[f"s{row // 3}", row % 3, row, row % 2] for row in range(30)]
    rows[4][1] = 0
    data = write(tmp_path / "data.csv", ["id", "t", "x", "y"], rows)
    options = ["--key", "id", "--time", "t", "--target", "y", "--epochs", 1, "--quiet"]
    status, _, err = run(capsys, "train", data, "--out", tmp_path / "m.safetensors", *options)
    assert status == 1
    assert "line 6, column 't': expected distinct times for id 's1', got '0' also in line 5" in err


@pytest.mark.parametrize(
    ("rows", "line", "advice"),
    [
        (ROWS[:30][::-1], 3, "--time date would sort them"),
        (ROWS, 32, "--time date --key shop would sort them and tell several series apart"),
        (sorted(ROWS, key=lambda row: row[1]), 3, "--time date --key shop would sort"),
    ],
)
def test_dates_that_do_not_ascend_are_reported(tmp_path, capsys, rows, line, advice):
    status, _, err = train(capsys, tmp_path, HEADER, rows)
    assert status == 0
    assert err.count("\n") == 1
    assert err.startswith("lstmcore: note: ")
    assert f"data.csv, line {line}, column 'date': '2010-01-" in err
    assert advice in err
    for command in ("predict", "evaluate"):
        arguments = [command, tmp_path / "model.safetensors", tmp_path / "data.csv"]
        status, _, again = run(capsys, *arguments)
        assert (status, again) == (0, err)
    advised = advice.partition(" would")[0].split()
    assert train(capsys, tmp_path, HEADER, rows, *advised)[::2] == (0, "")


def test_dates_are_compared_within_each_series(tmp_path, capsys):
    assert train(capsys, tmp_path, HEADER, ROWS, "--key", "shop")[::2] == (0, "")
    status, _, err = train(capsys, tmp_path, HEADER, [*ROWS[:30], *ROWS[:29:-1]], "--key", "shop")
    assert status == 0
    assert "line 33, column 'date': '2010-01-29' is not after the date of the row before" in err


def test_columns_that_are_not_dates_or_are_dropped_are_not_checked(tmp_path, capsys):
    header = ["weekday", "date", "sales"]
    for change in (lambda day: day, lambda day: day.replace("-", "/"), lambda day: int(day[-2:])):
        rows = [[f"d{row % 7}", change(DAYS[row]), SALES[0][row]] for row in range(30)]
        assert train(capsys, tmp_path, header, rows)[::2] == (0, "")
    assert train(capsys, tmp_path, HEADER, ROWS[:30][::-1], "--drop", "date")[::2] == (0, "")


def test_names_in_blocks_may_be_series(tmp_path, capsys):
    rows = [[shop, value] for shop, _, value in ROWS]
    status, _, err = train(capsys, tmp_path, ["shop", "sales"], rows)
    assert status == 0
    assert err == (
        "lstmcore: note: column 'shop', which is not used, changes only once along the table; if "
        "each of its values is a separate series, pass --key shop\n"
    )
    assert train(capsys, tmp_path, ["shop", "sales"], rows, "--key", "shop")[::2] == (0, "")
