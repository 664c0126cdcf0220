"""Every pair of options: results against the reference, gradients against finite differences.

This file verifies the table of combinations in docs/variants.md.
"""

from itertools import combinations

import numpy as np
import pytest

import lstmcore as lc
import reference
from draws import OPTIONS, REFUSED
from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from reference import random_case, relative_error

BATCH, STEPS = 4, 5


def case(pair):
    """Return configuration and arguments of a call with both options."""
    options = {}
    for name in pair:
        options |= OPTIONS[name]
    config = LSTMConfig(3, 5, **options)
    x, weights, arguments = random_case(
        config,
        BATCH,
        STEPS,
        np.float64,
        seed=3,
        ragged="lengths" in pair,
        state=True,
        resets="reset" in pair,
    )
    if "mask" in pair:
        arguments["mask"] = np.random.default_rng(4).random((BATCH, STEPS)) < 0.7
    if "recompute" in pair:
        arguments["recompute"] = 2
    return config, x, weights, arguments


def call(pair):
    config, x, weights, arguments = case(pair)
    F.lstm(x, weights, config, training=True, **arguments)


@pytest.mark.parametrize("pair", list(combinations(OPTIONS, 2)), ids=" and ".join)
def test_pair(pair):
    if pair in REFUSED:
        with pytest.raises(ValueError, match=f"{pair[1]}: expected"):
            call(pair)
        return
    config, x, weights, arguments = case(pair)
    seed = {"training": True, "seed": 8}
    y, state, tape = F.lstm(x, weights, config, **arguments, **seed)
    dy, dh, dc = (np.cos(3 * array) for array in (y, *state))
    gradients = F.lstm_backward(tape, dy, (dh, dc))

    check_values(config, x, weights, arguments, (y, *state))

    # The derivative along a random direction.
    random = np.random.default_rng(5)
    h0, c0 = arguments.pop("state")
    inputs = {**weights, "x": x, "h0": h0, "c0": c0}
    along = {name: random.normal(size=value.shape) for name, value in inputs.items()}

    def loss(distance):
        at = {name: value + distance * along[name] for name, value in inputs.items()}
        x, h0, c0 = at.pop("x"), at.pop("h0"), at.pop("c0")
        y, (h, c), _ = F.lstm(x, at, config, **arguments, **seed, state=(h0, c0))
        return (y * dy).sum() + (h * dh).sum() + (c * dc).sum()

    parts = dict(gradients.weights)
    parts |= {"x": gradients.x, "h0": gradients.state.h, "c0": gradients.state.c}
    terms = np.concatenate([(parts[name] * along[name]).ravel() for name in inputs])
    width = 1e-5  # small enough not to cross a kink or a bound
    slope = (loss(width) - loss(-width)) / (2 * width)
    assert abs(terms.sum() - slope) <= 1e-7 * (1 + np.abs(terms).sum())


def check_values(config, x, weights, arguments, results):
    """Compare with the reference, which takes no mask: masked steps are removed, then restored."""
    masks = F.lstm_masks(config, BATCH, STEPS, seed=8)
    valid = arguments.get("mask", np.ones((BATCH, STEPS), bool))
    reset = arguments.get("reset", np.zeros((BATCH, STEPS), bool))
    lengths = arguments.get("lengths")
    order = np.argsort(~valid, axis=1, kind="stable")
    row = np.arange(BATCH)[:, None]
    if "mask" in arguments:
        lengths = valid.sum(axis=1)
        reset = np.diff(np.cumsum(reset, axis=1)[row, order], axis=1, prepend=0) > 0
        for name in ("zoneout_h", "zoneout_c", "dropout"):
            if name in masks:
                masks[name] = masks[name][:, row, order]
    h0, c0 = arguments["state"]
    y, h, c = reference.lstm(x[row, order], weights, config, h0, c0, lengths, reset, masks)
    whole = np.zeros_like(y)
    whole[row, order] = y
    for result, expected in zip(results, (whole, h, c), strict=True):
        assert relative_error(result, expected) < 1e-12


@pytest.mark.parametrize("name", [*filter(OPTIONS.get, OPTIONS)])
def test_stream(name):
    config, x, weights, _ = case((name,))
    if name in ("bidirectional", "go_backwards"):
        with pytest.raises(ValueError, match="stream"):
            lc.LSTMStream(weights, config)
        return
    y, _ = F.lstm(x, weights, config)
    stream = lc.LSTMStream(weights, config, batch_size=BATCH)
    for t in range(STEPS):
        assert np.array_equal(stream.step(np.ascontiguousarray(x[:, t])), y[:, t])


@pytest.mark.parametrize("name", [*filter(OPTIONS.get, OPTIONS), "reset"])
def test_step_by_step(name):
    config, x, weights, arguments = case((name,))
    if name in ("bidirectional", "go_backwards", "dropout"):
        with pytest.raises(ValueError, match="expected"):
            F.lstm_begin(weights, config)
        return
    reset = arguments.get("reset", np.zeros((BATCH, STEPS), bool))
    y, _, tape = F.lstm(x, weights, config, training=True, seed=2, reset=reset)
    whole = F.lstm_backward(tape, np.sin(y))
    tape = F.lstm_begin(weights, config, batch_size=BATCH, seed=2)
    for t in range(STEPS):
        assert np.array_equal(F.lstm_step(tape, x[:, t], reset=reset[:, t]), y[:, t])
    stepwise = F.lstm_backward(tape, np.sin(y))
    for key, gradient in stepwise.weights.items():
        assert np.array_equal(gradient, whole.weights[key])
