"""Keep a classifier of film reviews from learning its training sentences by heart.

The same LSTM is trained without any measure, and with dropout, dropout of the recurrent weights,
zoneout, a penalty (L2) or early stopping. The table has the loss on sentences that it did not see,
at its best and in the end, and the accuracy; naive Bayes is beside it. With ``--full``
there are all sentences, more epochs and three seeds.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.datasets import MovieSnippets, Snippets, movie_snippets

WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "dropout": {"dropout": 0.7},
    "weight dropout": {"cell": {"weight_dropout": 0.6}},
    "zoneout": {"cell": {"zoneout_h": 0.2, "zoneout_c": 0.5}},
    "L2": {"l2": 1e-3},
    "early stopping": {"stop": True},
    "dropout and early stopping": {"dropout": 0.7, "stop": True},
}

MEASURES = {"*loss": ("cross-entropy, nats", "lower"), "*": ("accuracy", "higher")}


def train(
    data: MovieSnippets,
    epochs: int,
    seed: int,
    dropout: float = 0.0,
    cell: dict[str, Any] | None = None,
    l2: float = 0.0,
    stop: bool = False,
) -> tuple[list[float], float]:
    """Return the validation loss by epoch and of the final weights, and the test accuracy."""
    words = lc.layers.TextVectorization()
    words.adapt(data.train.sentences)
    penalty = lc.regularizers.L2(l2) if l2 else None
    model = lc.Sequential(
        [
            words,
            lc.layers.Embedding(
                words.vocabulary_size(), 64, mask_zero=True, embeddings_regularizer=penalty
            ),
            lc.layers.Dropout(dropout),
            lc.layers.LSTM(
                64,
                return_sequences=True,
                kernel_regularizer=penalty,
                recurrent_regularizer=penalty,
                **(cell or {}),
            ),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dropout(dropout),
            lc.layers.Dense(1, activation="sigmoid", kernel_regularizer=penalty),
        ],
        seed=seed,
    )
    losses: list[float] = []

    def note(*_: Any) -> None:
        found = model.predict(data.validation.sentences, verbose=0)[:, 0].clip(1e-6, 1 - 1e-6)
        right = np.where(data.validation.labels == 1, found, 1 - found)
        losses.append(float(-np.log(right).mean()))  # without the penalty

    callbacks: list[lc.callbacks.Callback] = [lc.callbacks.LambdaCallback(on_epoch_end=note)]
    if stop:
        callbacks += [lc.callbacks.EarlyStopping(patience=2, restore_best_weights=True)]
    model.compile(lc.optimizers.Adam(3e-3), "binary_crossentropy", ["accuracy"])
    model.fit(
        data.train.sentences,
        data.train.labels,
        validation_data=(data.validation.sentences, data.validation.labels),
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
    )
    note()  # of the weights in the end, which early stopping may have restored
    return losses, float(model.evaluate(data.test.sentences, data.test.labels, verbose=0)[1])


def naive_bayes(data: MovieSnippets) -> float:
    """Return the accuracy of multinomial naive Bayes with add-one smoothing."""
    words = lc.layers.TextVectorization()
    words.adapt(data.train.sentences)
    counts = np.ones((2, words.vocabulary_size()))
    for label, sentence in zip(data.train.labels, data.train.sentences, strict=True):
        np.add.at(counts[label], words.encode([sentence])[0], 1)
    scores = np.diff(np.log(counts / counts.sum(axis=1, keepdims=True)), axis=0)[0]
    found = [scores[words.encode([text])[0]].sum() for text in data.test.sentences]
    return float(np.mean((np.array(found) > 0) == data.test.labels))


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """Draw the validation loss of each way by epoch."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6.4, 3.6), layout="constrained")).subplots()
    for name, losses in curves.items():
        axes.plot(range(1, len(losses)), losses[:-1], marker="o", markersize=3, label=name)
    axes.set(xlabel="epoch", ylabel="loss on sentences not seen")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8)
    figure.savefig(path)


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Return accuracy, best and last validation loss of each way; means over seeds with `full`."""
    seeds = range(seed, seed + 3) if full else [seed]
    splits = {one: movie_snippets(one) for one in seeds}
    if not full:
        few = Snippets(*(part[:3000] for part in splits[seed].train))  # type: ignore[arg-type]
        splits[seed] = splits[seed]._replace(train=few)
    figures = {"naive Bayes": float(np.mean([naive_bayes(data) for data in splits.values()]))}
    curves = {}
    for name, options in WAYS.items():
        found = [train(data, 8 if full else 5, one, **options) for one, data in splits.items()]
        curves[name] = found[0][0]
        figures[name] = float(np.mean([accuracy for _, accuracy in found]))
        figures[f"{name}, best loss"] = float(np.mean([min(losses) for losses, _ in found]))
        figures[f"{name}, last loss"] = float(np.mean([losses[-1] for losses, _ in found]))
    if pictures is not None:
        draw(curves, Path(pictures) / "regularization.svg")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", metavar="FOLDER")
    options = parser.parse_args()
    figures = run(options.full, options.seed, options.pictures)
    print(f"{'':28} accuracy   best loss   last loss")
    print(f"{'naive Bayes':28} {figures['naive Bayes']:8.3f}")
    for name in WAYS:
        best, last = figures[f"{name}, best loss"], figures[f"{name}, last loss"]
        print(f"{name:28} {figures[name]:8.3f} {best:11.3f} {last:11.3f}")


if __name__ == "__main__":
    main()
