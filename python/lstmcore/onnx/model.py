"""Load an ONNX model and run it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.onnx.bools import with_plain_bools
from lstmcore.onnx.collect import RUNTIME_DOMAINS, collect
from lstmcore.onnx.graph import STANDARD_DOMAINS, Argument, argument_of, opset_of
from lstmcore.onnx.guards import guard_model
from lstmcore.onnx.limits import TURNS, bounding, limits_of
from lstmcore.onnx.operators import leaving
from lstmcore.onnx.operators.lstm import better_left, clipping_output
from lstmcore.onnx.parts import runtime
from lstmcore.onnx.program import Program, compiled
from lstmcore.onnx.reading import read_model
from lstmcore.onnx.scope import Origin, Scope
from lstmcore.onnx.types import annotated
from lstmcore.onnx.whole import Whole, may_stay_whole

__all__ = ["Model", "load"]


class Model:
    """A compiled ONNX model, as `load` returns it.

    It is immutable, so any number of threads may run it at once.

    Attributes
    ----------
    name : str
        Name of the graph.
    opset : int
        Version of the standard's operators.
    inputs, outputs : tuple of Argument
        Names, dtypes and shapes as the model declares them. Initializers are not inputs, although
        old files list them.
    steps : tuple of str
        Who runs what, in order: "lstmcore" recurrent nodes, "NumPy" a few operators between them,
        "ONNX Runtime" everything else, or "onnx.reference" where ONNX Runtime is not installed.
    """

    def __init__(
        self,
        program: Program,
        name: str,
        opset: int,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument],
        whole: bytes | None = None,
    ) -> None:
        _checks.instance(program, Program, "program", "what lstmcore.onnx.load compiles")
        self._program = program
        self.name = name
        self.opset = opset
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.steps = program.descriptions
        self._names = tuple(argument.name for argument in self.inputs)
        self._bools = [entry.name for entry in self.inputs if entry.dtype in (None, np.bool_)]
        self._run = self._divided
        if whole is not None:
            results = [argument.name for argument in self.outputs]
            self._run = Whole(whole, self._names, results, self._divided).run

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            Every input by its name, with the dtype that the model declares (nothing is converted),
            and with its shape as far as the model fixes it.

        Returns
        -------
        dict of str to ndarray
            Every output by its name, contiguous. Outputs share no memory with each other or with
            the inputs.

        Raises
        ------
        TypeError
            If an input is not an array or has another dtype.
        ValueError
            If an input is missing, unknown or has a wrong shape, or a node cannot process its
            inputs; the error names the input or the node.
        MemoryError
            If there is too little memory.
        """
        return self._run(with_plain_bools(inputs, self._bools) if self._bools else inputs)

    def _divided(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Check the inputs and run all steps."""
        values = self._values(inputs)
        results = self._program.run(values)
        found: dict[str, Array] = {}
        for argument, result, owned in zip(self.outputs, results, self._program.owned, strict=True):
            array = np.asarray(result, order="C") if owned else _apart(result, values)
            found[argument.name] = array
            values.append(array)
        return found

    def _values(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return the inputs in order, after checking them."""
        if not isinstance(inputs, (dict, Mapping)):
            raise TypeError(
                f"inputs: expected a mapping from names to arrays, got {type(inputs).__name__}"
            )
        missing = [name for name in self._names if name not in inputs]
        if missing:
            raise ValueError(f"inputs: missing: {', '.join(missing)}")
        if len(inputs) != len(self._names):
            unknown = ", ".join(str(name) for name in inputs if name not in self._names)
            raise ValueError(f"inputs: expected {', '.join(self._names)}, but also got {unknown}")
        return [_checked(inputs[argument.name], argument) for argument in self.inputs]

    def __call__(self, *arrays: Array, **named: Array) -> Array | tuple[Array, ...]:
        """Compute all outputs, from inputs in order or by name; see `run`.

        Returns
        -------
        ndarray or tuple of ndarray
            The only output, or all of them in order.
        """
        if len(arrays) > len(self._names):
            raise TypeError(f"inputs: expected {len(self._names)} arrays, got {len(arrays)}")
        given = dict(zip(self._names, arrays, strict=False))
        twice = [name for name in named if name in given]
        if twice:
            raise TypeError(f"inputs: got two arrays for {', '.join(twice)}")
        results = tuple(self.run({**given, **named}).values())
        return results[0] if len(results) == 1 else results

    def __repr__(self) -> str:
        given, come = (", ".join(map(str, entries)) for entries in (self.inputs, self.outputs))
        steps = len(self._program.units)
        return f"Model({self.name!r}, opset {self.opset}, {steps} steps, {given} -> {come})"

    def __str__(self) -> str:
        lines = [
            f"lstmcore.onnx.Model {self.name!r}, opset {self.opset}, "
            f"{len(self._program.units)} steps"
        ]
        lines += [f"  in   {argument}" for argument in self.inputs]
        lines += [f"  out  {argument}" for argument in self.outputs]
        lines += [f"  run  {step}" for step in self.steps]
        return "\n".join(lines)


def _checked(value: Any, argument: Argument) -> Array:
    name, dtype, shape = argument.name, argument.dtype, argument.shape
    if type(value) is not np.ndarray:
        if not isinstance(value, (np.ndarray, np.generic)) or isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{name}: expected a NumPy array, got {type(value).__name__}")
        value = np.asarray(value)
    array: Array = value
    if dtype is not None and value.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {value.dtype}")
    fits = shape is None or len(shape) == value.ndim
    for want, size in zip(shape or (), value.shape, strict=False):
        fits = fits and (want == size or want.__class__ is not int)
    if shape is not None and not fits:
        expected = ", ".join("?" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: expected shape ({expected}), got {value.shape}")
    return array


ROOM = 1 << 16
"""A result that is a view may keep at most this many bytes alive besides its own."""


def _apart(result: Any, others: list[Array]) -> Array:
    """Make a result contiguous; copy it if it is a constant or a view into a larger array.

    Afterwards it shares no memory with the `others`, which are the inputs and the results before
    it.
    """
    array = np.asarray(result, order="C")
    shared = not array.flags.writeable or any(
        array is value or np.may_share_memory(array, value) for value in others
    )
    if not shared and array.base is not None:
        shared = getattr(array.base, "nbytes", 0) > 2 * array.nbytes + ROOM
    return array.copy() if shared else array


def load(
    model: str | os.PathLike[str] | bytes | Any,
    *,
    clip_output: bool = True,
    same_bits: bool = False,
    memory_limit: int | None = None,
    loop_limit: int = TURNS,
) -> Model:
    """Read and compile an ONNX model.

    Parameters
    ----------
    model : path-like, bytes or onnx.ModelProto
        The model. For a path, weights that are stored in files next to it are read too.
    clip_output : bool, default True
        Whether the attribute ``clip`` of an LSTM node also bounds the argument of the output's
        activation, as the standard says; False: only those of the other two, as ONNX Runtime
        computes it.
    same_bits : bool, default False
        Whether every LSTM runs on the engine, so that its results have the same bits however a
        batch or a series is divided into calls. By default, ONNX Runtime runs calls whose LSTMs
        have so little to do that leaving it would take longer, such as a single step of a small
        model: those where an LSTM's call has fewer than 8 million multiplications, on average. It
        also runs LSTMs with 8-bit weights, ``DynamicQuantizeLSTM``, on processors that have no
        instructions for products of bytes.
    memory_limit : int, optional
        Bytes of any one value whose size the file fixes or the model computes as numbers, and of
        all values together that are computed from constants. By default 1 GiB for the former; 12
        MiB for the latter, and 64 bytes more for each byte of the model's first MiB, and 16 for
        each of the rest, and again as much for what several of them are computed from. A number
        below 1 GiB is for files that are to have less: it lowers the limit of values too. One from
        1 GiB on lowers nothing. What is held while one constant is computed (12 MiB and 16 times
        the size of the model by default), and the multiplications that constants take (2^31, and 64
        for each byte of the model; 2^20 and 4 where the reference implementation computes them) are
        limited with it: to this limit, and to 64 or 4 for each byte of it more. So is the number of
        parts between recurrent nodes, and of constants that are computed alone, if it is 1 GiB or
        more: 64, and one more for each KiB of the model, or of the limit. What a Loop collects over
        its turns may have as much as one value. Values that are large because the inputs are have
        no other limit. Any number also admits operators of ONNX Runtime's own of which nothing is
        known here; nothing limits what they make when the model runs.
    loop_limit : int, default 16,777,216
        Turns that a Loop may take, and a Scan around an LSTM, with all turns of the loops in it.

    Returns
    -------
    Model

    Raises
    ------
    TypeError
        If `model` has another type, `clip_output` or `same_bits` is neither True nor False, or a
        limit is no integer.
    OSError
        If there is no such file.
    ValueError
        If it is not an ONNX model; if a node, which the error names, violates the standard, or
        cannot be run by ONNX Runtime or the reference; if operators are unknown, which the error
        lists with their nodes; or if a node's output is larger than `memory_limit` allows, as far
        as the file says. Sizes and turns that only a run knows are compared when it meets them, by
        `Model.run`.
    MemoryError
        If there is too little memory.

    Warns
    -----
    RuntimeWarning
        If ONNX Runtime is installed but has no kernel for a node, so that the slow reference
        implementation of the package onnx runs the part with that node.

    Notes
    -----
    The graph is cut at its recurrent nodes. The engine runs these, with weights that are packed
    here; what lies between them runs in sessions of ONNX Runtime, with as many threads as
    `lstmcore.get_num_threads` returns now (at most 4 from the 17th session on). An If whose
    condition is known is replaced by its branch; loops and branches that contain recurrent nodes
    run here, and their graphs are cut too.
    """
    _checks.flag(clip_output, "clip_output")
    _checks.flag(same_bits, "same_bits")
    memory = None if memory_limit is None else _checks.integer(memory_limit, "memory_limit", 1)
    turns = _checks.integer(loop_limit, "loop_limit", 1)
    with _followed():
        proto, size = read_model(model)
    opset = opset_of(proto)
    versions = {
        "" if entry.domain in STANDARD_DOMAINS else entry.domain: entry.version
        for entry in proto.opset_import
    }
    origin = Origin(opset, {**versions, "": opset})
    outputs = tuple(map(argument_of, proto.graph.output))
    left = better_left() if runtime() is not None and not same_bits else ()
    bounds = limits_of(size, memory, turns)
    with _followed(), clipping_output(clip_output), leaving(left), bounding(bounds):
        graph = collect(annotated(proto), Scope(origin), proto.graph.initializer)
        if origin.problems:
            raise ValueError(_listed(origin))
        program = compiled(graph)
        whole = None
        if not same_bits and program.is_cut and may_stay_whole(proto, opset):
            whole = guard_model(proto, origin.growing)  # a copy, since callers may change their own
    return Model(program, proto.graph.name, opset, graph.arguments, outputs, whole)


@contextmanager
def _followed() -> Iterator[None]:
    """Raise ValueError where a chain of nodes is too long to be followed by recursion."""
    try:
        yield
    except RecursionError:
        message = "model: expected shorter chains of nodes or functions that depend on each other"
        raise ValueError(message) from None


def _listed(origin: Origin) -> str:
    """Return the message that lists the operators that nothing runs."""
    nodes: dict[str, list[str]] = {}
    for label, name in origin.problems:
        nodes.setdefault(label, []).append(name)
    listed = "; ".join(f"{label} ({_some(names)})" for label, names in nodes.items())
    message = f"model: operators that are not implemented, in opset {origin.opset}: {listed}"
    if any(label.rpartition(".")[0] in RUNTIME_DOMAINS for label in nodes):
        message += "; those of ONNX Runtime's own domains need it: pip install onnxruntime"
    return message


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
