"""The loop of a Keras layer over the steps, on the engine where that computes the same."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import keras
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from lstmcore.convert._keras_options import CELL_ACTIVATIONS
from lstmcore.keras.arrays import Walk
from lstmcore.keras.calls import add

BRIDGES = {"torch": "on_torch", "tensorflow": "on_tensorflow", "jax": "on_jax"}
"""Keras' backends that can call the engine, and their modules."""

ACTIVATIONS = {
    id(getattr(keras.activations, name)): activation
    for name, activation in CELL_ACTIVATIONS.items()
    if hasattr(keras.activations, name)
}
"""The engine's activations by the identities of Keras' functions, which are never freed."""

FLOATS = ("float32", "float64")


def _load_bridge() -> ModuleType | None:
    name = BRIDGES.get(keras.backend.backend())
    return None if name is None else import_module(f"lstmcore.keras.{name}")


_bridge = _load_bridge()  # Keras cannot change its backend either once it is imported


def inner_loop(
    own: Callable[..., Any],
    layer: Any,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: Any,
    active: Callable[[], bool] = lambda: True,
) -> Any:
    """Return what `own`, Keras' method `inner_loop` of the layer, would return.

    The engine computes it if it can and `active()` is true when the call is made.
    """
    result = _attempt(layer, sequences, initial_state, mask, training, active)
    if result is None:
        return own(layer, sequences, initial_state, mask=mask, training=training)
    return result


def _try_engine(
    layer: Any,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: Any,
    active: Callable[[], bool],
) -> Any:
    """Return the last output, all outputs and the states; None: Keras must compute them."""
    if not active() or in_symbolic_scope():  # the latter to infer shapes, which is no call
        return None
    if isinstance(mask, (list, tuple)):
        mask = mask[0]
    reason = _reason_of_layer(layer, mask, training)
    if _bridge is None:
        reason = f"the backend {keras.backend.backend()}"
    elif reason is None:
        tensors = [_bridge.as_tensor(value) for value in _values(layer, sequences, initial_state)]
        if mask is not None:
            mask = ops.cast(ops.convert_to_tensor(mask), "bool")
        given = tensors if mask is None else [*tensors, mask]
        reason = _bridge.reason_against(*given) or _reason_of_shapes(layer, mask, *tensors)
        if reason is None:
            return _run(_bridge, layer, mask, training, tensors)
    add(layer.name, reason)
    return None


_attempt = _try_engine if _bridge is None else _bridge.entry(_try_engine)


def _reason_of_layer(layer: Any, mask: Any, training: Any) -> str | None:
    """Return why the engine does not compute what a layer with these options does, or None."""
    cell = layer.cell
    if type(cell) is not keras.layers.LSTMCell:
        return f"a cell of class {type(cell).__name__}"
    if getattr(layer, "use_cudnn", False) is True:
        return "use_cudnn=True"
    for name in ("activation", "recurrent_activation"):
        function = getattr(cell, name)
        if id(function) not in ACTIVATIONS:
            return f"{name}={getattr(function, '__name__', type(function).__name__)}"
    if training and cell.recurrent_dropout:
        return "recurrent_dropout in training"  # Keras' masks differ between the gates
    if training and cell.dropout and (cell.implementation == 1 or cell.dropout >= 1.0):
        return "dropout in training with implementation=1 or a rate of 1"
    if layer.unroll and mask is not None and layer.zero_output_for_mask:
        return "unroll with a mask and zero_output_for_mask"  # the backends of Keras differ
    if keras.distribution.distribution() is not None:
        return "keras.distribution"
    return None


def _values(layer: Any, sequences: Any, initial_state: Any) -> list[Any]:
    """Return x, h, c and the variables of a layer."""
    cell = layer.cell
    # PyTorch assigns to the variables of a stateful layer in place, before the backward needs them.
    h, c = (ops.copy(part) for part in initial_state) if layer.stateful else initial_state
    variables = [cell.kernel, cell.recurrent_kernel]
    if cell.use_bias:
        variables.append(cell.bias)
    return [sequences, h, c, *variables]


def _reason_of_shapes(layer: Any, mask: Any, x: Any, *others: Any) -> str | None:
    """Return why types or shapes are not those of the engine, or None."""
    types = {keras.backend.standardize_dtype(tensor.dtype) for tensor in (x, *others)}
    if len(types) != 1 or not types.issubset(FLOATS):
        return f"the type {' and '.join(sorted(types))}"
    h, c, kernel, _, *_ = others
    state = (x.shape[0], layer.cell.units)
    expected: list[tuple[Any, tuple[Any, ...]]] = [(h, state), (c, state)]
    if len(x.shape) != 3 or not _fits(x.shape[2], kernel.shape[0]):
        return f"the shape {tuple(x.shape)}"
    if mask is not None:
        expected.append((mask, tuple(x.shape[:2])))
    for tensor, shape in expected:
        sizes = tuple(tensor.shape)
        if len(sizes) != len(shape) or not all(map(_fits, sizes, shape)):
            return f"the shape {sizes}"
    return "an empty input" if 0 in tuple(x.shape) else None


def _fits(size: int | None, expected: int | None) -> bool:
    """Return whether two sizes are equal as far as they are known, and none is stretched."""
    if size is None or expected is None:
        return 1 not in (size, expected)
    return size == expected


def _run(bridge: ModuleType, layer: Any, mask: Any, training: Any, tensors: list[Any]) -> Any:
    """Return the last output, all outputs and the states, computed by the engine."""
    cell = layer.cell
    x, h, c, *weights = tensors
    if training and cell.dropout:
        x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0, :]), 1)
    walk = Walk(
        layer.name,
        ACTIVATIONS[id(cell.recurrent_activation)],
        ACTIVATIONS[id(cell.activation)],
        cell.recurrent_activation,
        cell.activation,
        layer.go_backwards,
        layer.return_sequences,
    )
    *y, after_h, after_c = bridge.lstm(walk, mask, x, h, c, *weights)
    before = h if bridge.REPEATS_STATE and not layer.unroll else ops.zeros_like(h)
    if y:
        outputs = _outputs(bridge, layer, mask, y[0], before)
        return outputs[:, -1], outputs, [after_h, after_c]
    last = after_h
    if mask is not None and layer.zero_output_for_mask:
        valid = mask[:, 0 if layer.go_backwards else -1]
        last = ops.where(valid[:, None], last, ops.zeros_like(last))
    elif mask is not None:
        last = ops.where(ops.any(mask, axis=1, keepdims=True), last, before)
    return last, ops.expand_dims(last, 1), [after_h, after_c]


def _outputs(bridge: ModuleType, layer: Any, mask: Any, y: Any, before: Any) -> Any:
    """Return y in the order of the steps that the layer walks, filled at steps left out."""
    if layer.go_backwards:
        y = ops.flip(y, axis=1)
    if mask is None or layer.zero_output_for_mask:
        return y
    return bridge.hold(y, ops.flip(mask, axis=1) if layer.go_backwards else mask, before)
