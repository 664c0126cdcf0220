"""Nodes that compute sizes when a model runs: the `Arithmetic` of `lstmcore.onnx.guards`.

They consist of operators of version 7 of the standard, in the form that each later one has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NAME", "OLDEST", "Computed", "Maker", "Term", "first_output", "limit_name"]

OLDEST = 7
"""The first version of the standard in which ONNX Runtime has these operators."""

RANK = 64
"""Axes that are compared one by one where two shapes are broadcast; others are multiplied."""

END = (1 << 31) - 1


NAME = "lstmcore limit of "
"""What the names of nodes that fail begin with."""


def first_output(proto: Any) -> str:
    """Return the first output that a node has."""
    return next(filter(None, proto.output), "")


def limit_name(proto: Any, rule: str, most: int) -> str:
    """Return the name of a node that fails where another one breaks a rule."""
    return f"{NAME}{rule} {most} for {proto.op_type} '{proto.name or first_output(proto)}'"


@dataclass(frozen=True)
class Term:
    """The name of a value that nodes compute, with the operators of Python."""

    maker: Maker = field(compare=False, repr=False)
    name: str

    def __add__(self, other: Term) -> Term:
        return self.maker.node("Add", self, other)

    def __sub__(self, other: Term) -> Term:
        return self.maker.node("Sub", self, other)

    def __mul__(self, other: Term) -> Term:
        return self.maker.node("Mul", self, other)

    def __truediv__(self, other: Term) -> Term:
        return self.maker.node("Div", self, other)


class Maker:
    """Makes nodes, whose values have names that begin with a prefix.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    opset : int
    """

    def __init__(self, prefix: str, opset: int) -> None:
        self.nodes: list[Any] = []
        self.opset = opset
        self._prefix = prefix

    def node(self, kind: str, *inputs: Term | str, name: str = "", **attributes: Any) -> Term:
        """Make a node with one output, and return that."""
        output = Term(self, f"{self._prefix}/{len(self.nodes)}")
        names = [entry.name if isinstance(entry, Term) else entry for entry in inputs]
        self.nodes.append(helper.make_node(kind, names, [output.name], name, **attributes))
        return output

    def constant(self, value: Any) -> Term:
        """Make a Constant from an array."""
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(value)))

    def number(self, value: float) -> Term:
        """Make a number."""
        return self.constant(np.float32(value))

    def cast(self, term: Term | str, kind: int) -> Term:
        """Convert to another type."""
        return self.node("Cast", term, to=kind)

    def slice(self, term: Term, start: int, end: int) -> Term:
        """Return a range of the elements of a vector."""
        if self.opset < 10:
            return self.node("Slice", term, starts=[start], ends=[end])
        places = (self.constant(np.array([place], np.int64)) for place in (start, end))
        return self.node("Slice", term, *places)

    def stopped(self, values: str, place: Term, name: str) -> str:
        """Return the name of a copy of `values`, which can only be computed if `place` is 0.

        A Gather is the only operator of the standard that checks the numbers that it is given. It
        takes this position of an axis of size 1.
        """
        if self.opset < 13:
            whole = self.node("Unsqueeze", values, axes=[0])
        else:
            whole = self.node("Unsqueeze", values, self.constant(np.zeros(1, np.int64)))
        return self.node("Gather", whole, place, name=name, axis=0).name

    def beyond(self, size: Term, most: Term) -> Term:
        """Return 0 if `size` is less than `most`, and 1 if it is more, or NaN.

        No float becomes an integer: what NaN becomes differs between processors.
        """
        return self.cast(self.node("Not", self.node("Less", size, most)), TensorProto.INT64)


class Computed(Maker):
    """The `Arithmetic` of a node; its methods are described there.

    Parameters
    ----------
    proto : onnx.NodeProto
    opset : int
    scalar : bool
        Whether the inputs with sizes are single numbers.
    """

    def __init__(self, proto: Any, opset: int, scalar: bool) -> None:
        super().__init__(f"{first_output(proto)}/limit", opset)
        self._proto, self._scalar = proto, scalar
        self._products: dict[Term, Term] = {}
        self._whole_sizes: dict[int, Term] = {}
        self._attributes = {
            entry.name: onnx.helper.get_attribute_value(entry) for entry in proto.attribute
        }

    def has(self, position: int) -> bool:
        """Return whether the node has an input."""
        return position < len(self._proto.input) and self._proto.input[position] != ""

    def wants(self, position: int) -> bool:
        """Return whether the node has an output."""
        return position < len(self._proto.output) and self._proto.output[position] != ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default`; texts as texts."""
        found = self._attributes.get(name, default)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else found

    def axes(self, position: int) -> Any:
        """Return the name of an input that holds axes, or None."""
        return self._proto.input[position] if self.has(position) else None

    def values(self, position: int) -> Term:
        """Return the numbers of an input as a vector of float32; 1 if it is missing."""
        if not self.has(position):
            return self.constant(np.ones(1, np.float32))
        found: Term | str = self._proto.input[position]
        if self._scalar:
            found = self.node("Reshape", found, self.constant(np.array([-1], np.int64)))
        return self.cast(found, TensorProto.FLOAT)

    def counts(self, position: int) -> Term:
        """Return the magnitudes of the integers of an input, at least 1."""
        return self._at_least_one(self.node("Abs", self.values(position)))

    def largest(self, position: int) -> Term:
        """Return the magnitude of the largest number of an input, at least 1."""
        one = self.constant(np.ones(1, np.float32))
        return self.node(
            "ReduceMax", self.node("Concat", one, self.counts(position), axis=0), keepdims=0
        )

    def steps(self) -> Term:
        """Return the steps of a Range, a vector of one number.

        They are computed in float64, in which the difference of any two 64-bit integers is exact to
        2048: float32, in which all else is computed, would take two such numbers for one.
        """
        vector = self.constant(np.array([-1], np.int64))
        start, limit, delta = (
            self.cast(self.node("Reshape", name, vector), TensorProto.DOUBLE)
            for name in self._proto.input[:3]
        )
        return self.product(self.cast((limit - start) / delta, TensorProto.FLOAT))

    def vector(self, numbers: Sequence[float]) -> Term:
        """Return the magnitudes of constants."""
        return self.constant(np.abs(np.asarray(numbers, np.float32)))

    def sizes(self, position: int, axes: Any = None) -> Term:
        """Return the sizes of an input along axes, at least 1."""
        if axes is None and position in self._whole_sizes:
            return self._whole_sizes[position]
        shape = self.node("Shape", self._proto.input[position])
        if axes is not None:
            places = axes if isinstance(axes, str) else self.constant(np.array(axes, np.int64))
            if self._scalar and isinstance(axes, str):
                places = self.node("Reshape", axes, self.constant(np.array([-1], np.int64)))
            name = "" if isinstance(axes, str) else self._name_of(axes)
            shape = self.node("Gather", shape, places, name=name, axis=0)
        found = self._at_least_one(self.cast(shape, TensorProto.FLOAT))
        if axes is None:
            self._whole_sizes[position] = found
        return found

    def both_ends(self, pads: Term) -> Term:
        """Return the sums of the magnitudes in the first half and in the second half."""
        shape = self.constant(np.array([2, -1], np.int64))
        halves = self.node("Reshape", self.node("Abs", pads), shape)
        return self.node("MatMul", self.constant(np.ones(2, np.float32)), halves)

    def broadcast(self, first: Term, second: Term) -> Term:
        """Return the larger of two sizes, the last with the last, and 1 or more for the others."""
        tails, heads = [], []
        for vector in (first, second):
            ones = self.constant(np.ones(RANK + 1, np.float32))
            whole = self.node("Concat", ones, vector, axis=0)
            tails.append(self.slice(whole, -RANK, END))
            heads.append(self.slice(whole, 0, -RANK))
        return self.node("Concat", self.node("Max", *tails), *heads, axis=0)

    def product(self, vector: Term) -> Term:
        """Return the product of all elements; 1 for none."""
        if vector not in self._products:
            whole = self.node("Concat", self.constant(np.ones(1, np.float32)), vector, axis=0)
            self._products[vector] = self.node("ReduceProd", whole, keepdims=0)
        return self._products[vector]

    def power(self, vector: Term) -> Term:
        """Return what `product` returns if all elements were as large as the largest."""
        count = self.cast(self.node("Size", vector), TensorProto.FLOAT)
        return self.node("Pow", self.node("ReduceMax", vector, keepdims=0), count)

    def _name_of(self, axes: Sequence[int]) -> str:
        """Return the name of a node that fails where an input lacks one of these axes."""
        least = max((axis + 1 if axis >= 0 else -axis for axis in axes), default=0)
        return f"{limit_name(self._proto, 'axes', least)} {len(self.nodes)}"  # names differ

    def _at_least_one(self, vector: Term) -> Term:
        if self.opset < 11:
            return self.node("Clip", vector, min=1.0)
        return self.node("Clip", vector, self.number(1))
