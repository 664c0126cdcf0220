"""Write a small model and a table for examples/cpp/streamflow.cpp.

The table's column "discharge" is the model's output, so the program must find an efficiency of 1.

Usage: python tests/golden/make_catchment.py
"""

import datetime
from pathlib import Path

import numpy as np

import lstmcore as lc

FOLDER = Path(__file__).parent
DAYS = 60


def main() -> None:
    """Write both files."""
    model = lc.Sequential(
        [
            lc.layers.Dense(4, activation="tanh"),
            lc.layers.LSTM(6, return_sequences=True),
            lc.layers.Dense(1),
        ],
        seed=8,
    )
    model.build((None, None, 3))
    model.save(FOLDER / "catchment.safetensors")
    weather = np.random.default_rng(0).normal(size=(DAYS, 3)).astype(np.float32)
    discharge = model.predict(weather[None], verbose=0)[0]
    lines = ["date,precipitation,temperature,discharge,evaporation"]
    for day, row in enumerate(np.concatenate([weather[:, :2], discharge, weather[:, 2:]], axis=1)):
        date = datetime.date(2001, 1, 1) + datetime.timedelta(days=day)
        lines.append(",".join([date.isoformat(), *(f"{value:.9g}" for value in row)]))
    (FOLDER / "catchment.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
