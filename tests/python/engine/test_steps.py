"""Training forwards step by step: same bits as one call over the whole sequence."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F


def problem(dtype="float32", layers=2, batch=5, steps=9, inputs=3, hidden=21):
    config = lc.LSTMConfig(input_size=inputs, hidden_size=hidden, num_layers=layers)
    random = np.random.default_rng(1)

    def values(*shape):
        return random.standard_normal(shape).astype(dtype)

    x, dy = values(batch, steps, inputs), values(batch, steps, hidden)
    state, dstate = [(values(layers, batch, hidden), values(layers, batch, hidden)) for _ in "01"]
    return config, F.init_weights(config, dtype=dtype), x, dy, state, dstate


def assert_same(result, expected):
    np.testing.assert_array_equal(result.x, expected.x)
    np.testing.assert_array_equal(result.state.h, expected.state.h)
    np.testing.assert_array_equal(result.state.c, expected.state.c)
    for name, gradient in expected.weights.items():
        np.testing.assert_array_equal(result.weights[name], gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"layers": 1, "batch": 1}, {"batch": 40, "steps": 70}, {"batch": 2, "hidden": 300}],
)
def test_same_bits_as_one_call(dtype, sizes):
    config, weights, x, dy, state, dstate = problem(dtype, **sizes)
    y, final, whole = F.lstm(x, weights, config, state=state, training=True)
    expected = 0 if dtype == "float32" else 4  # fewer steps than follow
    tape = F.lstm_begin(weights, config, batch_size=len(x), state=state, expected_steps=expected)
    ys = [F.lstm_step(tape, x[:, t]) for t in range(x.shape[1])]
    np.testing.assert_array_equal(np.stack(ys, axis=1), y)
    reached = F.lstm_state(tape)
    np.testing.assert_array_equal(reached.h, final.h)
    np.testing.assert_array_equal(reached.c, final.c)
    assert tape.output_shape == y.shape
    assert_same(F.lstm_backward(tape, dy, dstate), F.lstm_backward(whole, dy, dstate))


def test_resets():
    config, weights, x, dy, state, dstate = problem()
    reset = np.zeros(x.shape[:2], bool)
    reset[1, 4] = reset[3, 0] = reset[3, 8] = True
    y, _, whole = F.lstm(x, weights, config, state=state, reset=reset, training=True)
    tape = F.lstm_begin(weights, config, batch_size=len(x), state=state)
    for t in range(x.shape[1]):
        # Steps without a reset may omit the argument.
        row = reset[:, t].tolist() if reset[:, t].any() else None
        np.testing.assert_array_equal(F.lstm_step(tape, x[:, t], row), y[:, t])
    assert_same(F.lstm_backward(tape, dy, dstate), F.lstm_backward(whole, dy, dstate))


def test_no_steps():
    config, weights, x, _, state, dstate = problem()
    tape = F.lstm_begin(weights, config, batch_size=len(x), state=state)
    np.testing.assert_array_equal(F.lstm_state(tape).h, state[0])
    gradients = F.lstm_backward(tape, None, dstate)
    assert gradients.x.shape == (len(x), 0, 3)
    np.testing.assert_array_equal(gradients.state.c, dstate[1])
    assert all(not gradient.any() for gradient in gradients.weights.values())


def test_x_may_be_strided_and_change_afterwards():
    config, weights, x, dy, _, _ = problem(steps=3)
    whole = F.lstm(x, weights, config, training=True)[2]
    tape = F.lstm_begin(weights, config, batch_size=len(x))
    wide = np.repeat(x, 2, axis=2)
    for t in range(3):
        F.lstm_step(tape, wide[:, t, ::2])
    wide[:] = np.nan
    assert_same(F.lstm_backward(tape, dy), F.lstm_backward(whole, dy))


def test_bad_input():
    config, weights, x, dy, state, _ = problem()
    tape = F.lstm_begin(weights, config, batch_size=5)
    for wrong in (x[:4, 0], x[:, 0, :2], x[0]):
        with pytest.raises(ValueError, match="x_t: expected"):
            F.lstm_step(tape, wrong)
    with pytest.raises(TypeError, match="x_t"):
        F.lstm_step(tape, x[:, 0].astype("f8"))
    with pytest.raises(ValueError, match="reset"):
        F.lstm_step(tape, x[:, 0], np.zeros(4, bool))
    with pytest.raises(TypeError, match="reset"):
        F.lstm_step(tape, x[:, 0], np.zeros(5))
    F.lstm_step(tape, x[:, 0])  # none of the errors changed the tape
    with pytest.raises(ValueError, match="dy"):
        F.lstm_backward(tape, dy)
    F.lstm_backward(tape, dy[:, :1])
    for use in (lambda: F.lstm_step(tape, x[:, 0]), lambda: F.lstm_state(tape)):
        with pytest.raises(ValueError, match="tape: expected one from begin"):
            use()
    whole = F.lstm(x, weights, config, training=True)[2]
    with pytest.raises(ValueError, match="tape: expected one from begin"):
        F.lstm_step(whole, x[:, 0])
    for use in (F.lstm_step, F.lstm_state):
        with pytest.raises(TypeError, match="tape: expected an LSTMTape"):
            use(x, *([x] if use is F.lstm_step else []))
    with pytest.raises(ValueError, match="batch_size|batch: expected at least 1"):
        F.lstm_begin(weights, config, batch_size=0)
    for wrong, error in ((-1, ValueError), (2**62, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="expected_steps"):
            F.lstm_begin(weights, config, expected_steps=wrong)
    with pytest.raises(ValueError, match="state h"):
        F.lstm_begin(weights, config, batch_size=2, state=state)


@pytest.mark.parametrize(
    "option", [{"bidirectional": True}, {"go_backwards": True}, {"num_layers": 2, "dropout": 0.1}]
)
def test_options_that_cannot_run_step_by_step_are_refused(option):
    config = lc.LSTMConfig(input_size=2, hidden_size=3, **option)
    with pytest.raises(ValueError, match="step by step"):
        F.lstm_begin(F.init_weights(config), config)
