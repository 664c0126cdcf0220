"""Random configurations, shapes, lengths, masks, resets and dtypes, against the reference.

The number of examples depends on Hypothesis' profile; ``HYPOTHESIS_PROFILE=long`` draws 10 000.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import lstmcore as lc
from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig
from reference import lstm, random_case, relative_error

RATES = st.sampled_from([0.0, 0.0, 0.3])
SMOOTH = st.sampled_from(
    ["sigmoid", "tanh", "softplus", "linear", Activation("scaled_tanh", 0.8, 0.7)]
)
OTHER = st.sampled_from(
    [
        "relu",
        "softsign",
        "hard_sigmoid",
        Activation("leaky_relu", 0.1),
        Activation("elu", 0.5),
        Activation("affine", 0.4, 0.3),
        Activation("thresholded_relu", 0.1),
    ]
)
ANY = st.one_of(SMOOTH, OTHER)
BOUNDED = {"sigmoid", "tanh", "softsign", "scaled_tanh", "hard_sigmoid"}


@st.composite
def configs(draw, activations=ANY, bounds=True):
    hidden = draw(st.integers(1, 40))
    bidirectional = draw(st.booleans())
    projection = draw(st.sampled_from([0, 0, 1, hidden, (hidden + 1) // 2]))
    clips = st.sampled_from([0.0, 0.0, 0.5]) if bounds else st.just(0.0)
    return LSTMConfig(
        draw(st.integers(1, 6)),
        hidden,
        num_layers=draw(st.integers(1, 3)),
        bidirectional=bidirectional,
        go_backwards=not bidirectional and draw(st.booleans()),
        dropout=draw(RATES),
        bias=draw(st.booleans()),
        peephole=draw(st.booleans()),
        coupled_gates=draw(st.booleans()),
        # Gates above 1 would let the state, and with it all errors, grow without bound.
        gate_activation=draw(st.sampled_from(["sigmoid", "hard_sigmoid"])) if bounds else "sigmoid",
        cell_activation=draw(activations),
        output_activation=draw(activations),
        gate_clip=draw(clips),
        cell_clip=draw(clips),
        proj_size=projection,
        proj_clip=draw(clips) if projection else 0.0,
        layer_norm=draw(st.sampled_from([False, False, True])),
        # The variance of two units may be far below 1e-5 and would then amplify all rounding.
        layer_norm_epsilon=draw(st.sampled_from([0.1, 0.01])),
        zoneout_h=draw(RATES),
        zoneout_c=draw(RATES),
        recurrent_dropout=draw(RATES),
        input_dropout=draw(RATES),
        weight_dropout=draw(RATES),
    )


class Call(tuple):
    """A configuration and the arguments of a call, with a short repr."""

    def __repr__(self):
        config, _, x, _, arguments, _ = self
        return f"{config}, x {x.shape}, {', '.join(arguments)}, {lc.get_num_threads()} threads"


@st.composite
def calls(draw, **options):
    """Draw a `Call`."""
    config = draw(configs(**options))
    batch, steps = draw(st.integers(0, 9)), draw(st.integers(0, 10))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, weights, _ = random_case(config, batch, steps, np.float64, seed=random.integers(2**32))
    weights = {name: 0.5 * weight for name, weight in weights.items()}
    arguments = {}
    kind = draw(st.sampled_from(["whole", "lengths", "mask"]))
    if kind == "lengths":
        arguments["lengths"] = random.integers(0, steps + 1, batch)
        valid = np.arange(steps) < arguments["lengths"][:, None]
    elif kind == "mask":
        valid = arguments["mask"] = random.random((batch, steps)) < 0.7
    else:
        valid = np.ones((batch, steps), bool)
    x[~valid] = np.nan
    if draw(st.booleans()):
        arguments["reset"] = random.random((batch, steps)) < 0.2
    if draw(st.booleans()):
        cells = config.num_layers * config.num_directions
        arguments["state"] = tuple(
            random.normal(size=(cells, batch, width))
            for width in (config.state_size, config.hidden_size)
        )
    lc.set_num_threads(draw(st.integers(1, 3)))
    return Call((config, weights, x, valid, arguments, random))


def expected(config, weights, x, valid, arguments, seed):
    """Compute results with the reference; invalid steps are removed, then restored."""
    batch, steps = valid.shape
    counts = valid.sum(axis=1)
    order = np.argsort(~valid, axis=1, kind="stable")
    row = np.arange(batch)[:, None]
    reset = arguments.get("reset", np.zeros_like(valid))
    if "mask" in arguments:  # a reset at an invalid step acts on the next valid one
        seen = np.cumsum(reset, axis=1)[row, order]
        reset = np.diff(seen, axis=1, prepend=0) > 0
    masks = None
    if seed is not None:
        masks = F.lstm_masks(config, batch, steps, seed)
        for name in ("zoneout_h", "zoneout_c", "dropout"):
            if name in masks:
                masks[name] = masks[name][:, row, order]
    h, c = arguments.get("state", (None, None))
    y, h, c = lstm(x[row, order], weights, config, h, c, counts, reset, masks)
    whole = np.zeros_like(y)
    whole[row, order] = y
    return whole, h, c


def error(config, result, wanted):
    """Return the error relative to the largest entry or, with layer norms, to at least 1."""
    if wanted.size == 0 or not config.layer_norm:
        return relative_error(result, wanted)
    return np.abs(result - wanted).max() / max(1.0, np.abs(wanted).max())


@given(calls(), st.booleans())
def test_forward_matches_the_reference(call, training):
    config, weights, x, valid, arguments, random = call
    recompute = (
        {"recompute": int(random.integers(1, 5))} if training and random.random() < 0.5 else {}
    )
    y, state, *_ = F.lstm(x, weights, config, **arguments, **recompute, training=training, seed=9)
    wanted = expected(config, weights, x, valid, arguments, 9 if training else None)
    for result, value in zip((y, *state), wanted, strict=True):
        assert error(config, result, value) < 1e-11  # unbounded states amplify rounding


@given(calls(activations=SMOOTH, bounds=False))
def test_gradient_matches_the_slope_along_a_direction(call):
    config, weights, x, valid, arguments, random = call
    options = {**arguments, "training": True, "seed": 4}
    options.pop("state", None)
    h0, c0 = arguments.get("state") or (
        np.zeros((config.num_layers * config.num_directions, len(x), width))
        for width in (config.state_size, config.hidden_size)
    )
    options["recompute"] = random.choice([None, 1, 3, "sqrt"])
    if options["recompute"] not in (None, "sqrt"):
        options["recompute"] = int(options["recompute"])
    y, state, tape = F.lstm(x, weights, config, **options, state=(h0, c0))
    dy, dh, dc = (random.normal(size=array.shape) for array in (y, *state))
    gradients = F.lstm_backward(tape, dy, (dh, dc))
    inputs = {**weights, "x": np.where(valid[..., None], x, 0), "h0": h0, "c0": c0}
    along = {name: random.normal(size=value.shape) for name, value in inputs.items()}
    length = np.sqrt(sum((direction**2).sum() for direction in along.values()))
    along = {name: direction / length for name, direction in along.items()}

    def loss(distance):
        at = {name: value + distance * along[name] for name, value in inputs.items()}
        x, h0, c0 = at.pop("x"), at.pop("h0"), at.pop("c0")
        y, (h, c), _ = F.lstm(x, at, config, **options, state=(h0, c0))
        return (y * dy).sum() + (h * dh).sum() + (c * dc).sum()

    width = 1e-3
    slope = (8 * (loss(width) - loss(-width)) - (loss(2 * width) - loss(-2 * width))) / 12 / width
    parts = dict(gradients.weights)
    parts |= {"x": gradients.x, "h0": gradients.state.h, "c0": gradients.state.c}
    terms = np.concatenate([(parts[name] * along[name]).ravel() for name in inputs])
    # The error of the differences grows with the fifth derivative; a wrong term would exceed it.
    assert abs(terms.sum() - slope) <= 1e-6 * (1 + np.abs(terms).sum())


@given(calls())
def test_threads_change_no_bit_and_dtypes_only_the_rounding(call):
    config, weights, x, _, arguments, random = call
    options = {**arguments, "training": True, "seed": 4}
    y, state, tape = F.lstm(x, weights, config, **options)
    dy = random.normal(size=y.shape)
    gradients = F.lstm_backward(tape, dy)
    lc.set_num_threads(1)
    y_one, _, tape = F.lstm(x, weights, config, **options)
    gradients_one = F.lstm_backward(tape, dy)
    assert np.array_equal(y, y_one)
    for name, gradient in gradients.weights.items():
        assert np.array_equal(gradient, gradients_one.weights[name]), name
    assert np.array_equal(gradients.x, gradients_one.x)
    if "state" in options:
        options["state"] = tuple(np.float32(part) for part in options["state"])
    single = {name: np.float32(weight) for name, weight in weights.items()}
    y32, state32, _ = F.lstm(np.float32(x), single, config, **options)
    assert y32.dtype == np.float32
    # Unbounded activations amplify differences; at a jump, rounding may pick the other side.
    if {config.cell_activation.name, config.output_activation.name} <= BOUNDED:
        assert error(config, np.float64(y32), y) < 1e-4
        assert error(config, np.float64(state32.c), state.c) < 1e-4
