"""What all explanations need to know about a model and its input."""

from typing import Any, TypeAlias, overload

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.layers import TextVectorization
from lstmcore.layers.texts import as_texts
from lstmcore.models import EncoderDecoder, Model, Sequential
from lstmcore.models.graph.examples import GraphExamples
from lstmcore.training.batches import BATCH_SIZE
from lstmcore.training.data import Examples
from lstmcore.training.masks import spread

__all__ = [
    "MOST_ROWS",
    "Explainable",
    "as_rows",
    "check_model",
    "counts_of",
    "no_targets",
    "read",
    "tokens_of",
    "vectorizer_for",
]

Explainable: TypeAlias = Sequential | Model | EncoderDecoder

MOST_ROWS = 8 * BATCH_SIZE  # computed at once


def check_model(model: Any) -> Explainable:
    """Return `model` if it can be explained.

    Raises
    ------
    TypeError
        If it is no `Sequential`, `Model` or `EncoderDecoder`.
    ValueError
        If it is not built, or quantized.
    """
    if not isinstance(model, (Sequential, Model, EncoderDecoder)):
        raise TypeError(
            "model: expected a Sequential, Model or EncoderDecoder, got "
            f"{_checks.describe(model)}; of an estimator of lstmcore.sklearn pass its model_"
        )
    if not model.built:
        raise ValueError("model: expected one that is built, and trained; call fit or build first")
    if model.quantized:
        raise ValueError(
            "model: expected one that is not quantized, since int8 has no gradients; explain the "
            "model that it was made of"
        )
    return model


def no_targets(y: Any, model: Explainable) -> None:
    """Raise ValueError if targets are passed for a model that reads none."""
    if y is not None:
        raise ValueError(
            f"y: expected None for a {type(model).__name__}; only an EncoderDecoder reads targets"
        )


@overload
def read(model: Sequential, x: Any, mask: Any) -> Examples: ...
@overload
def read(model: Model, x: Any, mask: Any) -> GraphExamples: ...
def read(model: Sequential | Model, x: Any, mask: Any) -> Examples:
    """Check inputs as `predict` does."""
    examples = model._inputs(x, mask)
    if not len(examples):
        raise ValueError("x: expected at least one sample, got none")
    return examples


def vectorizer_for(model: Sequential, x: Any) -> TextVectorization | None:
    """Return what turns `x` into ids, if it is texts."""
    vectorizer: TextVectorization | None = model.vectorizer
    return vectorizer if vectorizer is not None and model._takes_texts(x) else None


def counts_of(examples: Examples) -> list[int]:
    """Return the number of valid steps of each row."""
    if examples.lengths is None:
        return [examples.inputs.shape[1]] * len(examples)
    return [int(length) for length in examples.lengths]


def as_rows(padded: Array, counts: list[int], there: Array | None) -> list[Array]:
    """Cut (N, T, ...) to the valid steps of each row; masked steps get zeros, as in `predict`."""
    rows = [row[:count] for row, count in zip(padded, counts, strict=True)]
    return rows if there is None else list(spread(rows, there))


def tokens_of(
    vectorizer: TextVectorization | None, x: Any, counts: list[int], *, markers: bool = True
) -> list[list[str] | None]:
    """Return the tokens of each text, as many as the model reads.

    Parameters
    ----------
    vectorizer : TextVectorization or None
        None: inputs are no texts and have no tokens.
    x : object
        Texts.
    counts : list of int
        Steps of each text.
    markers : bool, default True
        Whether the model reads the vectorizer's markers around each text.
    """
    if vectorizer is None:
        return [None] * len(counts)
    before, after = (
        [mark] if markers and mark is not None else []
        for mark in (vectorizer.start, vectorizer.end)
    )
    found: list[list[str] | None] = []
    for text, count in zip(as_texts(x, "x"), counts, strict=True):
        room = count - len(before) - len(after)
        found.append([*before, *vectorizer.tokens(text)[:room], *after])
    return found
