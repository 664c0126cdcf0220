"""Plain, bidirectional, deep, CNN-LSTM and attention: one table of all against the plain LSTM.

Two tasks with real data: sentences of film reviews, positive or negative (`lc.datasets`, MIT), and
six sensors on a wrist, of somebody who stands, walks, runs or plays badminton (BasicMotions, in the
package aeon). All networks have 32 units, and the same dropout, batches and epochs. Beside them:
naive Bayes over words, and the nearest neighbour of curves. Needs the extra `aeon`.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore import layers

UNITS = 32
MEASURES = {"*": ("accuracy", "higher")}
WISHED = {"motions, plain": ">= 0.975"}


def steps(units: int = UNITS) -> layers.LSTM:
    """Make an LSTM that returns h of every step."""
    return layers.LSTM(units, return_sequences=True)


BODIES: dict[str, Callable[[], list[layers.Layer]]] = {
    "plain": lambda: [layers.LSTM(UNITS)],
    "mean of all steps": lambda: [steps(), layers.GlobalAveragePooling1D()],
    "attention": lambda: [steps(), layers.Attention()],
    "bidirectional": lambda: [layers.Bidirectional(layers.LSTM(UNITS))],
    "deep (two layers)": lambda: [steps(), layers.Dropout(0.3), layers.LSTM(UNITS)],
    "CNN-LSTM": lambda: [
        layers.Conv1D(UNITS, 5, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.LSTM(UNITS),
    ],
    "all of them": lambda: [
        layers.Conv1D(UNITS, 3, padding="same", activation="relu"),
        *(layers.Bidirectional(steps()) for _ in range(2)),
        layers.Attention(),
    ],
}


def trained(
    parts: list[layers.Layer], x: Any, y: np.ndarray, epochs: int, batch: int, seed: int
) -> lc.Sequential:
    """Train a classifier with these layers."""
    head = [layers.Dropout(0.3), layers.Dense(int(y.max()) + 1, activation="softmax")]
    model = lc.Sequential([*parts, *head], seed=seed)
    rate = lc.schedules.OneCycle(1e-2, epochs * -(-len(y) // batch))
    optimizer = lc.optimizers.Adam(rate, global_clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", "accuracy")
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    return model


def compare(
    data: tuple[Any, np.ndarray, Any, np.ndarray],
    before: Callable[[], list[layers.Layer]],
    epochs: int,
    batch: int,
    seeds: Iterable[int],
) -> dict[str, float]:
    """Return the mean accuracy of each network on fresh data; `before` makes its first layers."""
    x, y, fresh, truth = data
    found = {}
    for name, body in BODIES.items():
        models = [trained([*before(), *body()], x, y, epochs, batch, seed) for seed in seeds]
        found[name] = float(
            np.mean([model.evaluate(fresh, truth, verbose=0)[1] for model in models])
        )
    return found


def reviews(full: bool, seeds: Iterable[int]) -> dict[str, float]:
    """Compare on film reviews."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    train, _, test = lc.datasets.movie_snippets()
    count = len(train.labels) if full else 4000
    texts, y, fresh, truth = train.sentences[:count], train.labels[:count], *test[:2]
    words = layers.TextVectorization(5000)
    words.adapt(texts)
    ids = [row[row != 0] for table in (words(texts), words(fresh)) for row in table]
    vectors = lambda: [layers.Embedding(5000, 32), layers.Dropout(0.4)]  # noqa: E731
    found = compare((ids[:count], y, ids[count:], truth), vectors, 4, 32, seeds)
    bayes = make_pipeline(CountVectorizer(ngram_range=(1, 2)), MultinomialNB()).fit(texts, y)
    return {**found, "baseline": float(bayes.score(fresh, truth))}


def motions(full: bool, seeds: Iterable[int]) -> dict[str, float]:
    """Compare on BasicMotions; no step of the curves says when a movement begins."""
    from aeon.datasets import load_basic_motions

    (x, labels), (fresh, others) = (load_basic_motions(split) for split in ("train", "test"))
    y, truth = (np.unique(names, return_inverse=True)[1] for names in (labels, others))
    x, fresh = x.transpose(0, 2, 1), fresh.transpose(0, 2, 1)
    mean, deviation = x.mean((0, 1)), x.std((0, 1))
    x, fresh = (x - mean) / deviation, (fresh - mean) / deviation
    found = compare((x, y, fresh, truth), list, 60 if full else 40, 8, seeds)
    apart = ((fresh[:, None] - x[None]) ** 2).sum((2, 3))
    return {**found, "baseline": float((y[apart.argmin(axis=1)] == truth).mean())}


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train all networks on both tasks, print the table and return the accuracies by name."""
    seeds = range(seed, seed + (5 if full else 1))
    tasks = {"reviews": reviews(full, seeds), "motions": motions(full, seeds)}
    print(f"{'accuracy':26}{'film reviews':>14}{'motions':>10}")
    for name in [*BODIES, "baseline"]:
        shown = "naive Bayes, neighbour" if name == "baseline" else name
        print(f"{shown:26}{tasks['reviews'][name]:14.3f}{tasks['motions'][name]:10.3f}")
    if pictures is not None:
        draw(tasks, Path(pictures))
    return {f"{task}, {name}": found[name] for task, found in tasks.items() for name in found}


def draw(tasks: dict[str, dict[str, float]], to: Path) -> None:
    """Write variants.svg: the accuracies of all networks on both tasks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (task, found) in zip(figure.subplots(1, 2, sharey=True), tasks.items(), strict=True):
        axes.barh(list(found)[-2::-1], list(found.values())[-2::-1])  # the baseline is last
        axes.axvline(found["baseline"], color="black", linestyle=":", label="baseline")
        axes.set(xlim=(0.5, 1.0), xlabel=f"accuracy, {task}")
        axes.legend()
    figure.savefig(to / "variants.svg")


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all reviews, the mean of five seeds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
