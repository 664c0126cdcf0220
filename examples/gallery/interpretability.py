"""Which words decide about a film review, and what the gates do meanwhile.

An LSTM with attention is trained on sentences of film reviews. Integrated gradients then divide its
verdict among the words, so that they add up to it; they are compared with what occlusion says, with
the weights of the attention, and with word weights of a naive Bayes classifier, which are exact.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore import explain, layers

SENTENCES = (
    "a warm , funny and engaging film .",
    "a tedious and overlong mess .",
    "not as good as it should have been .",
)

MEASURES = {
    "accuracy": ("", "higher"),
    "largest error*": ("difference of two outputs", "lower"),
    "value of*": ("mean attribution to the logit", ""),
    "agreement*": ("correlation", "higher"),
}
WISHED = {"largest error of a sum": "<= 0.001", "value of tedious": "< 0", "value of warm": "> 0"}


def train(data: lc.datasets.MovieSnippets, epochs: int, seed: int) -> lc.Sequential:
    """Train a classifier that ends in attention."""
    words = layers.TextVectorization(max_tokens=8000)
    words.adapt(data.train.sentences)
    lstm = layers.LSTM(32, return_sequences=True, dropout=0.0, recurrent_dropout=0.2)
    model = lc.Sequential(
        [
            words,
            layers.Embedding(words.vocabulary_size(), 48),
            layers.SpatialDropout1D(0.3),
            layers.Bidirectional(lstm),
            layers.Attention(),
            layers.Dropout(0.4),
            layers.Dense(1, activation="sigmoid"),
        ],
        seed=seed,
    )
    model.compile(lc.optimizers.Adam(3e-3), "binary_crossentropy", ["accuracy"])
    model.fit(data.train.sentences, data.train.labels, batch_size=64, epochs=epochs, verbose=0)
    return model


def word_values(model: lc.Sequential, sentences: list[str]) -> dict[str, float]:
    """Return the mean attribution of each word, to the logit, over the sentences it occurs in."""
    totals: dict[str, list[float]] = {}
    for at in range(0, len(sentences), 64):
        for one in explain.attribute(model, sentences[at : at + 64], steps=16, logits=True):
            for word, value in zip(one.tokens or [], one.values, strict=True):
                totals.setdefault(word, []).append(float(value))
    return {word: float(np.mean(values)) for word, values in totals.items()}


def bayes_values(data: lc.datasets.Snippets) -> dict[str, float]:
    """Return the log odds of each word: the weights of a naive Bayes classifier."""
    splitter = layers.TextVectorization()
    counts = [dict[str, int](), dict[str, int]()]
    for sentence, label in zip(data.sentences, data.labels, strict=True):
        for word in set(splitter.tokens(sentence)):
            counts[label][word] = counts[label].get(word, 0) + 1
    rows = [int((data.labels == label).sum()) for label in (0, 1)]
    return {
        word: float(
            np.log((counts[1].get(word, 0) + 1) / (rows[1] + 2))
            - np.log((counts[0].get(word, 0) + 1) / (rows[0] + 2))
        )
        for word in {*counts[0], *counts[1]}
    }


def agreement(left: dict[str, float], right: dict[str, float], words: list[str]) -> float:
    """Return the rank correlation of two values of words (Spearman)."""
    ranks = [np.argsort(np.argsort([table[word] for word in words])) for table in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def alike(
    left: list[explain.Attribution], right: list[explain.Attribution], size_alone: bool = False
) -> float:
    """Return the mean correlation of what two methods say about the words of a sentence."""
    pairs = zip(left, right, strict=True)
    found = [
        np.corrcoef(np.abs(one.values) if size_alone else one.values, other.values)[0, 1]
        for one, other in pairs
    ]
    return float(np.mean(found))


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train, explain, and return the figures."""
    data = lc.datasets.movie_snippets(seed)
    model = train(data, 4 if full else 2, seed)
    read = data.test.sentences if full else data.test.sentences[:400]
    values = word_values(model, [*read, *SENTENCES])
    bayes = bayes_values(data.train)
    splitter = layers.TextVectorization()
    common = [word for word in values if sum(word in splitter.tokens(one) for one in read) >= 4]
    common = [word for word in common if word in bayes]

    found = explain.attribute(model, list(SENTENCES))
    gone = explain.attribute(model, list(SENTENCES), method="occlusion")
    looks = explain.attention(model, list(SENTENCES))
    figures = {
        "accuracy": float(model.evaluate(data.test.sentences, data.test.labels, verbose=0)[1]),
        "largest error of a sum": max(one.error or 0.0 for one in found),
        "value of tedious": values["tedious"],
        "value of warm": values["warm"],
        "agreement with naive Bayes": agreement(values, bayes, common),
        "agreement with occlusion": alike(found, gone),
        "agreement with attention": alike(found, looks, size_alone=True),
    }
    for name, value in figures.items():
        print(f"{name:28}{value:9.4f}")
    for one in found:
        shown = " ".join(f"{word}{value:+.2f}" for word, value in one.by_token()[:4])
        print(f"{one.output:.2f} positive: {shown}")
    if pictures is not None:
        folder = Path(pictures)
        found[0].plot(folder / "interpretability.svg", title="what each word adds: positive")
        name = "bidirectional_l0"
        explain.trace(model, list(SENTENCES)).plot(
            folder / "interpretability_gates.svg", layer=name, show=("i", "f", "c")
        )
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more epochs, all test sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="folder for pictures")
    given = parser.parse_args()
    run(given.full, given.seed, given.pictures)


if __name__ == "__main__":
    main()
