"""Sizes of constants, and the work that they take, are known before anything computes them.

Each constant node is measured after those that it depends on. The standard's inference finds the
shapes of most outputs from the shapes and the numbers of the inputs. Where it does not, since the
result depends on what a tensor holds, the inputs give an upper bound; that is compared with the
limits, and the node is computed at once, alone, so that those that use it know its real size.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from lstmcore._typing import Array
from lstmcore.onnx.collecting import ITEM
from lstmcore.onnx.constants import constant_value
from lstmcore.onnx.contrib import RUNTIMES
from lstmcore.onnx.folding import MEASURES
from lstmcore.onnx.graph import Node, schema_of
from lstmcore.onnx.limits import elements, limits
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.types import tensor_type, width_of
from lstmcore.onnx.work import held, multiplications, sizes_of_letters

__all__ = ["SMALL", "infer", "is_complete", "known_sizes", "measure", "settle"]

WIDENING = frozenset(("Cast", "CastLike", "DequantizeLinear"))
"""Operators that make small weights usable. They are not counted for weights that the file stores:
4 bits become at most 32."""

SMALL = 1024
"""Numbers of an input that are worth reading; no array has so many axes."""

TEXT = 32
"""Bytes of a text besides its letters."""

WIDTH_WITHIN = 4
"""Bytes of a number that an operator holds for itself, at least."""

WIDEST = 8
"""Bytes of an element whose type is not known, in operators of the standard."""

WITHIN = frozenset(
    (
        *("Compress", "ConcatFromSequence", "OptionalGetElement", "OptionalHasElement"),
        *("SequenceAt", "SequenceLength", "Unique"),
    )
)
"""Operators whose outputs have at most as many elements, each, as their inputs together."""

QUANTIZERS = frozenset(("DequantizeLinear", "QuantizeLinear"))
"""Operators that ONNX Runtime has in a domain of its own too, where no inference knows them."""

OLD = 9
"""The standard's version before which many operators have no inference, nor broadcasting of both
inputs: what is not known of them has at most the elements of the largest input."""


# ---- types ---------------------------------------------------------------------------------------


def is_complete(kind: Any) -> bool:
    """Return whether all sizes of a type are known."""
    if kind is None or not kind.HasField("tensor_type"):
        return False
    tensor = kind.tensor_type
    return tensor.HasField("shape") and all(s.HasField("dim_value") for s in tensor.shape.dim)


def known_sizes(kind: Any) -> list[int] | None:
    """Return the sizes of a type, 1 where one is not known; None if their number is not known."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return [max(size.dim_value, 1) for size in kind.tensor_type.shape.dim]


def infer(node: Node, scope: Scope) -> None:
    """Enter the types of a constant node's outputs, as far as they follow from its inputs.

    The inference over the whole graph knows no numbers that nodes compute, and within graphs of
    nodes, types may be what the file claims. Both are replaced.
    """
    names = [name for name in node.outputs if name]
    claimed = {name: scope.types.pop(name, None) for name in names}
    if node.domain:
        _infer_quantizer(node, scope)
        return
    schema = schema_of(node.operator, node.opset, "")
    types = {name: scope.type_of(name) for name in node.inputs if name}
    if schema is None or None in types.values():
        return
    for computing in (False, True):
        found = _inferred(node, schema, types, _numbers(node, scope, computing))
        scope.types.update({name: kind for name, kind in found.items() if name in claimed})
        if all(is_complete(scope.types.get(name)) for name in names):
            return


def _inferred(node: Node, schema: Any, types: dict[str, Any], data: dict[str, Any]) -> Any:
    imports = [onnx.helper.make_opsetid("", node.opset)]
    try:
        return onnx.shape_inference.infer_node_outputs(
            schema, node.proto, types, data, opset_imports=imports
        )
    except MemoryError:
        raise
    except Exception:  # the classes are the library's; what is wrong is reported where it matters
        return {}


def _numbers(node: Node, scope: Scope, computing: bool) -> dict[str, Any]:
    """Return the inputs with few numbers, as tensors; those that nodes make only if `computing`."""
    found = {}
    for name in filter(None, node.inputs):
        home, kind = scope.home(name), scope.type_of(name)
        ready = home is not None and (name in home.tensors or name in home.constants)
        if not (ready or computing) or not is_complete(kind):
            continue
        if kind.tensor_type.elem_type == TensorProto.STRING or _elements(name, scope) > SMALL:
            continue
        value: Array | None
        try:
            value = constant_value(name, scope)
        except ValueError:  # of a type that NumPy does not have; what else is wrong is found later
            continue
        if value is not None and value.size <= SMALL and value.dtype.kind in "iuf":
            found[name] = numpy_helper.from_array(value)
    return found


def _infer_quantizer(node: Node, scope: Scope) -> None:
    """Enter the type of what a quantizer of ONNX Runtime's own makes: in the shape of its input."""
    kind = scope.type_of(node.inputs[0]) if node.inputs else None
    if node.operator not in QUANTIZERS or not is_complete(kind) or len(node.inputs) < 2:
        return
    place = 1 if node.operator == "DequantizeLinear" else 2
    like = scope.type_of(node.inputs[place]) if node.has_input(place) else None
    element = TensorProto.UINT8 if like is None else like.tensor_type.elem_type
    scope.types[node.outputs[0]] = tensor_type(element, known_sizes(kind))


# ---- sizes ---------------------------------------------------------------------------------------


def measure(node: Node, scope: Scope, made: float) -> None:
    """Compare the outputs of a constant node with the limits, after `infer`.

    Parameters
    ----------
    node : Node
    scope : Scope
    made : float
        Elements that its numbers make; 1 if none do.

    Raises
    ------
    ValueError
        If an output is too large, if the constants are so far, in bytes or in the multiplications
        that they take, or if nothing is known of a size.
    """
    total, size, widest = 0, 0, WIDTH_WITHIN
    for name in filter(None, node.outputs):
        kind = scope.types.get(name)
        if is_complete(kind):
            count = elements(known_sizes(kind) or ())
        else:
            count = scope.most[name] = _most_elements(node, scope, made)
        width = _width(node, kind, name, scope)
        items = _items(node, kind, name, scope)
        limits().check_bytes(node, max(count, made) * width + items if made == made else made)
        count = max(count, int(made))
        total, widest = total + count, max(widest, width)
        size += count * width + items
        if not (node.operator in WIDENING and _is_stored(node.inputs[0], scope)):
            limits().spend(node, count * width + items)
    shapes = _shapes(node, scope)
    work = multiplications(node, shapes, total)
    limits().multiply(node, work)
    scope.costs.update((name, (size, work)) for name in node.outputs if name)
    limits().hold(node, held(node, shapes, total) * widest)
    limits().read_again(node, _read_again(node, scope))


def _read_again(node: Node, scope: Scope) -> int:
    """Return the bytes of the inputs that another constant is computed from too."""
    total = 0
    for name in {*filter(None, node.inputs)} if node.operator not in MEASURES else ():
        home = scope.home(name)
        if home is None:
            continue
        if name in home.read:
            tensor = _within(scope.type_of(name))
            text = tensor is not None and tensor.elem_type == TensorProto.STRING
            width = TEXT + _longest(name, scope) if text else _width_of(tensor)
            total += _elements(name, scope) * width
        home.read.add(name)
    return total


def _is_stored(name: str, scope: Scope) -> bool:
    """Return whether a constant's bytes are those of the file."""
    home = scope.home(name)
    if home is None:
        return False
    source = home.sources.get(name)
    return name in home.tensors or (source is not None and source.operator == "Constant")


def settle(node: Node, scope: Scope) -> None:
    """Compute a constant node, which is entered in `scope`, if its inputs fix no size of it."""
    for name in filter(None, node.outputs):
        kind = scope.types.get(name)
        if is_complete(kind) or (kind is not None and not kind.HasField("tensor_type")):
            continue
        value = constant_value(name, scope)
        if value is None:
            continue
        element = (
            TensorProto.STRING
            if value.dtype.kind in "OUS"
            else onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        )
        scope.types[name] = tensor_type(element, value.shape)


def _shapes(node: Node, scope: Scope) -> list[list[int]]:
    """Return the shapes of the inputs; of those that have none, their elements."""
    found = []
    for name in node.inputs:
        kind = scope.type_of(name) if name else None
        if is_complete(kind):
            found.append(known_sizes(kind) or [])
        else:
            found.append([_elements(name, scope)] if name else [])
    return found


def _elements(name: str, scope: Scope) -> int:
    """Return the elements of a constant, or of all tensors in it, or an upper bound of them."""
    kind = scope.type_of(name)
    if is_complete(kind):
        return elements(known_sizes(kind) or ())
    home = scope.home(name)
    return 1 if home is None else home.most.get(name, 1)


def _most_elements(node: Node, scope: Scope, made: float) -> int:
    """Return an upper bound of the elements of an output whose shape the inputs do not fix."""
    names = [name for name in node.inputs if name]
    counts = [_elements(name, scope) for name in names]
    if node.operator == "NonZero" and names:
        return counts[0] * max(len(_shapes(node, scope)[0]), 1)
    if node.operator == "NonMaxSuppression" and len(counts) > 1:  # three numbers for each
        return 3 * counts[1]
    if node.operator == "StringSplit" and names:
        return counts[0] * max(_longest(names[0], scope), 1)
    if node.operator == "Einsum":
        sizes = sizes_of_letters(node, _shapes(node, scope))
        _, arrow, result = str(node.get("equation", "")).replace(" ", "").partition("->")
        kept = [k for k in sizes if not arrow or k in result or (k.isdigit() and "..." in result)]
        return elements(sizes[letter] for letter in kept)
    if made > 1:
        return int(min(made, limits().value + 1))
    kind = scope.types.get(next(filter(None, node.outputs), ""))
    listed = kind is not None and not kind.HasField("tensor_type")
    if node.operator in WITHIN or listed or (sum(counts) <= SMALL and node.domain != RUNTIMES):
        return sum(counts)
    if node.opset < OLD and not node.domain:
        return max(counts)
    if node.domain == RUNTIMES and limits().chosen:
        return sum(counts)
    advice = "; a memory_limit of lstmcore.onnx.load allows it" if node.domain == RUNTIMES else ""
    return node.fail(
        "expected a constant whose size follows from the sizes of its inputs, got one of "
        f"unknown size{advice}"
    )


# ---- widths --------------------------------------------------------------------------------------


def _width(node: Node, kind: Any, name: str, scope: Scope) -> int:
    """Return the bytes of an element of an output; those of a text with its letters."""
    if kind is None and not node.domain:
        return WIDEST
    tensor = _within(kind)
    if tensor is not None and tensor.elem_type != TensorProto.STRING:
        return _width_of(tensor)
    scope.texts[name] = _longest_text(node, scope)
    return TEXT + scope.texts[name]


def _width_of(tensor: Any) -> int:
    """Return the bytes of an element of a tensor's type, or of one that is not known."""
    return WIDEST if tensor is None else width_of(onnx.TypeProto(tensor_type=tensor))


def _within(kind: Any) -> Any:
    """Return the type of the tensors in a sequence or an optional value; None if there are none."""
    while kind is not None and not kind.HasField("tensor_type"):
        outer = kind.WhichOneof("value")
        if outer not in ("sequence_type", "optional_type"):
            return None
        kind = getattr(kind, outer).elem_type
    return None if kind is None else kind.tensor_type


def _items(node: Node, kind: Any, name: str, scope: Scope) -> int:
    """Return the bytes that the tensors of a sequence take besides their elements."""
    if kind is None or kind.HasField("tensor_type"):
        return 0
    if node.operator == "SplitToSequence":
        count = _elements(node.inputs[0], scope)
    else:
        homes = [(entry, scope.home(entry)) for entry in node.inputs if entry]
        count = sum(1 if home is None else home.items.get(entry, 1) for entry, home in homes)
    scope.items[name] = count
    return count * ITEM


def _longest_text(node: Node, scope: Scope) -> int:
    """Return an upper bound of the bytes of a text that a node makes, perhaps of its attributes."""
    lengths = [_longest(name, scope) for name in node.inputs if name]
    found = sum(lengths) if node.operator == "StringConcat" else max(lengths, default=0)
    if node.operator == "StringNormalizer":  # capitals may have more bytes
        found *= 3
    return found + int(node.proto.ByteSize())


def _longest(name: str, scope: Scope) -> int:
    """Return an upper bound of the bytes of a constant's texts."""
    home = scope.home(name)
    if home is None:
        return 0
    if name in home.tensors:
        return max(map(len, home.tensors[name].string_data), default=0)
    return home.texts.get(name, 0)
