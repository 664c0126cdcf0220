"""The times of forecast values continue those of the series."""

import json

import pytest

import lstmcore as lc
from lstmcore.cli.times import times_after
from table_kit import run, succeed, write

AFTER = [
    ("0 1 2", "3 4"),
    ("0.1 0.2 0.3", "0.4 0.5"),
    ("2020 2021", "2022 2023"),
    ("2024-02-27 2024-02-28", "2024-02-29 2024-03-01"),
    ("2024-01-05 2024-01-12", "2024-01-19 2024-01-26"),
    # Months: on the same day, at the end of the month, or on the nearest day that the month has.
    ("2023-11-01 2023-12-01", "2024-01-01 2024-02-01"),
    ("2023-10-31 2023-11-30", "2023-12-31 2024-01-31"),
    ("2023-04-30 2023-06-30", "2023-08-31 2023-10-31"),
    ("2023-12-30 2024-01-30", "2024-02-29 2024-03-30"),
    ("2023-07-01 2023-10-01", "2024-01-01 2024-04-01"),
    ("2019-03-15 2020-03-15", "2021-03-15 2022-03-15"),
    # In the format of the input.
    ("2024-01-01T22 2024-01-01T23", "2024-01-02T00 2024-01-02T01"),
    ("2024-01-01T22:30 2024-01-01T23:15", "2024-01-02T00:00 2024-01-02T00:45"),
    ("2024-01-01T22:30:00Z 2024-01-01T23:15:00Z", "2024-01-02T00:00:00Z 2024-01-02T00:45:00Z"),
    (
        "2024-01-01T22:30+01:00 2024-01-01T23:00+01:00",
        "2024-01-01T23:30+01:00 2024-01-02T00:00+01:00",
    ),
    (
        "2024-01-01T00:00:00.500 2024-01-01T00:00:00.750",
        "2024-01-01T00:00:01.000 2024-01-01T00:00:01.250",
    ),
    # Unevenly spaced, of mixed kinds, or too few.
    ("0 1 3", None),
    ("2024-01-01 2024-01-02 2024-01-04", None),
    ("2024-01-01 2024-02-01 2024-04-01", None),
    ("2024-01-05 2024-02-05 2024-03-06", None),
    ("2024-01-01T00:00 2024-02-01T00:30 2024-03-01T00:00", None),
    ("2024-01-01T00:00+01:00 2024-01-01T01:00+02:00", None),
    ("2024-01-01 2", None),
    ("1", None),
    ("2024-01-01", None),
]


@pytest.mark.parametrize(("before", "after"), AFTER)
def test_evenly_spaced_times_are_continued(before, after):
    assert times_after(before.split(), 2) == (after and after.split())


def test_a_date_and_a_time_separated_by_a_space():
    assert times_after(["2024-01-01 22:00", " 2024-01-01 23:00 "], 1) == ["2024-01-02 00:00"]


def test_a_forecast_includes_its_dates(tmp_path, capsys):
    lc.set_num_threads(1)
    header = ["shop", "month", "sales"]
    rows = [
        [shop, f"{2000 + step // 12}-{step % 12 + 1:02}-01", step % 5]
        for shop in "ab"
        for step in range(40)
    ]
    rows[0][1] = "1990-05-17"  # too early to matter
    data = write(tmp_path / "data.csv", header, rows[::-1])
    path = tmp_path / "model.safetensors"
    options = ["--target", "sales", "--time", "month", "--key", "shop", "--window", 6]
    sizes = ["--horizon", 2, "--units", 2, "--epochs", 1, "--quiet"]
    succeed(capsys, "train", data, "--out", path, *options, *sizes)
    lines = [line.split("\t") for line in succeed(capsys, "predict", path, data).splitlines()]
    assert lines[0] == ["shop", "step", "month", "sales"]
    assert [line[:3] for line in lines[1:]] == [
        [shop, step, month]
        for shop in "ba"
        for step, month in (("1", "2003-05-01"), ("2", "2003-06-01"))
    ]
    out = succeed(capsys, "predict", path, data, "--json")
    objects = [json.loads(row) for row in out.splitlines()]
    assert objects[0]["times"] == ["2003-05-01", "2003-06-01"]
    assert [f"{value:.6g}" for value in objects[0]["values"]] == [line[3] for line in lines[1:3]]
    # Uneven times are reported.
    rows[39][1] = "2003-04-07"
    status, out, err = run(capsys, "predict", path, write(tmp_path / "data.csv", header, rows))
    assert status == 0
    months = [line.split("\t")[2] for line in out.splitlines()[1:]]
    assert months == ["", "", "2003-05-01", "2003-06-01"]
    assert err == (
        "lstmcore: note: the last 6 times of shop 'a' in column 'month' are not evenly spaced, so "
        "the forecast has no times\n"
    )
    status, out, _ = run(capsys, "predict", path, tmp_path / "data.csv", "--json")
    assert [set(json.loads(line)) for line in out.splitlines()] == [
        {"key", "values"},
        {"key", "times", "values"},
    ]
