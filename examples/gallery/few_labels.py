"""Learn the sentiment of film reviews from 500 labels and 8,000 sentences without any.

Three ways to begin a classifier: with random weights, with the embedding and LSTM of a language
model of the unlabelled sentences, and with word vectors from counts of which words occur together.
Naive Bayes on the same labels is beside them. With ``--full`` each is measured on three seeds, and
with all 8,454 labels too.
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

import lstmcore as lc
from lstmcore.datasets import Snippets, movie_snippets

FEW, WORDS, WIDTH, DISTANCE = 500, 6000, 64, 5
MEASURES = {"*": ("accuracy", "higher")}
WISHED = {"language model first": ">= from nothing + 0.04"}
Floats = npt.NDArray[np.floating]


def language_model(
    words: lc.layers.TextVectorization, sentences: list[str], epochs: int, seed: int
) -> lc.LanguageModel:
    """Train a language model, whose first layers can begin a classifier."""
    layers = [lc.layers.Dropout(0.1), lc.layers.LSTM(WIDTH, return_sequences=True)]
    model = lc.LanguageModel(words, layers, seed=seed)
    tokens, rows, window = int(words.encode(sentences)[1].sum()), 16, 16
    rate = lc.schedules.CosineDecay(8e-3, decay_steps=epochs * tokens // (rows * window))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit_text(sentences, batch_size=rows, window=window, epochs=epochs, verbose=2)
    return model


def counted_vectors(words: lc.layers.TextVectorization, sentences: list[str]) -> Floats:
    """Factor how much more often words are close to each other than by chance.

    Positive pointwise mutual information with smoothed contexts (Levy, Goldberg & Dagan 2015).
    """
    size = words.vocabulary_size()
    counts = np.zeros((size, size), np.float32)
    for sentence in sentences:
        row = words.encode([sentence])[0]
        for apart in range(1, min(DISTANCE + 1, len(row))):
            np.add.at(counts, (row[:-apart], row[apart:]), 1 / apart)
    counts += counts.T
    context = counts.sum(axis=0) ** 0.75
    chance = counts.sum(axis=1, keepdims=True) * (context / context.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nan_to_num(np.log(counts / chance), nan=0, posinf=0, neginf=0).clip(0)
    basis = np.random.default_rng(0).standard_normal((size, WIDTH + 10)).astype(np.float32)
    for _ in range(4):  # of the power method, which finds the largest eigenvalues
        basis = np.linalg.qr(information @ basis)[0]
    values, turns = np.linalg.eigh(basis.T @ information @ basis)
    largest = np.argsort(-abs(values))[:WIDTH]
    vectors = (basis @ turns[:, largest]) * np.sqrt(abs(values[largest]))
    return np.asarray(0.3 * vectors / vectors.std())


def accuracy(layers: list[lc.layers.Layer], train: Snippets, test: Snippets, seed: int) -> float:
    """Train a classifier that begins with `layers`, and return its accuracy on `test`."""
    head = [lc.layers.GlobalMaxPooling1D(), lc.layers.Dropout(0.5)]
    model = lc.Sequential([*layers, *head, lc.layers.Dense(1, activation="sigmoid")], seed=seed)
    few = len(train.sentences) <= FEW
    rows, epochs = (16, 15) if few else (32, 5)
    steps = epochs * math.ceil(len(train.sentences) / rows)
    rate = lc.schedules.CosineDecay(3e-3, decay_steps=steps)
    model.compile(lc.optimizers.Adam(rate), "binary_crossentropy", ["accuracy"])
    praise = 1 / (1 + np.exp(-1.5 * train.ratings))
    model.fit(train.sentences, praise, batch_size=rows, epochs=epochs, verbose=0)
    return float(model.evaluate(test.sentences, test.labels, verbose=0)[1])


def naive_bayes(words: lc.layers.TextVectorization, train: Snippets, test: Snippets) -> float:
    """Return the accuracy of multinomial naive Bayes with add-one smoothing."""
    counts = np.ones((2, words.vocabulary_size()))
    for label, sentence in zip(train.labels, train.sentences, strict=True):
        np.add.at(counts[label], words.encode([sentence])[0], 1)
    scores = np.diff(np.log(counts / counts.sum(axis=1, keepdims=True)), axis=0)[0]
    share = train.labels.mean()
    found = [scores[words.encode([text])[0]].sum() for text in test.sentences]
    return float(np.mean((np.array(found) + np.log(share / (1 - share)) > 0) == test.labels))


def compare(full: bool, seed: int) -> dict[str, float]:
    """Return the accuracy of every way to begin, on one split."""
    train, validation, test = movie_snippets(seed)
    unlabelled = train.sentences + validation.sentences
    words = lc.layers.TextVectorization(WORDS)
    words.adapt(unlabelled)
    writer = language_model(words, unlabelled, 12 if full else 2, seed)
    vectors = counted_vectors(words, unlabelled)

    def bidirectional(dropout: float) -> list[lc.layers.Layer]:
        first = lc.layers.Embedding(WORDS, WIDTH, mask_zero=True)
        both = lc.layers.Bidirectional(lc.layers.LSTM(WIDTH // 2, return_sequences=True))
        return [words.copy(), first, lc.layers.Dropout(dropout), both]

    figures = {}
    for count, ending in ((FEW, ""), (len(train.labels), ", all labels")) if full else ((FEW, ""),):
        known = Snippets(train.sentences[:count], train.labels[:count], train.ratings[:count])
        plain, counted = (bidirectional(0.5 if count == FEW else 0.7) for _ in range(2))
        counted[1](np.ones((1, 1), int))  # a first call builds the embedding
        counted[1].set_weights([vectors])
        figures["naive Bayes" + ending] = naive_bayes(words, known, test)
        for name, layers in (
            ("from nothing", plain),
            ("language model first", [layer.copy() for layer in writer.layers[:-1]]),
            ("counted word vectors first", counted),
        ):
            figures[name + ending] = accuracy(layers, known, test, seed)
    return figures


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Return the accuracy of every way to begin; means over three seeds with `full`."""
    results = [compare(full, one) for one in range(seed, seed + (3 if full else 1))]
    figures = {name: float(np.mean([one[name] for one in results])) for name in results[0]}
    if pictures is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 0.5 + 0.4 * len(figures)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(list(figures)[::-1], list(figures.values())[::-1], color="#2563eb")
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.set(xlim=(0.5, 0.9), xlabel=f"accuracy; {FEW} labels unless it says all")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(Path(pictures) / "few_labels.svg")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", metavar="FOLDER")
    options = parser.parse_args()
    for name, figure in run(options.full, options.seed, options.pictures).items():
        print(f"{name:40} {figure:.3f}")


if __name__ == "__main__":
    main()
