"""A look at a loss that is not this package's own, before `fit` trains with it."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.training import loop
from lstmcore.training.data import Examples
from lstmcore.training.losses import Function, Loss, SequenceLoss
from lstmcore.training.trainable import Trainable

__all__ = ["look_at_loss"]

ROWS = 8  # samples, and rows of their outputs, that are checked
PLACES = 6  # outputs of a row that are moved
SHARE = 0.02  # of the steepest derivative: what gradient and differences may be apart

Sum = Callable[[Array, Array, bool], tuple[float, Array | None]]
"""Sums the losses of rows, by their numbers and outputs; with their gradient if asked."""


def look_at_loss(model: Trainable, examples: Examples, tbptt: int | None) -> None:
    """Compare value and gradient of the model's loss on a few rows, in float64.

    Only if the loss is a user's, and does not say `Loss.check_gradient` = False. Rows are spread
    over all samples, since neighbours may have the same target.

    Raises
    ------
    ValueError
        If the loss of a row depends on other rows, or the gradient is not that of the loss.
    """
    for place, head in enumerate(model.compiled.heads):
        loss = copy.copy(head.step_loss)  # one that counts its calls is not to count these
        own = type(loss).__module__.startswith("lstmcore.") and not isinstance(loss, Function)
        if not own and loss.check_gradient:
            _look(model, examples, tbptt, loss, place)


def _look(model: Trainable, examples: Examples, tbptt: int | None, loss: Loss, place: int) -> None:
    """Look at the loss of the output at `place`."""
    chosen = _spread(len(examples), ROWS)
    batch = next(iter(examples.windows(chosen, tbptt)), None)
    if batch is None:
        return
    outputs, lengths, *_ = model._forward_from(
        batch.inputs, batch.lengths, False, 0, model.compiled.takes_logits, {}, batch.reset
    )
    if batch.heads:
        batch, outputs, lengths = batch.heads[place], outputs[place], lengths[place]
    if batch.targets is None:
        return
    if isinstance(loss, SequenceLoss):
        assert batch.target_lengths is not None
        if lengths is None:
            lengths = np.full(len(outputs), outputs.shape[1], np.int64)
        targets, counts, steps = batch.targets, batch.target_lengths, lengths
        rows, weights = outputs, batch.weights

        def total(numbers: Array, values: Array, need: bool) -> tuple[float, Array | None]:
            parts = targets[numbers], counts[numbers], values, steps[numbers]
            return loss.sum_sequences(*parts, None, 1.0, need)
    else:
        rows, targets, weights, _, _ = loop._flatten(outputs, lengths, batch)
        if targets.dtype.kind == "f":
            targets = targets.astype(np.float64)

        def total(numbers: Array, values: Array, need: bool) -> tuple[float, Array | None]:
            return loss.sum(targets[numbers], values, None, 1.0, need)

    # What a row of weight 0, such as padding, holds does not matter.
    there = np.arange(len(rows)) if weights is None else np.flatnonzero(weights)
    numbers = there[_spread(len(there), ROWS)]
    if len(numbers):
        with np.errstate(all="ignore"):  # beyond the outputs that a model can have
            _compare(loss, total, numbers, rows[numbers].astype(np.float64))


def _compare(loss: Loss, total: Sum, numbers: Array, outputs: Array) -> None:
    """Raise ValueError if the losses of rows depend on each other, or the gradient is wrong."""

    def alone(place: int, values: Array, need: bool) -> tuple[float, Array | None]:
        # Twice the same row: a function that squeezes axes away needs two of them.
        value, gradient = total(numbers[[place, place]], np.stack([values, values]), need)
        return value / 2, None if gradient is None else gradient[0]

    name = getattr(loss, "name", type(loss).__name__)
    try:
        together, gradients = total(numbers, outputs, True)
        pairs = [alone(place, row, True) for place, row in enumerate(outputs)]
    except Exception:
        return  # the first step will raise it, unless float64 is the reason
    assert gradients is not None
    single = np.array([value for value, _ in pairs])
    gradient = np.array([found for _, found in pairs], np.float64)
    if not (np.isfinite(single).all() and np.isfinite(gradient).all()):
        return  # which `fit` finds, or may be told to ignore
    precise = bool((single != single.astype(np.float32)).any())  # computed in more than float32
    epsilon = float(np.finfo(np.float64 if precise else np.float32).eps)
    rounding = 1e4 * epsilon
    apart = f"loss: expected {name!r} to return a loss for each row that depends only on that row"
    if abs(together - single.sum()) > rounding * np.abs(single).sum():
        raise ValueError(
            f"{apart}; {len(numbers)} rows have {together:.8g} together and {single.sum():.8g} one "
            "by one. Of y_true (M, K) and y_pred[:, 0], which is (M,), NumPy makes (M, M): write "
            "y_true[:, 0] - y_pred[:, 0]. " + _way_out(loss)
        )
    if not np.allclose(gradients, gradient, rtol=rounding, atol=rounding * _size(gradient)):
        raise ValueError(
            f"{apart}, but its gradient depends on the other rows: it is that of each row's "
            f"own loss, and `fit` divides by their number. {_way_out(loss)}"
        )
    _compare_slopes(loss, name, alone, outputs, gradient, epsilon)


def _compare_slopes(
    loss: Loss,
    name: str,
    alone: Callable[[int, Array, bool], tuple[float, Array | None]],
    outputs: Array,
    gradient: Array,
    epsilon: float,
) -> None:
    """Raise ValueError if finite differences say that a gradient is wrong.

    Where the loss has a kink, or is too steep for a difference, slopes to the left and to the right
    are not the same; such places are not reported.
    """
    found: list[tuple[tuple[int, ...], float, float, float]] = []
    for place, row in enumerate(outputs):
        value = alone(place, row, False)[0]
        # The steepest, where a mistake shows most, and some others.
        steepest = int(np.abs(gradient[place]).argmax())
        for flat in {steepest, *_spread(row.size, PLACES).tolist()}:
            index = np.unravel_index(flat, row.shape)
            width = epsilon ** (1 / 3) * max(1.0, abs(float(row[index])))
            moved = row.copy()
            ends = []
            for sign in (1, -1):
                moved[index] = row[index] + sign * width
                try:
                    ends.append(alone(place, moved, False)[0])
                except Exception:
                    ends.append(np.nan)  # such as beyond a probability of 1
            right, left = (ends[0] - value) / width, (value - ends[1]) / width
            noise = 8 * epsilon * max(map(abs, (value, *ends))) / width
            where = (place, *map(int, index))
            if np.isfinite([right, left]).all():
                found.append((where, (right + left) / 2, abs(right - left), noise))
    steepest_of_all = max((abs(slope) for _, slope, _, _ in found), default=0.0)
    allowed = SHARE * max(_size(gradient), steepest_of_all)
    for where, slope, bend, noise in found:
        got = float(gradient[where])
        if bend <= allowed + noise and abs(got - slope) > allowed + noise:
            raise ValueError(
                f"loss: the gradient of {name!r} is not that of its value: where y_pred is "
                f"{outputs[where]:.6g}, expected {slope:.6g} from finite differences, got "
                f"{got:.6g}; losses.check_gradient compares the two. {_way_out(loss)}"
            )


def _way_out(loss: Loss) -> str:
    if isinstance(loss, Function):
        return "If that is meant, pass losses.Function(..., check_gradient=False)"
    return f"If that is meant, set check_gradient = False in the class {type(loss).__name__}"


def _spread(count: int, most: int) -> Any:
    """Return at most `most` of the numbers below `count`, from the first to the last."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.int64))


def _size(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))
