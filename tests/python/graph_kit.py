"""For tests of graphs: models with branches, and their gradients against finite differences."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C, S, H = 3, 5, 3, 2, 4
LENGTHS = [5, 2, 4]


def ragged(rng, width=C, lengths=LENGTHS):
    return [rng.standard_normal((length, width)) for length in lengths]


def check_graph_gradients(model, x, y, places=8):
    """Compare the gradients of a compiled model of float64 with central differences.

    Weights are drawn anew, since initial ones may be zero. Returns the steepest slope that was
    seen for each weight, by which a test knows that a gradient is not just zero.
    """
    assert model.dtype == np.float64
    rng = np.random.default_rng(0)
    model.set_weights([0.5 * rng.standard_normal(one.shape) for one in model.get_weights()])
    seen = {}

    def loss():
        return model.test_on_batch(x, y, return_dict=True)["loss"]

    optimizer = model.optimizer
    optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.train_on_batch(x, y)
    for name in model.weights:
        if name in model.parameters.frozen:
            continue
        values = model.parameters.value(name)
        gradient = model.parameters.gradient(name).copy()
        worst = 0.0
        for place in rng.choice(values.size, min(values.size, places), replace=False):
            index = np.unravel_index(place, values.shape)
            kept, step, ends = values[index], 1e-6, []
            for sign in (1, -1):
                values[index] = kept + sign * step
                model.parameters.touch()
                ends.append(loss())
            values[index] = kept
            model.parameters.touch()
            slope = (ends[0] - ends[1]) / (2 * step)
            assert gradient[index] == pytest.approx(slope, abs=2e-8), name
            worst = max(worst, abs(slope))
        seen[name] = worst
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert seen, "nothing was compared"
    return seen


def static_model(how, dtype="float64"):
    """Make a model of a sequence beside static features, joined in one of the usual ways."""
    sequence, static = lc.Input((None, C), name="sequence"), lc.Input((S,), name="static")
    if how == "every step":
        y = layers.LSTM(H, name="lstm")(layers.Concatenate()([sequence, static]))
    elif how == "first state":
        h, c = layers.Dense(H, "tanh")(static), layers.Dense(H)(static)
        y = layers.LSTM(H, name="lstm")(sequence, initial_state=[h, c])
    elif how == "before the head":
        y = layers.Concatenate()([layers.LSTM(H, name="lstm")(sequence), static])
    else:
        y = layers.EALSTM(H, name="lstm")([sequence, static])
    return lc.Model([sequence, static], layers.Dense(1, name="head")(y), dtype=dtype)
