"""Metrics that are functions of all targets and predictions of an epoch, such as scikit-learn's."""

import inspect
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, Response, choices
from lstmcore.training.losses import Loss
from lstmcore.training.losses.function import function_name
from lstmcore.training.metrics.base import Metric, counted_rows
from lstmcore.training.metrics.classes import (
    decide,
    is_multilabel,
    no_decisions,
    optional_flag,
)

__all__ = ["Function"]


class Function(Metric):
    """Any function of targets and predictions, called once, with all of an epoch.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns a number. If it has an argument `sample_weight`, it is
        called with the weights of the rows where there are any, as among `weighted_metrics`. An
        object with a method ``reset_state()``, such as a metric of Keras, is reset before each
        call, so that it forgets the previous epoch.
    name : str, optional
        Its key in logs, and its name in model files: `lstmcore.load` then needs
        ``custom_objects={name: function}``. None: the function's own, or
        the object's ``name``.
    response : {"auto", "classes", "scores", "values", "outputs"}
        What the function is called with; M is the number of rows, without masked ones.

        - "classes": class numbers (M,) for both, the predicted ones where the output is greatest,
          or for a single output above `threshold`; 0 and 1 (M, U) for several labels.
        - "scores": class numbers (M,) and scores: (M,) of class 1 of two, else (M, U).
        - "values": both (M,) for one target, else (M, K): what the outputs predict.
        - "outputs": targets and outputs as they are, (M, K) or class numbers (M,), and (M, U).
        - "auto": for a function of scikit-learn what its scorers pass: "values" to those for
          regression, "scores" to those whose second argument is a score, "classes" to the others.
          For any other function "outputs", as in Keras.
    threshold : float, default 0.5
        See "classes".
    greater_is_better : bool, optional
        For callbacks with mode "auto". None: yes if the function's name ends with ``_score``, no if
        it ends with ``_error`` or ``_loss``, else not known.
    """

    labels = None
    running = False

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        *,
        response: Response = "auto",
        threshold: float = 0.5,
        greater_is_better: bool | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"function: expected one of (y_true, y_pred), got {_checks.describe(function)}"
            )
        if all(callable(getattr(function, name, None)) for name in ("update", "compute", "reset")):
            raise TypeError(
                "function: expected one of (y_true, y_pred) on arrays, got "
                f"{_checks.describe(function)}, which, like those of torchmetrics, gathers batches "
                "and takes predictions first; pass a function that resets it, calls it with "
                "tensors and returns a float"
            )
        self.function = function
        self.response = _checks.choice(response, "response", choices(Response))
        self.threshold = _checks.real(threshold, "threshold")
        if optional_flag(greater_is_better, "greater_is_better") is None:
            greater_is_better = _direction(function)
        self.greater_is_better = greater_is_better
        self._response = _response_of(function) if response == "auto" else response
        self.takes_outputs = self._response == "outputs"
        self.takes_weights = "sample_weight" in _parameters(function)
        self._multilabel: bool | None = None
        super().__init__(function_name(function, name, "metrics.Function"))

    def get_config(self) -> dict[str, Any]:
        """Return what a model file says about it: all but the function, which `load` is given."""
        return {
            "name": self.name,
            "response": self.response,
            "threshold": self.threshold,
            "greater_is_better": self.greater_is_better,
        }

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`."""
        super().bind(loss, step_loss)
        self._multilabel = is_multilabel(None, loss)

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`: ask a function of scikit-learn about made-up rows.

        Those have no side effects, and their errors would come only after a whole epoch. Any other
        function is called only with the model's own outputs.
        """
        if not _of_sklearn(self.function) or self._response == "outputs":
            return
        classes = np.tile(np.arange(max(units, 2)), 4)
        outputs = np.eye(units)[classes] if units > 1 else classes[:, None].astype(np.float64)
        if self._response == "values":
            outputs = outputs + 1.0  # some deviances need positive numbers
        given = classes if targets is None else outputs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._ask(given, outputs, {})

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        if not self._beside_numbers or self._response not in ("classes", "scores"):
            return None
        return no_decisions(targets, self._multilabel)

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._parts: list[tuple[Array, Array, Array | None]] = []
        self._value: float | None = None

    def match(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.match`; targets may be narrower than outputs that are left as they are."""
        if targets.ndim > 1 and len(targets) == len(outputs) and self.takes_outputs:
            return targets
        return super().match(targets, outputs)

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        targets, outputs, weights = counted_rows(targets, outputs, weights)
        if weights is not None and not self.takes_weights:
            raise ValueError(
                f"sample_weight: expected None for {self.name!r}, whose function has no argument "
                "sample_weight"
            )
        kept = None if weights is None else np.array(weights)
        self._parts.append((np.array(targets), np.array(outputs), kept))
        self._value = None

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        return self._parts

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        self._parts.extend(gathered)
        self._value = None

    def result(self) -> float:
        """See `Metric.result`; NaN if there are no rows."""
        if self._value is None:
            self._value = self._call()
        return self._value

    def _call(self) -> float:
        if not sum(len(outputs) for _, outputs, _ in self._parts):
            return math.nan
        targets = np.concatenate([part[0] for part in self._parts])
        outputs = np.concatenate([part[1] for part in self._parts])
        options = {}
        if any(part[2] is not None for part in self._parts):
            weights = [
                np.ones(len(rows)) if given is None else given for _, rows, given in self._parts
            ]
            options["sample_weight"] = np.concatenate(weights)
        return self._ask(targets, outputs, options)

    def _ask(self, targets: Array, outputs: Array, options: dict[str, Any]) -> float:
        """Return the function's result; its errors get the metric's name."""
        arguments = self._arguments(targets, outputs)
        forget = getattr(self.function, "reset_state", None)
        try:
            if callable(forget):
                forget()
            value = self.function(*arguments, **options)
        except Exception as error:
            kind = next((k for k in (TypeError, ValueError) if isinstance(error, k)), RuntimeError)
            what = str(error) if kind is not RuntimeError else f"{type(error).__name__}: {error}"
            raise kind(f"metrics: {self.name!r}: {what}") from error
        if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "fiub":
            raise TypeError(
                f"metrics: the function of {self.name!r} must return a number, got "
                f"{_checks.describe(value)}"
            )
        return float(value)

    def _arguments(self, targets: Array, outputs: Array) -> tuple[Array, Array]:
        """Return what the function is called with."""
        units = outputs.shape[1]
        if self._response == "outputs":
            return targets, outputs
        if self._response == "values":
            return (targets[:, 0], outputs[:, 0]) if units == 1 else (targets, outputs)
        wanted, chosen = decide(targets, outputs, self.threshold, self._multilabel)
        if self._response == "classes":
            return wanted.astype(np.int64), chosen.astype(np.int64)
        if wanted.ndim == 1 and units <= 2:
            return wanted, outputs[:, -1]  # of class 1
        return wanted.astype(np.int64), outputs


def _innermost(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some builtins have none
        return []


def _of_sklearn(function: Any) -> bool:
    return str(getattr(_innermost(function), "__module__", "")).startswith("sklearn.")


def _response_of(function: Any) -> str:
    """Choose what scikit-learn's scorers would pass; see `Function`."""
    function = _innermost(function)
    module = str(getattr(function, "__module__", ""))
    if not _of_sklearn(function):
        return "outputs"
    if module.endswith("._regression"):
        return "values"
    # Two functions name probabilities y_pred.
    if getattr(function, "__name__", "") in ("log_loss", "d2_log_loss_score"):
        return "scores"
    second = _parameters(function)[1:2]
    return "scores" if second and second[0] in _SCORES else "classes"


_SCORES = ("y_score", "y_proba", "y_prob", "pred_decision")


def _direction(function: Any) -> bool | None:
    """Return whether greater is better by scikit-learn's rule of names."""
    name = str(getattr(_innermost(function), "__name__", ""))
    if name.endswith("_score"):
        return True
    return False if name.endswith(("_error", "_loss")) else None
