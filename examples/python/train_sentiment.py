"""Train a sentiment classifier on film-review sentences and look at how good it is.

Writes ``learning_curve.svg`` and ``model.safetensors`` into ``--output``.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore.datasets import MOVIE_SNIPPET_CLASSES, Snippets, movie_snippets
from lstmcore.plots import learning_curve

SENTENCES = [
    "A warm, funny and beautifully acted film that stays with you.",
    "The plot is a tedious mess and the jokes fall flat.",
    "Slow at first, but the ending is moving and the actors are superb.",
]


def build_model(sentences: list[str], seed: int) -> lc.Sequential:
    """Words, their vectors, a bidirectional LSTM, its largest outputs, class probabilities."""
    words = lc.layers.TextVectorization()
    words.adapt(sentences)
    model = lc.Sequential(
        [
            words,
            lc.layers.Embedding(words.vocabulary_size(), 100, mask_zero=True),
            lc.layers.Bidirectional(lc.layers.LSTM(128, return_sequences=True)),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dropout(0.5),
            lc.layers.Dense(len(MOVIE_SNIPPET_CLASSES), activation="softmax"),
        ],
        seed=seed,
    )
    model.class_names = MOVIE_SNIPPET_CLASSES  # saved with the model
    return model


def train_model(
    model: lc.Sequential, train: Snippets, validation: Snippets, epochs: int, verbose: int = 0
) -> lc.callbacks.History:
    """Train until the loss on the validation sentences no longer falls; keep the best weights."""
    model.compile(
        optimizer=lc.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(
        train.sentences,
        train.labels,
        validation_data=(validation.sentences, validation.labels),
        epochs=epochs,
        batch_size=32,
        callbacks=[
            lc.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
        ],
        verbose=verbose,
    )


def majority_accuracy(train: Snippets, test: Snippets) -> float:
    """Accuracy of always answering the class that is more frequent in training."""
    majority = np.bincount(train.labels).argmax()
    return float(np.mean(test.labels == majority))


def bag_of_words_accuracy(train: Snippets, test: Snippets) -> float:
    """Accuracy of multinomial naive Bayes on word counts, with add-one smoothing."""
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
    """Lower-case words without punctuation."""
    return re.findall(r"[\w']+", sentence.lower())


def main() -> None:
    """Train, report, save, and classify three sentences with the model that was saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=8, help="at most (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the training")
    parser.add_argument("--precision", default="fp32", help="of the LSTM: fp32, bf16 and so on")
    options = parser.parse_args()

    lc.set_precision(options.precision)
    train, validation, test = movie_snippets(options.seed)
    print(
        f"{len(train.sentences)} sentences to train, {len(validation.sentences)} to validate, "
        f"{len(test.sentences)} to test\n"
    )

    model = build_model(train.sentences, options.seed)
    start = time.perf_counter()
    verbose = 1 if sys.stderr.isatty() else 2
    history = train_model(model, train, validation, options.epochs, verbose)
    seconds = time.perf_counter() - start
    epochs = len(history.history["loss"])
    print(f"\n{epochs} epochs in {seconds:.1f} s, {seconds / epochs:.1f} s each")

    accuracy = model.evaluate(test.sentences, test.labels, verbose=0)[1]
    print("\naccuracy on the test sentences")
    print(f"  majority class               {majority_accuracy(train, test):.3f}")
    print(f"  naive Bayes on word counts   {bag_of_words_accuracy(train, test):.3f}")
    print(f"  bidirectional LSTM           {accuracy:.3f}")

    options.output.mkdir(parents=True, exist_ok=True)
    picture, file = options.output / "learning_curve.svg", options.output / "model.safetensors"
    learning_curve(history, picture, title="Sentiment of film-review sentences")
    model.class_names = list(MOVIE_SNIPPET_CLASSES)
    model.save(file)
    print(f"\nwrote {picture} and {file}\n")

    for sentence, row in zip(SENTENCES, lc.load(file).predict(SENTENCES, verbose=0), strict=True):
        print(f"{MOVIE_SNIPPET_CLASSES[row.argmax()]}  {row.max():.2f}  {sentence}")
    print(f'\nclassify your own: lstmcore predict {file} "a sentence"')


if __name__ == "__main__":
    main()
