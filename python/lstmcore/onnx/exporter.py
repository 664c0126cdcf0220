"""Export a `Sequential` as an ONNX model."""

import json
import os
from typing import Any

import numpy as np
import onnx
from onnx import helper

from lstmcore import _checks
from lstmcore._core import __version__
from lstmcore._files import ONNX, as_path, check_ending, replace
from lstmcore._intake import warn_of_infinite
from lstmcore._typing import DType, RecurrentForm, Shape, choices
from lstmcore.layers import Layer, TextVectorization
from lstmcore.models import Sequential
from lstmcore.onnx.export_graph import (
    NEWEST_OPSET,
    OLDEST_OPSET,
    Flow,
    Graph,
    Lengths,
    own_axes,
    tensor_type,
)
from lstmcore.onnx.export_layers import add_layer

__all__ = ["export"]

DEFAULT_OPSET = 17
RECURRENT = choices(RecurrentForm)


def export(
    model: Sequential,
    path: "str | os.PathLike[str] | None" = None,
    *,
    opset: int = DEFAULT_OPSET,
    lengths: bool = False,
    states: bool = False,
    recurrent: RecurrentForm = "lstm",
    dtype: DType | None = None,
    from_ids: bool = False,
) -> onnx.ModelProto:
    """Write what a model computes at inference as an ONNX model.

    Parameters
    ----------
    model : Sequential
        Built.
    path : str or path, optional
        File to write, atomically; an existing file is replaced. None: the model is only returned.
    opset : int, default 17
        Version of the standard's operators, 14 to 26, which the runtime must support. Version 14
        dates from 2021, 17 from 2022.
    lengths : bool, default False
        Whether to add an input ``lengths`` (N,) of int32: the valid steps of each row.
    states : bool, default False
        Whether to add inputs for the initial states of all recurrent layers, and outputs for their
        states after the last valid step.
    recurrent : {"lstm", "auto", "scan"}
        What recurrent layers become. "lstm": nodes of the LSTM operator; options that it lacks are
        refused. "auto": a layer with such options becomes a Scan over steps, whose body spells out
        the cell; this is standard too, but slow. "scan": all recurrent layers become Scans.
    dtype : {"float32", "float64"}, optional
        Type of weights, inputs and outputs; None: the model's. The weights are rounded or widened
        to it.
    from_ids : bool, default False
        Whether to export a model that begins with a `TextVectorization` without that layer, so that
        it takes the token ids that ``model.vectorizer`` computes. Otherwise such a model is
        refused.

    Returns
    -------
    onnx.ModelProto
        It has these inputs and outputs; N is variable, and so is T unless the model fixes it:

        - ``x`` (N, T, C), or whatever input the model takes: (N, C), or ids (N, T) of int64
        - ``lengths`` (N,) of int32, with `lengths`
        - ``h0`` and ``c0`` (L D, N, H) with `states`, for L stacked layers of D directions;
          "NAME.h0" and "NAME.c0", with the layers' names, if the model has several such layers
        - ``y``, the model's output for `x` and the lengths, padded: zero past a row's length where
          the model's layers return zeros
        - ``y_lengths`` (N,) of int32, if `y` has a time axis and its lengths differ from those of
          the input
        - ``hn`` and ``cn``, named and shaped as ``h0`` and ``c0``

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the model is not built or too large; if an argument has a wrong value or no effect on
        this model; if `path` has the ending of another format, such as ``.keras``; or if a layer or
        one of its options cannot be expressed in ONNX; the error names it.

    Notes
    -----
    Dropout of any kind, and noise, do nothing at inference and are not exported. With
    ``mask_zero=True`` the graph counts the ids that are not 0, and with `Masking` the steps that
    are not masked, which are taken to be at the start of each row. A graph does not check values:
    negative ids, which the model would refuse, are looked up from the end of the table, and padding
    ids in the middle of a row are counted as if they were at its end.

    ``onnx.checker`` checks the model, shapes included, before it is written.

    Examples
    --------
    >>> lc.onnx.export(model, "model.onnx", lengths=True)
    >>> session = onnxruntime.InferenceSession("model.onnx")
    >>> session.run(["y"], {"x": x, "lengths": np.array([7, 3], np.int32)})
    """
    _checks.instance(model, Sequential, "model", "a Sequential")
    destination = None if path is None else as_path(path)
    if destination is not None:
        check_ending(destination, ONNX)
    version = _opset(opset)
    _checks.flag(lengths, "lengths")
    _checks.flag(states, "states")
    _checks.choice(recurrent, "recurrent", RECURRENT)
    chosen = model.parameters.dtype if dtype is None else _checks.float_dtype(dtype)
    _check_text(model, _checks.flag(from_ids, "from_ids"))
    graph = Graph(version, chosen, recurrent)
    inputs, flow = _inputs(graph, model, lengths, states)
    for layer in model._network:
        flow = _add(graph, layer, flow)
    if lengths and not graph.lengths_used:
        raise ValueError("lengths: expected False, since no layer of the model uses lengths")
    graph.scope = "y"
    outputs = _outputs(graph, model, graph.natural(flow))
    proto = _model(graph, model, inputs, outputs)
    onnx.checker.check_model(proto, full_check=True)
    if destination is not None:
        warn_of_infinite(model.weights)
        replace(destination, proto.SerializeToString())
    return proto


# ---- arguments -----------------------------------------------------------------------------------


def _opset(opset: int) -> int:
    version = _checks.integer(opset, "opset")
    known = min(NEWEST_OPSET, onnx.defs.onnx_opset_version())
    if not OLDEST_OPSET <= version <= known:
        reason = "" if known == NEWEST_OPSET else ", the newest that the installed onnx knows"
        raise ValueError(f"opset: expected {OLDEST_OPSET} to {known}{reason}, got {version}")
    return version


def _check_text(model: Sequential, from_ids: bool) -> None:
    texts = model.vectorizer is not None
    if texts and not from_ids:
        assert isinstance(model.vectorizer, TextVectorization)
        raise ValueError(
            f"layer {model.vectorizer.name!r}: a TextVectorization cannot be expressed in ONNX: "
            "text is turned into ids outside the graph; from_ids=True exports the layers after it"
        )
    if from_ids and not texts:
        raise ValueError("from_ids: expected False for a model without a TextVectorization")


# ---- inputs and outputs --------------------------------------------------------------------------


def _add(graph: Graph, layer: Layer, flow: Flow) -> Flow:
    name = str(layer.name)
    graph.scope = name
    try:
        flow = add_layer(graph, layer, flow, name)
    except ValueError as error:
        raise ValueError(f"layer {layer.name!r}: {error}") from error
    graph.scope = ""
    return flow


def _inputs(graph: Graph, model: Sequential, lengths: bool, states: bool) -> tuple[list[Any], Flow]:
    """Declare the graph's inputs."""
    first, shape = model._network[0], model.input_shape
    ids = first.input_kind == "ids"
    kind = np.int64 if ids else graph.dtype
    inputs = [_value(graph.unique("x"), kind, _dimensions(shape, "T"))]
    flow = Flow("x", own_axes(len(shape)), shape)
    if lengths:
        if first._finds_lengths:
            marks = "mask_zero=True, whose ids" if ids else "Masking, whose values"
            raise ValueError(
                f"lengths: expected False for a model with {marks} mark where a row ends"
            )
        if len(shape) < (2 if ids else 3):
            shown = _checks.show_shape(shape)
            raise ValueError(f"lengths: expected False for inputs without a time axis, {shown}")
        name = graph.unique("lengths")
        inputs.append(_value(name, np.int32, ["N"]))
        flow = flow.moved("x", lengths=Lengths(int32=name))
    if states:
        found = model.recurrent_layers
        if not found:
            raise ValueError("states: expected False for a model without recurrent layers")
        for key, layer in found.items():
            prefix = "" if len(found) == 1 else f"{key}."
            names = graph.unique(f"{prefix}h0"), graph.unique(f"{prefix}c0")
            for name, (cells, _, width) in zip(names, layer._state_shapes(0), strict=True):
                inputs.append(_value(name, graph.dtype, [cells, "N", width]))
            graph.states[key] = names
    return inputs, flow


def _outputs(graph: Graph, model: Sequential, flow: Flow) -> list[Any]:
    """Declare the graph's outputs, under their public names."""
    shape = model.output_shape
    steps = "T" if len(model.input_shape) > 1 and _keeps_time(model) else "T_out"
    outputs = [_value(_renamed(graph, flow.name, "y"), graph.dtype, _dimensions(shape, steps))]
    if flow.lengths is not None and len(shape) > 2 and flow.lengths.int32 != "lengths":
        name = _renamed(graph, graph.lengths32(flow.lengths), "y_lengths")
        outputs.append(_value(name, np.int32, ["N"]))
    for key, names in graph.final_states.items():
        prefix = "" if len(graph.final_states) == 1 else f"{key}."
        shapes = model.recurrent_layers[key]._state_shapes(0)
        for name, end, (cells, _, width) in zip(names, ("hn", "cn"), shapes, strict=True):
            renamed = _renamed(graph, name, prefix + end)
            outputs.append(_value(renamed, graph.dtype, [cells, "N", width]))
    return outputs


def _keeps_time(model: Sequential) -> bool:
    """Return whether the output has as many steps as the input, however many those are."""
    before = np.arange(64)
    return bool(np.array_equal(model._output_lengths(before), before))


def _dimensions(shape: Shape, steps: str) -> list[int | str | None]:
    names = ["N", steps, "D", "E", "F"]
    return [names[axis] if size is None else size for axis, size in enumerate(shape)]


def _value(name: str, kind: Any, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, tensor_type(kind), shape)


def _renamed(graph: Graph, name: str, new: str) -> str:
    """Rename a node's result; copy it if it comes from no node or was renamed already."""
    new = graph.unique(new)
    made = any(name in node.output for node in graph.nodes)
    if not made or "/" not in name:
        graph.nodes.append(helper.make_node("Identity", [name], [new], name=f"{new}/Identity"))
        return new
    for node in graph.nodes:
        for names in (node.input, node.output):
            for place, entry in enumerate(names):
                if entry == name:
                    names[place] = new
    return new


def _model(graph: Graph, model: Sequential, inputs: list[Any], outputs: list[Any]) -> Any:
    kinds = ", ".join(type(layer).__name__ for layer in model._network)
    body = helper.make_graph(
        graph.nodes, "lstmcore", inputs, outputs, graph.initializers, doc_string=kinds
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    proto = helper.make_model(
        body,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="lstmcore",
        producer_version=__version__,
        doc_string=f"A Sequential of lstmcore {__version__}: {kinds}",
    )
    if model.class_names is not None:
        names = json.dumps(model.class_names, ensure_ascii=False)
        helper.set_model_props(proto, {"class_names": names})
    return proto
