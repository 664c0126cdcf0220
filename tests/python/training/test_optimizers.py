"""Optimizers against their formulas, clipping, schedules."""

import math

import numpy as np
import pytest

from lstmcore import layers, optimizers, schedules
from lstmcore.layers.initializers import get
from lstmcore.layers.parameters import Parameters, WeightSpec

STEPS = 4


def some_parameters(rng, dtype=np.float64):
    zeros = get("zeros", "")
    specs = {"a": WeightSpec("a", (3, 2), zeros), "b": WeightSpec("b", (5,), zeros)}
    parameters = Parameters(specs, np.dtype(dtype))
    parameters.values[:] = rng.standard_normal(11)
    return parameters


def sgd(p, g, state, t):
    return p - 0.1 * g


def momentum(p, g, state, t):
    state["v"] = 0.8 * state.get("v", 0) - 0.1 * g
    return p + state["v"]


def nesterov(p, g, state, t):
    state["v"] = 0.8 * state.get("v", 0) - 0.1 * g
    return p + 0.8 * state["v"] - 0.1 * g


def rmsprop(p, g, state, t):
    state["s"] = 0.7 * state.get("s", 0) + 0.3 * g * g
    return p - 0.1 * g / (np.sqrt(state["s"]) + 1e-3)


def adam(p, g, state, t, decay=0.0):
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g * g
    m, v = state["m"] / (1 - 0.8**t), state["v"] / (1 - 0.9**t)
    return p - 0.1 * (decay * p + m / (np.sqrt(v) + 1e-3))


CASES = {
    "sgd": (lambda: optimizers.SGD(0.1), sgd),
    "momentum": (lambda: optimizers.SGD(0.1, momentum=0.8), momentum),
    "nesterov": (lambda: optimizers.SGD(0.1, momentum=0.8, nesterov=True), nesterov),
    "rmsprop": (lambda: optimizers.RMSprop(0.1, rho=0.7, epsilon=1e-3), rmsprop),
    "adam": (lambda: optimizers.Adam(0.1, 0.8, 0.9, 1e-3), adam),
    "adamw": (
        lambda: optimizers.AdamW(0.1, 0.3, 0.8, 0.9, 1e-3),
        lambda p, g, state, t: adam(p, g, state, t, decay=0.3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_follow_the_formula(name, rng):
    make, formula = CASES[name]
    optimizer, parameters = make(), some_parameters(rng)
    expected, state = parameters.values.copy(), {}
    for step in range(1, STEPS + 1):
        gradients = rng.standard_normal(11)
        parameters.gradients[:] = gradients
        version = parameters.version
        optimizer.apply(parameters)
        assert parameters.version > version
        expected = formula(expected, gradients, state, step)
        # A few operations on numbers near 1.
        np.testing.assert_allclose(parameters.values, expected, rtol=0, atol=1e-14)
    assert optimizer.iterations == STEPS


@pytest.mark.parametrize("name", ["sgd", "RMSprop", "adam", "AdamW"])
def test_names(name):
    optimizer = optimizers.get(name)
    assert type(optimizer).__name__.lower() == name.lower()
    assert optimizer.learning_rate == (0.01 if name == "sgd" else 0.001)


def test_clipnorm_scales_each_weight_by_itself(rng):
    parameters = some_parameters(rng)
    parameters.gradients[:6] = 10.0
    parameters.gradients[6:] = 0.1
    before = parameters.values.copy()
    optimizers.SGD(1.0, clipnorm=2.0).apply(parameters)
    step = before - parameters.values
    assert np.linalg.norm(step[:6]) == pytest.approx(2.0, rel=1e-14)
    # The tolerance for a subtraction of numbers near 1.
    np.testing.assert_allclose(step[6:], 0.1, atol=1e-15)


def test_global_clipnorm_scales_all_together(rng):
    parameters = some_parameters(rng)
    gradients = rng.standard_normal(11) * 10
    parameters.gradients[:] = gradients
    before = parameters.values.copy()
    optimizers.SGD(1.0, global_clipnorm=0.5).apply(parameters)
    expected = gradients * 0.5 / np.linalg.norm(gradients)
    np.testing.assert_allclose(before - parameters.values, expected, atol=1e-15)


def test_clipvalue_cuts_each_element(rng):
    parameters = some_parameters(rng)
    gradients = rng.standard_normal(11) * 10
    parameters.gradients[:] = gradients
    before = parameters.values.copy()
    optimizers.SGD(1.0, clipvalue=3.0).apply(parameters)
    np.testing.assert_allclose(before - parameters.values, np.clip(gradients, -3, 3), atol=1e-14)


def test_gradients_below_the_limit_stay_as_they_are(rng):
    for option in ("clipnorm", "global_clipnorm", "clipvalue"):
        free, limited = some_parameters(rng), some_parameters(rng)
        limited.values[:] = free.values
        free.gradients[:] = limited.gradients[:] = rng.standard_normal(11)
        optimizers.SGD(1.0).apply(free)
        optimizers.SGD(1.0, **{option: 100.0}).apply(limited)
        np.testing.assert_array_equal(free.values, limited.values)


def test_an_optimizer_serves_one_model(rng):
    optimizer = optimizers.Adam()
    optimizer.build(some_parameters(rng))
    with pytest.raises(ValueError, match="another model"):
        optimizer.build(some_parameters(rng))


def test_the_schedule_sees_the_steps_taken(rng):
    parameters = some_parameters(rng)
    parameters.gradients[:] = 1.0
    optimizer = optimizers.SGD(schedules.ExponentialDecay(1.0, 1, 0.5))
    before = parameters.values.copy()
    for _ in range(3):
        optimizer.apply(parameters)
    np.testing.assert_allclose(before - parameters.values, 1 + 0.5 + 0.25, atol=1e-15)
    assert optimizer.current_learning_rate() == 0.125


def test_constant():
    assert [schedules.Constant(0.3)(step) for step in (0, 99)] == [0.3, 0.3]


def test_exponential_decay():
    smooth = schedules.ExponentialDecay(0.4, 10, 0.25)
    assert [smooth(step) for step in (0, 5, 20)] == pytest.approx([0.4, 0.2, 0.025], rel=1e-15)
    stairs = schedules.ExponentialDecay(0.4, 10, 0.25, staircase=True)
    assert [stairs(step) for step in (0, 9, 10)] == pytest.approx([0.4, 0.4, 0.1], rel=1e-15)
    growing = schedules.ExponentialDecay(0.4, 1, 10.0)
    assert growing(2) == pytest.approx(40.0)
    with pytest.raises(ValueError, match=r"decay_rate: .* got 10.0 for step 400"):
        growing(400)


def test_cosine_decay():
    schedule = schedules.CosineDecay(0.4, 10, alpha=0.5)
    quarter = 0.2 + 0.2 * 0.5 * (1 + math.cos(math.pi / 4))
    values = [schedule(step) for step in (0, 2.5, 5, 10, 99)]
    assert values == pytest.approx([0.4, quarter, 0.3, 0.2, 0.2], rel=1e-15)


def test_one_cycle_agrees_with_its_corners():
    schedule = schedules.OneCycle(1.0, 11, warmup_share=4 / 11, div_factor=10, final_div_factor=100)
    rates = [schedule(step) for step in range(12)]
    assert rates[0] == pytest.approx(0.1, rel=1e-14)
    assert rates[3] == pytest.approx(1.0, rel=1e-14)
    assert rates[10] == rates[11] == pytest.approx(0.001, rel=1e-12)
    assert rates[:4] == sorted(rates[:4])
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_one_cycle_of_two_steps_is_defined():
    rates = [schedules.OneCycle(1.0, 2)(step) for step in range(3)]
    assert all(0 < rate <= 1 for rate in rates)


def test_warmup():
    schedule = schedules.Warmup(schedules.CosineDecay(0.4, 10), 4, initial_learning_rate=0.2)
    values = [schedule(step) for step in (0, 1, 2, 4, 9, 14)]
    assert values == pytest.approx([0.2, 0.25, 0.3, 0.4, 0.2, 0.0], abs=1e-16)
    assert schedules.Warmup(0.5, 2)(7) == 0.5


def test_layers_name_their_penalties():
    layer = layers.LSTM(2, kernel_regularizer=0.1, recurrent_regularizer="l2")
    layer(np.zeros((1, 1, 3)))
    assert [spec.l2 for spec in layer.weight_specs()] == [0.1, 0.01, 0.0]
