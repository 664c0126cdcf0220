"""The backward: gradients of what a tape has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lstmcore import _core
from lstmcore._arrays import refuse_masked, refuse_masked_in
from lstmcore.functional._types import (
    FloatArray,
    LSTMGradients,
    LSTMState,
    LSTMTape,
    StatePair,
    as_pair,
)


def lstm_backward(
    tape: LSTMTape,
    dy: FloatArray | None = None,
    dstate: StatePair | None = None,
    *,
    need_x: bool = True,
    need_state: bool = True,
    need_weights: bool = True,
    out: Mapping[str, FloatArray | None] | None = None,
) -> LSTMGradients:
    """Compute the exact gradients of the forward that filled `tape`.

    Parameters
    ----------
    tape : LSTMTape
        From `lstm` with ``training=True``. It serves one backward, which frees its memory.
    dy : ndarray, shape of y, optional
        Gradient with respect to y; zeros by default. Entries past a row's length are ignored.
    dstate : pair (dh, dc), optional
        Gradient with respect to the final state, each (layers * D, N, H) or None for zeros.
    need_x, need_state, need_weights : bool, default True
        Which gradients to compute.
    out : mapping of str to ndarray, optional
        An array for the gradient of each weight, C-contiguous, written (not added to) in place;
        they may not overlap each other, `dy` or `dstate`. New arrays by default. None for a weight
        whose gradient is not wanted, which is then not computed.

    Returns
    -------
    LSTMGradients

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If the tape was used already, a shape is wrong, or `out` lacks a name, has an unknown one or
        arrays that overlap.
    RuntimeError
        If another thread is using the tape.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    dh, dc = (None, None) if dstate is None else as_pair("dstate", dstate)
    refuse_masked(dy, "dy")
    given_dy = dy
    if dy is not None and not tape.return_sequences:
        dh = with_last_output(dy, dh, tape, "dstate h")
        dy = None
    gradients: dict[str, FloatArray] = {}
    if need_weights:
        gradients = gradient_arrays(tape, out, (given_dy, dh, dc))
    elif out is not None:
        raise ValueError("out: expected None with need_weights=False, got a mapping")
    dx, dh, dc = tape.backward(dy, dh, dc, need_x, need_state, gradients or None)
    state = None if dh is None or dc is None else LSTMState(dh, dc)
    return LSTMGradients(dx, state, gradients)


def gradient_arrays(
    tape: LSTMTape | _core.RnnTape,
    out: Mapping[str, FloatArray | None] | None,
    inputs: Sequence[FloatArray | None],
) -> dict[str, FloatArray]:
    """Return the arrays for the gradients: those of `out`, which may not overlap, or new ones."""
    if out is None:
        return tape.new_gradients()
    if not isinstance(out, Mapping):
        raise TypeError(f"out: expected a mapping from names to arrays, got {type(out).__name__}")
    refuse_masked_in(out, "out")
    known = [name for name, _ in tape.parameters()]
    for name in known:
        if name not in out:
            raise ValueError(f"out: expected an array for {name}, got none")
    for name, array in out.items():
        if array is None and name not in known:
            raise ValueError(f"out: expected no names but {', '.join(known)}, got {name!r}")
    arrays = {name: array for name, array in out.items() if array is not None}
    _apart(arrays, inputs)
    return arrays


def _apart(arrays: Mapping[str, Any], inputs: Sequence[FloatArray | None]) -> None:
    """Raise ValueError if two of `arrays` overlap, or one of them and one of `inputs`.

    The engine refuses arrays that are not contiguous, so comparing neighbours in memory is enough.
    """
    places = [
        (array.__array_interface__["data"][0], array.nbytes, name)
        for name, array in arrays.items()
        if isinstance(array, np.ndarray)
    ]
    places.sort()
    for (begin, size, name), (after, _, other) in pairwise(places):
        if begin + size > after:
            raise ValueError(f"out: expected arrays that do not overlap, got {name} over {other}")
    for given in inputs:
        if isinstance(given, np.ndarray):
            for name, array in arrays.items():
                if isinstance(array, np.ndarray) and np.may_share_memory(given, array):
                    raise ValueError(
                        f"out: expected arrays that do not overlap dy and dstate, got {name}"
                    )


def with_last_output(
    dy: Any, dh: Any, tape: LSTMTape | _core.RnnTape, state_name: str
) -> npt.NDArray[Any]:
    """Add the gradient with respect to the last layer's final h to that of the final state."""
    batch, _, features = tape.output_shape
    for name, array, shape in (("dy", dy, (batch, features)), (state_name, dh, tape.state_shape)):
        if array is None:
            continue
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") != tape.dtype:
            came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name}: expected an array of {tape.dtype} like the tape, got {came}")
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    total = np.zeros(tape.state_shape, tape.dtype) if dh is None else np.array(dh)
    hidden = tape.state_shape[2]
    directions = features // hidden
    for direction in range(directions):
        part = dy[:, direction * hidden : (direction + 1) * hidden]
        total[direction - directions] += part
    return total
