"""Directional derivatives of outputs and gradients: finite differences, and exact identities."""

import threading

import numpy as np
import pytest

from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig
from lstmcore.cpu import get_num_threads, set_num_threads
from reference import random_case, relative_error
from test_variants import VARIANTS

# Fourth-order differences along one direction, with widths that balance truncation and rounding.
# They are accurate to about 1e-11, or 1e-9 near kinks, where the width is too small to cross one.
TOLERANCE, AT_KINKS = 1e-9, 1e-8

CASES = {
    "one layer": ({}, {}),
    "two layers, ragged": ({"num_layers": 2}, {"ragged": True, "state": True}),
    "both directions, resets, dropout": (
        {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
        {"ragged": True, "state": True, "resets": True},
    ),
    "backwards": ({"go_backwards": True}, {"ragged": True, "state": True, "resets": True}),
    "peephole, coupled, no bias": (
        {"peephole": True, "coupled_gates": True, "bias": False},
        {"state": True},
    ),
    "zoneout and dropouts": (
        {
            "zoneout_h": 0.2,
            "zoneout_c": 0.3,
            "recurrent_dropout": 0.3,
            "input_dropout": 0.2,
            "weight_dropout": 0.2,
        },
        {"state": True, "ragged": True},
    ),
    "projection, other activations": (
        {
            "num_layers": 2,
            "bidirectional": True,
            "proj_size": 2,
            "cell_activation": Activation("scaled_tanh", 1.3, 0.6),
            "output_activation": "softplus",
        },
        {"state": True, "resets": True},
    ),
    "projection, zoneout and recurrent dropout": (
        {
            "bidirectional": True,
            "proj_size": 3,
            "zoneout_h": 0.3,
            "zoneout_c": 0.2,
            "recurrent_dropout": 0.3,
        },
        {"state": True, "ragged": True, "resets": True},
    ),
    "layer norms": (
        {"num_layers": 2, "bidirectional": True, "layer_norm": True, "layer_norm_epsilon": 0.05},
        {"state": True, "ragged": True, "resets": True},
    ),
    "layer norms, no bias, projection, zoneout": (
        {
            "layer_norm": True,
            "layer_norm_epsilon": 0.05,
            "bias": False,
            "proj_size": 3,
            "zoneout_h": 0.2,
            "weight_dropout": 0.2,
        },
        {"state": True},
    ),
    "layer norms, coupled, peephole, dropouts": (
        {
            "layer_norm": True,
            "layer_norm_epsilon": 0.1,
            "coupled_gates": True,
            "peephole": True,
            "zoneout_c": 0.3,
            "recurrent_dropout": 0.3,
        },
        {"state": True, "ragged": True},
    ),
    "kinks of a projection with zoneout": (
        {"proj_size": 3, "proj_clip": 0.4, "zoneout_h": 0.3, "recurrent_dropout": 0.2},
        {"state": True, "ragged": True},
    ),
    "kinks": (
        {
            "cell_clip": 0.5,
            "gate_clip": 0.9,
            "gate_activation": Activation("hard_sigmoid", 0.3, 0.4),
            "output_activation": "softsign",
        },
        {"state": True},
    ),
}

# Exact identities hold at kinks too.
ALL_CASES = CASES | {
    f"variant: {name}": (options, {"state": True, "ragged": True, "resets": True})
    for name, options in VARIANTS.items()
}


def make_case(name, dtype=np.float64):
    options, arguments = ALL_CASES[name]
    config = LSTMConfig(3, 5, **options)
    x, weights, arguments = random_case(config, 4, 5, dtype, seed=3, **arguments)
    return config, x, weights, arguments


def random_like(random, value):
    if isinstance(value, dict):
        return {key: random_like(random, entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(random_like(random, entry) for entry in value)
    return random.normal(size=value.shape).astype(value.dtype)


def leaves(*values):
    """Return all arrays in nested tuples and mappings, in order."""
    for value in values:
        if isinstance(value, dict):
            yield from leaves(*value.values())
        elif isinstance(value, tuple):
            yield from leaves(*value)
        elif value is not None:
            yield value


def moved(value, direction, amount):
    if isinstance(value, dict):
        return {key: moved(entry, direction[key], amount) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(moved(*pair, amount) for pair in zip(value, direction, strict=True))
    return value + amount * direction


def inner(first, second):
    return sum(float((a * b).sum()) for a, b in zip(leaves(first), leaves(second), strict=True))


def everything(config, x, weights, arguments, outputs, training):
    """Compute outputs and gradients with `lstm_jvp`; its tangents, which are zero, are not used."""
    (y, state), _, tape = F.lstm_jvp(x, weights, config, training=training, seed=7, **arguments)
    gradients, _ = F.lstm_jvp_backward(tape, outputs[0], outputs[1])
    return tuple(leaves(y, tuple(state), tuple(gradients)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_tangents_match_finite_differences(name, training):
    config, x, weights, arguments = make_case(name)
    random = np.random.default_rng(1)
    state = arguments.pop("state", None)
    y, final = F.lstm(x, weights, config, state=state, **arguments)
    point = (x, weights, (y * 0 + random.normal(size=y.shape), random_like(random, tuple(final))))
    if state is not None:
        point += (state,)
    direction = random_like(random, point)
    (_, _), tangents, tape = F.lstm_jvp(
        x,
        weights,
        config,
        state=state,
        x_tangent=direction[0],
        weights_tangent=direction[1],
        state_tangent=direction[3] if state is not None else None,
        training=training,
        seed=7,
        **arguments,
    )
    _, gradients = F.lstm_jvp_backward(
        tape,
        point[2][0],
        point[2][1],
        dy_tangent=direction[2][0],
        dstate_tangent=direction[2][1],
    )
    kinks = name.startswith("kinks")
    width = 1e-6 if kinks else 3e-4

    def at(multiple):
        x, weights, outputs, *state = moved(point, direction, multiple * width)
        given = {**arguments, "state": state[0]} if state else arguments
        return everything(config, x, weights, given, outputs, training)

    far, near = zip(at(2), at(-2), strict=True), zip(at(1), at(-1), strict=True)
    for result, (ahead2, behind2), (ahead, behind) in zip(
        leaves(tangents, tuple(gradients)), far, near, strict=True
    ):
        expected = (8 * (ahead - behind) - (ahead2 - behind2)) / (12 * width)
        assert relative_error(result, expected) < (AT_KINKS if kinks else TOLERANCE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALL_CASES)
def test_values_are_those_of_lstm(name, dtype):
    config, x, weights, arguments = make_case(name, dtype)
    random = np.random.default_rng(2)
    packed = F.pack(weights, config)
    for training in (True, False):
        y, state, *tape = F.lstm(x, packed, training=training, seed=9, **arguments)
        (y_too, state_too), (y_tangent, state_tangent), tangent_tape = F.lstm_jvp(
            x,
            packed,
            x_tangent=random_like(random, x),
            weights_tangent=random_like(random, weights),
            training=training,
            seed=9,
            **arguments,
        )
        dy = random_like(random, y)
        values, tangents = F.lstm_jvp_backward(tangent_tape, dy, dy_tangent=dy)
        for result in leaves(y_tangent, state_tangent, tuple(tangents)):
            assert result.dtype == dtype
        expected = [y, *state]
        results = [y_too, *state_too]
        if training:
            expected += leaves(tuple(F.lstm_backward(tape[0], dy)))
            results += leaves(tuple(values))
        for result, wanted in zip(results, expected, strict=True):
            assert np.array_equal(result, wanted)


@pytest.mark.parametrize("name", ALL_CASES)
def test_backward_is_transposed_and_the_hessian_symmetric(name):
    config, x, weights, arguments = make_case(name)
    random = np.random.default_rng(4)
    first, second = (random_like(random, (x, weights)) for _ in range(2))
    y, _ = F.lstm(x, weights, config, **arguments)
    dy = random_like(random, y)

    def second_order(direction):
        _, (y_tangent, _), tape = F.lstm_jvp(
            x, weights, config, x_tangent=direction[0], weights_tangent=direction[1], **arguments
        )
        gradients, tangents = F.lstm_jvp_backward(tape, dy)
        by_direction = inner((gradients.x, gradients.weights), direction)
        assert by_direction == pytest.approx(inner(dy, y_tangent), rel=1e-12, abs=1e-12)
        return tangents.x, tangents.weights

    one, other = inner(second_order(first), second), inner(second_order(second), first)
    assert one == pytest.approx(other, rel=1e-11, abs=1e-11)


def test_hessian_of_a_loss():
    """The Hessian of the mean squared error times a vector is a difference of gradients."""
    config = LSTMConfig(3, 6, num_layers=2)
    x, weights, _ = random_case(config, 4, 7, np.float64, seed=5)
    random = np.random.default_rng(6)
    target = random.normal(size=(4, 7, 6))
    vector = random_like(random, weights)

    def gradient(weights):
        y, _, tape = F.lstm(x, weights, config, training=True)
        return F.lstm_backward(tape, 2 * (y - target) / y.size).weights

    (y, _), (y_tangent, _), tape = F.lstm_jvp(x, weights, config, weights_tangent=vector)
    values, product = F.lstm_jvp_backward(
        tape, 2 * (y - target) / y.size, dy_tangent=2 * y_tangent / y.size
    )
    width = 1e-4
    far = [gradient(moved(weights, vector, multiple * width)) for multiple in (-2, -1, 1, 2)]
    for name, expected in gradient(weights).items():
        assert np.array_equal(values.weights[name], expected)
        before2, before, after, after2 = (step[name] for step in far)
        difference = (8 * (after - before) - (after2 - before2)) / (12 * width)
        assert relative_error(product.weights[name], difference) < TOLERANCE


def test_absent_tangents_are_zeros():
    config = LSTMConfig(3, 5, peephole=True)
    x, weights, arguments = random_case(config, 4, 5, np.float64, state=True)
    some = {"bias_l0": np.ones_like(weights["bias_l0"])}
    every = {name: np.zeros_like(weight) for name, weight in weights.items()} | some
    zeros = tuple(np.zeros_like(part) for part in arguments["state"])

    def run(weights_tangent, **tangents):
        _, outputs, tape = F.lstm_jvp(
            x, weights, config, weights_tangent=weights_tangent, **arguments, **tangents
        )
        _, gradients = F.lstm_jvp_backward(tape, np.ones((4, 5, 5)))
        return list(leaves(outputs, tuple(gradients)))

    sparse = run(some)
    dense = run(every, x_tangent=np.zeros_like(x), state_tangent=zeros)
    for result, expected in zip(sparse, dense, strict=True):
        assert np.array_equal(result, expected)
    for result in run(None):
        assert not result.any()


def test_masked_steps_are_ignored():
    config = LSTMConfig(3, 5, bidirectional=True)
    x, weights, _ = random_case(config, 3, 6, np.float64)
    random = np.random.default_rng(8)
    mask = random.random((3, 6)) < 0.6
    mask[0], mask[1] = True, False
    vector, weight_vector = random_like(random, x), random_like(random, weights)
    dy, dy_tangent = random.normal(size=(2, 3, 6, 10))

    def run(filler):
        given = [np.where(mask[..., None], array, filler) for array in (x, vector, dy, dy_tangent)]
        _, outputs, tape = F.lstm_jvp(
            given[0],
            weights,
            config,
            mask=mask,
            x_tangent=given[1],
            weights_tangent=weight_vector,
        )
        return outputs, F.lstm_jvp_backward(tape, given[2], dy_tangent=given[3])

    results = run(np.nan)
    for result, expected in zip(leaves(results), leaves(run(0.0)), strict=True):
        assert np.array_equal(result, expected)
    (y_tangent, _), (_, tangents) = results
    assert not y_tangent[~mask].any()
    assert not tangents.x[~mask].any()

    # Each row alone, without its masked steps.
    for row in range(3):
        alone = mask[row]
        _, (y_row, _), tape = F.lstm_jvp(
            x[row : row + 1, alone],
            weights,
            config,
            x_tangent=vector[row : row + 1, alone],
            weights_tangent=weight_vector,
        )
        _, row_tangents = F.lstm_jvp_backward(
            tape, dy[row : row + 1, alone], dy_tangent=dy_tangent[row : row + 1, alone]
        )
        assert np.array_equal(y_row[0], y_tangent[row, alone])
        assert np.array_equal(row_tangents.x[0], tangents.x[row, alone])


def test_any_number_of_threads_gives_the_same_bits():
    config = LSTMConfig(20, 40, num_layers=2, bidirectional=True)
    x, weights, arguments = random_case(config, 37, 20, np.float32, ragged=True, resets=True)
    random = np.random.default_rng(9)
    vector = random_like(random, weights)
    dy = random.normal(size=(37, 20, 80)).astype(np.float32)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            *outputs, tape = F.lstm_jvp(x, weights, config, weights_tangent=vector, **arguments)
            gradients = F.lstm_jvp_backward(tape, dy, dy_tangent=dy)
            results.append(list(leaves(tuple(outputs), gradients)))
    finally:
        set_num_threads(before)
    for result in results[1:]:
        for part, expected in zip(result, results[0], strict=True):
            assert np.array_equal(part, expected)


# ---- bad arguments -------------------------------------------------------------------------------

CONFIG = LSTMConfig(3, 4, num_layers=2)
X, WEIGHTS, _ = random_case(CONFIG, 5, 6, np.float32)
STATE = np.zeros((2, 5, 4), np.float32)

BAD = {
    "x_tangent of another shape": (
        ValueError,
        r"x_tangent: expected shape \(N=5, T=6, C=3\), got \(5, 6, 2\)",
        {"x_tangent": X[..., :2]},
    ),
    "x_tangent float64": (
        TypeError,
        "x_tangent: .*float32 like the weights, got float64",
        {"x_tangent": X.astype("f8")},
    ),
    "x_tangent masked": (
        TypeError,
        "x_tangent: expected an array without a mask",
        {"x_tangent": np.ma.masked_array(X)},
    ),
    "a state's tangent that is not a pair": (
        ValueError,
        "state_tangent: expected a pair",
        {"state_tangent": (STATE,)},
    ),
    "h's tangent of another batch": (
        ValueError,
        r"state_tangent h: expected shape \(layers\*D=2, N=5, H=4\), got \(2, 4, 4\)",
        {"state_tangent": (STATE[:, :4], None)},
    ),
    "c's tangent float64": (
        TypeError,
        "state_tangent c: .*float32",
        {"state_tangent": (None, STATE.astype("f8"))},
    ),
    "a tangent of an unknown weight": (
        ValueError,
        "weights_tangent: expected no names but weight_ih_l0.*, got 'weight'",
        {"weights_tangent": {"weight": X}},
    ),
    "a weight's tangent of another shape": (
        ValueError,
        r"weights_tangent\['bias_l1'\]: expected shape \(4H=16,\), got \(4,\)",
        {"weights_tangent": {"bias_l1": np.zeros(4, np.float32)}},
    ),
    "a weight's tangent float64": (
        TypeError,
        r"weights_tangent\['bias_l1'\]: .*float32",
        {"weights_tangent": {"bias_l1": np.zeros(16)}},
    ),
    "tangents that are not a mapping": (
        TypeError,
        "weights_tangent: expected a mapping",
        {"weights_tangent": [X]},
    ),
    "training that is not a bool": (TypeError, "training: expected", {"training": 1}),
    "a negative seed": (ValueError, "seed: ", {"seed": -1}),
    "x of another width": (ValueError, "x: expected shape", {"x": X[..., :2]}),
    "a length beyond T": (ValueError, "lengths: .*0 to 6, got 7", {"lengths": [7, 1, 1, 1, 1]}),
    "lengths and a mask": (
        ValueError,
        "mask: expected none alongside lengths",
        {"lengths": [1] * 5, "mask": np.ones((5, 6), bool)},
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_directions(case):
    error, message, arguments = case
    with pytest.raises(error, match=message):
        F.lstm_jvp(**{"x": X, "weights": WEIGHTS, "config": CONFIG, **arguments})


def test_bad_gradients():
    y = np.zeros((5, 6, 4), np.float32)
    _, _, tape = F.lstm_jvp(X, WEIGHTS, CONFIG)
    assert tape.ready
    assert tape.dtype == np.float32
    assert tape.nbytes > 0
    for error, message, arguments in (
        (ValueError, r"dy: expected shape \(N=5, T=6, D\*H=4\)", {"dy": y[..., :3]}),
        (ValueError, r"dy_tangent: expected shape", {"dy_tangent": y[:, :3]}),
        (TypeError, "dy_tangent: .*float32 like the tape", {"dy_tangent": y.astype("f8")}),
        (ValueError, "dstate h: ", {"dstate": (y, None)}),
        (ValueError, "dstate_tangent c: ", {"dstate_tangent": (None, y)}),
        (TypeError, "dstate_tangent: expected a pair", {"dstate_tangent": 5}),
    ):
        with pytest.raises(error, match=message):
            F.lstm_jvp_backward(tape, **arguments)
    F.lstm_jvp_backward(tape, y)  # the errors did not change the tape
    assert not tape.ready
    assert tape.nbytes == 0
    with pytest.raises(ValueError, match="tape: expected one whose backward has not run yet"):
        F.lstm_jvp_backward(tape, y)
    _, _, other = F.lstm(X, WEIGHTS, CONFIG, training=True)
    with pytest.raises(TypeError, match="tape: expected an LSTMTangentTape, got LstmTape"):
        F.lstm_jvp_backward(other, y)
    with pytest.raises(TypeError, match="tape: expected an LSTMTape, got LstmTangentTape"):
        F.lstm_backward(tape, y)


def test_many_threads_each_with_its_own_tape():
    config = LSTMConfig(8, 16)
    x, weights, _ = random_case(config, 9, 12, np.float64)
    packed = F.pack(weights, config)
    vector = random_like(np.random.default_rng(1), weights)

    def run(results):
        for _ in range(5):
            _, tangents, tape = F.lstm_jvp(x, packed, weights_tangent=vector)
            gradients = F.lstm_jvp_backward(tape, np.ones((9, 12, 16)))
            results.append(list(leaves(tangents, gradients)))

    expected: list = []
    run(expected)
    all_results = [[] for _ in range(4)]
    threads = [threading.Thread(target=run, args=(results,)) for results in all_results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in all_results:
        assert len(results) == 5
        for result in results:
            for part, wanted in zip(result, expected[0], strict=True):
                assert np.array_equal(part, wanted)
