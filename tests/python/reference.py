"""The LSTM as the equations say it, in float64 and plain loops; and derivatives by differences.

Shares no code with the package, so that agreement means something.
"""

import numpy as np


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def step(x, h, c, weight_ih, weight_hh, bias):
    """One step of one row: the gates i, f, g, o stand below each other in the weights."""
    a_i, a_f, a_g, a_o = np.split(weight_ih @ x + weight_hh @ h + bias, 4)
    c = sigmoid(a_f) * c + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def run_row(x, h, c, cell, backwards, reset):
    """One row of one layer and direction: x (T, C) gives y (T, H) and the final h and c."""
    y = np.zeros((len(x), len(h)))
    for t in reversed(range(len(x))) if backwards else range(len(x)):
        if reset[t] and not backwards:
            h, c = np.zeros_like(h), np.zeros_like(c)
        h, c = step(x[t], h, c, *cell)
        y[t] = h
        if reset[t] and backwards:
            h, c = np.zeros_like(h), np.zeros_like(c)
    return y, h, c


def lstm(x, weights, config, h=None, c=None, lengths=None, reset=None):
    """As ``functional.lstm`` without dropout, in float64. Returns y, h, c."""
    batch, steps, _ = x.shape
    hidden, directions = config.hidden_size, 2 if config.bidirectional else 1
    shape = (config.num_layers * directions, batch, hidden)
    h = np.zeros(shape) if h is None else np.array(h, np.float64)
    c = np.zeros(shape) if c is None else np.array(c, np.float64)
    lengths = [steps] * batch if lengths is None else lengths
    reset = np.zeros((batch, steps), bool) if reset is None else reset
    inputs = np.array(x, np.float64)
    for layer in range(config.num_layers):
        outputs = np.zeros((batch, steps, directions * hidden))
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            names = ("weight_ih" + suffix, "weight_hh" + suffix, "bias" + suffix)
            cell = [np.array(weights[name], np.float64) for name in names]
            backwards = direction == 1 or config.go_backwards
            entry = layer * directions + direction
            part = slice(direction * hidden, (direction + 1) * hidden)
            for n, length in enumerate(lengths):
                outputs[n, :length, part], h[entry, n], c[entry, n] = run_row(
                    inputs[n, :length], h[entry, n], c[entry, n], cell, backwards, reset[n]
                )
        inputs = outputs
    return inputs, h, c


def derivative(function, array, width=1e-3):
    """Gradient of `function()` by every entry of `array`, which it reads.

    Central differences of fourth order: the error is of the order of width**4 from the series and
    of the rounding of `function` divided by `width`.
    """
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        at = {}
        for offset in (-2, -1, 1, 2):
            array[index] = value + offset * width
            at[offset] = function()
        array[index] = value
        gradient[index] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * width)
    return gradient


def relative_error(result, expected):
    """Largest difference, relative to the largest entry."""
    assert result.shape == expected.shape
    if expected.size == 0:
        return 0.0
    scale = np.abs(expected).max()
    return float(np.abs(result - expected).max() / (scale if scale > 0 else 1.0))


def random_case(config, batch, steps, dtype, seed=0, ragged=False, state=False, resets=False):
    """Random weights and arguments of ``functional.lstm``: (x, weights, keyword arguments)."""
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(scale=0.5, size=shape).astype(dtype)
        for name, shape in config.parameter_shapes().items()
    }
    x = random.normal(size=(batch, steps, config.input_size)).astype(dtype)
    arguments = {}
    if ragged:  # not sorted, one row empty, one full
        lengths = random.integers(0, steps + 1, batch)
        lengths[:2] = 0, steps
        arguments["lengths"] = random.permutation(lengths)
    if state:
        directions = 2 if config.bidirectional else 1
        shape = (config.num_layers * directions, batch, config.hidden_size)
        arguments["state"] = tuple(random.normal(size=shape).astype(dtype) for _ in "hc")
    if resets:
        arguments["reset"] = random.random((batch, steps)) < 0.25
    return x, weights, arguments
