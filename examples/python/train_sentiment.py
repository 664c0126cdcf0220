"""Train a sentiment classifier on film-review sentences and report how good it is.

It writes ``learning_curve.svg`` and ``model.safetensors`` into ``--output``.
"""

import argparse
import math
import re
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import lstmcore as lc
from lstmcore.datasets import MOVIE_SNIPPET_CLASSES, Snippets, movie_snippets
from lstmcore.plots import learning_curve

BATCH_SIZE = 32
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


def praise(snippets: Snippets) -> npt.NDArray[np.float64]:
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


def majority_accuracy(train: Snippets, test: Snippets) -> float:
    """Return the accuracy of always answering the class that is more frequent in training."""
    majority = np.bincount(train.labels).argmax()
    return float(np.mean(test.labels == majority))


def bag_of_words_accuracy(train: Snippets, test: Snippets) -> float:
    """Return the accuracy of multinomial naive Bayes on word counts, with add-one smoothing."""
    vocabulary: dict[str, int] = {}
    rows = [
        [vocabulary.setdefault(word, len(vocabulary)) for word in split_words(sentence)]
        for sentence in train.sentences
    ]
    counts = np.ones((2, len(vocabulary)))
    for label, row in zip(train.labels, rows, strict=True):
        np.add.at(counts[label], row, 1)
    log_shares = np.log(counts / counts.sum(axis=1, keepdims=True))
    word_scores = log_shares[1] - log_shares[0]
    prior = np.log(train.labels.mean() / (1 - train.labels.mean()))

    known = [
        [vocabulary[word] for word in split_words(sentence) if word in vocabulary]
        for sentence in test.sentences
    ]
    scores = prior + np.array([word_scores[row].sum() for row in known])
    return float(np.mean((scores > 0) == test.labels))


def split_words(sentence: str) -> list[str]:
    """Return lower-case words without punctuation."""
    return re.findall(r"[\w']+", sentence.lower())


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

    figures: dict[str, list[float]] = {
        "majority class": [],
        "naive Bayes on word counts": [],
        "bidirectional LSTM": [],
    }
    start, verbose = time.perf_counter(), 1 if sys.stderr.isatty() else 2
    for seed in range(options.seed, options.seed + options.seeds):
        train, validation, test = movie_snippets(seed)
        print(
            f"seed {seed}: {len(train.sentences)} sentences to train, "
            f"{len(validation.sentences)} to validate, {len(test.sentences)} to test"
        )
        model = build_model(train.sentences, seed)
        history = train_model(model, train, validation, options.epochs, verbose)
        accuracy = model.evaluate(test.sentences, test.labels, verbose=0)[1]
        found = majority_accuracy(train, test), bag_of_words_accuracy(train, test), accuracy
        for accuracies, figure in zip(figures.values(), found, strict=True):
            accuracies.append(figure)
        if seed == options.seed:
            learning_curve(history, path=picture, title="Sentiment of film-review sentences")
            model.save(file)
    print(f"\n{options.seeds} models in {time.perf_counter() - start:.1f} s")

    print("\naccuracy on the test sentences: mean, and for each seed")
    for name, accuracies in figures.items():
        each = "  ".join(f"{figure:.3f}" for figure in accuracies)
        print(f"  {name:28} {np.mean(accuracies):.3f}     {each}")
    print(f"\nwrote {picture} and {file}\n")

    for sentence, (chance,) in zip(
        SENTENCES, lc.load(file).predict(SENTENCES, verbose=0), strict=True
    ):
        name = MOVIE_SNIPPET_CLASSES[int(chance > 0.5)]
        print(f"{name}  {max(chance, 1 - chance):.2f}  {sentence}")
    print(f'\nclassify your own: lstmcore predict {file} "a sentence"')


if __name__ == "__main__":
    main()
