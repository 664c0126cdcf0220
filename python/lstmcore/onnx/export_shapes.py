"""The export of layers that rearrange values."""

import numpy as np

from lstmcore.layers import Flatten, Permute, RepeatVector, Reshape
from lstmcore.onnx.export_graph import Flow, Graph, own_axes

__all__ = ["add_flatten", "add_permute", "add_repeat", "add_reshape"]


def add_flatten(graph: Graph, layer: Flatten, flow: Flow, key: str | None) -> Flow:
    """Add a `Flatten`; see `add_layer`."""
    width = int(np.prod([size or 1 for size in flow.shape[1:]]))
    return _reshaped(graph, flow, (width,))


def add_reshape(graph: Graph, layer: Reshape, flow: Flow, key: str | None) -> Flow:
    """Add a `Reshape`; see `add_layer`."""
    return _reshaped(graph, flow, layer._sizes)


def _reshaped(graph: Graph, flow: Flow, sizes: tuple[int | None, ...]) -> Flow:
    whole = _whole(graph, flow)
    target = graph.integers(0, *(-1 if size is None else size for size in sizes))
    shape = (flow.shape[0], *sizes)
    return Flow(graph.add("Reshape", whole.name, target), own_axes(len(shape)), shape)


def add_permute(graph: Graph, layer: Permute, flow: Flow, key: str | None) -> Flow:
    """Add a `Permute`; see `add_layer`."""
    shape = (flow.shape[0], *(flow.shape[axis] for axis in layer.dims))
    if layer.dims[0] == 1:  # steps remain steps
        flow = graph.natural(flow)
        name = graph.add("Transpose", flow.name, perm=[0, *layer.dims])
        return flow.moved(name, shape=shape)
    whole = _whole(graph, flow)
    name = graph.add("Transpose", whole.name, perm=[0, *layer.dims])
    return Flow(name, own_axes(len(shape)), shape)


def add_repeat(graph: Graph, layer: RepeatVector, flow: Flow, key: str | None) -> Flow:
    """Add a `RepeatVector`; see `add_layer`."""
    step = graph.add("Unsqueeze", flow.name, graph.integers(1))
    name = graph.add("Expand", step, graph.integers(1, layer.n, 1))
    return Flow(name, "NTC", (flow.shape[0], layer.n, flow.shape[1]))


def _whole(graph: Graph, flow: Flow) -> Flow:
    """Return the flow in the model's order, with zeros past each row's length."""
    flow = graph.natural(flow)
    return flow.moved(graph.filled(flow), lengths=None) if len(flow.axes) > 2 else flow
