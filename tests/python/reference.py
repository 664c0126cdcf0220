"""A reference LSTM and a simple RNN, in float64 and plain loops, and finite differences.

It shares no code with the package, so that agreement is evidence.
"""

import numpy as np


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def fast_tanh(a):
    """Compute the ratio of polynomials that is the cheaper tanh, by its definition."""
    a = np.clip(a, -6.1, 6.1)
    p = np.polyval([0.001437330937520413, 0.11352077489227884, 0.9999540214298578], a * a)
    q = [5.1602638939356574e-05, 0.01713556587772853, 0.4467145159758759, 1.0]
    return a * p / np.polyval(q, a * a)


def activate(activation, a):
    """Apply an activation (name, alpha, beta) to `a`."""
    name, alpha, beta = activation
    return {
        "sigmoid": lambda: sigmoid(a),
        "tanh": lambda: np.tanh(a),
        "relu": lambda: np.maximum(a, 0),
        "leaky_relu": lambda: np.where(a > 0, a, alpha * a),
        "elu": lambda: np.where(a > 0, a, alpha * np.expm1(a)),
        "hard_sigmoid": lambda: np.clip(alpha * a + beta, 0, 1),
        "softsign": lambda: a / (1 + np.abs(a)),
        "softplus": lambda: np.logaddexp(0, a),
        "affine": lambda: alpha * a + beta,
        "scaled_tanh": lambda: alpha * np.tanh(beta * a),
        "thresholded_relu": lambda: np.where(a > alpha, a, 0),
        "fast_sigmoid": lambda: 0.5 + 0.5 * fast_tanh(0.5 * a),
        "fast_tanh": lambda: fast_tanh(a),
        "linear": lambda: a,
    }[name]()


def bounded(a, limit):
    """Clip `a` to [-limit, limit]; a limit of 0 means none."""
    return np.clip(a, -limit, limit) if limit else a


def zoned_out(fresh, before, kept, rate):
    """Apply zoneout: `before` where `kept`, else `fresh`; if `kept` is None, the expected value."""
    return rate * before + (1 - rate) * fresh if kept is None else np.where(kept, before, fresh)


def normed(a, config):
    """Subtract the mean of `a`, and divide by its standard deviation."""
    return (a - a.mean()) / np.sqrt(a.var() + config.layer_norm_epsilon)


def step(config, x, h, c, cell, masks):
    """Compute one step of one row; the rows of the weights are those of i, f, g, o in order."""
    seen = h * masks.get("recurrent_dropout", 1)
    from_x, from_h = cell["weight_ih"] @ x, cell["weight_hh"] @ seen
    if config.layer_norm:  # over the gates in use
        first = len(c) if config.coupled_gates else 0
        from_x[first:] = normed(from_x[first:], config)
        from_h[first:] = normed(from_h[first:], config)
        from_x, from_h = cell["gain_ih"] * from_x, cell["gain_hh"] * from_h
    a_i, a_f, a_g, a_o = np.split(from_x + from_h + cell.get("bias", 0), 4)
    p_i, p_f, p_o = np.split(cell.get("peephole", np.zeros(3 * len(c))), 3)

    def gate(a):
        return activate(config.gate_activation, bounded(a, config.gate_clip))

    f = gate(a_f + p_f * c)
    i = 1 - f if config.coupled_gates else gate(a_i + p_i * c)
    g = activate(config.cell_activation, bounded(a_g, config.gate_clip))
    new_c = bounded(f * c + i * g, config.cell_clip)
    shown = new_c
    if config.layer_norm:
        shown = cell["gain_c"] * normed(new_c, config) + cell.get("bias_c", 0)
    shown = bounded(shown, config.output_clip)
    new_h = gate(a_o + p_o * new_c) * activate(config.output_activation, shown)
    if config.proj_size:
        new_h = bounded(cell["weight_hr"] @ new_h, config.proj_clip)
    return (
        zoned_out(new_h, h, masks.get("zoneout_h"), config.zoneout_h),
        zoned_out(new_c, c, masks.get("zoneout_c"), config.zoneout_c),
    )


def run_row(config, x, h, c, cell, backwards, reset, masks):
    """Run one row through one layer and direction: x (T, C) to y (T, H) and the final h and c."""
    y = np.zeros((len(x), len(h)))
    for t in reversed(range(len(x))) if backwards else range(len(x)):
        if reset[t] and not backwards:
            h, c = np.zeros_like(h), np.zeros_like(c)
        now = {name: mask[t] if mask.ndim == 2 else mask for name, mask in masks.items()}
        h, c = step(config, x[t], h, c, cell, now)
        y[t] = h
        if reset[t] and backwards:
            h, c = np.zeros_like(h), np.zeros_like(c)
    return y, h, c


def lstm(x, weights, config, h=None, c=None, lengths=None, reset=None, masks=None):
    """Compute ``functional.lstm`` in float64, with the masks of training; return y, h, c."""
    batch, steps, _ = x.shape
    hidden, directions = config.state_size, 2 if config.bidirectional else 1
    shape = (config.num_layers * directions, batch, hidden)
    h = np.zeros(shape) if h is None else np.array(h, np.float64)
    shape = (*shape[:2], config.hidden_size)
    c = np.zeros(shape) if c is None else np.array(c, np.float64)
    lengths = [steps] * batch if lengths is None else lengths
    reset = np.zeros((batch, steps), bool) if reset is None else reset
    masks = dict(masks or {})
    between, dropped = masks.pop("dropout", None), masks.pop("weight_dropout", None)
    inputs = np.array(x, np.float64)
    if "input_dropout" in masks:
        inputs *= masks.pop("input_dropout")[:, None]
    for layer in range(config.num_layers):
        outputs = np.zeros((batch, steps, directions * hidden))
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            cell = {
                name: np.array(weights[name + suffix], np.float64)
                for name in (
                    "weight_ih",
                    "weight_hh",
                    "bias",
                    "peephole",
                    "weight_hr",
                    "gain_ih",
                    "gain_hh",
                    "gain_c",
                    "bias_c",
                )
                if name + suffix in weights
            }
            backwards = direction == 1 or config.go_backwards
            entry = layer * directions + direction
            if dropped is not None:
                cell["weight_hh"] *= dropped[entry]
            part = slice(direction * hidden, (direction + 1) * hidden)
            for n, length in enumerate(lengths):
                outputs[n, :length, part], h[entry, n], c[entry, n] = run_row(
                    config,
                    inputs[n, :length],
                    h[entry, n],
                    c[entry, n],
                    cell,
                    backwards,
                    reset[n],
                    {name: mask[entry, n] for name, mask in masks.items()},
                )
        inputs = outputs
        if between is not None and layer + 1 < config.num_layers:
            inputs = inputs * between[layer]
    return inputs, h, c


def rnn(x, weights, config, h=None, lengths=None, reset=None, masks=None):
    """Compute ``functional.rnn`` in float64, with the masks of training; return y, h."""
    batch, steps, _ = x.shape
    masks, directions = masks or {}, config.num_directions
    shape = (config.num_layers * directions, batch, config.hidden_size)
    h = np.zeros(shape) if h is None else np.array(h, np.float64)
    function = np.tanh if config.activation == "tanh" else lambda a: np.maximum(a, 0)
    inputs = x * masks["input_dropout"][:, None] if "input_dropout" in masks else np.array(x)
    for layer in range(config.num_layers):
        outputs = np.zeros((batch, steps, config.output_size))
        for entry in range(layer * directions, (layer + 1) * directions):
            backwards = entry % directions == 1 or config.go_backwards
            suffix = f"_l{layer}" + ("_reverse" if entry % directions else "")
            W, U = weights["weight_ih" + suffix], weights["weight_hh" + suffix]
            b = weights["bias" + suffix] if config.bias else 0
            for n in range(batch):
                length = steps if lengths is None else lengths[n]
                for t in range(length)[:: -1 if backwards else 1]:
                    starts = reset is not None and reset[n, t]
                    seen = h[entry, n] * (0 if starts and not backwards else 1)
                    if "recurrent_dropout" in masks:
                        seen = seen * masks["recurrent_dropout"][entry, n]
                    h[entry, n] = function(W @ inputs[n, t] + U @ seen + b)
                    part = slice(entry % directions * config.hidden_size, None)
                    outputs[n, t, part][: config.hidden_size] = h[entry, n]
                    if starts and backwards:
                        h[entry, n] = 0
        inputs = outputs
        if "dropout" in masks and layer + 1 < config.num_layers:
            inputs = inputs * masks["dropout"][layer]
    return inputs, h


def derivative(function, array, width=1e-3):
    """Compute the gradient of `function()` with respect to every entry of `array`, which it reads.

    It uses central differences of fourth order. Their error is the sum of a truncation error of
    order width**4 and of the rounding error of `function` divided by `width`.
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
    """Return the largest difference, relative to the largest entry."""
    assert result.shape == expected.shape
    if expected.size == 0:
        return 0.0
    scale = np.abs(expected).max()
    return float(np.abs(result - expected).max() / (scale if scale > 0 else 1.0))


def random_case(config, batch, steps, dtype, seed=0, ragged=False, state=False, resets=False):
    """Draw weights and arguments of ``functional.lstm``: (x, weights, keyword arguments)."""
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(scale=0.5, size=shape).astype(dtype)
        for name, shape in config.parameter_shapes().items()
    }
    x = random.normal(size=(batch, steps, config.input_size)).astype(dtype)
    arguments = {}
    if ragged:  # unsorted, with an empty and a full row
        lengths = random.integers(0, steps + 1, batch)
        lengths[:2] = 0, steps
        arguments["lengths"] = random.permutation(lengths)
    if state:
        directions = 2 if config.bidirectional else 1
        arguments["state"] = tuple(
            random.normal(size=(config.num_layers * directions, batch, width)).astype(dtype)
            for width in (config.state_size, config.hidden_size)
        )
    if resets:
        arguments["reset"] = random.random((batch, steps)) < 0.25
    return x, weights, arguments
