"""Check states that pass from one call of a model to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore.functional import LSTMState
from lstmcore.layers import Layer, Residual, TimeDistributed
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.states import ModelState

__all__ = ["check_forwards", "check_names", "check_pairs", "check_reset", "hidden_parts"]


def check_forwards(recurrent: Mapping[str, Recurrent], name: str) -> None:
    """Raise ValueError, naming the argument `name`, unless all layers walk forwards only.

    A stateful `Bidirectional` may pass on the state of both directions from batch to batch, as it
    was asked to, but not from window to window of one sequence, which `tbptt` would mean.
    """
    for key, layer in recurrent.items():
        asked = layer.bidirectional and layer.stateful and name != "tbptt"
        if (layer.bidirectional or layer.go_backwards) and not asked:
            raise ValueError(
                f"{name}: layer {key!r} walks from the end of the sequence, so it needs "
                "all of it at once; expected layers that walk forwards only"
            )


def check_reset(network: Sequence[Layer], recurrent: Mapping[str, Recurrent], name: str) -> None:
    """Raise ValueError, naming the argument `name`, unless sequences can be reset."""
    for layer in network:
        for part in hidden_parts(layer):
            kind = type(part).__name__
            what = f"is a {kind}" if part is layer else f"holds one of class {kind}"
            raise ValueError(
                f"{name}: layer {layer.name!r} {what}, but has its own forward, which "
                "neither takes nor returns a state"
            )
    if not recurrent:
        raise ValueError(f"{name}: the model has no recurrent layer")
    for layer in network:
        if layer.mixes_steps:
            raise ValueError(
                f"{name}: layer {layer.name!r} needs several time steps for one output, which "
                "must be in one call; expected layers that work step by step"
            )


def check_names(state: Any, recurrent: Mapping[str, Recurrent], name: str) -> None:
    """Raise an error unless `state` is a mapping with an entry for each recurrent layer."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{name}: expected a mapping from names of layers to pairs (h, c), got "
            f"{_checks.describe(state)}"
        )
    if set(state) != set(recurrent):
        raise ValueError(
            f"{name}: expected entries for {', '.join(recurrent)}, "
            f"got {', '.join(map(str, state)) or 'none'}"
        )


def check_pairs(
    state: Mapping[str, Any],
    recurrent: Mapping[str, Recurrent],
    dtype: "np.dtype[Any]",
    rows: int | None,
    name: str,
    intake: Intake,
) -> ModelState:
    """Return `state` with its pairs checked and converted.

    Parameters
    ----------
    state : mapping of str to pair of ndarray
        As returned by `Sequential.initial_state`; `check_names` has checked it.
    recurrent : mapping of str to Recurrent
        The layers whose states it must hold, by name.
    dtype : dtype
        The model's.
    rows : int or None
        N; None: that of the first pair.
    name : str
        Name of the argument in errors.
    intake : Intake

    Raises
    ------
    TypeError, ValueError
        If a pair is not a state of its layer.
    """
    checked: ModelState = {}
    for key, layer in recurrent.items():
        pair = state[key]
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"{name}[{key!r}]: expected a pair (h, c), got {type(pair).__name__}")
        h, c = (
            intake.floats(part, f"{name}[{key!r}].{letter}", dtype)
            for part, letter in zip(pair, "hc", strict=True)
        )
        if rows is None:
            rows = h.shape[1] if h.ndim == 3 else 0
        for part, array, shape in zip("hc", (h, c), layer._state_shapes(rows), strict=True):
            if array.shape != shape:
                raise ValueError(
                    f"{name}[{key!r}].{part}: expected shape {shape}, got {array.shape}"
                )
        checked[key] = LSTMState(h, c)
    return checked


def hidden_parts(layer: Layer) -> list[Recurrent]:
    """List the recurrent layers whose state a layer hides, since its `forward` passes none on.

    A `TimeDistributed` hides none: its sequences begin and end within one step.
    """
    if isinstance(layer, TimeDistributed):
        return []
    if not layer._passes_state:
        return [part for part in layer._layers_within() if isinstance(part, Recurrent)]
    members = layer.layers if isinstance(layer, Residual) else []
    return [part for member in members for part in hidden_parts(member)]
