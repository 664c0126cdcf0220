"""A `Sequential` as an ONNX model."""

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
        Where to write it, atomically; replaced if it is there. None: only returned.
    opset : int, default 17
        Version of the standard's operators, 14 to 26. Each version needs runtimes that know it; 14
        is known since 2021, 17 since 2022.
    lengths : bool, default False
        Whether there is an input ``lengths`` (N,) of int32: the valid steps of each row.
    states : bool, default False
        Whether the states of all recurrent layers before the first step are inputs, and those after
        the last valid one outputs.
    recurrent : {"lstm", "auto", "scan"}
        What layers that walk through time become. "lstm": nodes of the LSTM operator; options that
        it lacks are refused. "auto": a layer with such options becomes a Scan over steps, in which
        its cell is written out: standard as well, but slow. "scan": all of them do.
    dtype : {"float32", "float64"}, optional
        Of weights, inputs and outputs; None: the model's. Another one rounds, or widens, the
        weights.
    from_ids : bool, default False
        Whether a model that begins with a `TextVectorization` is written from the token ids on,
        which ``model.vectorizer`` makes of texts. Without it such a model is refused.

    Returns
    -------
    onnx.ModelProto
        With these inputs and outputs, N and T being open unless the model fixes T:

        - ``x`` (N, T, C), or as else the model takes it: (N, C), or ids (N, T) of int64
        - ``lengths`` (N,) of int32, with `lengths`
        - ``h0`` and ``c0`` (L D, N, H) with `states`, for L stacked layers of D directions;
          "NAME.h0" and "NAME.c0" for the layers' names if there are several
        - ``y``, what the model gives for `x` and lengths, padded: zero past a row's length where
          the model's layers give zeros
        - ``y_lengths`` (N,) of int32, if `y` has a time axis and other lengths than an input says
        - ``hn`` and ``cn``, named and shaped as ``h0`` and ``c0``

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the model is not built or too large, an argument has a wrong value or nothing to act on,
        `path` has the ending of another format, such as ``.keras``, or a layer or one of its
        options has no form in ONNX; the error names it.

    Notes
    -----
    Dropout of all kinds does nothing at inference, and leaves no trace. ``mask_zero=True`` counts
    the ids that are not 0 in the graph. A graph checks no values: ids that the model would refuse
    are looked up from the end of the table if they are negative, and padding ids in the middle of
    a row are counted as if they stood at its end.

    The model is checked by ``onnx.checker``, shapes included, before it is written.

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
        raise ValueError("lengths: expected False, since no layer of the model looks at lengths")
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
        reason = "" if known == NEWEST_OPSET else ", which is what the installed onnx knows"
        raise ValueError(f"opset: expected {OLDEST_OPSET} to {known}{reason}, got {version}")
    return version


def _check_text(model: Sequential, from_ids: bool) -> None:
    texts = model.vectorizer is not None
    if texts and not from_ids:
        assert isinstance(model.vectorizer, TextVectorization)
        raise ValueError(
            f"layer {model.vectorizer.name!r}: a TextVectorization has no form in ONNX, since text "
            "is made ids outside of the graph; from_ids=True writes what comes after it"
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
    """Declare what comes in."""
    first, shape = model._network[0], model.input_shape
    ids = first.input_kind == "ids"
    kind = np.int64 if ids else graph.dtype
    inputs = [_value(graph.unique("x"), kind, _dimensions(shape, "T"))]
    flow = Flow("x", own_axes(len(shape)), shape)
    if lengths:
        if getattr(first, "mask_zero", False):
            raise ValueError(
                "lengths: expected False for a model with mask_zero=True, whose ids say themselves "
                "where a row ends"
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
    """Declare what goes out, under names of their own."""
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
    """Tell whether as many steps come out as go in, for any number of them."""
    before = np.arange(64)
    return bool(np.array_equal(model._output_lengths(before), before))


def _dimensions(shape: Shape, steps: str) -> list[int | str | None]:
    names = ["N", steps, "D", "E", "F"]
    return [names[axis] if size is None else size for axis, size in enumerate(shape)]


def _value(name: str, kind: Any, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, tensor_type(kind), shape)


def _renamed(graph: Graph, name: str, new: str) -> str:
    """Call a node's result by another name; what is no node's, or renamed already, is copied."""
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
