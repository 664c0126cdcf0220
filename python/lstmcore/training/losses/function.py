"""Losses made of the user's own functions, and a test of gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike
from lstmcore.training.losses.base import Loss, by_row, weighted_sum

__all__ = ["Function", "check_gradient", "function_name"]

HOW = (
    "losses.Function(function, gradient=..., name=...), where function(y_true, y_pred) returns a "
    "loss for each row and gradient(y_true, y_pred) its derivatives, of y_pred's shape; "
    "losses.check_gradient tests them against each other"
)


class Function(Loss):
    """Any function of targets and outputs, with another one that is its gradient.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns the losses (M,) of M rows: samples, or their valid time
        steps. y_pred has the shape (M, U); y_true has it, too, or is (M,) with `labels`.
    gradient : callable
        ``gradient(y_true, y_pred)`` returns (M, U): the derivative of each row's loss with respect
        to each of its outputs. `check_gradient` compares the two functions.
    name : str, optional
        By which a model file names it: `lstmcore.load` then needs
        ``custom_objects={name: this object}``. None: the function's own.
    labels : bool, default False
        Whether targets are class numbers, one for each row of outputs.
    check_gradient : bool, default True
        Whether `fit`, before it trains, compares value and gradient on a few rows, and checks that
        the loss of a row depends only on that row. False: for a gradient that differs on purpose.

    Notes
    -----
    Weights of samples and masks need no care: a row of weight 0 counts neither in the value nor in
    the gradient, whatever the functions return for it. Both get the model's dtype. The outputs are
    those of the last layer, with its activation.
    """

    def __init__(
        self,
        function: Callable[[Array, Array], Any],
        gradient: Callable[[Array, Array], Any] | None = None,
        name: str | None = None,
        labels: bool = False,
        check_gradient: bool = True,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"function: expected one of (y_true, y_pred), got {_checks.describe(function)}"
            )
        if not callable(gradient):
            raise TypeError(f"gradient: expected a function, got {gradient!r}; write {HOW}")
        self.function, self.gradient = function, gradient
        self.name = function_name(function, name, "losses.Function")
        self.labels = _checks.flag(labels, "labels")
        self.check_gradient = _checks.flag(check_gradient, "check_gradient")

    def get_config(self) -> dict[str, Any]:
        """Return what a model file says about it: the name under which `load` is given it."""
        return {"name": self.name, "labels": self.labels}

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        losses = self._ask(self.function, "function", targets, outputs, outputs.shape[:1])
        value = weighted_sum(losses, weights)
        if not need_gradient:
            return value, None
        gradient = self._ask(self.gradient, "gradient", targets, outputs, outputs.shape)
        return value, by_row(np.asarray(gradient * scale, outputs.dtype), weights)

    def _ask(
        self,
        function: Callable[[Array, Array], Any],
        what: str,
        targets: Array,
        outputs: Array,
        shape: tuple[int, ...],
    ) -> Array:
        values = np.asarray(function(targets, outputs))
        if values.shape != shape or values.dtype.kind not in "fiub":
            letters = "a loss for each row, (M,)" if what == "function" else "derivatives (M, U)"
            hint = ""
            if what == "function" and values.shape == outputs.shape:
                hint = "; take the mean or sum over the last axis"
            raise ValueError(
                f"loss: the {what} of {self.name!r} must return {letters} = {shape}, got "
                f"{values.dtype} of shape {values.shape}{hint}"
            )
        return values


def function_name(function: Any, name: str | None, made: str) -> str:
    """Return `name`, or what `function` is called: its ``__name__``, ``name`` or class.

    `made` is the class that wraps it.

    Raises
    ------
    ValueError
        If it is a lambda, which has no name.
    """
    if name is not None:
        return _checks.label(name)
    while isinstance(function, partial):
        function = function.func
    found = getattr(function, "__name__", None) or getattr(function, "name", None)
    if not isinstance(found, str):
        found = type(function).__name__
    if found == "<lambda>":
        raise ValueError(
            "name: expected a name for a lambda, by which logs and files call it; "
            f"write lstmcore.{made}(..., name='...')"
        )
    return _checks.label(found)


def check_gradient(
    loss: Loss, y_true: ArrayLike, y_pred: ArrayLike, *, tolerance: float = 1e-5, step: float = 1e-5
) -> float:
    """Compare a loss's gradient with finite differences of its value.

    Central differences in float64, two values of the loss for each output: a few rows are enough.
    Where the loss has a kink within `step` of an output, the two differ and nothing is wrong.

    Parameters
    ----------
    loss : Loss
    y_true : array_like
        Targets, as in a call of the loss.
    y_pred : array_like, shape (..., U)
        Outputs at which to compare; converted to float64.
    tolerance : float, default 1e-5
        Largest difference allowed, as a share of the derivative or, if that is below 1, of 1.
    step : float, default 1e-5
        How far each output is moved up and down, times its size if that is above 1.

    Returns
    -------
    float
        The largest difference, in the units of `tolerance`.

    Raises
    ------
    ValueError
        If it is greater than `tolerance`, with the place and both values.
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"loss: expected a Loss, got {_checks.describe(loss)}; write {HOW}")
    tolerance = _checks.real(tolerance, "tolerance", 0.0)
    step = _checks.real(step, "step", 0.0, low_open=True)
    outputs = np.array(y_pred, np.float64)
    rows = max(1, outputs.size // outputs.shape[-1]) if outputs.ndim else 1
    # Of the mean over all rows, which makes derivatives small: they are compared as those of rows.
    gradient = rows * loss.value_and_gradient(y_true, outputs)[1]
    differences = np.empty_like(outputs)
    for place in np.ndindex(*outputs.shape):
        width = step * max(1.0, abs(float(outputs[place])))
        ends = []
        for moved in (outputs[place] + width, outputs[place] - width):
            shifted = outputs.copy()
            shifted[place] = moved
            ends.append((moved, loss(y_true, shifted)))
        (above, high), (below, low) = ends
        differences[place] = rows * (high - low) / (above - below)
    errors = np.abs(gradient - differences) / np.maximum(1.0, np.abs(differences))
    if errors.size == 0:
        return 0.0
    errors = np.where(np.isnan(errors), np.inf, errors)
    worst = np.unravel_index(int(errors.argmax()), errors.shape)
    if errors[worst] > tolerance:
        where = ", ".join(str(int(index)) for index in worst)
        raise ValueError(
            f"gradient: expected {differences[worst]:.8g} with respect to y_pred[{where}], as "
            f"finite differences of the loss say, got {gradient[worst]:.8g}"
        )
    return float(errors[worst])
