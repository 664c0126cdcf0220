"""Every gradient against finite differences in float64."""

import threading

import numpy as np
import pytest

from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from reference import derivative, random_case, relative_error

# Fourth-order differences are accurate to about 1e-10 of the largest entry; 1e-8 leaves room for
# gradients that are sums of large, nearly cancelling terms.
TOLERANCE = 1e-8

CASES = {
    "one layer": (LSTMConfig(3, 4), {}),
    "one unit": (LSTMConfig(1, 1), {}),
    "more units than a vector": (LSTMConfig(2, 19), {}),
    "two layers, ragged": (LSTMConfig(3, 5, num_layers=2), {"ragged": True, "state": True}),
    "both directions": (LSTMConfig(3, 4, bidirectional=True), {"state": True}),
    "three layers, both directions, ragged": (
        LSTMConfig(2, 3, num_layers=3, bidirectional=True),
        {"ragged": True, "state": True},
    ),
    "resets": (LSTMConfig(3, 4, num_layers=2), {"resets": True, "state": True}),
    "everything at once": (
        LSTMConfig(3, 3, num_layers=2, bidirectional=True, dropout=0.4),
        {"ragged": True, "state": True, "resets": True},
    ),
    "backwards, ragged": (
        LSTMConfig(3, 4, num_layers=2, go_backwards=True),
        {"ragged": True, "state": True, "resets": True},
    ),
    "dropout": (LSTMConfig(3, 6, num_layers=3, dropout=0.5), {"state": True}),
}


def make_case(name, batch=5, steps=4):
    config, options = CASES[name]
    x, weights, arguments = random_case(config, batch, steps, np.float64, seed=3, **options)
    return config, x, weights, {**arguments, "training": True, "seed": 11}


def cotangents(y, state, seed=5):
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=array.shape) for array in (y, *state))


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_gradients_match_finite_differences(name, return_sequences):
    config, x, weights, arguments = make_case(name)
    arguments["return_sequences"] = return_sequences
    y, state, tape = F.lstm(x, weights, config, **arguments)
    dy, dh, dc = cotangents(y, state)
    gradients = F.lstm_backward(tape, dy, (dh, dc))

    def loss():
        y, (h, c), _ = F.lstm(x, weights, config, **arguments)
        return float((y * dy).sum() + (h * dh).sum() + (c * dc).sum())

    assert relative_error(gradients.x, derivative(loss, x)) < TOLERANCE
    assert list(gradients.weights) == list(weights)
    for key, weight in weights.items():
        assert relative_error(gradients.weights[key], derivative(loss, weight)) < TOLERANCE, key
    if "state" in arguments:
        for result, initial in zip(gradients.state, arguments["state"], strict=True):
            assert relative_error(result, derivative(loss, initial)) < TOLERANCE


@pytest.mark.parametrize("name", ["everything at once", "two layers, ragged", "backwards, ragged"])
def test_float32_gradients_match_float64(name):
    config, x, weights, arguments = make_case(name, batch=9, steps=21)
    y, state, tape = F.lstm(x, weights, config, **arguments)
    dy, dh, dc = cotangents(y, state)
    expected = F.lstm_backward(tape, dy, (dh, dc))

    single = {key: weight.astype(np.float32) for key, weight in weights.items()}
    arguments["state"] = tuple(part.astype(np.float32) for part in arguments["state"])
    *_, tape = F.lstm(x.astype(np.float32), single, config, **arguments)
    result = F.lstm_backward(
        tape, dy.astype(np.float32), (dh.astype(np.float32), dc.astype(np.float32))
    )
    # Rounding errors of 2**-24 in a few hundred operations, which are not amplified much.
    pairs = [(result.x, expected.x), *zip(result.state, expected.state, strict=True)]
    pairs += [(result.weights[key], expected.weights[key]) for key in weights]
    for single_gradient, double_gradient in pairs:
        assert single_gradient.dtype == np.float32
        assert relative_error(single_gradient, double_gradient) < 1e-5


def flat(gradients):
    parts = [gradients.x, *(gradients.state or (None, None)), *gradients.weights.values()]
    return [part for part in parts if part is not None]


def test_gradients_not_asked_for_change_nothing_else():
    config, x, weights, arguments = make_case("everything at once")

    def backward(**options):
        y, state, tape = F.lstm(x, weights, config, **arguments)
        dy, dh, dc = cotangents(y, state)
        return F.lstm_backward(tape, dy, (dh, dc), **options)

    full = backward()
    only_x = backward(need_state=False, need_weights=False)
    assert only_x.state is None
    assert only_x.weights == {}
    assert np.array_equal(only_x.x, full.x)
    only_state = backward(need_x=False, need_weights=False)
    assert only_state.x is None
    for part, expected in zip(only_state.state, full.state, strict=True):
        assert np.array_equal(part, expected)
    only_weights = backward(need_x=False, need_state=False)
    for name, expected in full.weights.items():
        assert np.array_equal(only_weights.weights[name], expected)
    for left_out in full.weights:
        out = {name: None if name == left_out else np.empty_like(weights[name]) for name in weights}
        some = backward(out=out)
        assert np.array_equal(some.x, full.x)
        assert set(some.weights) == set(full.weights) - {left_out}
        for name, values in some.weights.items():
            assert values is out[name]
            assert np.array_equal(values, full.weights[name])


@pytest.mark.parametrize("absent", [{"dy"}, {"dh"}, {"dc"}, {"dh", "dc"}, {"dy", "dh", "dc"}])
def test_absent_output_gradients_are_zeros(absent):
    config, x, weights, arguments = make_case("everything at once")
    results = []
    for stand_in in (np.zeros_like, lambda array: None):
        y, state, tape = F.lstm(x, weights, config, **arguments)
        parts = dict(zip(("dy", "dh", "dc"), cotangents(y, state), strict=True))
        for name in absent:
            parts[name] = stand_in(parts[name])
        results.append(F.lstm_backward(tape, parts["dy"], (parts["dh"], parts["dc"])))
    for part, expected in zip(flat(results[1]), flat(results[0]), strict=True):
        assert np.array_equal(part, expected)
    if len(absent) == 3:
        assert not any(part.any() for part in flat(results[1]))


def test_gradients_are_written_into_the_passed_arrays():
    config, x, weights, arguments = make_case("everything at once")
    y, _, tape = F.lstm(x, weights, config, **arguments)
    expected = F.lstm_backward(tape, y)
    # NaN in the arrays reveals a gradient that is added to them, not written.
    arrays = {name: np.full_like(weight, np.nan) for name, weight in weights.items()}
    *_, tape = F.lstm(x, weights, config, **arguments)
    result = F.lstm_backward(tape, y, out=arrays)
    for name, array in arrays.items():
        assert result.weights[name] is array
        assert np.array_equal(array, expected.weights[name])


def test_later_changes_do_not_affect_the_backward():
    config, x, weights, arguments = make_case("everything at once")
    y, _, tape = F.lstm(x, weights, config, **arguments)
    expected = F.lstm_backward(tape, y)
    result_y, _, tape = F.lstm(x, weights, config, **arguments)
    upstream = result_y.copy()
    for array in (x, result_y, *weights.values(), *arguments["state"], arguments["lengths"]):
        array[...] = 0
    arguments["reset"][...] = True
    del weights
    for part, wanted in zip(flat(F.lstm_backward(tape, upstream)), flat(expected), strict=True):
        assert np.array_equal(part, wanted)


def test_entries_past_the_length_are_not_read_and_get_zero():
    config, x, weights, arguments = make_case("three layers, both directions, ragged")
    y, _, tape = F.lstm(x, weights, config, **arguments)
    expected = F.lstm_backward(tape, y)
    past = np.arange(x.shape[1]) >= arguments["lengths"][:, None]
    assert past.any()
    x[past] = np.nan
    result_y, _, tape = F.lstm(x, weights, config, **arguments)
    assert np.array_equal(result_y, y)
    dy = y.copy()
    dy[past] = np.nan
    result = F.lstm_backward(tape, dy)
    assert not result.x[past].any()
    for part, wanted in zip(flat(result), flat(expected), strict=True):
        assert np.array_equal(part, wanted)


def test_strided_output_gradients():
    config, x, weights, arguments = make_case("everything at once")
    results = []
    for prepare in (np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1].copy()[::-1]):
        y, state, tape = F.lstm(x, weights, config, **arguments)
        dy, dh, dc = (prepare(part) for part in cotangents(y, state))
        results.append(flat(F.lstm_backward(tape, dy, (dh, dc))))
    for result in results[1:]:
        for part, expected in zip(result, results[0], strict=True):
            assert np.array_equal(part, expected)


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(batch, steps):
    config = LSTMConfig(3, 4, num_layers=2, bidirectional=True)
    x, weights, arguments = random_case(config, batch, steps, np.float64, state=True)
    y, state, tape = F.lstm(x, weights, config, training=True, **arguments)
    assert y.shape == (batch, steps, 8)
    for part, initial in zip(state, arguments["state"], strict=True):
        assert np.array_equal(part, initial)
    gradients = F.lstm_backward(tape, y, state)
    assert gradients.x.shape == x.shape
    for part, upstream in zip(gradients.state, state, strict=True):
        assert np.array_equal(part, upstream)
    assert not any(gradient.any() for gradient in gradients.weights.values())


def test_a_tape_serves_one_backward():
    config, x, weights, arguments = make_case("one layer")
    y, _, tape = F.lstm(x, weights, config, **arguments)
    assert tape.ready
    assert tape.nbytes > 0
    F.lstm_backward(tape, y)
    assert not tape.ready
    assert tape.nbytes < 1024  # the memory of the steps is released
    with pytest.raises(ValueError, match="tape"):
        F.lstm_backward(tape, y)


def test_a_failed_backward_does_not_consume_the_tape():
    config, x, weights, arguments = make_case("one layer")
    y, _, tape = F.lstm(x, weights, config, **arguments)
    with pytest.raises(ValueError, match="dy"):
        F.lstm_backward(tape, y[:-1])
    assert tape.ready
    F.lstm_backward(tape, y)


def test_many_forwards_in_flight():
    config, x, weights, arguments = make_case("everything at once")
    packed = F.pack(weights, config)
    inputs = [x * scale for scale in (1.0, 0.5, -1.0)]
    alone = []
    for values in inputs:
        y, _, tape = F.lstm(values, packed, config, **arguments)
        alone.append(flat(F.lstm_backward(tape, y)))
    flights = [F.lstm(values, packed, config, **arguments) for values in inputs]
    for (y, _, tape), expected in reversed(list(zip(flights, alone, strict=True))):
        for part, wanted in zip(flat(F.lstm_backward(tape, y)), expected, strict=True):
            assert np.array_equal(part, wanted)


def test_one_of_two_threads_gets_the_tape():
    config = LSTMConfig(32, 64)
    x, weights, _ = random_case(config, 8, 30, np.float32)
    for _ in range(5):
        y, _, tape = F.lstm(x, weights, config, training=True)
        outcomes = []
        start = threading.Barrier(2)

        def backward(tape=tape, y=y, outcomes=outcomes, start=start):
            start.wait()
            try:
                outcomes.append(F.lstm_backward(tape, y).x)
            except (RuntimeError, ValueError) as error:  # in use, or consumed already
                assert "tape" in str(error)
                outcomes.append(None)

        threads = [threading.Thread(target=backward) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(outcome is not None for outcome in outcomes) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_with_layer_norm_contain_nothing_of_earlier_memory(dtype):
    # Over 15 rows of 100 steps, weight gradients are summed in several blocks; over three rows,
    # in one.
    config = LSTMConfig(3, 130, layer_norm=True)
    weights = F.init_weights(config, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((15, 100, 3)).astype(dtype)

    def gradients(rows):
        y, _, tape = F.lstm(rows, weights, config, training=True)
        return F.lstm_backward(tape, y).weights

    expected = [gradients(x[first : first + 3]) for first in range(0, 15, 3)]
    # Leave 1000s in memory that the engine will allocate next: vectors as long as a row of gates.
    junk = [np.full(size, 1e3, dtype) for size in range(512, 584, 8) for _ in range(40)]
    del junk
    for name, gradient in gradients(x).items():
        total = np.sum([part[name] for part in expected], axis=0)
        # Sums of 1500 terms in another order.
        assert relative_error(gradient, total) < 1500 * np.finfo(dtype).eps, name
