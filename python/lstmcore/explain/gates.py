"""Gates and states of LSTMs over time.

The engine computes the states, step by step; its kernels do not keep the gates of an inference, so
these are computed here from the states before each step, by the equations in `LSTMConfig`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array
from lstmcore.config import Activation, LSTMConfig
from lstmcore.explain.pairs import Pairs
from lstmcore.explain.results import GateTrace, Trace
from lstmcore.explain.samples import (
    check_model,
    counts_of,
    no_targets,
    read,
    tokens_of,
    vectorizer_for,
)
from lstmcore.layers import Layer
from lstmcore.layers.nodes import NodeOutputs
from lstmcore.layers.recurrent import Recurrent, reverse_rows
from lstmcore.models import EncoderDecoder, Model, Sequential
from lstmcore.models.graph.structure import Use

__all__ = ["trace"]

START = "[START]"
"""What the decoder's first step is called."""


def trace(model: Any, x: Any, y: Any = None, *, mask: Any = None) -> Trace:
    """Return gates and states of every LSTM layer at every step.

    Parameters
    ----------
    model : Sequential, Model or EncoderDecoder
        Built; dropout and zoneout do not act, as in `predict`.
    x : array_like, or list of them
        As in `predict`, N samples. Rows of different lengths are padded at the end.
    y : object, optional
        For an `EncoderDecoder` the targets that its decoder reads, as in `fit`; None: what it
        decodes greedily. The first step of the decoder reads the start token.
    mask : array_like of bool, shape (N, T), optional
        As in `predict`. Steps that are left out have no state: T counts the others.

    Returns
    -------
    Trace
        ``trace(model, x)["lstm"].f`` are the forget gates (N, T, H) of the layer called "lstm". A
        layer that a `Model` uses again has the names "lstm", "lstm (2)" and so on; the two of an
        `EncoderDecoder` are "encoder" and "decoder".

    Raises
    ------
    TypeError
        If `model` is none of these, or `x` does not fit.
    ValueError
        If the model is not built, quantized, has no LSTM, has one within another layer, or has
        a SimpleRNN.

    Examples
    --------
    >>> import numpy as np
    >>> import lstmcore as lc
    >>> model = lc.Sequential([lc.layers.Input((None, 3)), lc.layers.LSTM(4)])
    >>> found = lc.explain.trace(model, np.zeros((2, 5, 3)))
    >>> found["lstm"].f.shape
    (2, 5, 4)
    """
    model = check_model(model)
    if isinstance(model, EncoderDecoder):
        model._check_no_mask(mask)
        return _trace_pairs(Pairs(model, x, y))
    no_targets(y, model)
    if isinstance(model, Model):
        return _trace_graph(model, x, mask)
    return _trace_chain(model, x, mask)


def _trace_chain(model: Sequential, x: Any, mask: Any) -> Trace:
    examples = read(model, x, mask)
    batch = examples.batch(slice(None))
    inputs, lengths = batch.inputs, batch.lengths
    parts: dict[str, GateTrace] = {}
    for layer in model._network:
        if _is_traced(layer):
            parts.update(_trace_layer(layer, str(layer.name), inputs, lengths))
        inputs, lengths, _ = layer.forward(inputs, lengths, False, 0)
    _check_any(parts)
    return Trace(parts, tokens_of(vectorizer_for(model, x), x, counts_of(examples)))


def _trace_graph(model: Model, x: Any, mask: Any) -> Trace:
    examples = read(model, x, mask)
    parts: dict[str, GateTrace] = {}
    uses: Counter[str] = Counter()

    def watch(use: Use, taken: list[Array], lengths: list[Array | None], _: NodeOutputs) -> None:
        layer = model.layers[use.layer]
        if not _is_traced(layer):
            return
        name = str(layer.name)
        uses[name] += 1
        again = f" ({uses[name]})" if uses[name] > 1 else ""
        sequence, state = layer._sequence_and_state(taken)
        parts.update(_trace_layer(layer, name + again, sequence, lengths[0], state))

    count = len(model.output_names)
    model._graph.forward(examples.batch(slice(None)).inputs, False, 0, [False] * count, watch=watch)
    _check_any(parts)
    return Trace(parts, [None] * len(examples))


def _trace_pairs(pairs: Pairs) -> Trace:
    coder, pair = pairs.coder, pairs.pair
    encoded, _ = coder.encode(pair.source, pair.source_lengths, False, 0)
    parts: dict[str, GateTrace] = {}
    if coder.encoder.rnn is not None:
        parts = _trace_layer(coder.encoder.rnn, "encoder", pair.source, pair.source_lengths)
    reads = coder.decoder_inputs(encoded, pair.given, pairs.ends)
    decoder = _trace_layer(coder.decoder, "decoder", reads, pairs.ends, encoded.state)
    tokens = [None if row is None else [START, *row] for row in pairs.target_tokens]
    return Trace({**parts, **decoder}, pairs.sides[0].tokens, dict.fromkeys(decoder, tokens))


def _is_traced(layer: Layer) -> TypeGuard[Recurrent]:
    """Return whether a layer is recurrent.

    Raises
    ------
    ValueError
        If it only has a recurrent layer within.
    """
    if isinstance(layer, Recurrent):
        return True
    if layer.recurrent_parts() or _hides_recurrent(layer):
        raise ValueError(
            f"layer {layer.name!r}: an LSTM within a {type(layer).__name__} cannot be traced; "
            "expected LSTMs that are layers of the model"
        )
    return False


def _check_any(parts: dict[str, GateTrace]) -> None:
    if not parts:
        raise ValueError("model: expected at least one LSTM layer, got none")


def _hides_recurrent(layer: Layer) -> bool:
    return any(isinstance(inner, Recurrent) for inner in layer._layers_within()[1:])


def _trace_layer(
    layer: Recurrent,
    name: str,
    x: Array,
    lengths: Array | None,
    state: F.LSTMState | None = None,
) -> dict[str, GateTrace]:
    """Trace all layers and directions of the engine's stack in one layer of a model.

    Parameters
    ----------
    layer : Recurrent
    name : str
        What the result is called.
    x, lengths
        Its inputs.
    state : LSTMState, optional
        Its first state, h and c of each layer and direction; None: zeros.
    """
    config = layer.config
    if not isinstance(config, LSTMConfig):
        raise ValueError(
            f"layer {layer.name!r}: expected an LSTM, whose gates can be traced, got a "
            f"{type(layer).__name__}"
        )
    weights = layer._engine_weights()
    several = config.num_layers * config.num_directions > 1
    found: dict[str, GateTrace] = {}
    for place in range(config.num_layers):
        outputs = []
        for ending in ("", "_reverse")[: config.num_directions]:
            suffix = f"_l{place}{ending}"
            own = {
                name.removesuffix(suffix): weights[name]
                for name in config.parameter_shapes()
                if name.endswith(suffix)
            }
            backwards = bool(ending) or config.go_backwards
            number = place * config.num_directions + bool(ending)
            begin = None if state is None else (state.h[number], state.c[number])
            part = _trace_cell(config, own, x, lengths, backwards, layer._precision_in_force, begin)
            found[f"{name}{suffix}" if several else name] = part
            outputs.append(np.nan_to_num(part.h))
        x = np.concatenate(outputs, axis=-1)
    return found


def _trace_cell(
    config: LSTMConfig,
    weights: dict[str, Array],
    x: Array,
    lengths: Array | None,
    backwards: bool,
    precision: Any,
    begin: tuple[Array, Array] | None,
) -> GateTrace:
    """Trace one layer in one direction; steps are in the order of `x`."""
    single = replace(
        config,
        input_size=x.shape[-1],
        num_layers=1,
        bidirectional=False,
        go_backwards=False,
        dropout=0.0,
    )
    walked = reverse_rows(x, lengths) if backwards else x
    packed = F.pack({f"{name}_l0": value for name, value in weights.items()}, single, precision)
    rows, steps = x.shape[:2]
    if begin is None:
        h = np.zeros((rows, config.state_size), x.dtype)
        begin = (h, np.zeros((rows, config.hidden_size), x.dtype))
    h_before, c_before = begin
    state = F.LSTMState(h_before[None], c_before[None])
    gates: list[tuple[Array, ...]] = []
    for t in range(steps):
        step = np.ascontiguousarray(walked[:, t : t + 1])
        _, state = F.lstm(step, packed, state=state)
        h, c = state.h[0], state.c[0]
        gates.append((*_gates(config, weights, walked[:, t], h_before, c_before), c, h))
        h_before, c_before = h, c
    widths = (config.hidden_size,) * 5 + (config.state_size,)
    arrays = []
    for place, width in enumerate(widths):
        values = np.empty((rows, steps, width), x.dtype)
        for t, entry in enumerate(gates):
            values[:, t] = entry[place]
        if backwards:
            values = np.array(reverse_rows(values, lengths))
        if lengths is not None:
            values[np.arange(steps) >= lengths[:, None]] = np.nan
        arrays.append(values)
    return GateTrace(*arrays)


def _gates(
    config: LSTMConfig, weights: dict[str, Array], x: Array, h: Array, c: Array
) -> tuple[Array, Array, Array, Array]:
    """Return i, f, g and o of a step, from the states before it; the equations of `LSTMConfig`."""
    width = config.hidden_size
    from_x, from_h = x @ weights["weight_ih"].T, h @ weights["weight_hh"].T
    if config.layer_norm:
        first = width if config.coupled_gates else 0
        for values, gain in ((from_x, "gain_ih"), (from_h, "gain_hh")):
            values[:, first:] = _normed(values[:, first:], config.layer_norm_epsilon)
            values *= weights[gain]
    total = from_x + from_h + weights.get("bias", np.zeros((), x.dtype))
    a_i, a_f, a_g, a_o = np.split(total, 4, axis=1)
    p_i, p_f, p_o = np.split(weights.get("peephole", np.zeros(3 * width, x.dtype)), 3)

    def gate(a: Array) -> Array:
        return _activated(config.gate_activation, _bounded(a, config.gate_clip))

    f = gate(a_f + p_f * c)
    i = 1 - f if config.coupled_gates else gate(a_i + p_i * c)
    g = _activated(config.cell_activation, _bounded(a_g, config.gate_clip))
    new_c = _bounded(f * c + i * g, config.cell_clip)
    return i, f, g, gate(a_o + p_o * new_c)


def _normed(values: Array, epsilon: float) -> Array:
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon))


def _bounded(values: Array, limit: float) -> Array:
    return np.clip(values, -limit, limit) if limit else values


def _sigmoid(a: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * a))


# The cheap tanh and sigmoid are within 2e-5 of these; see `Activation`.
_ACTIVATIONS: dict[str, Callable[[Array, float, float], Any]] = {
    "sigmoid": lambda a, _alpha, _beta: _sigmoid(a),
    "fast_sigmoid": lambda a, _alpha, _beta: _sigmoid(a),
    "tanh": lambda a, _alpha, _beta: np.tanh(a),
    "fast_tanh": lambda a, _alpha, _beta: np.tanh(a),
    "relu": lambda a, _alpha, _beta: np.maximum(a, 0),
    "leaky_relu": lambda a, alpha, _beta: np.where(a > 0, a, alpha * a),
    "elu": lambda a, alpha, _beta: np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0))),
    "hard_sigmoid": lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1),
    "softsign": lambda a, _alpha, _beta: a / (1 + np.abs(a)),
    "softplus": lambda a, _alpha, _beta: np.logaddexp(a, 0),
    "affine": lambda a, alpha, beta: alpha * a + beta,
    "scaled_tanh": lambda a, alpha, beta: alpha * np.tanh(beta * a),
    "thresholded_relu": lambda a, alpha, _beta: np.where(a > alpha, a, 0),
    "linear": lambda a, _alpha, _beta: a,
}


def _activated(activation: Any, values: Array) -> Array:
    assert isinstance(activation, Activation)
    name, alpha, beta = activation
    own = (parameter or 0.0 for parameter in (alpha, beta))
    return np.asarray(_ACTIVATIONS[name](values, *own), values.dtype)
