"""Random configurations, and digests of all results of the engine for each.

Run as a program, it writes the digests for the instruction set in use as JSON, which
tests/golden/make_digests.py stores. Numbers come from ``RandomState``, whose streams NumPy promises
never to change.
"""

import hashlib
import json
import sys

import numpy as np

import lstmcore as lc
from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig

# Each configuration has some of these options, which are drawn independently.
OPTIONS = (
    {"num_layers": 2},
    {"num_layers": 3, "dropout": 0.25},
    {"bidirectional": True},
    {"go_backwards": True},
    {"bias": False},
    {"peephole": True},
    {"coupled_gates": True},
    {"gate_activation": Activation("hard_sigmoid", 0.3, 0.4)},
    {"cell_activation": "softsign", "output_activation": Activation("elu", 0.7)},
    {"cell_activation": "leaky_relu", "gate_activation": "softplus"},
    {"gate_clip": 0.9},
    {"cell_clip": 0.7},
    {"zoneout_h": 0.3},
    {"zoneout_c": 0.2},
    {"recurrent_dropout": 0.3},
    {"input_dropout": 0.3},
    {"weight_dropout": 0.3},
    {"proj_size": True},
    {"proj_size": True, "proj_clip": 0.4},
    {"layer_norm": True, "layer_norm_epsilon": 0.01},
)

# Later options, each in ten runs of its own, so that the digests of the first 200 runs stay valid.
LATER = ({"output_clip": 0.4},)
COUNT = 200 + 10 * len(LATER)
RNN_COUNT = 40
"""Runs of the simple RNN."""


class Run:
    """One configuration and the arguments of its calls."""

    def __init__(self, number):
        random = np.random.RandomState(number)
        self.dtype = np.float32 if random.rand() < 0.6 else np.float64
        hidden, width = random.randint(1, 41), random.randint(1, 20)
        if random.rand() < 0.1:
            hidden, width = 100, 70
        self.batch, self.steps = random.randint(1, 14), random.randint(1, 12)
        if random.rand() < 0.1:
            self.batch, self.steps = 40, 30
        options = {}
        for option in OPTIONS:
            if random.rand() < (0.5 if random.rand() < 0.15 else 0.1):
                options |= option
        if number >= 200:
            options |= LATER[(number - 200) // 10]
        if options.get("bidirectional"):
            options.pop("go_backwards", None)
        if "proj_size" in options:
            options["proj_size"] = random.randint(1, hidden + 1)
        self.config = config = LSTMConfig(width, hidden, **options)

        def numbers(*shape):
            return random.uniform(-1, 1, shape).astype(self.dtype)

        self.weights = {n: 0.7 * numbers(*s) for n, s in config.parameter_shapes().items()}
        self.weights_tangent = {n: numbers(*s) for n, s in config.parameter_shapes().items()}
        cells = config.num_layers * config.num_directions
        self.x, self.x_tangent = (numbers(self.batch, self.steps, width) for _ in range(2))
        self.dy = numbers(self.batch, self.steps, config.output_size)
        self.state, self.dstate = (
            tuple(numbers(cells, self.batch, size) for size in (config.state_size, hidden))
            for _ in range(2)
        )
        self.call = {"state": self.state} if random.rand() < 0.7 else {}
        kind = random.randint(4)
        if kind == 1:
            self.call["lengths"] = random.randint(0, self.steps + 1, self.batch)
        if kind == 2:
            self.call["mask"] = random.rand(self.batch, self.steps) < 0.7
        if random.rand() < 0.25:
            self.call["reset"] = random.rand(self.batch, self.steps) < 0.2
        self.recompute = {"recompute": random.randint(1, 5)} if random.rand() < 0.2 else {}
        self.seed = {"seed": number}

    def results(self):
        """Yield the name and the arrays of each call."""
        packed = F.pack(self.weights, self.config)
        y, state = F.lstm(self.x, packed, **self.call)
        yield "inference", [y, *state]
        if self.dtype == np.float32 and not self.config.layer_norm:
            y, state = F.lstm(self.x, F.pack(self.weights, self.config, "int8"), **self.call)
            yield "int8", [y, *state]
        y, state, tape = F.lstm(
            self.x, packed, training=True, **self.call, **self.seed, **self.recompute
        )
        gradients = F.lstm_backward(tape, self.dy, self.dstate)
        yield "training", [y, *state, *of(gradients)]
        outputs, tangents, tape = F.lstm_jvp(
            self.x,
            packed,
            x_tangent=self.x_tangent,
            weights_tangent=self.weights_tangent,
            state_tangent=self.dstate,
            **self.call,
            **self.seed,
        )
        gradients = F.lstm_jvp_backward(tape, self.dy, self.dstate, dy_tangent=self.dy[::-1])
        arrays = [array for y, state in (outputs, tangents) for array in (y, *state)]
        yield "tangents", [*arrays, *of(gradients[0]), *of(gradients[1])]
        if self.config.bidirectional or self.config.go_backwards:
            return
        if not self.config.dropout:
            tape = F.lstm_begin(packed, batch_size=self.batch, state=self.state, **self.seed)
            ys = [F.lstm_step(tape, self.x[:, t]) for t in range(self.steps)]
            yield "steps", [*ys, *F.lstm_state(tape), *of(F.lstm_backward(tape, self.dy))]
        stream = lc.LSTMStream(self.weights, self.config, batch_size=self.batch)
        yield "stream", [stream.step(self.x[:, t]).copy() for t in range(self.steps)]


class RnnRun:
    """One configuration of a simple RNN and the arguments of its calls."""

    def __init__(self, number):
        random = np.random.RandomState(10_000 + number)
        self.dtype = np.float32 if random.rand() < 0.6 else np.float64
        hidden, width = random.randint(1, 90), random.randint(1, 20)
        self.batch, self.steps = random.randint(1, 14), random.randint(1, 12)
        if random.rand() < 0.2:
            self.batch, self.steps = 40, 30
        direction = {0: {"bidirectional": True}, 1: {"go_backwards": True}}
        self.config = config = F.RNNConfig(
            width,
            hidden,
            random.randint(1, 4),
            **direction.get(random.randint(4), {}),
            dropout=0.25 * random.randint(2),
            bias=random.rand() < 0.8,
            activation="relu" if random.rand() < 0.4 else "tanh",
            recurrent_dropout=0.3 * (random.rand() < 0.2),
            input_dropout=0.3 * (random.rand() < 0.2),
        )

        def numbers(*shape):
            return random.uniform(-1, 1, shape).astype(self.dtype)

        scale = self.dtype(1.5 / np.sqrt(hidden))
        self.weights = {n: scale * numbers(*s) for n, s in config.parameter_shapes().items()}
        self.x = numbers(self.batch, self.steps, width)
        self.dy = numbers(self.batch, self.steps, config.output_size)
        cells = config.num_layers * config.num_directions
        self.state, self.dstate = (numbers(cells, self.batch, hidden) for _ in range(2))
        self.call = {"state": self.state} if random.rand() < 0.7 else {}
        kind = random.randint(4)
        if kind == 1:
            self.call["lengths"] = random.randint(0, self.steps + 1, self.batch)
        if kind == 2:
            self.call["mask"] = random.rand(self.batch, self.steps) < 0.7
        if random.rand() < 0.25:
            self.call["reset"] = random.rand(self.batch, self.steps) < 0.2
        self.training = {"seed": number, "recompute": random.randint(1, 5)}
        if random.rand() < 0.8:
            del self.training["recompute"]

    def results(self):
        """Yield the name and the arrays of each call."""
        yield "inference", F.rnn(self.x, self.weights, self.config, **self.call)
        y, state, tape = F.rnn(
            self.x, self.weights, self.config, training=True, **self.call, **self.training
        )
        gradients = F.rnn_backward(tape, self.dy, self.dstate)
        yield "training", [y, state, gradients.x, gradients.state, *gradients.weights.values()]


def of(gradients):
    """Return all arrays of gradients, in the order of the weights."""
    return [gradients.x, *gradients.state, *gradients.weights.values()]


def digest(arrays):
    """Return a digest of sixteen hexadecimal digits."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def digests():
    """Compute the digests of every run, with its number and the call as keys."""
    runs = {str(number): Run(number) for number in range(COUNT)}
    runs |= {f"rnn {number}": RnnRun(number) for number in range(RNN_COUNT)}
    return {
        f"{key} {name}": digest(arrays)
        for key, run in runs.items()
        for name, arrays in run.results()
    }


if __name__ == "__main__":
    json.dump({"isa": lc.cpu_info().isa, "digests": digests()}, sys.stdout)
