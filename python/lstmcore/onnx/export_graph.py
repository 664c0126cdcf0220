"""A graph under construction: nodes, constants, names, and the order of the values' axes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lstmcore._typing import Array, Shape

__all__ = ["NEWEST_OPSET", "OLDEST_OPSET", "Flow", "Graph", "Lengths", "tensor_type"]

OLDEST_OPSET, NEWEST_OPSET = 14, 26
"""Versions of the standard's operators that can be exported."""

MOST_BYTES = 2**31 - 2**20  # a message has at most 2 GiB; leaves room for everything but weights


@dataclass(frozen=True)
class Lengths:
    """Names of the lengths (N,) as int32 and int64; None where that type was not needed yet."""

    int32: str = ""
    int64: str = ""


@dataclass(frozen=True)
class Flow:
    """A value that is passed from layer to layer.

    Attributes
    ----------
    name : str
        Name of the value.
    axes : str
        Its axes in order: N for the batch, T for time, C for the features, and D, E for axes
        between them.
    shape : tuple of int or None
        Sizes in the model's order, N, T, ..., C, whatever `axes` is.
    lengths : Lengths, optional
        Valid steps of each row; None: all.
    zeroed : bool
        Whether the value is zero past each row's length.
    """

    name: str
    axes: str
    shape: Shape
    lengths: Lengths | None = None
    zeroed: bool = False

    @property
    def width(self) -> int:
        """Size of the last axis."""
        assert self.shape[-1] is not None
        return self.shape[-1]

    def moved(self, name: str, axes: str = "", **changes: Any) -> "Flow":
        """Return the flow after an operation."""
        return replace(self, name=name, axes=axes or self.axes, **changes)


def own_axes(rank: int) -> str:
    """Return the axes of a value of this rank in the model's order."""
    return {1: "N", 2: "NC", 3: "NTC", 4: "NTDC", 5: "NTDEC"}[rank]


def tensor_type(dtype: Any) -> int:
    """Return ONNX's number for an element type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


class Graph:
    """Nodes and constants, in the order in which they are added.

    Parameters
    ----------
    opset : int
    dtype : numpy.dtype
        Type of weights and values.
    recurrent : str
        See `export`.
    outer : Graph, optional
        The graph that contains this one, if this is the body of a node; names are unique in both.
    """

    def __init__(
        self, opset: int, dtype: "np.dtype[Any]", recurrent: str, outer: "Graph | None" = None
    ) -> None:
        self.opset, self.dtype, self.recurrent, self.outer = opset, dtype, recurrent, outer
        self.scope: str = outer.scope if outer else ""
        self.nodes: list[Any] = []
        self.initializers: list[Any] = outer.initializers if outer else []
        self.taken: set[str] = outer.taken if outer else set()
        self.lengths_used = False
        self.states: dict[str, tuple[str, str]] = {}
        self.final_states: dict[str, tuple[str, str]] = {}
        self._constants: dict[Any, str] = outer._constants if outer else {}
        self._made: dict[Any, Any] = {}
        self._bytes = 0

    # ---- nodes and constants -----------------------------------------------------------------

    def unique(self, name: str) -> str:
        """Return `name`, with a number appended if it is taken."""
        found, number = name, 0
        while found in self.taken:
            number += 1
            found = f"{name}_{number}"
        self.taken.add(found)
        return found

    def scoped(self, name: str) -> str:
        """Return a name within the layer that is being exported."""
        return self.unique(f"{self.scope}/{name}" if self.scope else name)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.add_several(operator, inputs, ("",), **attributes)[0]

    def add_several(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str | None], **attributes: Any
    ) -> list[str]:
        """Add a node with outputs of these names, within its own name; None omits an output."""
        node = self.scoped(operator)
        names = []
        for output in outputs:
            if output is None:
                names.append("")
            else:
                names.append(self.unique(f"{node}/{output}") if output else node)
        trimmed = list(inputs)
        while trimmed and not trimmed[-1]:
            trimmed.pop()
        written = list(names)
        while not written[-1]:
            written.pop()
        self.nodes.append(helper.make_node(operator, trimmed, written, name=node, **attributes))
        return names

    def weight(self, name: str, array: Array) -> str:
        """Add a constant of the graph's element type, called `name` within the layer."""
        full = self.scoped(name)
        values = np.ascontiguousarray(array, dtype=self.dtype)
        self._count(values.nbytes)
        self.initializers.append(numpy_helper.from_array(values, full))
        return full

    def _count(self, size: int) -> None:
        """Raise ValueError if the weights are too large for one file."""
        if self.outer is not None:
            self.outer._count(size)
            return
        self._bytes += size
        if self._bytes > MOST_BYTES:
            raise ValueError(
                "expected weights of less than 2 GiB in all, the most that an ONNX file holds"
            )

    def integers(self, *values: int) -> str:
        """Return a constant list of int64."""
        return self._constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Return a constant int64."""
        return self._constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Return a constant of the graph's element type."""
        return self._constant(np.array(value, self.dtype))

    def _constant(self, array: Array) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            shown = "_".join(f"{value:g}" for value in array.reshape(-1).tolist())
            kind = "i" if array.dtype.kind == "i" else "f"
            name = self.unique(f"constant/{kind}{'' if array.ndim == 0 else 's'}_{shown}")
            self.initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def once(self, key: Any, make: Callable[[], str]) -> str:
        """Return what `make` adds; the second call with a key returns the first result."""
        if key not in self._made:
            self._made[key] = make()
        return str(self._made[key])

    # ---- axes ----------------------------------------------------------------------------------

    def arranged(self, flow: Flow, axes: str) -> str:
        """Return the value with its axes in this order, without transposing it there and back."""
        if axes == flow.axes:
            return flow.name
        order = [flow.axes.index(axis) for axis in axes]
        key = ("transpose", flow.name, tuple(order))
        if key not in self._made:
            name = self.add("Transpose", flow.name, perm=order)
            self._made[key] = name
            back = tuple(order.index(place) for place in range(len(order)))
            self._made["transpose", name, back] = flow.name
        return str(self._made[key])

    def arrange(self, flow: Flow, axes: str) -> Flow:
        """Return the flow with its axes in this order."""
        return flow.moved(self.arranged(flow, axes), axes)

    def natural(self, flow: Flow) -> Flow:
        """Return the flow with its axes in the model's order."""
        return self.arrange(flow, own_axes(len(flow.axes)))

    def size(self, name: str, axis: int) -> str:
        """Return the size of an axis, a scalar."""

        def make() -> str:
            shape = self.once(("shape", name), lambda: self.add("Shape", name))
            return self.add("Gather", shape, self.integer(axis), axis=0)

        return self.once(("size", name, axis), make)

    # ---- lengths -------------------------------------------------------------------------------

    def lengths32(self, lengths: Lengths) -> str:
        """Return lengths as int32, as the LSTM operator takes them."""
        return self._lengths(lengths.int32, lengths.int64, TensorProto.INT32)

    def lengths64(self, lengths: Lengths) -> str:
        """Return lengths as int64, the type of sizes."""
        return self._lengths(lengths.int64, lengths.int32, TensorProto.INT64)

    def _lengths(self, name: str, other: str, kind: int) -> str:
        self.lengths_used = True
        return name or self.once(("cast", other, kind), lambda: self.add("Cast", other, to=kind))

    def mask(self, flow: Flow) -> str:
        """Return a mask of the valid steps, with as many axes as the flow."""
        assert flow.lengths is not None
        lengths, rank = self.lengths64(flow.lengths), len(flow.axes)

        def make() -> str:
            at, batch = flow.axes.index("T"), flow.axes.index("N")
            zero, one = self.integer(0), self.integer(1)
            steps = self.add("Range", zero, self.size(flow.name, at), one)
            across = self.integers(*(axis for axis in range(rank) if axis != at))
            along = self.integers(*(axis for axis in range(rank) if axis != batch))
            return self.add(
                "Less",
                self.add("Unsqueeze", steps, across),
                self.add("Unsqueeze", lengths, along),
            )

        return self.once(("mask", lengths, flow.axes), make)

    def present(self, lengths: Lengths, *axes: int) -> str:
        """Return which rows have any valid step, with these axes inserted."""
        name = self.lengths64(lengths)

        def make() -> str:
            there = self.add("Greater", name, self.integer(0))
            return self.add("Unsqueeze", there, self.integers(*axes))

        return self.once(("present", name, axes), make)

    def filled(self, flow: Flow, value: float = 0.0) -> str:
        """Return the flow's values, with `value` past each row's length."""
        if flow.lengths is None or (value == 0.0 and flow.zeroed):
            return flow.name
        return self.once(
            ("filled", flow.name, value),
            lambda: self.add("Where", self.mask(flow), flow.name, self.number(value)),
        )

    # ---- operations whose form depends on the version ------------------------------------------

    def reduce(self, operator: str, name: str, axis: int, keep: bool = False) -> str:
        """Add a reduction of one axis."""
        if operator == "ReduceSum" or self.opset >= 18:
            return self.add(operator, name, self.integers(axis), keepdims=int(keep))
        return self.add(operator, name, axes=[axis], keepdims=int(keep))

    def normalized(
        self, name: str, width: int, epsilon: float, gain: Array | None, bias: Array | None
    ) -> str:
        """Add a layer normalization of the last axis.

        The LayerNormalization operator of version 17 may compute in float32 whatever its inputs
        are, so for float64, and for earlier versions, its parts are added instead.
        """
        if self.opset >= 17 and self.dtype == np.float32:
            scale = self.weight("gamma", np.ones(width) if gain is None else gain)
            shift = "" if bias is None else self.weight("beta", bias)
            return self.add("LayerNormalization", name, scale, shift, axis=-1, epsilon=epsilon)
        centred = self.add("Sub", name, self.reduce("ReduceMean", name, -1, keep=True))
        variance = self.reduce("ReduceMean", self.add("Mul", centred, centred), -1, keep=True)
        spread = self.add("Sqrt", self.add("Add", variance, self.number(epsilon)))
        result = self.add("Div", centred, spread)
        if gain is not None:
            result = self.add("Mul", result, self.weight("gamma", gain))
        return result if bias is None else self.add("Add", result, self.weight("beta", bias))

    def product(self, name: str, kernel: Array, bias: Array | None, scope: str = "") -> str:
        """Add ``name @ kernel + bias`` over the last axis."""
        result = self.add("MatMul", name, self.weight(f"{scope}kernel", kernel))
        return result if bias is None else self.add("Add", result, self.weight("bias", bias))
