"""The export of layers that change values one by one: activations, scales, masks."""

import math
from typing import Any

import numpy as np

from lstmcore.layers import Activation, BatchNormalization, Masking, Normalization, Rescaling
from lstmcore.layers.functions import ALPHAS, function
from lstmcore.onnx.export_graph import Flow, Graph, Lengths, tensor_type

__all__ = [
    "activate",
    "add_activation",
    "add_batch_normalization",
    "add_masking",
    "add_normalization",
    "add_rescaling",
    "keeps_zero",
]

_OPERATORS = {
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "exponential": "Exp",
    "hard_silu": "HardSwish",
}
"""Activations that are one operator without attributes, in every type."""

_IN_FLOAT32 = {"softplus": "Softplus", "softsign": "Softsign"}
"""The same, which ONNX Runtime has for float32 only."""


def keeps_zero(activation: str) -> bool:
    """Whether an activation maps 0 to 0."""
    return function(activation).keeps_zero


def activate(
    graph: Graph, name: str, activation: str, axis: int = -1, alpha: float | None = None
) -> str:
    """Add an activation function; `axis` is that of a softmax, `alpha` the function's parameter.

    Attributes of operators are float32, so with float64 functions that have constants are spelled
    out.
    """
    if activation == "linear":
        return name
    if activation == "softmax":
        return graph.add("Softmax", name, axis=axis)
    single = graph.dtype == np.float32
    operator = _OPERATORS.get(activation) or (_IN_FLOAT32.get(activation) if single else None)
    if operator is not None:
        return graph.add(operator, name)
    share = ALPHAS.get(activation, 0.0) if alpha is None else alpha
    if single and activation in ("elu", "leaky_relu"):
        return graph.add("Elu" if activation == "elu" else "LeakyRelu", name, alpha=share)
    return _SPELLED[activation](graph, name, share)


def _elu(graph: Graph, name: str, alpha: float) -> str:
    below = graph.add("Exp", graph.add("Min", name, graph.number(0.0)))
    below = graph.add("Mul", graph.add("Sub", below, graph.number(1.0)), graph.number(alpha))
    return _bent(graph, name, below)


def _bent(graph: Graph, name: str, below: str) -> str:
    """Return the value where it is greater than 0, `below` elsewhere."""
    return graph.add("Where", graph.add("Greater", name, graph.number(0.0)), name, below)


def _selu(graph: Graph, name: str, alpha: float) -> str:
    inner = _elu(graph, name, 1.6732632423543772)
    return graph.add("Mul", inner, graph.number(1.0507009873554805))


def _leaky_relu(graph: Graph, name: str, alpha: float) -> str:
    return _bent(graph, name, graph.add("Mul", name, graph.number(alpha)))


def _hard_sigmoid(graph: Graph, name: str, alpha: float) -> str:
    line = graph.add("Add", graph.add("Mul", name, graph.number(alpha)), graph.number(0.5))
    return graph.add("Clip", line, graph.number(0.0), graph.number(1.0))


def _gelu(graph: Graph, name: str, alpha: float) -> str:
    share = graph.add("Erf", graph.add("Div", name, graph.number(math.sqrt(2.0))))
    share = graph.add("Add", share, graph.number(1.0))
    return graph.add("Mul", graph.add("Mul", name, graph.number(0.5)), share)


def _silu(graph: Graph, name: str, alpha: float) -> str:
    return graph.add("Mul", name, graph.add("Sigmoid", name))


def _softplus(graph: Graph, name: str, alpha: float) -> str:
    small = graph.add("Exp", graph.add("Neg", graph.add("Abs", name)))
    rest = graph.add("Log", graph.add("Add", small, graph.number(1.0)))
    return graph.add("Add", graph.add("Max", name, graph.number(0.0)), rest)


def _softsign(graph: Graph, name: str, alpha: float) -> str:
    return graph.add("Div", name, graph.add("Add", graph.add("Abs", name), graph.number(1.0)))


def _mish(graph: Graph, name: str, alpha: float) -> str:
    return graph.add("Mul", name, graph.add("Tanh", activate(graph, name, "softplus")))


def _relu6(graph: Graph, name: str, alpha: float) -> str:
    return graph.add("Clip", name, graph.number(0.0), graph.number(6.0))


_SPELLED = {
    "elu": _elu,
    "selu": _selu,
    "leaky_relu": _leaky_relu,
    "hard_sigmoid": _hard_sigmoid,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
    "softsign": _softsign,
    "mish": _mish,
    "relu6": _relu6,
}


def add_activation(graph: Graph, layer: Activation, flow: Flow, key: str | None) -> Flow:
    """Add an `Activation`; see `add_layer`."""
    name = activate(graph, flow.name, layer.activation, flow.axes.index("C"), layer.alpha)
    return flow.moved(name, zeroed=flow.zeroed and keeps_zero(layer.activation))


def add_batch_normalization(
    graph: Graph, layer: BatchNormalization, flow: Flow, key: str | None
) -> Flow:
    """Add a `BatchNormalization`, with its averages; see `add_layer`."""
    flow = _last(graph, flow)
    weights = {name: value.astype(np.float64) for name, value in layer.weights.items()}
    factor = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + layer.epsilon)
    name = graph.add("Sub", flow.name, graph.weight("moving_mean", weights["moving_mean"]))
    name = graph.add("Mul", name, graph.weight("factor", factor))
    if "beta" in weights:
        name = graph.add("Add", name, graph.weight("beta", weights["beta"]))
    result = flow.moved(name, zeroed=False)
    if len(flow.axes) < 3:
        return result
    return result.moved(graph.filled(result), zeroed=flow.lengths is not None)


def add_normalization(graph: Graph, layer: Normalization, flow: Flow, key: str | None) -> Flow:
    """Add a `Normalization`; see `add_layer`."""
    flow = graph.natural(flow)
    shape = tuple(size or 1 for size in flow.shape)
    mean, deviation = layer._statistics(np.empty(shape, graph.dtype))
    first, second = ("Mul", "Add") if layer.invert else ("Sub", "Div")
    constants: list[Any] = [deviation, mean] if layer.invert else [mean, deviation]
    name = graph.add(first, flow.name, graph.weight("first", constants[0]))
    name = graph.add(second, name, graph.weight("second", constants[1]))
    return flow.moved(name, zeroed=False)


def add_rescaling(graph: Graph, layer: Rescaling, flow: Flow, key: str | None) -> Flow:
    """Add a `Rescaling`; see `add_layer`."""
    flow = _last(graph, flow)
    scale, offset = layer._constants(graph.dtype)
    name = graph.add("Mul", flow.name, graph.weight("scale", scale))
    if offset.any():
        name = graph.add("Add", name, graph.weight("offset", offset))
    return flow.moved(name, zeroed=flow.zeroed and not offset.any())


def add_masking(graph: Graph, layer: Masking, flow: Flow, key: str | None) -> Flow:
    """Add a `Masking`, which counts the steps that are not masked; see `add_layer`."""
    flow = graph.natural(flow)
    same = graph.add("Equal", flow.name, graph.number(layer.mask_value))
    other = graph.add("Cast", graph.add("Not", same), to=tensor_type(np.int64))
    valid = graph.reduce("ReduceMax", other, 2)
    result = flow.moved(flow.name, lengths=Lengths(int64=graph.reduce("ReduceSum", valid, 1)))
    return result.moved(graph.filled(result), zeroed=True)


def _last(graph: Graph, flow: Flow) -> Flow:
    """Return the flow with the features on the last axis."""
    return flow if flow.axes[-1] == "C" else graph.natural(flow)
