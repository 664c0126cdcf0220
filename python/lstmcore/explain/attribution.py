"""Divide an output among the steps of the input."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from lstmcore import _checks
from lstmcore import functional as F
from lstmcore._typing import Array, ArrayLike, choices
from lstmcore.explain.results import Attribution
from lstmcore.explain.samples import MOST_ROWS, as_rows, check_model, counts_of, read, tokens_of
from lstmcore.layers import Layer
from lstmcore.layers.recurrent import Context, Recurrent
from lstmcore.models import Sequential
from lstmcore.training.data import Examples

__all__ = ["attribute"]

AttributionMethod = Literal["integrated_gradients", "gradient_x_input", "occlusion"]

FEWEST, MOST = 32, 1024  # points of the integral with steps="auto"
ENOUGH = 1e-3  # the error at which it stops, relative to the difference of outputs if above 1
SAME = 1e-3  # outputs that differ by more from the model's are random, or wrong


def attribute(
    model: Any,
    x: Any,
    *,
    method: AttributionMethod = "integrated_gradients",
    target: int | None = None,
    step: int | None = None,
    baseline: ArrayLike | None = None,
    steps: int | Literal["auto"] = "auto",
    logits: bool = False,
    mask: Any = None,
) -> list[Attribution]:
    """Divide an output of a model among the tokens of a text, or the values of a series.

    Parameters
    ----------
    model : Sequential
        Built; dropout, noise and zoneout do not act, as in `predict`. It is not changed.
    x : array_like, or list of them
        As in `Sequential.predict`, N samples. Of texts and token ids, the vectors of the first
        layer, an `Embedding`, are explained.
    method : {"integrated_gradients", "gradient_x_input", "occlusion"}
        "integrated_gradients": input minus baseline, times the mean of the gradient on the straight
        line between them (Sundararajan et al. 2017). The sum is the difference of their outputs.
        "gradient_x_input": input times gradient, from one backward (Shrikumar et al. 2016).
        "occlusion": how much the output falls if the step has the values of the baseline (Zeiler
        & Fergus 2014); one number a step. It needs a forward for each step.
    target : int, optional
        Which of the U outputs. None: the only one, or the largest of each sample.
    step : int, optional
        Which step of outputs (N, T, U); negative ones count from each row's end. None: the last
        valid one.
    baseline : array_like, optional
        Values that stand for no information, which broadcast to a step (C,) or to (T, C), for texts
        to a token's vector (E,). None: zeros.
    steps : int or "auto"
        Points of the integral, at the nodes of Gauss and Legendre. "auto": 32, doubled up to 1024
        until the sum is within 1e-3 of the difference of outputs (relative, if that is above 1),
        for every sample; functions with bends, such as a maximum over time, need many.
    logits : bool, default False
        Explain what the last layer's softmax or sigmoid is applied to. A sample that the model is
        sure of has small gradients otherwise.
    mask : array_like of bool, shape (N, T), optional
        As in `Sequential.predict`; steps that are left out get 0.

    Returns
    -------
    list of Attribution
        One for each sample.

    Raises
    ------
    TypeError
        If `model` is no `Sequential`, or `x` does not fit.
    ValueError
        If the model is not built, quantized, or has random layers of its own; or an argument does
        not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import lstmcore as lc
    >>> from lstmcore import explain
    >>> model = lc.Sequential([lc.layers.Input((None, 1)), lc.layers.LSTM(4), lc.layers.Dense(1)])
    >>> (found,) = explain.attribute(model, np.ones((1, 6, 1)))
    >>> bool(found.error < 1e-3)
    True
    """
    model = check_model(model)
    _checks.choice(method, "method", choices(AttributionMethod))
    _checks.flag(logits, "logits")
    if steps != "auto":
        steps = _checks.integer(steps, "steps", 1)
    examples = read(model, x, mask)
    network = _Network(model, examples, logits)
    network.choose(target, step)
    empty = network.baseline(baseline)
    before: Array | None = None
    if method == "integrated_gradients":
        values, before = _integrated(network, empty, steps)
    elif method == "gradient_x_input":
        values = network.values * network.gradients(network.values, network.rows)
    else:
        values = _occluded(network, empty, examples)
    if network.of_ids and method != "occlusion":
        values = values.reshape(*values.shape[:2], -1).sum(axis=-1)
    rows = as_rows(values, examples)
    found = []
    for place, tokens in enumerate(tokens_of(model, x, counts_of(examples))):
        found.append(
            Attribution(
                rows[place],
                method,
                int(network.target[place]),
                float(network.output[place]),
                None if before is None else float(before[place]),
                tokens,
            )
        )
    return found


class _Network:
    """The layers after the embedding, if there is one, as they compute in `predict`.

    Attributes
    ----------
    values : ndarray of float64 or float32, shape (N, T, ...)
        What is explained: the inputs, or the vectors of the ids.
    rows : ndarray of int64, shape (N,)
        Numbers of all samples.
    target : ndarray of int64, shape (N,)
    output : ndarray of float64, shape (N,)
        The explained output of each sample.
    """

    def __init__(self, model: Sequential, examples: Examples, logits: bool) -> None:
        batch = examples.batch(slice(None))
        inputs, self._lengths = batch.inputs, batch.lengths
        # A copy, whose weights are frozen, so that no gradient of a weight is computed.
        own = copy.deepcopy(model)
        layers = own._network
        self.of_ids = layers[0].input_kind == "ids"
        if self.of_ids:
            inputs, self._lengths, _ = layers[0].forward(inputs, self._lengths, False, 0)
            layers = layers[1:]
        if inputs.ndim < 3:
            raise ValueError(
                f"x: expected sequences, got inputs of shape {inputs.shape} for the first layer"
            )
        self.values, self.rows = inputs, np.arange(len(inputs))
        for layer in layers:
            for inner in layer._layers_within():
                _still(inner)
        own._follow_trainable()
        self._layers, self._logits = layers, logits
        expected = model.forward(batch.inputs, batch.lengths, False, 0, logits)[0]
        self._check(expected)

    def _check(self, expected: Array) -> None:
        """Refuse a model whose training forward, without dropout, is not its prediction."""
        outputs, self._ends, _ = self._forward(self.values, self.rows, training=True)
        if self._ends is not None:
            steps = np.arange(outputs.shape[1]) < self._ends[:, None]
            outputs, valid = outputs[steps], expected[steps]
        else:
            valid = expected
        scale = max(1.0, float(np.abs(valid).max(initial=0.0)))
        if outputs.size and not np.abs(outputs - valid).max() <= SAME * scale:
            raise ValueError(
                "model: expected layers that compute in training what they compute in predict, "
                "apart from dropout and noise; a layer of your own is random or keeps statistics"
            )
        self._all = expected

    def choose(self, target: int | None, step: int | None) -> None:
        """Choose which output of each row is explained."""
        outputs = self._all
        self.place: Array | None = None
        if outputs.ndim > 3:
            raise ValueError(f"model: expected outputs (N, U) or (N, T, U), got {outputs.shape}")
        if outputs.ndim == 3:
            self.place = self._place(step, outputs.shape[1])
            outputs = outputs[self.rows, self.place]
        elif step is not None:
            raise ValueError("step: expected None, since the model's output has no time axis")
        width = outputs.shape[1]
        if target is None:
            self.target = outputs.argmax(axis=1)
        else:
            chosen = _checks.integer(target, "target", 0)
            if chosen >= width:
                raise ValueError(f"target: expected 0 to {width - 1}, got {chosen}")
            self.target = np.full(len(outputs), chosen)
        self.output = outputs[self.rows, self.target].astype(np.float64)

    def _place(self, step: int | None, steps: int) -> Array:
        ends = np.full(len(self.rows), steps) if self._ends is None else self._ends
        wanted = -1 if step is None else _checks.integer(step, "step", -steps)
        places = ends + wanted if wanted < 0 else np.full(len(ends), wanted)
        if ((places < 0) | (places >= ends)).any():
            row = int(np.flatnonzero((places < 0) | (places >= ends))[0])
            raise ValueError(
                f"step: expected one of the {ends[row]} steps of outputs of row {row}, got {wanted}"
            )
        return places

    def baseline(self, baseline: ArrayLike | None) -> Array:
        """Return the values of the baseline, of the shape of `values`."""
        if baseline is None:
            return np.zeros_like(self.values)
        given = np.asarray(baseline, self.values.dtype)
        try:
            found = np.broadcast_to(given, self.values.shape)
        except ValueError:
            raise ValueError(
                f"baseline: expected a shape that broadcasts to {self.values.shape}, got "
                f"{given.shape}"
            ) from None
        if not np.isfinite(found).all():
            raise ValueError("baseline: expected finite values")
        return np.array(found)

    def outputs(self, values: Array, rows: Array) -> Array:
        """Return the explained outputs for other values (M, T, ...) of samples `rows`."""
        parts = []
        for at in range(0, len(rows), MOST_ROWS):
            chosen = rows[at : at + MOST_ROWS]
            outputs, _, _ = self._forward(values[at : at + MOST_ROWS], chosen, training=False)
            parts.append(outputs[self._index(chosen)])
        return np.concatenate(parts).astype(np.float64)

    def gradients(self, values: Array, rows: Array) -> Array:
        """Return the gradients of the explained outputs with respect to `values`, in float64."""
        parts = []
        for at in range(0, len(rows), MOST_ROWS):
            chosen = rows[at : at + MOST_ROWS]
            outputs, _, contexts = self._forward(values[at : at + MOST_ROWS], chosen, training=True)
            gradient = np.zeros_like(outputs)
            gradient[self._index(chosen)] = 1
            for layer, context in zip(reversed(self._layers), reversed(contexts), strict=True):
                back = layer.backward(context, gradient, True)
                assert back is not None
                gradient = back
            parts.append(gradient)
        return np.concatenate(parts).astype(np.float64)

    def _index(self, rows: Array) -> tuple[Array, ...]:
        first, unit = np.arange(len(rows)), self.target[rows]
        return (first, unit) if self.place is None else (first, self.place[rows], unit)

    def _forward(
        self, values: Array, rows: Array, *, training: bool
    ) -> tuple[Array, Array | None, list[Any]]:
        lengths = None if self._lengths is None else self._lengths[rows]
        contexts = []
        values = np.ascontiguousarray(values, self.values.dtype)
        for layer in self._layers:
            run = layer.forward
            if self._logits and layer is self._layers[-1]:
                run = layer.forward_logits
            values, lengths, context = run(values, lengths, training, 0)
            contexts.append(context)
        return values, lengths, contexts


def _still(layer: Layer) -> None:
    """Let a layer compute in training what it computes in `predict`."""
    layer.trainable = False  # BatchNormalization then uses its averages
    for name in ("rate", "stddev"):
        if name in layer._live_options:
            setattr(layer, name, 0.0)
    if isinstance(layer, Recurrent):
        vars(layer)["_walk"] = partial(_expected_walk, layer)


def _expected_walk(
    layer: Recurrent,
    x: Array,
    lengths: Array | None,
    state: Any,
    training: bool,
    seed: int,
    reset: Any = None,
    mask: Any = None,
) -> tuple[Array, F.LSTMState, Context]:
    """Run as `Recurrent._walk` does, without randomness: zoneout has its expectation."""
    packed = layer._packed_weights()
    y, h, c, tape = packed._lstm.forward(
        x, None, None, lengths, reset, layer.return_sequences, training, 0, mask, random=False
    )
    if y is None:
        y = np.hstack([h[-2], h[-1]]) if layer.bidirectional else h[-1].copy()
    return layer._merge(y, lengths), F.LSTMState(h, c), Context(tape, lengths, y)


def _integrated(
    network: _Network, empty: Array, steps: int | Literal["auto"]
) -> tuple[Array, Array]:
    """Return integrated gradients, and the outputs of the baseline."""
    before = network.outputs(empty, network.rows)
    difference = network.output - before
    along = (network.values - empty).astype(np.float64)
    count = FEWEST if steps == "auto" else steps
    while True:
        found = along * _mean_gradient(network, empty, count)
        missing = np.abs(found.reshape(len(found), -1).sum(axis=1) - difference)
        close = bool((missing <= ENOUGH * np.maximum(1.0, np.abs(difference)) / 2).all())
        if steps != "auto" or close or count >= MOST:
            return found, before
        count *= 2


def _mean_gradient(network: _Network, empty: Array, count: int) -> Array:
    """Return the mean gradient on the line from the baseline to the input, by `count` nodes."""
    nodes, shares = np.polynomial.legendre.leggauss(count)
    nodes, shares = (nodes + 1) / 2, shares / 2
    total = np.zeros(network.values.shape, np.float64)
    together = max(MOST_ROWS // len(network.rows), 1)
    for at in range(0, count, together):
        part = nodes[at : at + together]
        shape = (-1, *(1,) * network.values.ndim)
        share = part.reshape(shape).astype(network.values.dtype)
        moved = empty + share * (network.values - empty)
        moved = moved.reshape(-1, *network.values.shape[1:])
        gradients = network.gradients(moved, np.tile(network.rows, len(part)))
        gradients = gradients.reshape(len(part), *network.values.shape)
        total += np.tensordot(shares[at : at + together], gradients, axes=1)
    return total


def _occluded(network: _Network, empty: Array, examples: Examples) -> Array:
    """Return how much the output falls without each step: (N, T)."""
    counts: Sequence[int] = counts_of(examples)
    found = np.zeros(network.values.shape[:2], np.float64)
    for t in range(max(counts)):
        rows = np.flatnonzero(np.asarray(counts) > t)
        values = network.values[rows].copy()
        values[:, t] = empty[rows, t]
        found[rows, t] = network.output[rows] - network.outputs(values, rows)
    return found
