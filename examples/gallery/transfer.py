"""Transfer: handwritten 5 to 9 from 50 examples, after learning 0 to 4 from plenty.

scikit-learn's digits (UCI, CC BY 4.0), each a sequence of its eight rows of pixels. A model learns
the digits 0 to 4; its LSTM then begins a model for the others, which has 50 examples to learn from.
Beside it: the same model from random weights, and logistic regression on the pixels. Needs
scikit-learn (the extra `sklearn`).
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc

MEASURES = {"*": ("accuracy", "higher")}
WISHED = {"frozen": ">= from nothing + 0.04", "all trained": ">= from nothing + 0.04"}
FEW = 50  # examples of the digits 5 to 9
Pair = tuple[np.ndarray, np.ndarray]


def digits(seed: int) -> tuple[Pair, Pair, Pair]:
    """Return the digits 0 to 4, few of the digits 5 to 9, and the rest of those, in rows."""
    from sklearn.datasets import load_digits

    given: Any = load_digits()
    order = np.random.default_rng(seed).permutation(len(given.target))
    x, y = (given.images[order] / 16).astype(np.float32), given.target[order]
    low, high = y < 5, y >= 5
    x_high, y_high = x[high], y[high] - 5
    return (x[low], y[low]), (x_high[:FEW], y_high[:FEW]), (x_high[FEW:], y_high[FEW:])


def reader(seed: int, factors: dict[str, float] | None = None) -> lc.Sequential:
    """Make a model that reads a digit row by row."""
    model = lc.Sequential(
        [
            lc.layers.Input((8, 8)),
            lc.layers.LSTM(64, input_dropout=0.2, name="rows"),
            lc.layers.Dense(5, activation="softmax", name="answer"),
        ],
        seed=seed,
    )
    optimizer = lc.optimizers.Adam(3e-3, rate_factors=factors)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def learn(model: lc.Sequential, few: Pair, rest: Pair, *callbacks: lc.callbacks.Callback) -> float:
    """Train on few examples, and return the accuracy on the rest."""
    model.fit(*few, epochs=60, batch_size=10, callbacks=callbacks, verbose=0)
    accuracy: float = model.evaluate(*rest, verbose=0)[1]
    return accuracy


def ways(seed: int) -> dict[str, float]:
    """Return the accuracy of each way to learn from few examples."""
    from sklearn.linear_model import LogisticRegression

    plenty, few, rest = digits(seed)
    before = reader(seed)
    before.fit(*plenty, epochs=60, verbose=0)

    def begun(factors: dict[str, float] | None = None) -> lc.Sequential:
        model = reader(seed + 1000, factors)
        model.get_layer("rows").set_weights(before.get_layer("rows").get_weights())
        return model

    frozen = begun()
    frozen.get_layer("rows").trainable = False
    flat = LogisticRegression(max_iter=500).fit(few[0].reshape(FEW, -1), few[1])
    return {
        "logistic regression": float(flat.score(rest[0].reshape(len(rest[0]), -1), rest[1])),
        "from nothing": learn(reader(seed + 1000), few, rest),
        "frozen": learn(frozen, few, rest),
        "all trained": learn(begun(), few, rest),
        "smaller rate below": learn(begun({"rows": 0.1}), few, rest),
        "unfrozen after 30": learn(begun(), few, rest, lc.callbacks.GradualUnfreezing(30)),
    }


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Repeat with several draws of the examples, print the table, and return mean accuracies."""
    count = 20 if full else 4
    draws = [ways(seed * 100 + number) for number in range(count)]
    figures = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    print(f"digits 5 to 9 from {FEW} examples, mean accuracy of {count} draws")
    for name, figure in figures.items():
        print(f"{name:22}{figure:7.3f}")
    if pictures is not None:
        draw(draws, Path(pictures) / "transfer.svg")
    return figures


def draw(draws: list[dict[str, float]], to: Path) -> None:
    """Draw the accuracy of every draw of the examples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(draws[0]):
        values = [draw[name] for draw in draws]
        axes.plot(values, [place] * len(values), "o", alpha=0.5)
        axes.plot(np.mean(values), place, "k|", markersize=16)
    axes.set_yticks(range(len(draws[0])), list(draws[0]))
    axes.set_xlabel("accuracy on digits 5 to 9")
    figure.savefig(to)


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="20 draws of the examples, not 4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
