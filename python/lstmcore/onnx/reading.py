"""Read model files, with the tensors that lie in other files, and with functions inlined."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import external_data_helper, inliner

from lstmcore._files import check_source
from lstmcore.onnx.bools import has_odd_bools, plain_bools
from lstmcore.onnx.graph import graphs_of
from lstmcore.onnx.limits import HELD, TIMES, elements, readable

__all__ = ["cost_of", "read_model"]

MOST_NODES, BYTES_OF_NODE = 1 << 12, 1 << 4
"""Nodes that a model with functions may have after these were inlined, and one more for so many
bytes of its file. Loading takes some 7 KiB for a node, most of it in ONNX Runtime."""

NODE = 1 << 9
"""Bytes that count like a node of none: loading makes up to 15 copies of what nodes have."""

COST_OF_NODE, COST_OF_SHARE = 1 << 11, 1 << 10
"""Bytes of constants that take about as much memory as a node, or a share of a graph.

Of nodes, only as many count as a file of 64 KiB may have: others are those of larger files.
"""

OWN_SHARES = 4
"""Shares of a graph of a loop or a branch, besides one for each level that it is deep.

ONNX Runtime takes some 5 KiB for a share, because each graph resolves the names of those around it.
"""

MOST_SHARES, BYTES_OF_SHARE = 3 << 12, 1 << 7
"""Shares that all such graphs of a model may have, and one more for so many bytes of its file."""


def read_model(source: Any) -> tuple[Any, int]:
    """Return a ModelProto, read from a path or from bytes if need be, with functions inlined.

    Returns
    -------
    model : onnx.ModelProto
    size : int
        Bytes that it had before its functions were inlined.

    Raises
    ------
    OSError
        If there is no such file.
    TypeError
        If `source` has another type.
    ValueError
        If it is not an ONNX model, or breaks the standard; if its tensors are said to have far more
        bytes in other files than these have, or its functions far more nodes than the file; if its
        nodes have too many graphs, counted by how deep they lie within each other.
    """
    if isinstance(source, onnx.ModelProto):
        model = source
    elif isinstance(source, (bytes, bytearray, memoryview)):
        try:
            model = onnx.load_model_from_string(bytes(source))
        except MemoryError:
            raise
        except Exception as error:  # the exception class belongs to the parsing library
            raise ValueError(
                f"model: expected an ONNX model, got {len(source)} bytes: {error}"
            ) from None
    elif isinstance(source, (str, os.PathLike)):
        check_source(source, "model")
        model = _read_file(os.fspath(source))
    else:
        raise TypeError(
            f"model: expected a path, bytes or an onnx.ModelProto, got {type(source).__name__}"
        )
    if not model.HasField("graph"):
        raise ValueError("model: expected an ONNX model, got one without a graph")
    size = model.ByteSize()
    if len(model.functions) > 0:
        _check_functions(model)
        try:
            model = inliner.inline_local_functions(model)
        except MemoryError:
            raise
        except Exception as error:  # of the library's classes
            raise ValueError(f"model: its functions cannot be inlined: {error}") from None
    _check_graphs(model, size)
    if any(map(has_odd_bools, _tensors(model.graph))):
        given, model = model, onnx.ModelProto()  # callers may go on with theirs
        model.CopyFrom(given)
        for tensor in filter(has_odd_bools, _tensors(model.graph)):
            tensor.raw_data = plain_bools(np.frombuffer(tensor.raw_data, bool)).tobytes()
    return model, size


def _read_file(path: Any) -> Any:
    try:
        model = onnx.load(path, load_external_data=False)
        folder = os.path.dirname(path)
        _check_external(model, folder)
        external_data_helper.load_external_data_for_model(model, folder)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the exception class belongs to the parsing library
        raise ValueError(f"model: {path}: expected an ONNX model: {error}") from None
    return model


# ---- tensors in other files ----------------------------------------------------------------------


def _check_external(model: Any, folder: Any) -> None:
    """Raise ValueError if tensors in other files have many times the bytes of these files."""
    files: dict[str, int] = {}
    total = 0
    for tensor in _tensors(model.graph):
        if not external_data_helper.uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = os.path.join(os.fsdecode(folder), entries.get("location", ""))
        try:
            size = files.setdefault(path, os.stat(path).st_size)
            begin, length = int(entries.get("offset") or 0), entries.get("length")
            total += max(size - begin, 0) if length is None else int(length)
        except (OSError, ValueError):
            return  # the library says what is wrong
        check_source(path, f"{tensor.name}: its data")
        _check_length(tensor, length)
    most = TIMES * (model.ByteSize() + sum(files.values())) + HELD
    if total > most:
        raise ValueError(
            f"its tensors take {readable(total)} of other files, which have "
            f"{readable(sum(files.values()))}: expected at most {readable(most)}"
        )


def _check_length(tensor: Any, length: str | None) -> None:
    """Raise ValueError unless the bytes of a tensor in another file are those of its shape."""
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        return
    if length is None or dtype.kind not in "biuf" or dtype.isbuiltin != 1:
        return
    expected = 0 if 0 in tensor.dims else elements(tensor.dims) * dtype.itemsize
    if int(length) != expected:
        raise ValueError(
            f"{tensor.name}: expected {expected} bytes in another file for {dtype} of shape "
            f"{tuple(tensor.dims)}, got {length}"
        )


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all tensors of a graph and of the graphs in it."""
    yield from graph.initializer
    for proto in graph.node:
        for entry in proto.attribute:
            if entry.type == onnx.AttributeProto.TENSOR:
                yield entry.t
            yield from entry.tensors
            for sparse in (entry.sparse_tensor, *entry.sparse_tensors):
                yield sparse.values
        for inner in graphs_of(proto):
            yield from _tensors(inner)


# ---- graphs within nodes -------------------------------------------------------------------------


def _check_graphs(model: Any, size: int) -> None:
    """Raise ValueError if there are too many graphs in others, counted by their depth.

    A model of `size` bytes may be larger now that its functions were inlined.
    """
    most = MOST_SHARES + size // BYTES_OF_SHARE
    waiting = [(model.graph, 0)]
    graphs = shares = 0
    while waiting:
        graph, level = waiting.pop()
        for number, proto in enumerate(graph.node):
            for inner in graphs_of(proto):
                graphs += 1
                shares += OWN_SHARES + level + 1
                if shares > most:
                    named = proto.name or next(filter(None, proto.output), number)
                    raise ValueError(
                        f"node {named!r} ({proto.op_type}): expected fewer graphs within nodes: at "
                        f"most {most} shares, {OWN_SHARES} for each graph and one for each level "
                        f"that it is deep, got more with {graphs} graphs, here {level + 1} deep"
                    )
                waiting.append((inner, level + 1))


def cost_of(graph: Any) -> int:
    """Return what the nodes of a graph, and the graphs in it, count as beside constants."""
    waiting = [(graph, 0)]
    total = nodes = 0
    while waiting:
        graph, level = waiting.pop()
        for proto in graph.node:
            nodes += NODE + _own_size(proto)
            for inner in graphs_of(proto):
                total += COST_OF_SHARE * (OWN_SHARES + level + 1)
                waiting.append((inner, level + 1))
    return total + COST_OF_NODE * min(nodes // NODE, 2 * MOST_NODES)


def _own_size(proto: Any) -> int:
    """Return the bytes of a node without those of the nodes in its graphs."""
    within = sum(entry.ByteSize() for inner in graphs_of(proto) for entry in inner.node)
    return int(proto.ByteSize() - within)


# ---- functions -----------------------------------------------------------------------------------


def _check_functions(model: Any) -> None:
    """Raise ValueError if functions call themselves, or are called too often within each other.

    Inlining puts the names and attributes of a call in the place of those of the function, which
    may be far shorter. Each is taken to be as long as the longest.
    """
    functions = {(entry.domain, entry.name): entry for entry in model.functions}
    counts: dict[tuple[str, str], int] = {}
    most = MOST_NODES + model.ByteSize() // BYTES_OF_NODE
    longest_name, largest_attribute = _longest_parts(model, functions)

    def own(proto: Any, called: bool) -> int:
        size = _own_size(proto)
        if called:
            size += longest_name * (len(proto.input) + len(proto.output))
            size += largest_attribute * sum(entry.ref_attr_name != "" for entry in proto.attribute)
        return NODE + size

    def count(nodes: Any, within: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for proto in nodes:
            total += own(proto, len(within) > 0)
            total += sum(count(inner.node, within) for inner in graphs_of(proto))
            key = (proto.domain, proto.op_type)
            if key not in functions:
                continue
            if key in within:
                raise ValueError(f"model: the function {proto.op_type!r} calls itself")
            if key not in counts:
                counts[key] = count(functions[key].node, (*within, key))
            total += counts[key]
        return total

    if (total := count(model.graph.node, ()) // NODE) > most:
        raise ValueError(
            f"model: its functions stand for {total} nodes, of which {NODE} bytes of names and "
            f"attributes count as one more: expected at most {most} for a file of this size"
        )


def _longest_parts(model: Any, functions: Collection[tuple[str, str]]) -> tuple[int, int]:
    """Return the bytes of the longest name of a value, and of the largest attribute of a call."""
    name = attribute = 0
    waiting = [model.graph.node, *(entry.node for entry in model.functions)]
    for entry in model.functions:
        attribute = max(attribute, *(e.ByteSize() for e in entry.attribute_proto), 0)
    while waiting:
        for proto in waiting.pop():
            name = max(name, *map(_letters, (*proto.input, *proto.output)), 0)
            if (proto.domain, proto.op_type) in functions:
                attribute = max(attribute, *(entry.ByteSize() for entry in proto.attribute), 0)
            waiting += [inner.node for inner in graphs_of(proto)]
    return name, attribute


def _letters(name: str | bytes) -> int:
    """Return the bytes of a name; protobuf gives one that is not UTF-8 as bytes."""
    return len(name if isinstance(name, bytes) else name.encode())
