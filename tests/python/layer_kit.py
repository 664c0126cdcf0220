"""For tests of layers and models: gradients against finite differences, and files."""

import numpy as np
import pytest

import lstmcore as lc

N, T, C, H = 3, 5, 4, 3
LENGTHS = np.array([5, 2, 0])  # a full row, a short one, an empty one


def built(layer, shape):
    """Build `layer` in float64."""
    layer(np.zeros(shape))
    return layer


def loss_of(layer, x, lengths, projection):
    outputs, _, context = layer.forward(x, lengths, True, 7)
    return float((outputs * projection).sum()), context


def check_gradients(layer, x, lengths, rng):
    """Compare every gradient with central differences, whose error is about 1e-10 in float64."""
    outputs, out_lengths, _ = layer.forward(x, lengths, True, 7)
    projection = rng.standard_normal(outputs.shape)
    if out_lengths is not None:  # steps past a row's length do not count
        projection[np.arange(outputs.shape[1]) >= out_lengths[:, None]] = 0
    _, context = loss_of(layer, x, lengths, projection)
    dx = layer.backward(context, projection)
    fixed = layer.parameters.frozen  # such as averages, whose gradient is not computed
    gradients = {name: view.copy() for name, view in layer._gradients.items() if name not in fixed}
    checked = [(x, dx), *((layer._weights[name], gradients[name]) for name in gradients)]
    step = 1e-6
    for values, gradient in checked:
        for place in rng.choice(values.size, min(values.size, 12), replace=False):
            index = np.unravel_index(place, values.shape)
            before = values[index]
            values[index] = before + step
            above = loss_of(layer, x, lengths, projection)[0]
            values[index] = before - step
            below = loss_of(layer, x, lengths, projection)[0]
            values[index] = before
            assert gradient[index] == pytest.approx((above - below) / (2 * step), abs=2e-8)


def check_rows_alone(layer, x, lengths):
    """Rows that are padded have the same outputs, to the bit, as rows that are alone."""
    outputs, counts, _ = layer.forward(x, lengths, False, 0)
    for row, length in enumerate(lengths):
        if length == 0:
            continue
        alone = layer.forward(x[row : row + 1, :length], None, False, 0)[0][0]
        own = outputs[row] if counts is None else outputs[row, : counts[row]]
        np.testing.assert_array_equal(own, alone)


def check_file(model, x, path):
    """A model that is saved and loaded has the same layers, weights and predictions."""
    before = model.predict(x, verbose=0)
    model.save(path)
    again = lc.load(path)
    assert again._document() == model._document()
    assert list(again.weights) == list(model.weights)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], value, strict=True)
    np.testing.assert_array_equal(again.predict(x, verbose=0), before)
    return again


def check_step(model, x, y, every, **tolerance):
    """Compare a step of SGD at a learning rate of 1 with differences of what `evaluate` returns.

    One of `every` weights is compared; `tolerance` is for `pytest.approx`.
    """
    before = model.parameters.values.copy()
    model.train_on_batch(x, y)
    gradient = before - model.parameters.values
    for place in range(0, len(before), every):
        ends = []
        for step in (1e-5, -1e-5):
            model.parameters.values[...] = before
            model.parameters.values[place] += step
            model.parameters.touch()
            ends.append(model.evaluate(x, y, verbose=0))
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, **tolerance)
