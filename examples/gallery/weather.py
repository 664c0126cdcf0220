"""Temperatures of tomorrow and of next year: forecasts with intervals, and where ridge wins.

An LSTM forecasts hourly temperatures in Seattle a day ahead and the monthly temperature of the sea
off Peru (El Nino) a year ahead, as quantiles. It is tested from many origins, beside the last
value, the last season and scikit-learn's ridge regression on the same past steps.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from statsmodels.datasets import elnino
from vega_datasets import local_data

from lstmcore.sklearn import Backtest, LSTMForecaster

MEASURES = {
    "*coverage": ("share of values inside the 90 % intervals", "0.9"),
    "Seattle*": ("mean absolute error, °F", "lower"),
    "sea*": ("mean absolute error, °C", "lower"),
}
WISHED = {
    "Seattle, LSTM": "<= 0.75 * Seattle, seasonal naive",
    "sea, LSTM": "<= 0.75 * sea, seasonal naive",
}


def seattle(seed: int, full: bool) -> Backtest:
    """Forecast 24 hours of the year 2010, as changes since the same hour of the day before."""
    hours = local_data.seattle_temps().set_index("date")["temp"]
    updates = 1000 if full else 300
    forecaster = LSTMForecaster(
        48, 24, loss="quantile", difference=24, season=24, max_updates=updates, random_state=seed
    )
    return forecaster.backtest(hours, coverage=0.9)


def sea(seed: int, full: bool) -> Backtest:
    """Forecast 12 months from every third month of the last 18 years, after 1950 to 1992."""
    months = elnino.load_pandas().data.to_numpy()[:, 1:].ravel()
    updates = 1000 if full else 300
    forecaster = LSTMForecaster(
        24, 12, loss="quantile", difference=0, season=12, max_updates=updates, random_state=seed
    )
    return forecaster.backtest(np.asarray(months, float), step=3, coverage=0.9)


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Test both forecasters, and return mean absolute errors and coverages."""
    figures: dict[str, float] = {}
    for name, result in (("Seattle", seattle(seed, full)), ("sea", sea(seed, full))):
        print(f"{name}\n{result}")
        for other, row in result.table.items():
            figures[f"{name}, {other}"] = row["MAE"]
        figures[f"{name}, coverage"] = result.table["LSTM"]["coverage"]
        if pictures is not None:
            result.plot(Path(pictures) / f"weather_{name.lower()}.svg", title=f"{name}, degrees")
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="train for longer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="folder for pictures")
    given = parser.parse_args()
    run(given.full, given.seed, given.pictures)


if __name__ == "__main__":
    main()
