"""Interpret the outputs of a model: classes or amounts, for a sequence or for every step."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.layout import METADATA_NAME, Layout
from lstmcore.models import Sequential
from lstmcore.training.losses import Loss

__all__ = ["Answers", "entries", "load_model", "read_layout"]


def load_model(path: str) -> Sequential:
    """Load a model that computes one output for each input.

    Raises
    ------
    OSError, ValueError
        If `path` does not hold such a model.
    """
    from lstmcore import load

    model = load(path)
    if not isinstance(model, Sequential):
        raise ValueError(
            f"MODEL: expected a Sequential, got {path}, which holds an {type(model).__name__}; "
            "use that in Python, with lstmcore.load"
        )
    return model


def read_layout(model: Sequential, path: str) -> Layout | None:
    """Return the layout that `lstmcore train` stored in a model; None for other models."""
    text = model.metadata.get(METADATA_NAME)
    if text is None:
        return None
    layout = Layout.from_json(text, path)
    width = len(layout.features) + (layout.kind == "series")
    expected = (None, None) if layout.kind == "text" else (None, None, width)
    if model.input_shape != expected or (layout.kind == "text") != (model.vectorizer is not None):
        raise ValueError(f"{path}: its metadata {METADATA_NAME!r} does not fit this model")
    return layout


@dataclass(frozen=True)
class Answers:
    """How to interpret outputs.

    Attributes
    ----------
    classes : list of str or None
        Names of the classes; None if outputs are amounts.
    per_step : bool
        Whether each step has outputs.
    activation : {"softmax", "sigmoid"} or None
        Activation still to be applied to the outputs.
    mean, scale : float
        Amounts are the predictions times `scale` plus `mean`.
    loss : Loss
        Defines what the outputs predict; without a compiled loss, they are the predictions.
    """

    classes: list[str] | None
    per_step: bool
    activation: str | None = None
    mean: float = 0.0
    scale: float = 1.0
    loss: Loss = field(default_factory=Loss)

    @classmethod
    def of(cls, model: Sequential, layout: Layout | None) -> "Answers":
        """Determine it from the model and its layout."""
        units = model.output_shape[-1] or 1
        per_step = len(model.output_shape) == 3
        kind, activation = _kind(model, units)
        if kind is None:
            loss = model.compiled.loss if model.is_compiled else Loss()
            mean, scale = (
                (0.0, 1.0) if layout is None else (layout.target_mean, layout.target_scale)
            )
            return cls(None, per_step, None, mean, scale, loss)
        names = model.class_names or [str(number) for number in range(max(units, 2))]
        return cls(names, per_step, activation)

    def probabilities(self, outputs: Any) -> Array:
        """Return the probability of each class, (..., K)."""
        assert self.classes is not None
        values = np.asarray(outputs, dtype=np.float64)
        if self.activation == "softmax":
            values = np.exp(values - values.max(axis=-1, keepdims=True))
            values /= values.sum(axis=-1, keepdims=True)
        elif self.activation == "sigmoid":
            values = 0.5 * (1.0 + np.tanh(0.5 * values))
        if values.shape[-1] == 1:
            values = np.concatenate([1.0 - values, values], axis=-1)
        return values

    def amounts(self, outputs: Any) -> Array:
        """Return the predicted amounts, in the units of the target: (..., K)."""
        predicted = self.loss.predictions(np.asarray(outputs, dtype=np.float64))
        return np.asarray(predicted * self.scale + self.mean)

    def estimates(self, outputs: Any) -> dict[str, Array]:
        """Return all estimates of amounts, such as quantiles, by name: each (..., K)."""
        values = np.asarray(outputs, dtype=np.float64)
        return self.loss.estimates(values, self.mean, self.scale)

    def columns(self, units: int, target: str, *, one_each: bool = False) -> list[str]:
        """Return the names of the columns that `texts` writes for rows of `units` outputs.

        Parameters
        ----------
        units : int
        target : str
            Name of the target; "" if it has none.
        one_each : bool, default False
            Whether several amounts are written one below the other, like the steps of a forecast.
        """
        if self.classes is not None:
            return [target or "class", "probability"]
        names = []
        for name, values in self.estimates(np.zeros((1, units))).items():
            known = [part for part in (target, name) if part and part != "value"]
            own = "_".join(known) or name
            several = values.shape[-1] > 1 and not one_each
            count = values.shape[-1] if several else 1
            names += [f"{own}_{number}" if several else own for number in range(1, count + 1)]
        return names

    def texts(self, outputs: Any) -> list[list[str]]:
        """Return the answers for rows (M, U) as text: a class and its probability, or amounts."""
        if self.classes is None:
            rows = np.concatenate(list(self.estimates(outputs).values()), axis=-1)
            return [[f"{value:.6g}" for value in row] for row in rows]
        table = self.probabilities(outputs)
        return [
            [self.classes[best], f"{row[best]:.4f}"]
            for row, best in zip(table, table.argmax(axis=1), strict=True)
        ]

    def objects(self, outputs: Any) -> list[dict[str, Any]]:
        """Return the answers for rows (M, U) in a form for JSON."""
        if self.classes is None:
            found = self.estimates(outputs)
            return [
                entries({name: values[row] for name, values in found.items()})
                for row in range(len(outputs))
            ]
        table = self.probabilities(outputs)
        return [
            {
                "class": self.classes[best],
                "probability": float(row[best]),
                "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
            }
            for row, best in zip(table, table.argmax(axis=1), strict=True)
        ]


def entries(estimates: dict[str, Array], *, steps: bool = False) -> dict[str, Any]:
    """Return the estimates of one row (K,) in a form for JSON.

    Each is a list, or a number if K is 1 and they are not the `steps` of a forecast.
    """
    if not steps and all(len(values) == 1 for values in estimates.values()):
        return {name: values.item() for name, values in estimates.items()}
    plural = {"value": "values"}
    return {plural.get(name, name): values.tolist() for name, values in estimates.items()}


def _kind(model: Sequential, units: int) -> tuple[str | None, str | None]:
    """Return "classes" or None, and the activation that the model leaves to its loss."""
    last = model._last_activation
    if (last == "softmax" and units > 1) or (last == "sigmoid" and units == 1):
        return "classes", None
    loss = model.compiled.loss if model.is_compiled else None
    if loss is not None and loss.from_logits and last == "linear":
        if loss.activation == "softmax" and units > 1:
            return "classes", "softmax"
        if loss.activation == "sigmoid" and units == 1:
            return "classes", "sigmoid"
    if model.class_names is not None and last == "linear":
        return "classes", "softmax" if units > 1 else "sigmoid"
    return None, None
