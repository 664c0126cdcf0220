"""Types of the values between parts: ONNX Runtime requires them of the inputs of a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from lstmcore.onnx.graph import STANDARD_DOMAINS, Node, graphs_of
from lstmcore.onnx.scope import Scope

__all__ = [
    "NUMPY_TYPES",
    "annotated",
    "is_numpy",
    "parsed_type",
    "register_types",
    "set_body_types",
    "set_types",
    "set_types_from_bodies",
    "width_of",
]

SMALL = 1024
"""Shape inference reads the numbers of initializers up to this size: shapes to reshape to."""

NUMPY_TYPES = frozenset(
    TensorProto.DataType.Value(name)
    for name in (
        *("FLOAT", "DOUBLE", "FLOAT16", "BOOL"),
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    )
)


def annotated(model: Any) -> Any:
    """Return a copy of a model's graph with the types of its values, without large initializers.

    Types that the file itself claims for values that nodes compute are not trusted: they may be
    those of another batch.
    """
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(onnx.ValueInfoProto(name=entry.name) for entry in model.graph.output)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 0 or _count(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.initializer.append(
                TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            )
    _standard(graph)
    try:
        return onnx.shape_inference.infer_shapes(light).graph
    except MemoryError:
        raise
    except Exception:  # the classes are the library's; what is wrong is reported where it matters
        return graph


def _count(sizes: Iterable[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _standard(graph: Any) -> None:
    """Write the standard's domain in one way, the only one that the reference knows."""
    for proto in graph.node:
        if proto.domain in STANDARD_DOMAINS:
            proto.domain = ""
        for inner in graphs_of(proto):
            _standard(inner)


def register_types(graph: Any, scope: Scope, names: dict[str, str] | None = None) -> None:
    """Enter the types that a graph declares, or that were inferred; `names` renames values."""
    for entry in (*graph.input, *graph.value_info, *graph.output):
        if entry.HasField("type") and entry.type.WhichOneof("value") is not None:
            name = entry.name if names is None else names.get(entry.name, entry.name)
            scope.types.setdefault(name, entry.type)
    for tensor in graph.initializer:
        name = tensor.name if names is None else names.get(tensor.name, tensor.name)
        scope.types[name] = tensor_type(tensor.data_type, tensor.dims)


def tensor_type(kind: int, sizes: Iterable[int | str | None] | None = None) -> Any:
    """Make the type of a tensor; sizes that are no numbers are left open."""
    shape = None if sizes is None else [s if isinstance(s, int) else None for s in sizes]
    return onnx.helper.make_tensor_type_proto(kind, shape)


def width_of(kind: Any) -> int:
    """Return the bytes of an element."""
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
        return int(np.dtype(dtype).itemsize)
    except KeyError:
        return 8


def parsed_type(text: str, sizes: Iterable[int | str | None] | None) -> Any:
    """Read a type as ONNX Runtime writes it, such as ``tensor(float)``; None if it is unknown."""
    outer, _, inner = text.partition("(")
    if outer == "tensor" and inner.endswith(")"):
        name = inner[:-1].upper()
        if name in TensorProto.DataType.keys():  # noqa: SIM118, an enumeration of protobuf's
            return tensor_type(TensorProto.DataType.Value(name), sizes)
    if outer == "seq" and inner.endswith(")"):
        element = parsed_type(inner[:-1], None)
        return None if element is None else onnx.helper.make_sequence_type_proto(element)
    return None


def is_numpy(kind: Any) -> bool:
    """Return whether NumPy has a type, or the type is not known."""
    if kind is None:
        return True
    if not kind.HasField("tensor_type"):
        return False
    return kind.tensor_type.elem_type in NUMPY_TYPES or kind.tensor_type.elem_type == 0


def set_types(node: Node, scope: Scope) -> None:
    """Enter the types of what a node that runs outside ONNX Runtime computes, if still unknown."""
    if node.operator in ("If", "Loop", "Scan"):
        return  # entered with their bodies' types
    for place, name in enumerate(node.outputs):
        if name and scope.type_of(name) is None:
            kind = _kind(node, scope)
            if kind is not None:
                scope.types[name] = _layer_type(node, place, kind) or tensor_type(kind)


def _kind(node: Node, scope: Scope) -> int | None:
    """Return the element type of a node's outputs."""
    if node.operator in ("Shape", "Equal", "Greater", "Less", "Not"):
        return int(TensorProto.INT64 if node.operator == "Shape" else TensorProto.BOOL)
    if node.operator == "Cast":
        return int(node.get("to"))
    if node.operator == "ConstantOfShape":
        value = node.get("value")
        return int(TensorProto.FLOAT if value is None else value.data_type)
    given = scope.type_of(node.inputs[0])
    return None if given is None else int(given.tensor_type.elem_type)


def _layer_type(node: Node, place: int, kind: int) -> Any:
    """Return the type of an output of a recurrent node, with the sizes that the node fixes."""
    hidden = node.get("hidden_size")
    if hidden is None or not node.operator.endswith("LSTM"):
        return None
    directions = 2 if node.get("direction") == "bidirectional" else 1
    if node.get("layout", 0):
        sizes = [None, None, directions, hidden] if place == 0 else [None, directions, hidden]
    else:
        sizes = [None, directions, None, hidden] if place == 0 else [directions, None, hidden]
    return tensor_type(kind, sizes)


def set_body_types(node: Node, arguments: Sequence[Any], inner: Scope, outer: Scope) -> None:
    """Enter types of a body's inputs that it does not declare: those of the node's own inputs."""
    if node.operator == "Loop":
        given = [
            tensor_type(TensorProto.INT64, ()),
            tensor_type(TensorProto.BOOL),
            *(outer.type_of(name) for name in node.inputs[2:]),
        ]
    else:
        given = [outer.type_of(name) for name in node.inputs]
    for argument, kind in zip(arguments, given, strict=False):
        if argument.name not in inner.types and kind is not None:
            inner.types[argument.name] = _without_sizes(kind)


def set_types_from_bodies(node: Node, bodies: Sequence[Any], outer: Scope) -> None:
    """Enter the types of a loop's or branch's outputs that are unknown: those of its bodies."""
    for body in bodies:
        results = body.results[1:] if node.operator == "Loop" else body.results
        for name, result in zip(node.outputs, results, strict=False):
            kind = body.scope.type_of(result.name)
            if name and outer.type_of(name) is None and kind is not None:
                outer.types[name] = _without_sizes(kind)


def _without_sizes(kind: Any) -> Any:
    """Return a type without its sizes, which may differ between steps and between branches."""
    if not kind.HasField("tensor_type"):
        return kind
    return tensor_type(kind.tensor_type.elem_type)
