"""What the outputs of a model say: classes, amounts, or either at every step."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.layout import METADATA_NAME, Layout
from lstmcore.sequential import Sequential

__all__ = ["Answers", "load_model", "read_layout"]


def load_model(path: str) -> Sequential:
    """Load a model that gives one output for each input.

    Raises
    ------
    OSError, ValueError
        If there is none at `path`.
    """
    from lstmcore import load

    model = load(path)
    if not isinstance(model, Sequential):
        raise ValueError(
            f"MODEL: expected a Sequential, got {path}, which holds an {type(model).__name__}; "
            "use that in Python, by lstmcore.load"
        )
    return model


def read_layout(model: Sequential, path: str) -> Layout | None:
    """Return what columns are to a model that `lstmcore train` made; None for another."""
    text = model.metadata.get(METADATA_NAME)
    if text is None:
        return None
    layout = Layout.from_json(text, path)
    width = len(layout.features) + (layout.kind == "series")
    expected = (None, None) if layout.kind == "text" else (None, None, width)
    if model.input_shape != expected or (layout.kind == "text") != (model.vectorizer is not None):
        raise ValueError(f"{path}: its metadata {METADATA_NAME!r} is not that of this model")
    return layout


@dataclass(frozen=True)
class Answers:
    """How to read outputs.

    Attributes
    ----------
    classes : list of str or None
        Names of the classes; None if outputs are amounts.
    per_step : bool
        Whether there are outputs for each step.
    activation : {"softmax", "sigmoid"} or None
        What is still to be applied.
    mean, scale : float
        Amounts are outputs times `scale`, plus `mean`.
    """

    classes: list[str] | None
    per_step: bool
    activation: str | None = None
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, model: Sequential, layout: Layout | None) -> "Answers":
        """Tell from the model, and from what its columns are."""
        units = model.output_shape[-1] or 1
        per_step = len(model.output_shape) == 3
        kind, activation = _kind(model, units)
        if kind is None:
            if layout is None:
                return cls(None, per_step)
            return cls(None, per_step, None, layout.target_mean, layout.target_scale)
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
        """Return the amounts in the units of the target, (..., U)."""
        return np.asarray(outputs, dtype=np.float64) * self.scale + self.mean

    def texts(self, outputs: Any) -> list[list[str]]:
        """Write the answers of rows (M, U): a class and its probability, or amounts."""
        if self.classes is None:
            return [[f"{value:.6g}" for value in row] for row in self.amounts(outputs)]
        table = self.probabilities(outputs)
        return [
            [self.classes[best], f"{row[best]:.4f}"]
            for row, best in zip(table, table.argmax(axis=1), strict=True)
        ]

    def objects(self, outputs: Any) -> list[dict[str, Any]]:
        """Describe the answers of rows (M, U) as JSON can hold them."""
        if self.classes is None:
            rows = self.amounts(outputs).tolist()
            return [{"value": row[0]} if len(row) == 1 else {"values": row} for row in rows]
        table = self.probabilities(outputs)
        return [
            {
                "class": self.classes[best],
                "probability": float(row[best]),
                "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
            }
            for row, best in zip(table, table.argmax(axis=1), strict=True)
        ]


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
