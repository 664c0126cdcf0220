"""Recurrent layers: LSTM nodes, or a Scan over steps for options that the LSTM operator lacks."""

from typing import NamedTuple

import numpy as np

from lstmcore._typing import Array
from lstmcore.config import LSTMConfig
from lstmcore.convert.onnx import DEFAULT_ACTIVATIONS, check_activations, check_options, to_onnx
from lstmcore.layers import Bidirectional
from lstmcore.layers.recurrent import Recurrent
from lstmcore.onnx.export_graph import Flow, Graph, Lengths
from lstmcore.onnx.export_scan import scan

__all__ = ["add_recurrent"]


class _Walked(NamedTuple):
    """Names of the results of one of the stacked layers."""

    y: str
    """(T, D, N, H), if requested."""
    h: str
    """(D, N, H), like c; empty if the states were not requested."""
    c: str


def add_recurrent(graph: Graph, layer: Recurrent, flow: Flow, key: str | None) -> Flow:
    """Add an LSTM, RNN or Bidirectional layer; see `add_layer`."""
    config = layer.config
    assert config is not None
    if not isinstance(config, LSTMConfig):
        raise ValueError("expected LSTMs, got a SimpleRNN, which the exporter does not write")
    check_activations(config)
    own = layer.weights
    weights = {name: own[layer._stored_name(name)] for name in config.parameter_shapes()}
    x, lengths, every = graph.arranged(flow, "TNC"), flow.lengths, layer.return_sequences
    states, count = graph.states.get(key or ""), config.num_layers
    before = [("", "")] * count
    if states is not None:
        before = list(zip(*(_split(graph, name, config) for name in states), strict=True))
    walk = scan if _needs_scan(graph, config) else _node
    walked: list[_Walked] = []
    for place in range(count):
        last, stateful = place == count - 1, states is not None
        wanted = (not last or every, stateful or (last and not every), stateful)
        one = _Walked(*walk(graph, weights, config, place, x, lengths, before[place], wanted))
        walked.append(one)
        if not last:
            x = _side_by_side(graph, one.y, config, 1)
    y, h = walked[-1].y, walked[-1].h
    if states is not None:
        all_h = _final(graph, states[0], lengths, [one.h for one in walked])
        all_c = _final(graph, states[1], lengths, [one.c for one in walked])
        graph.final_states[key or ""] = all_h, all_c
        if lengths is not None:  # a row without valid steps returns its state
            h = _place(graph, all_h, config, count - 1)
    shape = (*flow.shape[:2], layer.output_size) if every else (flow.shape[0], layer.output_size)
    mode = (layer.merge_mode or "concat") if isinstance(layer, Bidirectional) else "concat"
    if not every:
        return Flow(_merged(graph, h, config, mode, 0), "NC", shape)
    merged = _merged(graph, y, config, mode, 1)
    done = Flow(merged, "TNC", shape, lengths, lengths is not None)
    return _turned(graph, done) if layer.go_backwards else done


def _needs_scan(graph: Graph, config: LSTMConfig) -> bool:
    """Return whether a layer becomes a Scan; raise ValueError if it has to but must not."""
    if graph.recurrent == "scan":
        return True
    try:
        check_options(config)
    except ValueError as error:
        if graph.recurrent == "auto":
            return True
        raise ValueError(
            f'{error}; recurrent="auto" writes such a layer as a Scan over steps'
        ) from None
    return False


def _node(
    graph: Graph,
    weights: dict[str, Array],
    config: LSTMConfig,
    place: int,
    x: str,
    lengths: Lengths | None,
    before: tuple[str, str],
    wanted: tuple[bool, bool, bool],
) -> tuple[str, str, str]:
    """Add an LSTM node."""
    parts = to_onnx(weights, config, place)
    suffix = f"_l{place}" if config.num_layers > 1 else ""
    named = [
        graph.weight(name + suffix, parts[name]) if parts[name] is not None else ""
        for name in "WRBP"
    ]
    W, R, B, P = named
    sequence_lens = "" if lengths is None else graph.lengths32(lengths)
    attributes = {
        name: value
        for name, value in parts.items()
        if name not in "WRBP" and (name, value) not in (("input_forget", 0), ("clip", None))
    }
    if attributes["activations"] == [*DEFAULT_ACTIVATIONS] * config.num_directions:
        del attributes["activations"]
    outputs = [
        name if want else None for name, want in zip(("Y", "Y_h", "Y_c"), wanted, strict=True)
    ]
    y, h, c = graph.add_several(
        "LSTM", (x, W, R, B, sequence_lens, *before, P), outputs, **attributes
    )
    return y, h, c


# ---- states --------------------------------------------------------------------------------------


def _split(graph: Graph, name: str, config: LSTMConfig) -> list[str]:
    """Split a state into the parts of the stacked layers."""
    if config.num_layers == 1:
        return [name]
    sizes = graph.integers(*[config.num_directions] * config.num_layers)
    outputs = [f"l{place}" for place in range(config.num_layers)]
    return graph.add_several("Split", (name, sizes), outputs, axis=0)


def _place(graph: Graph, name: str, config: LSTMConfig, place: int) -> str:
    """Return one stacked layer's part of a state."""
    if config.num_layers == 1:
        return name
    first = place * config.num_directions
    begin, end = graph.integers(first), graph.integers(first + config.num_directions)
    return graph.add("Slice", name, begin, end, graph.integers(0))


def _final(graph: Graph, before: str, lengths: Lengths | None, names: list[str]) -> str:
    """Return the final state; rows without valid steps have their initial state."""
    name = names[0] if len(names) == 1 else graph.add("Concat", *names, axis=0)
    if lengths is None:
        return name
    return graph.add("Where", graph.present(lengths, 0, 2), name, before)


# ---- directions ----------------------------------------------------------------------------------


def _side_by_side(graph: Graph, name: str, config: LSTMConfig, axis: int) -> str:
    """Concatenate the directions, which have an axis of their own, along the features."""
    if config.num_directions == 1:
        return graph.add("Squeeze", name, graph.integers(axis))
    order = [0, 2, 1, 3] if axis == 1 else [1, 0, 2]
    turned = graph.add("Transpose", name, perm=order)
    return graph.add("Reshape", turned, graph.integers(*[0] * (axis + 1), config.output_size))


def _merged(graph: Graph, name: str, config: LSTMConfig, mode: str, axis: int) -> str:
    """Merge the directions into one output."""
    if mode == "concat":
        return _side_by_side(graph, name, config, axis)
    ahead, back = graph.add_several(
        "Split", (name, graph.integers(1, 1)), ("ahead", "back"), axis=axis
    )
    total = graph.add("Mul" if mode == "mul" else "Add", ahead, back)
    if mode == "ave":
        total = graph.add("Mul", total, graph.number(0.5))
    return graph.add("Squeeze", total, graph.integers(axis))


def _turned(graph: Graph, flow: Flow) -> Flow:
    """Reverse each row of (T, N, H) within its own length; steps past it stay where they are."""
    if flow.lengths is None:
        last, first = graph.integers(-1), graph.integers(np.iinfo(np.int64).min)
        return flow.moved(
            graph.add("Slice", flow.name, last, first, graph.integers(0), graph.integers(-1))
        )
    lengths = graph.lengths64(flow.lengths)
    return flow.moved(graph.add("ReverseSequence", flow.name, lengths, time_axis=0, batch_axis=1))
