"""Draw tokens from a model's outputs: temperature, top-k and top-p."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import _checks
from lstmcore._suggest import public
from lstmcore._typing import Array, ArrayLike

__all__ = ["check_options", "sample"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)


def sample(
    logits: ArrayLike,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Array:
    """Draw one token for each row of logits.

    The temperature is applied first, then `top_k`, then `top_p` to the probabilities of the tokens
    that `top_k` has left.

    Parameters
    ----------
    logits : array_like, shape (N, V)
        Logarithms of probabilities, up to a constant for each row. A token of -inf is never drawn.
    rng : numpy.random.Generator
        The source of randomness; exactly one number is drawn for each row.
    temperature : float, default 1.0
        What the logits are divided by, greater than 0: less than 1 favours likely tokens, more
        than 1 unlikely ones. There is no temperature of 0; for the likeliest token pass
        ``top_k=1``.
    top_k : int, optional
        Only the k likeliest tokens are drawn, of equally likely ones those with lower numbers; V or
        more is no limit (Fan, Lewis & Dauphin 2018). None: all.
    top_p : float, optional
        Only the likeliest tokens whose probabilities add up to at least p are drawn, at least one,
        and as few as possible: nucleus sampling (Holtzman et al. 2020). Above 0 and at most 1.
        None: all.

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an option is out of its range, the shape is not (N, V) with V of at least 1, or a row
        has NaN, +inf, or only -inf.
    """
    check_options(temperature, top_k, top_p)
    _checks.instance(
        rng, np.random.Generator, "rng", "a numpy.random.Generator, such as default_rng(0)"
    )
    values = _checked(logits)
    scaled = values - values.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # a low temperature may make all but the likeliest -inf
        probabilities = np.exp(scaled / temperature)
    order = None
    if top_k is not None or top_p is not None:
        order = np.argsort(-values, axis=1, kind="stable")
        probabilities = np.take_along_axis(probabilities, order, 1)
        if top_k is not None:
            probabilities[:, top_k:] = 0.0
        if top_p is not None:
            _keep_nucleus(probabilities, top_p)
    totals = np.cumsum(probabilities, axis=1)
    # The first token whose running total exceeds the number drawn; its own share is not 0.
    drawn = rng.random((len(values), 1)) * totals[:, -1:]
    chosen = np.count_nonzero(totals <= drawn, axis=1)[:, None]
    return (chosen if order is None else np.take_along_axis(order, chosen, 1))[:, 0]


def sample_each(logits: Array, generators: Sequence[np.random.Generator], **options: Any) -> Array:
    """Draw one token for each row of logits, from random numbers of its own.

    Parameters
    ----------
    logits : ndarray, shape (N, V)
    generators : sequence of numpy.random.Generator
        N of them. A row's tokens do not depend on other rows.
    **options
        As in `sample`.

    Returns
    -------
    ndarray of int64, shape (N,)
    """
    drawn = [
        sample(logits[row : row + 1], generator, **options)
        for row, generator in enumerate(generators)
    ]
    return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)


def check_options(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise an error unless `sample` takes these options.

    Raises
    ------
    TypeError, ValueError
        As `sample`.
    """
    number = _checks.real(temperature, "temperature")
    if number <= 0:
        raise ValueError(
            f"temperature: expected a number greater than 0, got {number:g}; "
            "for the likeliest token at every step pass top_k=1"
        )
    if top_k is not None:
        _checks.integer(top_k, "top_k", 1)
    if top_p is not None:
        _checks.real(top_p, "top_p", 0, 1, low_open=True)


def _checked(logits: ArrayLike) -> Array:
    """Return the logits as float64, (N, V)."""
    values = _checks.any_array(logits, "logits")
    if values.dtype.kind not in "fiu":
        raise TypeError(f"logits: expected numbers, got {values.dtype}")
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(
            f"logits: expected shape (N, V), V of at least 1, got shape {values.shape}"
        )
    values = values.astype(np.float64)
    wrong = np.isnan(values).any(axis=1) | ~np.isfinite(values.max(axis=1))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"logits: expected numbers below +inf, at least one of each row finite, got "
            f"{_checks.describe(values[row].tolist())} in row {row}"
        )
    return values


def _keep_nucleus(probabilities: Array, top_p: float) -> None:
    """Set all to 0 but the first of each row that add up to `top_p` of its total."""
    totals = np.cumsum(probabilities, axis=1)
    before = totals - probabilities
    probabilities[before >= top_p * totals[:, -1:]] = 0.0
