"""Find the beat that does not fit: errors of rolling forecasts of a pulse.

An LSTM learns to continue the first 3,000 steps of a blood pressure recording, and then forecasts
every next eight steps from the 64 before. Where the errors are largest, the signal is unusual: here
one stretch of twelve steps was changed. Beside it: repeating the last beat, and the stretch whose
shape is least like any other (a discord of the matrix profile, which needs no training).
"""

import argparse
import os
from pathlib import Path

import numpy as np
from aeon.datasets import load_kdd_tsad_135

from lstmcore import plots
from lstmcore.sklearn import LSTMForecaster

TRAINED, WINDOW, AHEAD = 3000, 64, 8
MEASURES = {
    "*overlap*": ("share of the worst steps that are marked", "higher"),
    "*error*": ("quotient of two errors", "higher"),
    "*distance*": ("quotient of two distances", "higher"),
}
WISHED = {"LSTM: overlap with the marked steps": "> 0"}


def rolling_errors(forecaster: LSTMForecaster, signal: np.ndarray) -> np.ndarray:
    """Return the mean error of the steps after each window; entry t begins at step t + WINDOW."""
    count = len(signal) - WINDOW - AHEAD + 1
    rows = [signal[at : at + WINDOW] for at in range(count)]
    forecasts = np.array(forecaster.predict(y=rows))
    true = np.lib.stride_tricks.sliding_window_view(signal[WINDOW:], AHEAD)
    return np.asarray(np.abs(true - forecasts).mean(axis=1))


def repeating_errors(signal: np.ndarray, beat: int) -> np.ndarray:
    """Return the same for a forecast that repeats what was `beat` steps ago."""
    changes = np.abs(signal[beat:] - signal[:-beat])
    means = np.lib.stride_tricks.sliding_window_view(changes, AHEAD).mean(axis=1)
    return np.asarray(means[max(WINDOW - beat, 0) :])


def distances(signal: np.ndarray, length: int) -> np.ndarray:
    """Return how far each stretch is from the nearest other one, by shape: the matrix profile.

    The distance of Yeh et al. 2016: of stretches with mean 0 and deviation 1, overlaps left out.
    """
    rows = np.lib.stride_tricks.sliding_window_view(signal, length)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows = (rows / rows.std(axis=1, keepdims=True)).astype(np.float32)
    places, nearest = np.arange(len(rows)), []
    for block in np.array_split(places, 20):
        alike = rows[block] @ rows.T / length
        alike[np.abs(block[:, None] - places) < length] = -1
        nearest.append(alike.max(axis=1))
    return np.asarray(np.sqrt(2 * length * np.maximum(0, 1 - np.concatenate(nearest))))


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train, look for the worst step, and return the figures."""
    values, marks = load_kdd_tsad_135()
    signal, marked = np.asarray(values, float), np.flatnonzero(marks)
    forecaster = LSTMForecaster(
        WINDOW,
        AHEAD,
        difference=0,
        hidden_size=32,
        max_iter=60 if full else 20,
        random_state=seed,
    ).fit(signal[:TRAINED])
    errors = rolling_errors(forecaster, signal)
    beat = int(forecaster.season_ or WINDOW)
    simple = repeating_errors(signal, beat)
    figures: dict[str, float] = {}
    for name, found, offset in (("LSTM", errors, WINDOW), ("last beat", simple, max(WINDOW, beat))):
        worst = int(found.argmax()) + offset
        inside = np.arange(worst, worst + AHEAD)
        figures[f"{name}: overlap with the marked steps"] = float(np.isin(inside, marked).mean())
        other = found[np.abs(np.arange(len(found)) + offset - marked.mean()) > 200]
        figures[f"{name}: error there by the largest elsewhere"] = float(found.max() / other.max())
        print(f"{name}: worst forecast of steps {worst} to {worst + AHEAD - 1}", end=", ")
        print(f"marked are {marked[0]} to {marked[-1]}")
    apart = distances(signal, beat)
    starts = np.arange(len(apart))
    there = (starts > marked[0] - beat) & (starts <= marked[-1])
    elsewhere = np.abs(starts + beat / 2 - marked.mean()) > 200
    quotient = apart[there].max() / apart[elsewhere].max()
    figures["shape of a beat: distance there by the largest elsewhere"] = float(quotient)
    for key, value in figures.items():
        print(f"{key:60}{value:8.3f}")
    if pictures is not None:
        figure = plots.new_figure(7.2, 3.6)
        above, below = plots.new_axes(figure, 2)
        shown = np.arange(marked[0] - 500, marked[-1] + 500)
        above.plot(shown, signal[shown], color=plots.TEXT_COLOUR, linewidth=0.8)
        below.plot(shown, errors[shown - WINDOW], color=plots.TRAINING_COLOUR, linewidth=1)
        for ax, title in ((above, "signal, the changed steps shaded"), (below, "forecast error")):
            ax.axvspan(marked[0], marked[-1], color=plots.VALIDATION_COLOUR, alpha=0.3)
            ax.set_title(title, loc="left", fontsize=9)
            plots.tidy(ax)
        plots.save(figure, Path(pictures) / "anomaly.svg")
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
