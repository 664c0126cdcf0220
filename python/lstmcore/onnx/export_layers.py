"""The export of every layer except the recurrent ones."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lstmcore._typing import Shape
from lstmcore.layers import (
    LSTM,
    RNN,
    Activation,
    Attention,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    LayerNormalization,
    Masking,
    MaxPooling1D,
    Normalization,
    Permute,
    RepeatVector,
    Rescaling,
    Reshape,
    Residual,
    SpatialDropout1D,
    TextVectorization,
    TimeDistributed,
)
from lstmcore.onnx.export_graph import Flow, Graph, Lengths, own_axes, tensor_type
from lstmcore.onnx.export_recurrent import add_recurrent
from lstmcore.onnx.export_shapes import add_flatten, add_permute, add_repeat, add_reshape
from lstmcore.onnx.export_values import (
    activate,
    add_activation,
    add_batch_normalization,
    add_masking,
    add_normalization,
    add_rescaling,
    keeps_zero,
)

__all__ = ["add_layer"]

MAX_AXES = 5


def add_layer(graph: Graph, layer: Layer, flow: Flow, key: str | None) -> Flow:
    """Add the nodes of a layer.

    Parameters
    ----------
    graph : Graph
    layer : Layer
        Built.
    flow : Flow
        The layer's input.
    key : str or None
        Name of the states of recurrent layers; None: states are not exported.

    Returns
    -------
    Flow
        The layer's output.

    Raises
    ------
    ValueError
        If the layer, or one of its options, cannot be expressed in ONNX.
    """
    add = _LAYERS.get(type(layer))
    if add is None:
        reason = "its computation is not known"
        if isinstance(layer, TextVectorization):
            reason = "text is turned into ids outside the graph"
        raise ValueError(f"a {type(layer).__name__} cannot be expressed in ONNX: {reason}")
    return add(graph, layer, flow, key)


def _wider(flow: Flow, width: int) -> Shape:
    return (*flow.shape[:-1], width)


# ---- layers that process each step on its own --------------------------------------------------


def _dense(graph: Graph, layer: Dense, flow: Flow, key: str | None) -> Flow:
    if flow.axes[-1] != "C":
        flow = graph.natural(flow)
    weights = layer.weights
    result = graph.product(flow.name, weights["kernel"], weights.get("bias"))
    result = activate(graph, result, layer.activation)
    zeroed = flow.zeroed and not layer.use_bias and keeps_zero(layer.activation)
    return flow.moved(result, shape=_wider(flow, layer.units), zeroed=zeroed)


def _nothing(graph: Graph, layer: Layer, flow: Flow, key: str | None) -> Flow:
    """Add nothing for a layer that acts in training only."""
    return flow


def _embedding(graph: Graph, layer: Embedding, flow: Flow, key: str | None) -> Flow:
    lengths = flow.lengths
    if layer.mask_zero:
        there = graph.add("Not", graph.add("Equal", flow.name, graph.integer(0)))
        counts = graph.add("Cast", there, to=tensor_type(np.int64))
        lengths = Lengths(int64=graph.reduce("ReduceSum", counts, 1))
    table = graph.weight("embeddings", layer.weights["embeddings"])
    result = graph.add("Gather", table, flow.name, axis=0)
    shape = (*flow.shape, layer.output_dim)
    return Flow(result, own_axes(len(shape)), shape, lengths)


def _layer_normalization(
    graph: Graph, layer: LayerNormalization, flow: Flow, key: str | None
) -> Flow:
    if flow.axes[-1] != "C":
        flow = graph.natural(flow)
    gamma, beta = (layer.weights.get(name) for name in ("gamma", "beta"))
    result = flow.moved(
        graph.normalized(flow.name, flow.width, layer.epsilon, gamma, beta), zeroed=False
    )
    return result.moved(graph.filled(result), zeroed=flow.lengths is not None)


def _time_distributed(graph: Graph, layer: TimeDistributed, flow: Flow, key: str | None) -> Flow:
    """Fold time into the batch, and unfold it afterwards.

    A layer that works only on the last axis does not need that.
    """
    inner, outer = layer.layer, graph.scope
    if type(inner) in (Activation, Dense, Dropout, GaussianNoise, LayerNormalization, Rescaling):
        result = add_layer(graph, inner, flow.moved(flow.name, lengths=None, zeroed=False), None)
        return result.moved(result.name, lengths=flow.lengths)
    flow = graph.natural(flow)
    shape = graph.once(("shape", flow.name), lambda: graph.add("Shape", flow.name))
    rest, ends = graph.integers(2), graph.integers(MAX_AXES)
    inside = graph.integers(-1)
    if len(flow.axes) > 2:
        inside = graph.add("Concat", inside, graph.add("Slice", shape, rest, ends), axis=0)
    steps = Flow(
        graph.add("Reshape", flow.name, inside),
        "N" if len(flow.axes) == 2 else own_axes(len(flow.axes) - 1),
        (None, *flow.shape[2:]),
    )
    graph.scope = f"{outer}/each"
    result = graph.natural(add_layer(graph, inner, steps, None))
    graph.scope = outer
    begins = graph.add("Slice", shape, graph.integers(0), rest)
    after = graph.add("Shape", result.name)
    back = graph.add("Slice", after, graph.integers(1), ends)
    unfolded = graph.add("Reshape", result.name, graph.add("Concat", begins, back, axis=0))
    whole = (*flow.shape[:2], *result.shape[1:])
    return Flow(unfolded, own_axes(len(whole)), whole, flow.lengths)


def _residual(graph: Graph, layer: Residual, flow: Flow, key: str | None) -> Flow:
    outer, inner = graph.scope, flow
    for place, member in enumerate(layer.layers):
        graph.scope = f"{outer}/{place}"
        try:
            inner = add_layer(graph, member, inner, key and f"{key}.{place}")
        except ValueError as error:
            raise ValueError(f"layers[{place}]: {error}") from None
    graph.scope = outer
    straight = flow
    kernel = layer.weights.get("projection.kernel")
    if kernel is not None:
        straight = graph.natural(flow) if flow.axes[-1] != "C" else flow
        name = graph.product(straight.name, kernel, None, "projection.")
        straight = straight.moved(name, shape=_wider(flow, kernel.shape[1]))
    total = graph.add("Add", graph.arranged(straight, inner.axes), inner.name)
    result = inner.moved(total, lengths=flow.lengths, zeroed=straight.zeroed and inner.zeroed)
    if len(inner.axes) < 3:
        return result
    return result.moved(graph.filled(result), zeroed=flow.lengths is not None)


# ---- pooling of whole sequences ----------------------------------------------------------------


def _pooled(flow: Flow, name: str) -> Flow:
    return Flow(name, "NC", (flow.shape[0], flow.shape[-1]))


def _only_present(graph: Graph, lengths: Lengths, name: str) -> str:
    """Return the values, with zeros for rows without valid steps."""
    return graph.add("Where", graph.present(lengths, 1), name, graph.number(0.0))


def _global_max(graph: Graph, layer: GlobalMaxPooling1D, flow: Flow, key: str | None) -> Flow:
    values = graph.filled(flow, -math.inf)
    result = graph.reduce("ReduceMax", values, flow.axes.index("T"))
    if flow.lengths is not None:
        result = _only_present(graph, flow.lengths, result)
    return _pooled(flow, result)


def _global_average(
    graph: Graph, layer: GlobalAveragePooling1D, flow: Flow, key: str | None
) -> Flow:
    axis = flow.axes.index("T")
    if flow.lengths is None:
        return _pooled(flow, graph.reduce("ReduceMean", flow.name, axis))
    total = graph.reduce("ReduceSum", graph.filled(flow), axis)
    counts = graph.add("Max", graph.lengths64(flow.lengths), graph.integer(1))
    divisor = graph.add("Cast", counts, to=tensor_type(graph.dtype))
    result = graph.add("Div", total, graph.add("Unsqueeze", divisor, graph.integers(1)))
    return _pooled(flow, result)


def _attention(graph: Graph, layer: Attention, flow: Flow, key: str | None) -> Flow:
    weights = layer.weights
    additive = layer.kind == "additive"
    values = graph.filled(graph.arrange(flow, "NTC"))
    flow = flow.moved(values, "NTC")
    keys = graph.product(values, weights["kernel"], weights.get("bias"))
    if additive:
        keys = graph.add("Tanh", keys)
    query = weights["score" if additive else "query"]
    if layer.scale:
        query = query * query.dtype.type(1.0 / math.sqrt(len(query)))
    name = "score" if additive else "query"
    scores = graph.add("MatMul", keys, graph.weight(name, query[:, None]))  # (N, T, 1)
    if flow.lengths is not None:
        there = graph.mask(flow)
        scores = graph.add("Where", there, scores, graph.number(-math.inf))
        shares = graph.add("Softmax", scores, axis=1)
        # The softmax of a row without valid steps is undefined.
        shares = graph.add("Where", there, shares, graph.number(0.0))
    else:
        shares = graph.add("Softmax", scores, axis=1)
    mean = graph.reduce("ReduceSum", graph.add("Mul", shares, values), 1)
    return _pooled(flow, mean)


# ---- windows over time -------------------------------------------------------------------------


def _conv1d(graph: Graph, layer: Conv1D, flow: Flow, key: str | None) -> Flow:
    size, stride, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    padding = layer.padding
    lengths = _windows(graph, flow.lengths, size, stride, padding, dilation)
    shape = (flow.shape[0], _steps(layer, flow), layer.filters)
    pads = _same_pads(size, stride, dilation) if padding == "same" else (0, 0)
    if padding == "causal":
        pads = ((size - 1) * dilation, 0)
    if pads is None and (flow.lengths is not None or dilation > 1 or stride > size):
        windows = _gathered(graph, flow, size, stride, dilation, 0.0)  # (N, T', K, C)
        joined = graph.add("Reshape", windows, graph.integers(0, 0, size * flow.width))
        name = graph.product(joined, kernel.reshape(-1, layer.filters), bias)
        axes = "NTC"
    else:
        columns = graph.arranged(flow.moved(graph.filled(flow)), "NCT")
        name = graph.add(
            "Conv",
            columns,
            graph.weight("kernel", kernel.transpose(2, 1, 0)),
            "" if bias is None else graph.weight("bias", bias),
            kernel_shape=[size],
            strides=[stride],
            dilations=[dilation],
            **_padding(pads),
        )
        axes = "NCT"
    name = activate(graph, name, layer.activation, axes.index("C"))
    result = Flow(name, axes, shape, lengths)
    return result.moved(graph.filled(result), zeroed=lengths is not None)


def _max_pooling(graph: Graph, layer: MaxPooling1D, flow: Flow, key: str | None) -> Flow:
    size = layer.pool_size
    stride = size if layer.strides is None else layer.strides
    lengths = _windows(graph, flow.lengths, size, stride, layer.padding, 1)
    shape = (flow.shape[0], _steps(layer, flow), flow.shape[-1])
    pads = _same_pads(size, stride, 1) if layer.padding == "same" else (0, 0)
    if pads is None and (flow.lengths is not None or stride > size):
        windows = _gathered(graph, flow, size, stride, 1, -math.inf)
        name, axes = graph.reduce("ReduceMax", windows, 2), "NTC"
    else:
        columns = graph.arranged(flow.moved(graph.filled(flow, -math.inf)), "NCT")
        name = graph.add(
            "MaxPool", columns, kernel_shape=[size], strides=[stride], **_padding(pads)
        )
        axes = "NCT"
    result = Flow(name, axes, shape, lengths)
    return result.moved(graph.filled(result), zeroed=lengths is not None)


def _average_pooling(graph: Graph, layer: AveragePooling1D, flow: Flow, key: str | None) -> Flow:
    size, stride, padding = layer.pool_size, layer._step, layer.padding
    lengths = _windows(graph, flow.lengths, size, stride, padding, 1)
    shape = (flow.shape[0], _steps(layer, flow), flow.shape[-1])
    pads = _same_pads(size, stride, 1) if padding == "same" else (0, 0)
    cut = flow.lengths is not None and padding == "same"  # windows end with each row
    if cut or (pads is None and stride > size):
        totals, counts = (
            graph.reduce("ReduceSum", _gathered(graph, one, size, stride, 1, 0.0), 2)
            for one in (flow, _ones(graph, flow))
        )
        least = graph.add("Max", counts, graph.number(1.0))
        name, axes = graph.add("Div", totals, least), "NTC"
    else:
        columns = graph.arranged(flow.moved(graph.filled(flow)), "NCT")
        options = {"kernel_shape": [size], "strides": [stride], **_padding(pads)}
        name, axes = graph.add("AveragePool", columns, **options), "NCT"
    result = Flow(name, axes, shape, lengths)
    return result.moved(graph.filled(result), zeroed=lengths is not None)


def _ones(graph: Graph, flow: Flow) -> Flow:
    """Return a 1 for each step of a flow."""
    values = graph.arranged(flow, "NTC")
    ends = graph.add("Slice", graph.add("Shape", values), graph.integers(0), graph.integers(2))
    whole = graph.add("Concat", ends, graph.integers(1), axis=0)
    name = graph.add("Expand", graph.number(1.0), whole)
    return Flow(name, "NTC", (*flow.shape[:2], 1), flow.lengths)


def _steps(layer: Layer, flow: Flow) -> int | None:
    steps = flow.shape[1]
    return None if steps is None else int(layer.output_lengths(np.array([steps]))[0])


def _same_pads(size: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """Return the padding of "same" at both ends; None if it depends on the sequence's length."""
    if stride > 1 and size > 1:
        return None
    total = (size - 1) * dilation
    return total // 2, total - total // 2


def _padding(pads: tuple[int, int] | None) -> dict[str, Any]:
    """Return the attributes for padding at both ends.

    SAME_UPPER would cut off steps if strides are longer than a window, and ONNX Runtime supports it
    only without dilation. In these cases, and where rows have lengths, windows are gathered.
    """
    return {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": list(pads)}


def _windows(
    graph: Graph, lengths: Lengths | None, size: int, stride: int, padding: str, dilation: int
) -> Lengths | None:
    """Count the windows of each row."""
    span = (size - 1) * dilation + 1
    if lengths is None or (stride == 1 and (padding != "valid" or span == 1)):
        return lengths
    name = graph.lengths64(lengths)
    shift = stride - (span if padding == "valid" else 1)
    shifted = graph.add("Add", name, graph.integer(shift))
    # Integer division rounds towards zero.
    counts = graph.add("Max", shifted, graph.integer(0)) if shift < 0 else shifted
    return Lengths(int64=graph.add("Div", counts, graph.integer(stride)))


def _gathered(
    graph: Graph, flow: Flow, size: int, stride: int, dilation: int, outside: float
) -> str:
    """Return the windows (N, T', K, C) of "same", whose position depends on each row's length.

    A row's padding is divided between its own two ends, so the windows of one index begin at
    different steps in different rows.
    """
    values = graph.arranged(flow, "NTC")
    span, one, zero = (size - 1) * dilation + 1, graph.integer(1), graph.integer(0)
    steps, rows = graph.size(values, 1), graph.size(values, 0)
    whole = graph.add("Unsqueeze", steps, graph.integers(0))
    lengths = whole if flow.lengths is None else graph.lengths64(flow.lengths)

    def count(name: str) -> str:
        padded = graph.add("Add", name, graph.integer(stride - 1))
        return graph.add("Div", padded, graph.integer(stride))

    def covered(name: str) -> str:
        """Return the number of steps that the windows cover: (windows - 1) stride + span."""
        scaled = graph.add("Mul", count(name), graph.integer(stride))
        return graph.add("Add", scaled, graph.integer(span - stride))

    missing = graph.add("Max", graph.add("Sub", covered(lengths), lengths), zero)
    before = graph.add("Div", missing, graph.integer(2))  # (N,)
    begins = graph.add("Mul", graph.add("Range", zero, count(steps), one), graph.integer(stride))
    first = graph.add(  # (N, T')
        "Sub",
        graph.add("Unsqueeze", begins, graph.integers(0)),
        graph.add("Unsqueeze", before, graph.integers(1)),
    )
    offsets = graph.integers(*(place * dilation for place in range(size)))
    at = graph.add("Add", graph.add("Unsqueeze", first, graph.integers(2)), offsets)  # (N, T', K)
    ends = graph.add("Unsqueeze", lengths, graph.integers(1, 2))
    inside = graph.add("And", graph.add("GreaterOrEqual", at, zero), graph.add("Less", at, ends))
    safe = graph.add("Where", inside, at, zero)
    starts = graph.add("Mul", graph.add("Range", zero, rows, one), steps)
    place = graph.add("Add", safe, graph.add("Unsqueeze", starts, graph.integers(1, 2)))
    flat = graph.add("Reshape", values, graph.integers(-1, flow.width))
    found = graph.add("Gather", flat, place, axis=0)
    kept = graph.add("Unsqueeze", inside, graph.integers(3))
    return graph.add("Where", kept, found, graph.number(outside))


_Adder = Callable[[Graph, Any, Flow, str | None], Flow]

_LAYERS: dict[type, _Adder] = {
    Activation: add_activation,
    Attention: _attention,
    AveragePooling1D: _average_pooling,
    BatchNormalization: add_batch_normalization,
    Bidirectional: add_recurrent,
    Conv1D: _conv1d,
    Dense: _dense,
    Dropout: _nothing,
    Embedding: _embedding,
    Flatten: add_flatten,
    GaussianNoise: _nothing,
    GlobalAveragePooling1D: _global_average,
    GlobalMaxPooling1D: _global_max,
    LSTM: add_recurrent,
    LayerNormalization: _layer_normalization,
    Masking: add_masking,
    MaxPooling1D: _max_pooling,
    Normalization: add_normalization,
    Permute: add_permute,
    RNN: add_recurrent,
    RepeatVector: add_repeat,
    Rescaling: add_rescaling,
    Reshape: add_reshape,
    Residual: _residual,
    SpatialDropout1D: _nothing,
    TimeDistributed: _time_distributed,
}
