"""What all explanations need to know about a model and its input."""

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.layers import TextVectorization
from lstmcore.models import Sequential
from lstmcore.training.batches import BATCH_SIZE
from lstmcore.training.data import Examples
from lstmcore.training.masks import spread

__all__ = ["as_rows", "check_model", "counts_of", "read", "tokens_of"]

MOST_ROWS = 8 * BATCH_SIZE  # computed at once


def check_model(model: Any) -> Sequential:
    """Return `model` if it can be explained.

    Raises
    ------
    TypeError
        If it is no `Sequential`.
    ValueError
        If it is not built, or quantized.
    """
    if not isinstance(model, Sequential):
        raise TypeError(
            f"model: expected a Sequential, got {_checks.describe(model)}; of an estimator of "
            "lstmcore.sklearn pass its model_"
        )
    if not model.built:
        raise ValueError("model: expected one that is built, and trained; call fit or build first")
    if model.quantized:
        raise ValueError(
            "model: expected one that is not quantized, since int8 has no gradients; explain the "
            "model that it was made of"
        )
    return model


def read(model: Sequential, x: Any, mask: Any) -> Examples:
    """Check inputs as `predict` does."""
    examples = model._inputs(x, mask)
    if not len(examples):
        raise ValueError("x: expected at least one sample, got none")
    return examples


def counts_of(examples: Examples) -> list[int]:
    """Return the number of valid steps of each row."""
    if examples.lengths is None:
        return [examples.inputs.shape[1]] * len(examples)
    return [int(length) for length in examples.lengths]


def as_rows(padded: Array, examples: Examples) -> list[Array]:
    """Cut (N, T, ...) to the valid steps of each row; masked steps get zeros, as in `predict`."""
    rows = [row[:count] for row, count in zip(padded, counts_of(examples), strict=True)]
    if examples.there is None:
        return rows
    return list(spread(rows, examples.there))


def tokens_of(model: Sequential, x: Any, counts: list[int]) -> list[list[str] | None]:
    """Return the tokens of each text, as many as the model reads; None for other inputs."""
    vectorizer: TextVectorization | None = model.vectorizer
    if vectorizer is None:
        return [None] * len(counts)
    texts = np.asarray(x, dtype=object).reshape(-1)
    split = (vectorizer.tokens(str(text)) for text in texts)
    return [tokens[:count] for tokens, count in zip(split, counts, strict=True)]
