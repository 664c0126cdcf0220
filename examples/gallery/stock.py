"""Stock prices are not beaten by an LSTM; how much they will move can be forecast, by anything.

The S&P 500 from 1999 to 2018, five trading days ahead from many origins. Its price: the last one is
as good as any forecast. Its volatility (the logarithm of a day's range): it comes in clusters, so
the mean of the last month beats the last value, and so does an LSTM; ridge regression is as good.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from arch.data import sp500

from lstmcore.sklearn import Backtest, LSTMForecaster

AHEAD, MONTH = 5, 22
MEASURES = {
    "*coverage": ("share of values inside the 90 % intervals", "0.9"),
    "price*": ("mean absolute error, % of the price", "lower"),
    "volatility*": ("mean absolute error of log(a day's range)", "lower"),
}
WISHED = {"volatility, LSTM": "< volatility, moving average"}


def backtest(series: pd.Series, window: int, difference: int, seed: int, full: bool) -> Backtest:
    """Test a forecaster with a normal distribution on the last fifth."""
    forecaster = LSTMForecaster(
        window,
        AHEAD,
        difference=difference,
        season=None,
        loss="gaussian",
        hidden_size=32,
        max_updates=1000 if full else 400,
        random_state=seed,
    )
    return forecaster.backtest(series, start=0.8, coverage=0.9)


def moving_average(series: pd.Series, result: Backtest) -> float:
    """Return the error of forecasting the mean of the last month."""
    means = series.rolling(MONTH).mean().shift(1)
    forecasts = means.loc[result.dates[:, 0]].to_numpy()[:, None]
    return float(np.abs(result.true[..., 0] - forecasts).mean())


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Test both, and return errors and coverages."""
    days = sp500.load()
    price = 100 * np.log(days["Adj Close"])  # differences are per cent
    volatility = np.log(100 * np.log(days["High"] / days["Low"]))
    figures: dict[str, float] = {}
    results = {
        "price": backtest(price, 30, 1, seed, full),
        "volatility": backtest(volatility, MONTH, 0, seed, full),
    }
    for name, result in results.items():
        print(f"{name}\n{result}")
        for other, row in result.table.items():
            figures[f"{name}, {other}"] = row["MAE"]
        figures[f"{name}, coverage"] = result.table["LSTM"]["coverage"]
        if pictures is not None:
            result.plot(Path(pictures) / f"stock_{name}.svg", title=f"S&P 500: {name} (log)")
    figures["volatility, moving average"] = moving_average(volatility, results["volatility"])
    print(f"mean of the last month{figures['volatility, moving average']:10.4f}")
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
