"""Build a model for a task, and train it."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lstmcore import layers
from lstmcore.cli.layout import Layout
from lstmcore.cli.samples import Samples
from lstmcore.models import Sequential
from lstmcore.training import callbacks, optimizers
from lstmcore.training.callbacks import Callback

__all__ = ["build_model", "train_model"]

STEPS = 3000  # optimizer steps, which determine the number of epochs
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
FEWEST_BATCHES = 16  # in an epoch; batches are made smaller if there are few samples
MOST_WORDS, WORD_WIDTH = 20_000, 64
RATE, TEXT_RATE = 0.003, 0.001
DROPOUT, TEXT_DROPOUT = 0.1, 0.5
POOLING: dict[str, Callable[[], layers.Layer] | None] = {
    "max": layers.GlobalMaxPooling1D,
    "mean": layers.GlobalAveragePooling1D,
    "last": None,  # the LSTM itself returns it
}


def build_model(
    samples: Samples, layout: Layout, classes: Sequence[str] | None, options: argparse.Namespace
) -> Sequential:
    """Build a model for the task."""
    words: list[Any] = []
    if layout.kind == "text":
        vectorizer = layers.TextVectorization(MOST_WORDS)
        try:
            vectorizer.adapt(samples.x)
        except ValueError as error:
            raise ValueError(f"column {layout.text!r}: {error}") from None
        size = vectorizer.vocabulary_size()
        words = [vectorizer, layers.Embedding(size, WORD_WIDTH, mask_zero=True)]
    pooling = POOLING[options.pooling or ("max" if layout.kind == "text" else "last")]
    lstm = layers.LSTM(
        options.units,
        return_sequences=layout.per_step or pooling is not None,
        num_layers=options.layers,
        dropout=DROPOUT if options.layers > 1 else 0.0,
    )
    recurrent = layers.Bidirectional(lstm) if options.bidirectional else lstm
    outputs = layout.horizon or (1 if classes is None else len(classes))
    model = Sequential(
        [
            *words,
            recurrent,
            *([] if pooling is None else [pooling()]),
            layers.Dropout(TEXT_DROPOUT if layout.kind == "text" else DROPOUT),
            layers.Dense(outputs, activation="linear" if classes is None else "softmax"),
        ],
        seed=options.seed,
    )
    if layout.kind != "text":
        model.build((None, None, len(layout.features) + (layout.kind == "series")))
    else:
        model.build((None, None))
    rate = options.learning_rate or (TEXT_RATE if layout.kind == "text" else RATE)
    model.compile(
        optimizers.Adam(rate, global_clipnorm=1.0),
        "mse" if classes is None else "sparse_categorical_crossentropy",
        [] if classes is None else ["accuracy"],
    )
    return model


def train_model(
    model: Sequential,
    parts: dict[str, Samples],
    options: argparse.Namespace,
    reporters: Sequence[Callback],
) -> int | None:
    """Train the model; return the best epoch, counted from 1, if a validation part chooses it."""
    train, validation = parts["train"], parts.get("validation")
    batch = options.batch_size or max(1, min(32, len(train) // FEWEST_BATCHES))
    epochs = options.epochs
    if epochs is None:
        batches = -(-len(train) // batch)
        epochs = min(max(-(-STEPS // batches), FEWEST_EPOCHS), MOST_EPOCHS)
    patience = options.patience or max(5, epochs // 10)
    stopping = callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
    chosen: list[Callback] = [] if validation is None else [stopping]
    model.fit(
        _inputs(train),
        train.fit_targets(),
        batch,
        epochs,
        verbose=0,
        validation_data=None
        if validation is None
        else (_inputs(validation), validation.fit_targets()),
        callbacks=[*chosen, *reporters],
    )
    return None if stopping.best_epoch is None else stopping.best_epoch + 1


def _inputs(samples: Samples) -> Any:
    return np.stack(samples.x) if samples.kind == "series" else samples.x
