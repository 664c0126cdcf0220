"""Learn to tell whether a random walk of 30 steps ends above its start: the README's program.

It writes ``random_walks.svg`` into ``--output``: walks that the model has not seen, coloured by
what it predicts after each step, and its accuracy by epoch.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

import lstmcore as lc

BELOW, UNDECIDED, ABOVE = "#ea580c", "#d1d5db", "#2563eb"
SHOWN = 12  # walks in the picture


def draw_walks(count: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return steps (N, 30, 1), and which of the walks end above their start (N,)."""
    steps = np.random.default_rng(seed).standard_normal((count, 30, 1))
    return steps, steps.sum(axis=(1, 2)) > 0


def expectations(model: lc.Sequential, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the probabilities (N, T), after each step, that a walk ends above its start."""
    length = steps.shape[1]
    beginnings = [walk[:stop] for walk in steps for stop in range(1, length + 1)]
    return model.predict(beginnings, verbose=0).reshape(-1, length)


def picture(
    steps: npt.NDArray[np.float64],
    probabilities: npt.NDArray[np.float32],
    history: lc.callbacks.History,
) -> Figure:
    """Draw the walks on the left, the accuracy by epoch on the right."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    colours = LinearSegmentedColormap.from_list("expectation", [BELOW, UNDECIDED, ABOVE])
    for walk, expected in zip(steps[:, :, 0], probabilities, strict=True):
        heights = np.concatenate([[0.0], np.cumsum(walk)])
        points = np.column_stack([np.arange(len(heights)), heights])
        segments = np.stack([points[:-1], points[1:]], axis=1)
        lines = LineCollection(list(segments), cmap=colours, linewidths=1.6)
        lines.set_array(expected)
        lines.set_clim(0, 1)
        left.add_collection(lines)
    left.autoscale()
    left.axhline(0, color="#374151", linewidth=0.8)
    left.set(xlabel="step", ylabel="height", title="Walks that the model has not seen")
    figure.colorbar(lines, ax=left, label="expected to end above its start", ticks=[0, 0.5, 1])

    accuracy = history.history["val_accuracy"]
    right.plot(range(1, len(accuracy) + 1), accuracy, color=ABOVE, marker="o", markersize=4)
    right.annotate(
        f"{accuracy[-1]:.2f}",
        (len(accuracy), accuracy[-1]),
        (0, 7),
        textcoords="offset points",
        ha="center",
    )
    right.set(
        xlabel="epoch",
        title="Accuracy on new walks",
        ylim=(0.5, 1.02),
        xticks=range(1, len(accuracy) + 1),
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Train, report the accuracy on new walks, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build"), metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    steps, above = draw_walks(2000, options.seed)
    new_steps, new_above = draw_walks(1000, options.seed + 1000)
    model = lc.Sequential(
        [lc.layers.LSTM(16), lc.layers.Dense(1, activation="sigmoid")], seed=options.seed
    )
    model.compile(lc.optimizers.Adam(1e-2), loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(steps, above, epochs=8, validation_data=(new_steps, new_above), verbose=0)
    print(f"accuracy on 1,000 new walks: {history.history['val_accuracy'][-1]:.3f}")

    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "random_walks.svg"
    shown = new_steps[:SHOWN]
    picture(shown, expectations(model, shown), history).savefig(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
