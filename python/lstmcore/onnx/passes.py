"""Simplification of a graph before it is compiled: fewer nodes, the same results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lstmcore.onnx.graph import Argument, Node

__all__ = ["simplify"]

JOINED = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
"""Activations that the engine applies to a product's result while it is in a cache."""


def simplify(nodes: list[Node], results: Sequence[Argument]) -> list[Node]:
    """Apply all passes to the nodes of a graph with these results."""
    return _needed(_join(_pick_sizes(nodes), [result.name for result in results]), results)


def _pick_sizes(nodes: list[Node]) -> list[Node]:
    """Let Shape return just the sizes that a Gather picks from it."""
    shapes = {node.outputs[0]: node for node in nodes if node.operator == "Shape"}
    picked: list[Node] = []
    for node in nodes:
        places = node.constant(1)
        shape = shapes.get(node.inputs[0]) if node.operator == "Gather" else None
        if shape is not None and places is not None and places.ndim < 2 and not node.get("axis", 0):
            attributes = {**shape.attributes, "pick": places.tolist()}
            node = replace(shape, name=node.name, outputs=node.outputs, attributes=attributes)
        picked.append(node)
    return picked


def _join(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Join a product with the bias and activation that follow it, if nothing else uses it."""
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(outputs)
    joined: list[Node] = []
    by_output: dict[str, int] = {}  # index of the node that computes an output
    for node in nodes:
        place = _product_before(node, joined, by_output, uses)
        if place is not None:
            product = joined[place]
            if node.operator == "Add":
                other = 1 if node.inputs[0] == product.outputs[0] else 0
                product = replace(
                    product,
                    inputs=(*product.inputs, node.inputs[other]),
                    constants=[*product.constants, node.constants[other]],
                )
            else:
                product = replace(product, activation=JOINED[node.operator])
            joined[place] = replace(product, outputs=node.outputs)
        else:
            joined.append(node)
            place = len(joined) - 1
        for name in node.outputs:
            by_output[name] = place
    return joined


def _product_before(
    node: Node, nodes: list[Node], by_output: dict[str, int], uses: Counter[str]
) -> int | None:
    """Return the index of the product that `node` may be joined with."""
    if node.operator not in JOINED and node.operator != "Add":
        return None
    for number, name in enumerate(node.inputs):
        place = by_output.get(name)
        if place is None or uses[name] != 1:
            continue
        product = nodes[place]
        if product.activation != "linear" or product.operator not in ("Conv", "Gemm", "MatMul"):
            continue
        if node.operator in JOINED:
            return place
        bias, kernel = node.constants[1 - number], product.constant(1)
        if (
            node.opset >= 7
            and product.operator == "MatMul"
            and len(product.inputs) == 2
            and kernel is not None
            and kernel.ndim == 2
            and bias is not None
            and bias.shape == kernel.shape[1:]
        ):
            return place
    return None


def _needed(nodes: list[Node], results: Sequence[Argument]) -> list[Node]:
    """Leave out the nodes that no output depends on."""
    wanted = {result.name for result in results}
    kept: list[Node] = []
    for node in reversed(nodes):
        used = tuple(name if name in wanted else "" for name in node.outputs)
        if any(used):
            kept.append(replace(node, outputs=used))
            wanted.update(node.inputs)
    return kept[::-1]
