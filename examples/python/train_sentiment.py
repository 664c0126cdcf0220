"""Train a sentiment classifier on film-review sentences and report how good it is.

It writes ``learning_curve.svg`` and ``model.safetensors`` into ``--output``.
"""

import argparse
import math
import re
import sys
import time
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

import lstmcore as lc
from lstmcore.datasets import MOVIE_SNIPPET_CLASSES, Snippets, movie_snippets
from lstmcore.plots import learning_curve

BATCH_SIZE = 32
SHARE = 0.6  # of naive Bayes' log-odds, where both are added up; chosen on validation sentences
Floats: TypeAlias = npt.NDArray[np.float64]
SENTENCES = [
    "A warm, funny and beautifully acted film that stays with you.",
    "The plot is a tedious mess and the jokes fall flat.",
    "Slow at first, but the ending is moving and the actors are superb.",
]


def build_model(sentences: list[str], seed: int) -> lc.Sequential:
    """Return a model from words to the probability that a sentence is praise."""
    words = lc.layers.TextVectorization()
    words.adapt(sentences)
    model = lc.Sequential(
        [
            words,
            lc.layers.Embedding(words.vocabulary_size(), 64, mask_zero=True),
            lc.layers.Dropout(0.7),
            lc.layers.Bidirectional(lc.layers.LSTM(32, return_sequences=True)),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dropout(0.5),
            lc.layers.Dense(1, activation="sigmoid"),
        ],
        seed=seed,
    )
    model.class_names = MOVIE_SNIPPET_CLASSES  # saved with the model
    return model


def praise(snippets: Snippets) -> Floats:
    """Return the targets: people's mean rating, from -4 to 4, as a probability.

    A sentence that everybody rated highly is clearer praise than one on which people disagreed.
    With such targets the model does not memorize the ambiguous sentences.
    """
    return 1 / (1 + np.exp(-1.5 * snippets.ratings))


def train_model(
    model: lc.Sequential, train: Snippets, validation: Snippets, epochs: int, verbose: int = 0
) -> lc.callbacks.History:
    """Train with a rate that falls to zero, and keep the weights that did best in validation."""
    steps = epochs * math.ceil(len(train.sentences) / BATCH_SIZE)
    model.compile(
        optimizer=lc.optimizers.Adam(lc.schedules.CosineDecay(3e-3, decay_steps=steps)),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(
        train.sentences,
        praise(train),
        validation_data=(validation.sentences, validation.labels),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=[
            lc.callbacks.EarlyStopping("val_loss", patience=epochs, restore_best_weights=True)
        ],
        verbose=verbose,
    )


def naive_bayes(train: Snippets, targets: Floats, sentences: list[str], longest: int) -> Floats:
    """Return log-odds of sentences by multinomial naive Bayes with add-one smoothing.

    `targets` says how likely each training sentence is praise; counted are sequences of up to
    `longest` words.
    """
    vocabulary: dict[str, int] = {}
    rows = [
        [vocabulary.setdefault(term, len(vocabulary)) for term in split_terms(sentence, longest)]
        for sentence in train.sentences
    ]
    counts = np.ones((2, len(vocabulary)))
    for target, row in zip(targets, rows, strict=True):
        np.add.at(counts[1], row, target)
        np.add.at(counts[0], row, 1 - target)
    log_shares = np.log(counts / counts.sum(axis=1, keepdims=True))
    term_scores = log_shares[1] - log_shares[0]
    prior = np.log(targets.mean() / (1 - targets.mean()))

    known = [
        [vocabulary[term] for term in split_terms(sentence, longest) if term in vocabulary]
        for sentence in sentences
    ]
    return np.array([prior + term_scores[row].sum() for row in known])


def split_terms(sentence: str, longest: int) -> list[str]:
    """Return lower-case words without punctuation, and all sequences of up to `longest` words."""
    words = re.findall(r"[\w']+", sentence.lower())
    return [
        " ".join(words[at : at + length])
        for length in range(1, longest + 1)
        for at in range(len(words) - length + 1)
    ]


def accuracies(model: lc.Sequential, train: Snippets, test: Snippets) -> dict[str, float]:
    """Return the accuracy of the model, of simple classifiers, and of both together."""
    chances = model.predict(test.sentences, verbose=0)[:, 0].astype(np.float64)
    log_odds = np.log(chances / (1 - chances))
    words = naive_bayes(train, train.labels.astype(np.float64), test.sentences, 1)
    pairs = naive_bayes(train, praise(train), test.sentences, 2)
    found = {
        "majority class": np.full(len(chances), train.labels.mean() - 0.5),
        "naive Bayes on word counts": words,
        "naive Bayes with pairs, ratings": pairs,
        "bidirectional LSTM": log_odds,
        "LSTM and naive Bayes together": log_odds + SHARE * pairs,
    }
    return {name: float(np.mean((score > 0) == test.labels)) for name, score in found.items()}


def main() -> None:
    """Train with several seeds, report, save, and classify three sentences with a saved model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="how many models (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first model and its split")
    parser.add_argument("--precision", default="fp32", help="of the LSTM: fp32, bf16, ...")
    options = parser.parse_args()
    lc.set_precision(options.precision)
    options.output.mkdir(parents=True, exist_ok=True)
    picture, file = options.output / "learning_curve.svg", options.output / "model.safetensors"

    figures: list[dict[str, float]] = []
    start, verbose = time.perf_counter(), 1 if sys.stderr.isatty() else 2
    for seed in range(options.seed, options.seed + options.seeds):
        train, validation, test = movie_snippets(seed)
        print(
            f"seed {seed}: {len(train.sentences)} sentences to train, "
            f"{len(validation.sentences)} to validate, {len(test.sentences)} to test"
        )
        model = build_model(train.sentences, seed)
        history = train_model(model, train, validation, options.epochs, verbose)
        figures.append(accuracies(model, train, test))
        if seed == options.seed:
            learning_curve(history, path=picture, title="Sentiment of film-review sentences")
            model.save(file)
    print(f"\n{options.seeds} models in {time.perf_counter() - start:.1f} s")

    print("\naccuracy on the test sentences: mean, and for each seed")
    for name in figures[0]:
        found = [figure[name] for figure in figures]
        print(f"  {name:32} {np.mean(found):.3f}     {'  '.join(f'{one:.3f}' for one in found)}")
    print(f"\nwrote {picture} and {file}\n")

    for sentence, (chance,) in zip(
        SENTENCES, lc.load(file).predict(SENTENCES, verbose=0), strict=True
    ):
        name = MOVIE_SNIPPET_CLASSES[int(chance > 0.5)]
        print(f"{name}  {max(chance, 1 - chance):.2f}  {sentence}")
    print(f'\nclassify your own: lstmcore predict {file} "a sentence"')


if __name__ == "__main__":
    main()
