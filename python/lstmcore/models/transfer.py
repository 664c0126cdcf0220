"""Weights from one model into another, layer by layer."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lstmcore._typing import Array
from lstmcore.models import checkpoint, model_file
from lstmcore.models.weighted import Weighted

__all__ = ["LoadedWeights", "layer_weights", "load_weights", "read_weights"]

LayerWeights: TypeAlias = dict[str, dict[str, Array]]
"""The weights of each layer that has some, by the layer's name, in the order of layers."""


@dataclass(frozen=True)
class LoadedWeights:
    """What `load_weights` did.

    Attributes
    ----------
    loaded : list of str
        Names of the layers, of the model that was filled, whose weights were set.
    skipped : dict of str to str
        Layers that do not fit, with the reason; only with ``skip_mismatch=True``.
    missing : list of str
        Layers of the model that the source does not have; they keep their weights.
    unused : list of str
        Layers of the source that the model does not have.
    """

    loaded: list[str]
    skipped: dict[str, str]
    missing: list[str]
    unused: list[str]

    def __str__(self) -> str:
        lines = [f"loaded   {', '.join(self.loaded) or 'nothing'}"]
        lines += [f"skipped  {name}: {reason}" for name, reason in self.skipped.items()]
        if self.missing:
            lines.append(f"missing  {', '.join(self.missing)}")
        if self.unused:
            lines.append(f"unused   {', '.join(self.unused)}")
        return "\n".join(lines)


def layer_weights(model: Weighted) -> LayerWeights:
    """List the weights of a built model, layer by layer."""
    _ = model.parameters  # which raises an error if the model is not built
    return {str(layer.name): layer.weights for layer in model._network if layer.weights}


def read_weights(path: "str | os.PathLike[str]") -> LayerWeights:
    """Read the weights of a model file.

    The layers of a `Sequential` are not made, so classes of your own need not be known.

    Raises
    ------
    OSError, TypeError, ValueError
        As `lstmcore.load`.
    """
    tensors, document = model_file.read(path)
    entries = document.get("layers")
    if entries is None or "quantization" in document:
        return layer_weights(checkpoint.load(path))
    try:
        names = [entry["name"] for entry in entries]
    except (TypeError, KeyError):
        raise ValueError(f"{path}: metadata: expected a list of layers with names") from None
    found: LayerWeights = {}
    for layer in names:
        own = {
            name.removeprefix(f"{layer}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{layer}.")
        }
        if own:
            found[layer] = own
    return found


def load_weights(
    model: Weighted, source: LayerWeights, by_name: bool, skip_mismatch: bool
) -> LoadedWeights:
    """Copy weights into the layers of a model; see `Model.load_weights`."""
    own = layer_weights(model)
    if by_name:
        pairs = {name: name for name in own if name in source}
        if not pairs:
            raise ValueError(
                f"source: expected a layer with the name of one of this model's, "
                f"{', '.join(own) or 'none'}, got {', '.join(source) or 'none'}; with "
                "by_name=False layers are matched by their order"
            )
    else:
        if len(own) != len(source):
            raise ValueError(
                f"source: expected {len(own)} layers with weights, {', '.join(own) or 'none'}, got "
                f"{len(source)}, {', '.join(source) or 'none'}; with by_name=True only layers of "
                "the same name are loaded"
            )
        pairs = dict(zip(own, source, strict=True))
    skipped: dict[str, str] = {}
    values: dict[str, Array] = {}
    for name, other in pairs.items():
        problem = _mismatch(own[name], source[other])
        if problem is None:
            for key, value in source[other].items():
                full = f"{name}.{key}"
                values[full] = _converted(full, value, model.dtype)
        elif skip_mismatch:
            skipped[name] = problem
        else:
            whose = name if name == other else f"{name} (from {other})"
            raise ValueError(
                f"layer {whose}: {problem}; with skip_mismatch=True such a layer is left alone"
            )
    model.parameters.assign(values)
    return LoadedWeights(
        loaded=[name for name in pairs if name not in skipped],
        skipped=skipped,
        missing=[name for name in own if name not in pairs],
        unused=[name for name in source if name not in pairs.values()],
    )


def _mismatch(own: Mapping[str, Array], other: Mapping[str, Array]) -> str | None:
    """Say why a layer's weights do not fit, or None if they do."""
    if set(own) != set(other):
        return f"expected {', '.join(sorted(own))}, got {', '.join(sorted(other))}"
    wrong = [
        f"expected {name} of shape {values.shape}, got {other[name].shape}"
        for name, values in own.items()
        if values.shape != other[name].shape
    ]
    return ", ".join(wrong) or None


def _converted(name: str, values: Array, dtype: "np.dtype[Any]") -> Array:
    """Convert weights to the model's dtype."""
    with np.errstate(over="ignore"):
        converted: Array = values.astype(dtype)
    if not np.array_equal(np.isfinite(converted), np.isfinite(values)):
        raise ValueError(
            f"{name}: expected weights that {dtype} can hold, got a magnitude of "
            f"{np.abs(values[np.isfinite(values)]).max():.3g}"
        )
    return converted
