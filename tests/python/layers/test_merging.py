"""Layers that join several inputs."""

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import check_graph_gradients
from lstmcore import layers

N, T, C = 3, 4, 2

MERGES = {
    "Add": lambda a, b: a + b,
    "Average": lambda a, b: (a + b) / 2,
    "Concatenate": lambda a, b: np.concatenate([a, b], axis=-1),
    "Multiply": lambda a, b: a * b,
    "Subtract": lambda a, b: a - b,
}


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("steps", [(T, T), (T, None), (None, T), (None, None)])
def test_values_and_gradients(name, steps, rng):
    """An input without steps joins at every step, and gets the sum of the steps' gradients."""
    shapes = [(C,) if count is None else (count, C) for count in steps]
    a, b = (rng.standard_normal((N, *shape)) for shape in shapes)
    timed = any(count is not None for count in steps)
    wide = [value[:, None] if timed and value.ndim == 2 else value for value in (a, b)]
    wide = [np.broadcast_to(value, (N, T, C)) if timed else value for value in wide]
    expected = MERGES[name](*wide)
    np.testing.assert_allclose(getattr(layers, name)()([a, b]), expected, atol=1e-15)

    ends = [lc.Input(shape) for shape in shapes]
    inner = [layers.Dense(C, "tanh")(end) for end in ends]
    y = getattr(layers, name)(name="merge")(inner)
    assert y.shape == (None, *expected.shape[1:])
    model = lc.Model(ends, layers.Dense(1)(y), dtype="float64")
    model.compile("sgd", "mse")
    targets = rng.standard_normal((N, *expected.shape[1:-1], 1))
    assert min(check_graph_gradients(model, [a, b], targets).values()) > 1e-4


@pytest.mark.parametrize("name", ["Add", "Average", "Concatenate", "Multiply"])
def test_three_inputs(name, rng):
    given = [rng.standard_normal((N, C)) for _ in range(3)]
    two = MERGES[name](*given[:2])
    expected = MERGES[name](two, given[2]) if name != "Average" else sum(given) / 3
    np.testing.assert_allclose(getattr(layers, name)()(given), expected)
    ends = [lc.Input((C,)) for _ in given]
    y = getattr(layers, name)()([layers.Dense(C)(end) for end in ends])
    model = lc.Model(ends, layers.Dense(1)(y), dtype="float64")
    model.compile("sgd", "mse")
    assert min(check_graph_gradients(model, given, rng.standard_normal(N)).values()) > 1e-4


def test_one_array_twice_and_inputs_that_stay_as_they_are(rng):
    x = rng.standard_normal((N, C))
    before = x.copy()
    np.testing.assert_array_equal(layers.Add()([x, x, x]), 3 * before)
    np.testing.assert_allclose(layers.Multiply()([x, x, x]), before**3)
    np.testing.assert_array_equal(x, before)


def test_types_and_lengths(rng):
    x = rng.standard_normal((N, T, C))
    assert layers.Add()([x.astype(np.float32), x.astype(np.float32)]).dtype == np.float32
    assert layers.Add()([x, x.astype(np.float32)]).dtype == np.float64
    x[0, 2:] = np.nan
    found = layers.Add()([x, x], lengths=[2, T, T])
    np.testing.assert_array_equal(found[1:], 2 * x[1:])
    with pytest.raises(ValueError, match="not finite|NaN|nan"):
        layers.Add()([x, x])


@pytest.mark.parametrize(
    ("layer", "given", "message"),
    [
        (layers.Add(), [(N, C)], "Add: expected a list of at least two inputs, got 1"),
        (layers.Subtract(), [(N, C)] * 3, "Subtract: expected a list of two inputs, got 3"),
        (layers.Multiply(), [(N, C), (N, 3)], "same width, got 2, 3; Concatenate joins"),
        (layers.Concatenate(), [(N, C), (2, C)], "inputs: expected as many rows in each"),
        (layers.Concatenate(), [(N, 3, C), (N, 4, C)], "expected inputs of as many steps"),
        (layers.Concatenate(1), [(N, 4, C), (N, 4, C)], "axis: expected -1, the axis of features"),
        (layers.Add(), [(N, C), (N, 4, 4, C)], "expected inputs of as many axes"),
    ],
)
def test_what_does_not_fit(layer, given, message):
    with pytest.raises(ValueError, match=message):
        layer([np.zeros(shape) for shape in given])


def test_a_merge_needs_a_graph():
    with pytest.raises(ValueError, match="Add: expected at least two inputs, which only a graph"):
        lc.Sequential([layers.Input((C,)), layers.Add()])
    with pytest.raises(ValueError, match="axis: expected -1.*got 0, that of samples"):
        layers.Concatenate(0)
    with pytest.raises(TypeError, match="inputs: expected a list of arrays"):
        layers.Add()(np.zeros((N, C)))
