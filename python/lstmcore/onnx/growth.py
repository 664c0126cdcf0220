"""Which loops can carry values that become larger in every turn."""

from __future__ import annotations

from typing import Any

from lstmcore.onnx.graph import STANDARD_DOMAINS, graphs_of

__all__ = ["may_grow"]

ELEMENTWISE = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Div", "Dropout", "Elu"),
        *("Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid"),
        *("Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax"),
        *("Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal"),
        *("Relu", "Round", "Sigmoid", "Sign", "Softmax", "Softplus", "Softsign", "Sqrt", "Sub"),
        *("Sum", "Tanh", "Where", "Xor", "LayerNormalization"),
    )
)
"""Operators whose result has the sizes of their inputs, which broadcasting may combine.

Where only they lie between a turn's values and the next turn's, no axis becomes longer than that of
a value at the beginning.
"""

SHRINKING = frozenset(
    (
        *("ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
        *("Shape", "Size", "Slice", "Split", "Squeeze"),
    )
)
"""Operators whose results have axes of their first input, none of them longer, or are small."""

WEIGHTED = frozenset(("Gemm", "MatMul"))
"""Operators whose result has the axes of the first input, and the last one of constant weights."""


def may_grow(body: Any, carried: int) -> bool:
    """Return whether a loop can make what it carries larger in every turn.

    Parameters
    ----------
    body : onnx.GraphProto
        Of a Loop.
    carried : int
        How many values it carries.
    """
    varying = {entry.name for entry in body.input[2 : 2 + carried]}
    makers: dict[str, Any] = {}
    for proto in body.node:
        used = varying.intersection(proto.input)
        if used or any(graphs_of(proto)):  # a graph within may use any of them
            varying.update(filter(None, proto.output))
            makers.update((name, proto) for name in proto.output if name)
    found = [entry.name for entry in body.output[1 : 1 + carried]]
    seen: set[str] = set()
    while found:
        name = found.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        if not _keeps_sizes(makers[name], varying):
            return True
        found += makers[name].input
    return False


def _keeps_sizes(proto: Any, varying: set[str]) -> bool:
    """Return whether a node of a loop cannot make an axis longer than those of its inputs."""
    if proto.domain not in STANDARD_DOMAINS or any(graphs_of(proto)):
        return False
    if proto.op_type in WEIGHTED:
        plain = not any(entry.name in ("transA", "transB") and entry.i for entry in proto.attribute)
        return plain and varying.isdisjoint(proto.input[1:])
    return proto.op_type in ELEMENTWISE or proto.op_type in SHRINKING
