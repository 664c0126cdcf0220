"""The engine's part of a call: arrays that share XLA's memory in, results written in place.

Arrays may have batch axes of `jax.vmap` in front, of extent 1 where an operand is the same for all
examples. Each example is then a call of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array
from lstmcore.config import LSTMConfig
from lstmcore.functional import LSTMTape, PackedWeights
from lstmcore.jax import tapes
from lstmcore.jax.call import WEIGHTS, Call
from lstmcore.jax.weights import Packer

_RANK = 3  # of x without batch axes

observers: list[Callable[[str], None]] = []
"""Functions that learn of every forward of a call with a layer's name."""


class _Example(NamedTuple):
    """One example of a call.

    Attributes
    ----------
    call : Call
    inputs : dict of str to ndarray
        The operands by name.
    others : list of ndarray
        What follows them: in a backward the tape's number and the gradients of the outputs.
    results : list of ndarray
        To be written.
    packer : Packer
        Shared by the examples of a call.
    """

    call: Call
    inputs: dict[str, Array]
    others: list[Array]
    results: list[Array]
    packer: Packer


def infer(call: Call, operands: Sequence[Array], results: Sequence[Array]) -> None:
    """Write the outputs: y, if ``call.sequences``, h and c."""
    _report(call)
    for example in _examples(call, operands, results, remember=True):
        _write(example, *_forward(example, training=False))


def record(call: Call, operands: Sequence[Array], results: Sequence[Array]) -> None:
    """Write the outputs and the number of a tape."""
    _report(call)
    for example in _examples(call, operands, results):
        y, state, tape = _forward(example, training=True)
        _write(example, y, state)
        example.results[-1].view(np.uint64)[0] = tapes.store.put(tape)


def backward(call: Call, operands: Sequence[Array], results: Sequence[Array]) -> None:
    """Write the gradients with respect to the operands that `call` wants, in their order."""
    for example in _examples(call, operands, results):
        _backward(example)


def _report(call: Call) -> None:
    if call.layer:
        for observer in observers:
            observer(call.layer)


def _examples(
    call: Call, operands: Sequence[Array], results: Sequence[Array], remember: bool = False
) -> Iterator[_Example]:
    axes = operands[0].ndim - _RANK
    packer = Packer(remember, several=axes > 0)
    # Without batch axes, as in most calls, nothing is counted, which would take some microseconds.
    indices = np.ndindex(results[0].shape[:axes]) if axes else ((),)
    for index in indices:
        chosen = [_chosen(array, index) for array in operands]
        count = len(call.operands)
        inputs = dict(zip(call.operands, chosen[:count], strict=True))
        outputs = [_chosen(array, index) for array in results]
        yield _Example(call, inputs, chosen[count:], outputs, packer)


def _chosen(array: Array, index: tuple[int, ...]) -> Array:
    """Return the example of `array` at `index`; an axis of extent 1 serves all examples."""
    if not index:
        return array
    places = (min(place, extent - 1) for place, extent in zip(index, array.shape, strict=False))
    chosen: Array = array[tuple(places)]
    return chosen


@functools.lru_cache(maxsize=1024)
def config_of(input_size: int, hidden_size: int, call: Call) -> LSTMConfig:
    """Return the engine's configuration of a call with arrays of these sizes."""
    return LSTMConfig(
        input_size,
        hidden_size,
        bias="b" in call.operands,
        go_backwards=call.reverse,
        gate_activation=call.gate,
        cell_activation=call.cell,
        output_activation=call.cell,
    )


def _packed(example: _Example) -> PackedWeights:
    weights = {WEIGHTS[name]: example.inputs[name] for name in WEIGHTS if name in example.inputs}
    features, units = example.inputs["w_ih"].shape[1], example.inputs["w_hh"].shape[1]
    return example.packer.packed(weights, config_of(features, units, example.call))


def _batch_first(example: _Example, array: Array | None) -> Array | None:
    """Exchange the first two axes of an array that is time-major."""
    return array.swapaxes(0, 1) if example.call.time_major and array is not None else array


def _forward(example: _Example, training: bool) -> Any:
    inputs = example.inputs
    h, c = inputs.get("h0"), inputs.get("c0")
    run: Any = F.lstm  # whose result depends on `training`
    return run(
        _batch_first(example, inputs["x"]),
        _packed(example),
        state=(None if h is None else h[None], None if c is None else c[None]),
        mask=_batch_first(example, inputs.get("mask")),
        lengths=inputs.get("lengths"),
        return_sequences=example.call.sequences,
        training=training,
    )


def _write(example: _Example, y: Array, state: F.LSTMState) -> None:
    call, results = example.call, iter(example.results)
    if call.sequences:
        next(results)[...] = y.swapaxes(0, 1) if call.time_major else y
    next(results)[...] = state.h[0]
    next(results)[...] = state.c[0]


def _tape(example: _Example) -> LSTMTape:
    """Return the tape of the forward, which runs once more if the tape was used or released."""
    tape = tapes.store.take(int(example.others[0].view(np.uint64)[0]))
    if tape is None:
        tape = _forward(example, training=True)[2]
    return tape


def _backward(example: _Example) -> None:
    wanted = dict(zip(example.call.wanted, example.results, strict=True))
    _, *dy, dh, dc = example.others
    out = {WEIGHTS[name]: wanted.get(name) for name in WEIGHTS if name in example.inputs}
    need_weights = any(array is not None for array in out.values())
    gradients = F.lstm_backward(
        _tape(example),
        _batch_first(example, dy[0] if dy else None),
        (dh[None], dc[None]),
        need_x="x" in wanted,
        need_state="h0" in wanted or "c0" in wanted,
        need_weights=need_weights,
        out=out if need_weights else None,
    )
    if gradients.x is not None:
        wanted["x"][...] = gradients.x.swapaxes(0, 1) if example.call.time_major else gradients.x
    if gradients.state is not None:
        for name, gradient in zip(("h0", "c0"), gradients.state, strict=True):
            if name in wanted:
                wanted[name][...] = gradient[0]
