"""Divide an output among the steps of the input."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike, Named, choices
from lstmcore.explain.chain import Chain
from lstmcore.explain.graph import Graph
from lstmcore.explain.network import Network, OutputNetwork, Side
from lstmcore.explain.pairs import Pairs
from lstmcore.explain.results import Attribution
from lstmcore.explain.samples import MOST_ROWS, Explainable, check_model, no_targets
from lstmcore.models import EncoderDecoder, Model, Sequential
from lstmcore.models.graph.inputs import by_input

__all__ = ["attribute"]

AttributionMethod = Literal["integrated_gradients", "gradient_x_input", "occlusion"]

FEWEST, MOST = 32, 1024  # points of the integral with steps="auto"
ENOUGH = 1e-3  # the error at which it stops, relative to the difference of outputs if above 1


@overload
def attribute(
    model: Sequential | EncoderDecoder,
    x: Any,
    y: Any = None,
    *,
    method: AttributionMethod = "integrated_gradients",
    target: int | None = None,
    step: int | None = None,
    output: str | None = None,
    baseline: ArrayLike | None = None,
    steps: int | Literal["auto"] = "auto",
    logits: bool = False,
    mask: Any = None,
) -> list[Attribution]: ...
@overload
def attribute(
    model: Model,
    x: Any,
    y: None = None,
    *,
    method: AttributionMethod = "integrated_gradients",
    target: int | None = None,
    step: int | None = None,
    output: str | None = None,
    baseline: Named | Sequence[ArrayLike] | None = None,
    steps: int | Literal["auto"] = "auto",
    logits: bool = False,
    mask: Any = None,
) -> Any: ...
def attribute(
    model: Sequential | Model | EncoderDecoder,
    x: Any,
    y: Any = None,
    *,
    method: AttributionMethod = "integrated_gradients",
    target: int | None = None,
    step: int | None = None,
    output: str | None = None,
    baseline: Any = None,
    steps: int | Literal["auto"] = "auto",
    logits: bool = False,
    mask: Any = None,
) -> Any:
    """Divide an output of a model among the tokens of a text, or the values of a series.

    Parameters
    ----------
    model : Sequential, Model or EncoderDecoder
        Built; dropout, noise and zoneout do not act, as in `predict`. It is not changed.
    x : array_like, or list of them
        As in `predict`, N samples. Of texts and token ids, the vectors of the `Embedding` that
        takes them are explained.
    y : object, optional
        For an `EncoderDecoder` the targets, as in `fit`; None: what it decodes greedily. What is
        explained is the logarithm of the probability that it gives to a target, all of its tokens
        and the end token together, or to one of these with `step`. The decoder reads the same
        target all the time; only the source is divided.
    method : {"integrated_gradients", "gradient_x_input", "occlusion"}
        "integrated_gradients": input minus baseline, times the mean of the gradient on the straight
        line between them (Sundararajan et al. 2017). The sum is the difference of their outputs.
        "gradient_x_input": input times gradient, from one backward (Shrikumar et al. 2016).
        "occlusion": how much the output falls if the step has the values of the baseline (Zeiler
        & Fergus 2014); one number a step. It needs a forward for each step.
    target : int, optional
        Which of the U outputs. None: the only one, or the largest of each sample. Of an
        `EncoderDecoder` which token at `step`; None: that of the target.
    step : int, optional
        Which step of outputs (N, T, U); negative ones count from each row's end. None: the last
        valid one. Of an `EncoderDecoder` which token of the target; -1 is the end token. None: all.
    output : str, optional
        The name of one of several outputs of a `Model`.
    baseline : array_like, optional
        Values that stand for no information, which broadcast to a step (C,) or to (T, C), for texts
        to a token's vector (E,). None: zeros. With several inputs a dict by their names, of which
        some may be missing, or a list.
    steps : int or "auto"
        Points of the integral, at the nodes of Gauss and Legendre. "auto": 32, doubled up to 1024
        until the sum is within 1e-3 of the difference of outputs (relative, if that is above 1),
        for every sample; functions with bends, such as a maximum over time, need many.
    logits : bool, default False
        Explain what the last layer's softmax or sigmoid is applied to. A sample that the model is
        sure of has small gradients otherwise. Not for an `EncoderDecoder`.
    mask : array_like of bool, shape (N, T), optional
        As in `predict`; steps that are left out get 0.

    Returns
    -------
    list of Attribution, or dict of them
        One for each sample. For a `Model` with several inputs a dict by the inputs' names, whose
        lists add up to the difference together. An input without steps has a value for each of its
        features.

    Raises
    ------
    TypeError
        If `model` is none of these, or `x` does not fit.
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
    network = _network_of(model, x, y, output, logits, mask)
    network.choose(target, step)
    empty = _baselines(network.sides, baseline)
    before: Array | None = None
    if method == "integrated_gradients":
        values, before = _integrated(network, empty, steps)
    elif method == "gradient_x_input":
        slopes = network.gradients(network.values, network.rows)
        values = [own * slope for own, slope in zip(network.values, slopes, strict=True)]
    else:
        values = _occluded(network, empty)
    found = _attributions(network, values, method, before)
    return found if isinstance(model, Model) and len(found) > 1 else next(iter(found.values()))


def _network_of(
    model: Explainable, x: Any, y: Any, output: str | None, logits: bool, mask: Any
) -> OutputNetwork | Pairs:
    """Return how an output follows from the input, after the checks that depend on the model."""
    if isinstance(model, Model):
        no_targets(y, model)
        return Graph(model, x, mask, output, logits)
    if output is not None:
        raise ValueError(
            f"output: expected None, since the {type(model).__name__} has one output, got "
            f"{output!r}"
        )
    if isinstance(model, EncoderDecoder):
        model._check_no_mask(mask)
        if logits:
            raise ValueError(
                "logits: expected False for an EncoderDecoder, of which logarithms of "
                "probabilities are explained, got True"
            )
        return Pairs(model, x, y)
    no_targets(y, model)
    return Chain(model, x, mask, logits)


def _baselines(sides: Sequence[Side], baseline: Any) -> list[Array]:
    """Return the values that stand for no information, for all values of all sides."""
    names = [side.name for side in sides]
    if len(sides) == 1:
        return sides[0].baseline(baseline, "baseline")
    if baseline is None:
        baseline = dict.fromkeys(names)
    elif isinstance(baseline, dict):
        baseline = {**dict.fromkeys(names), **baseline}
    return [
        values
        for side, own in zip(sides, by_input(baseline, names, "baseline"), strict=True)
        for values in side.baseline(own, f"baseline[{side.name!r}]")
    ]


def _attributions(
    network: Network, values: Sequence[Array], method: AttributionMethod, before: Array | None
) -> dict[str, list[Attribution]]:
    """Return the results by the names of the inputs."""
    rows: dict[str, list[Array]] = {}
    at = 0
    for side in network.sides:
        count = len(side.values) if method != "occlusion" else 1
        rows[side.name] = side.rows(values[at : at + count], method == "occlusion")
        at += count
    sums = {name: [float(row.sum()) for row in own] for name, own in rows.items()}
    whole = [sum(parts) for parts in zip(*sums.values(), strict=True)]
    return {
        side.name: [
            Attribution(
                rows[side.name][place],
                method,
                network.target[place],
                float(network.output[place]),
                None if before is None else float(before[place]),
                side.tokens[place],
                whole[place] - sums[side.name][place],
            )
            for place in range(len(network.rows))
        ]
        for side in network.sides
    }


def _integrated(
    network: Network, empty: Sequence[Array], steps: int | Literal["auto"]
) -> tuple[list[Array], Array]:
    """Return integrated gradients, and the outputs of the baseline."""
    before = network.outputs(empty, network.rows)
    difference = network.output - before
    along = [
        (own - start).astype(np.float64) for own, start in zip(network.values, empty, strict=True)
    ]
    count = FEWEST if steps == "auto" else steps
    while True:
        slopes = _mean_gradient(network, empty, count)
        found = [way * slope for way, slope in zip(along, slopes, strict=True)]
        sums = sum(own.reshape(len(own), -1).sum(axis=1) for own in found)
        missing = np.abs(sums - difference)
        close = bool((missing <= ENOUGH * np.maximum(1.0, np.abs(difference)) / 2).all())
        if steps != "auto" or close or count >= MOST:
            return found, before
        count *= 2


def _mean_gradient(network: Network, empty: Sequence[Array], count: int) -> list[Array]:
    """Return the mean gradient on the line from the baseline to the input, by `count` nodes."""
    nodes, shares = np.polynomial.legendre.leggauss(count)
    nodes, shares = (nodes + 1) / 2, shares / 2
    totals = [np.zeros(own.shape, np.float64) for own in network.values]
    together = max(MOST_ROWS // len(network.rows), 1)
    for at in range(0, count, together):
        part = nodes[at : at + together]
        moved = [_on_the_line(*ends, part) for ends in zip(empty, network.values, strict=True)]
        slopes = network.gradients(moved, np.tile(network.rows, len(part)))
        for total, own in zip(totals, slopes, strict=True):
            total += np.tensordot(
                shares[at : at + together], own.reshape(len(part), *total.shape), axes=1
            )
    return totals


def _on_the_line(start: Array, end: Array, nodes: Array) -> Array:
    """Return the values at all nodes between two ends (N, ...), one node after the other."""
    share = nodes.reshape(-1, *(1,) * end.ndim).astype(end.dtype)
    return np.asarray((start + share * (end - start)).reshape(-1, *end.shape[1:]))


def _occluded(network: Network, empty: Sequence[Array]) -> list[Array]:
    """Return how much the output falls without each step, (N, T) for each side.

    Of an input without steps, without each feature.
    """
    found, at = [], 0
    for side in network.sides:
        own = range(at, at + len(side.values))
        at += len(side.values)
        falls: Array = np.zeros(side.values[0].shape[:2], np.float64)
        counts = np.full(len(falls), falls.shape[1]) if side.counts is None else side.counts
        for t in range(falls.shape[1]):
            rows = np.flatnonzero(np.asarray(counts) > t)
            if not rows.size:
                break
            values = [one[rows] for one in network.values]
            for place in own:
                values[place][:, t] = empty[place][rows, t]
            falls[rows, t] = network.output[rows] - network.outputs(values, rows)
        found.append(falls)
    return found
