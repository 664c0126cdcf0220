"""Graphs in model files."""

from collections.abc import Mapping
from typing import Any

from lstmcore import _checks
from lstmcore._configurable import make
from lstmcore.layers import Input, Layer
from lstmcore.layers.symbols import Symbol
from lstmcore.models.checkpoint import describe, exactly
from lstmcore.models.graph.structure import Structure, named_inputs, trace

__all__ = ["describe_graph", "restore_graph"]

_KEYS = {"inputs", "layers", "calls", "outputs", "by_name"}


def describe_graph(structure: Structure, by_name: bool) -> dict[str, Any]:
    """Describe a graph as a model file does; see docs/model_files.md."""
    return {
        "inputs": [
            {"name": entry.name, "shape": list(entry.shape[1:]), "dtype": entry.dtype}
            for entry in structure.inputs
        ],
        "layers": [describe(layer) for layer in structure.layers],
        "calls": [
            {"layer": structure.layers[use.layer].name, "inputs": list(use.inputs)}
            for use in structure.uses
        ],
        "outputs": structure.outputs,
        "by_name": by_name,
    }


def restore_graph(document: Any, classes: Mapping[str, Any]) -> tuple[Structure, bool]:
    """Undo `describe_graph`; the layers have no weights yet.

    Raises
    ------
    ValueError
        If the description is not one of a graph.
    """
    exactly("graph", document, _KEYS)
    for key in ("inputs", "layers", "calls"):
        if not isinstance(document[key], list):
            raise ValueError(f"graph: expected a list as {key}")
    inputs: dict[str, Input] = {}
    for entry in document["inputs"]:
        exactly("input", entry, {"name", "shape", "dtype"})
        if not isinstance(entry["shape"], list) or entry["name"] in inputs:
            raise ValueError(
                f"graph: expected inputs with names and shapes, got {_checks.quote(entry)}"
            )
        inputs[_checks.label(entry["name"])] = Input(entry["shape"], dtype=entry["dtype"])
    layers: dict[str, Layer] = {}
    for entry in document["layers"]:
        exactly("layer", entry, {"class", "name", "config"})
        name = _checks.label(entry["name"])
        if name in layers:
            raise ValueError(f"graph: the layer {_checks.quote(name)} appears twice")
        layers[name] = make(entry["class"], entry["config"], classes, name=name)
    values: list[Symbol] = list(inputs.values())
    for call in document["calls"]:
        exactly("call", call, {"layer", "inputs"})
        layer = layers.get(call["layer"]) if isinstance(call["layer"], str) else None
        if layer is None:
            raise ValueError(f"graph: a call of an unknown layer, {_checks.quote(call['layer'])}")
        made = layer._call_node([_value(number, values) for number in _list(call["inputs"])])
        values += made
    outputs = document["outputs"]
    if not isinstance(outputs, dict) or type(document["by_name"]) is not bool:
        raise ValueError("graph: expected an object as outputs and true or false as by_name")
    ends = [(_checks.label(name), _value(number, values)) for name, number in outputs.items()]
    if not ends or any(symbol._call is None for _, symbol in ends):
        raise ValueError(f"graph: expected outputs that layers make, got {_checks.quote(outputs)}")
    structure = trace(named_inputs(inputs), ends)
    if describe_graph(structure, document["by_name"])["calls"] != document["calls"] or [
        layer.name for layer in structure.layers
    ] != list(layers):
        raise ValueError("graph: expected calls and layers in the order of the graph")
    return structure, document["by_name"]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"graph: expected a list of numbers of values, got {_checks.quote(value)}")
    return value


def _value(number: Any, values: list[Symbol]) -> Symbol:
    """Return the value with a number that a call or an output names."""
    if type(number) is not int or not 0 <= number < len(values):
        raise ValueError(
            f"graph: expected the number of an earlier value, got {_checks.quote(number)}"
        )
    return values[number]
