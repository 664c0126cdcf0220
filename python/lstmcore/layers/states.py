"""States by name; a layer within another has the outer name and a dot before its own."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers.base import Layer

__all__ = ["ModelState", "parts_of", "run_from"]

ModelState: TypeAlias = dict[str, LSTMState]
"""The state of each recurrent layer, by the layer's name."""


def parts_of(name: str, layer: Layer) -> dict[str, Layer]:
    """List the recurrent layers in a layer that is called `name`, by their full names."""
    parts = layer.recurrent_parts() if layer._passes_state else {}
    return {_join(name, key): part for key, part in parts.items()}


def run_from(
    name: str,
    layer: Layer,
    inputs: Array,
    lengths: Array | None,
    training: bool,
    seed: int,
    state: Mapping[str, LSTMState],
    reset: Array | None,
) -> tuple[Array, Array | None, Any, dict[str, LSTMState]]:
    """Run a layer that is called `name` from its own entries of `state`.

    Returns
    -------
    outputs, lengths, context
        As of `Layer.forward`.
    state : dict of str to LSTMState
        Of its `parts_of` after the last valid step of each row.
    """
    if not layer._passes_state:
        return (*layer.forward(inputs, lengths, training, seed), {})
    names = {key: _join(name, key) for key in layer.recurrent_parts()}
    before = {key: state[full] for key, full in names.items() if full in state}
    outputs, lengths, context, after = layer.forward_from(
        inputs, lengths, training, seed, before, reset
    )
    return outputs, lengths, context, {names[key]: pair for key, pair in after.items()}


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if key else name
