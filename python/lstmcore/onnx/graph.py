"""The contents of a model file as plain Python: nodes with attributes, constants, inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from lstmcore._typing import Array

__all__ = [
    "NEWEST_OPSET",
    "RANDOM",
    "Argument",
    "Node",
    "Sizes",
    "argument_of",
    "array_of",
    "element_type",
    "graphs_of",
    "label_of",
    "STANDARD_DOMAINS",
    "mentioned",
    "never_ends",
    "node_of",
    "opset_of",
    "schema_of",
    "wanted_names",
]

NEWEST_OPSET = 28
"""The newest version of the standard's operators whose official test cases were run."""

STANDARD_DOMAINS = ("", "ai.onnx")

RANDOM = frozenset(
    (
        *("Bernoulli", "Dropout", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    )
)
"""Operators whose results may differ from run to run."""

Sizes: TypeAlias = "tuple[int | str | None, ...]"
"""A shape: sizes, or their names, or None where they are not known."""


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes
    ----------
    operator, name : str
        The operator, and the node's name, which errors show.
    domain : str
        Domain of the operator; empty for the standard's own.
    inputs, outputs : tuple of str
        Names of values; an empty name stands for one that is omitted.
    attributes : dict
        Numbers, strings, tensors and graphs (as ONNX's messages) and lists of them.
    opset : int
        Version of the standard's operators.
    proto : onnx.NodeProto
        The node as it is stored.
    reads : tuple of str
        The inputs, and the values of the graph around it that its own graphs use.
    constants : list of (ndarray or None)
        The constant inputs, None for others; filled in for nodes that run outside ONNX Runtime, and
        emptied when the node's function is built, which may have packed them.
    opened : bool
        Whether its graphs hold recurrent nodes, so that they run here, one by one.
    """

    operator: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    proto: Any = field(default=None, compare=False, repr=False)
    reads: tuple[str, ...] = ()
    constants: list[Array | None] = field(default_factory=list, compare=False, repr=False)
    opened: bool = False

    @property
    def label(self) -> str:
        """The operator, after its domain if that is not the standard's."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator

    def constant(self, position: int) -> Array | None:
        """Return the value of an input; None if it is not constant or omitted."""
        return self.constants[position] if position < len(self.constants) else None

    def has_input(self, position: int) -> bool:
        """Return whether the node has an input."""
        return position < len(self.inputs) and self.inputs[position] != ""

    def has_output(self, position: int) -> bool:
        """Return whether an output is used."""
        return position < len(self.outputs) and self.outputs[position] != ""

    def get(self, attribute: str, default: Any = None) -> Any:
        """Return an attribute, or `default` if the node does not have it."""
        return self.attributes.get(attribute, default)

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.label})"

    def fail(self, message: str) -> NoReturn:
        """Raise ValueError with the node's name."""
        raise ValueError(f"{self}: {message}")


@dataclass(frozen=True)
class Argument:
    """An input or output of a model.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype or None
        None if the model does not declare it, or NumPy has no such type.
    shape : tuple of (int, str or None), or None
        Sizes, or their names, or None where the model does not declare them.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        shape = (
            "..."
            if self.shape is None
            else ", ".join("?" if s is None else str(s) for s in self.shape)
        )
        return f"{self.name}: {self.dtype or 'any'} ({shape})"


def opset_of(model: Any) -> int:
    """Return the version of the standard's operators that a model uses."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    version = int(versions[0]) if versions else 1
    if not 1 <= version <= NEWEST_OPSET:
        raise ValueError(f"model: expected an opset of 1 to {NEWEST_OPSET}, got {version}")
    return version


def argument_of(value: Any) -> Argument:
    """Read an input or output of a model."""
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value")
        if kind is None:
            return Argument(value.name, None, None)
        raise ValueError(f"{value.name}: expected a tensor, got a {kind.removesuffix('_type')}")
    tensor = value.type.tensor_type
    dtype = None
    if tensor.elem_type:
        dtype = element_type(tensor.elem_type, value.name)
    if not tensor.HasField("shape"):
        return Argument(value.name, dtype, None)
    sizes: list[int | str | None] = []
    for size in tensor.shape.dim:
        if size.HasField("dim_value"):
            # Some writers store a negative number where a size is variable.
            sizes.append(int(size.dim_value) if size.dim_value >= 0 else None)
        else:
            sizes.append(size.dim_param or None)
    return Argument(value.name, dtype, tuple(sizes))


def element_type(number: int, name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for one of ONNX's element types.

    Raises
    ------
    ValueError
        If NumPy itself has no such type: strings, bfloat16 and types smaller than a byte.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        raise ValueError(f"{name}: expected one of ONNX's types, got number {number}") from None
    if dtype.kind not in "biuf" or dtype.isbuiltin != 1:
        kind = onnx.TensorProto.DataType.Name(number)
        raise ValueError(f"{name}: expected a NumPy number type or bool, got {kind}")
    return dtype


def array_of(tensor: Any, name: str) -> Array:
    """Read a tensor of a model."""
    element_type(tensor.data_type, name)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(
            f"{name}: its data are in another file; pass the model's path to load, "
            "so that it finds the file"
        )
    try:
        array: Array = numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected a tensor of shape {tuple(tensor.dims)} with its data: {error}"
        ) from None
    return array


def node_of(proto: Any, number: int, opset: int) -> Node:
    """Read a node; one without a name is named after its first output or its operator and index.

    Raises
    ------
    ValueError
        If its inputs, outputs or attributes are not those of the operator in the standard.
    """
    if not proto.name:
        named = next(filter(None, proto.output), f"{proto.op_type}_{number}")
        proto.name = named  # ONNX Runtime's errors name nodes
    attributes = {entry.name: _attribute(entry) for entry in proto.attribute}
    within = [name for graph in graphs_of(proto) for name in sorted(mentioned(graph))]
    node = Node(
        operator=proto.op_type,
        name=proto.name,
        domain="" if proto.domain in STANDARD_DOMAINS else proto.domain,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
        opset=opset,
        proto=proto,
        reads=tuple(dict.fromkeys(filter(None, (*proto.input, *within)))),
    )
    if not node.domain:
        _check_form(node, {entry.name: entry.type for entry in proto.attribute})
    return node


def schema_of(operator: str, version: int, domain: str) -> Any:
    """Return the definition of an operator of the standard, or None if it has none."""
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


def _check_form(node: Node, kinds: dict[str, int]) -> None:
    """Compare a node with the standard's definition of its operator, if it has one."""
    schema = schema_of(node.operator, node.opset, "")
    if schema is None:
        return  # reported later with all missing operators
    known = schema.attributes
    unknown = [name for name in kinds if name not in known]
    if unknown:
        expected = ", ".join(known) or "none"
        node.fail(f"attributes: expected {expected}, got {', '.join(unknown)}")
    for name, entry in known.items():
        if name not in kinds and entry.required:
            node.fail(f"{name}: expected this attribute, got none")
        kind = entry.type.value
        if kinds.get(name, 0) not in (0, kind):  # very old files omit the types
            names = onnx.AttributeProto.AttributeType
            node.fail(f"{name}: expected {names.Name(kind)}, got {names.Name(kinds[name])}")
    for what, count, least, most in (
        ("inputs", len(node.inputs), schema.min_input, schema.max_input),
        ("outputs", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            span = f"{least}" if least == most else f"{least} to {most}"
            node.fail(f"{what}: expected {span}, got {count}")
    required = onnx.defs.OpSchema.FormalParameterOption.Single
    for name, entry in zip(node.inputs, schema.inputs, strict=False):
        if not name and entry.option == required:
            node.fail(f"{entry.name}: expected this input, got none")


def _attribute(proto: Any) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [
            entry.decode("utf-8", "surrogateescape") if isinstance(entry, bytes) else entry
            for entry in value
        ]
    return value


# ---- loops ---------------------------------------------------------------------------------------


def never_ends(body: Any) -> bool:
    """Return whether the condition that a loop's body computes is that which it was given.

    One that is always true counts as well, but not one that is never true, after one turn.
    """
    if len(body.input) < 2 or len(body.output) < 1:
        return False
    tensors = [tensor for tensor in body.initializer if not _is_false(tensor)]
    fixed = {body.input[1].name, *(tensor.name for tensor in tensors)}
    for proto in body.node:
        plain = proto.op_type in ("Identity", "Constant") and proto.domain in STANDARD_DOMAINS
        false = any(entry.name == "value" and _is_false(entry.t) for entry in proto.attribute)
        if plain and not false and fixed.issuperset(proto.input):
            fixed.update(proto.output)
    return body.output[0].name in fixed


def _is_false(tensor: Any) -> bool:
    if tensor.data_type != onnx.TensorProto.BOOL:
        return False
    try:
        return not numpy_helper.to_array(tensor).any()
    except (TypeError, ValueError):
        return False


# ---- names ---------------------------------------------------------------------------------------


def label_of(proto: Any) -> str:
    """Return `Node.label` for a node as it is stored."""
    standard = proto.domain in STANDARD_DOMAINS
    return str(proto.op_type if standard else f"{proto.domain}.{proto.op_type}")


def graphs_of(proto: Any) -> Iterator[Any]:
    """Yield the graphs that a node contains."""
    for entry in proto.attribute:
        if entry.type == onnx.AttributeProto.GRAPH:
            yield entry.g


def wanted_names(graph: Any) -> set[str]:
    """Return the names of all values that an output depends on."""
    wanted = {entry.name for entry in graph.output}
    for proto in reversed(graph.node):
        if not wanted.isdisjoint(proto.output):
            wanted.update(proto.input)
            for inner in graphs_of(proto):  # may use any value of the graphs around it
                wanted.update(mentioned(inner))
    return wanted - {""}


def mentioned(graph: Any) -> set[str]:
    """Return the names of all values that a graph or the graphs in it use."""
    names = {entry.name for entry in graph.output}
    for proto in graph.node:
        names.update(proto.input)
        for inner in graphs_of(proto):
            names |= mentioned(inner)
    return names
