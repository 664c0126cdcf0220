"""The promise of the same bits, on every instruction set of this machine.

This file is both the test and the program that the test runs once per instruction set, since the
instruction set is chosen when the engine is loaded.
"""

import functools
import itertools
import json
import os
import subprocess
import sys
import traceback

import numpy as np
import pytest

from lstmcore import _core
from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from lstmcore.stream import LSTMStream
from reference import random_case

# Sizes that fill vectors and tiles, and sizes that do not. The last two are large enough for
# several threads: one is split by rows; the other, with fewer rows than threads, by hidden units.
SMALL = LSTMConfig(5, 19, num_layers=2)
BOTH = LSTMConfig(7, 33, num_layers=2, bidirectional=True)
BACKWARDS = LSTMConfig(3, 16, num_layers=2, go_backwards=True)
WIDE = LSTMConfig(40, 64, num_layers=2, bidirectional=True)
DEEP = LSTMConfig(64, 250)
DTYPES = (np.float32, np.float64)


def require_same(result, expected, what):
    for part, wanted in zip(result, expected, strict=True):
        assert np.array_equal(part, wanted), what


def outputs(x, packed, **arguments):
    y, state, *_ = F.lstm(x, packed, **arguments)
    return [y, *state]


def rows_of(arguments, rows):
    """Return the arguments of a call for some of the rows."""
    chosen = {}
    if "state" in arguments:
        chosen["state"] = tuple(part[:, rows] for part in arguments["state"])
    for name in ("lengths", "reset"):
        if name in arguments:
            chosen[name] = arguments[name][rows]
    return chosen


def everything(config, batch, steps, dtype):
    x, weights, arguments = random_case(
        config, batch, steps, dtype, ragged=True, state=True, resets=True
    )
    return x, F.pack(weights, config), arguments


def check_threads():
    for dtype in DTYPES:
        for config, batch in ((SMALL, 30), (WIDE, 70), (WIDE, 3), (DEEP, 2), (DEEP, 33)):
            x, packed, arguments = everything(config, batch, 12, dtype)
            results = []
            for threads in (1, 2, 3, 4, 7):
                _core.set_num_threads(threads)
                inference = outputs(x, packed, **arguments)
                y, state, tape = F.lstm(x, packed, **arguments, training=True, seed=3)
                gradients = F.lstm_backward(tape, y, state)
                parts = [y, *state, gradients.x, *gradients.state, *gradients.weights.values()]
                results.append(inference + parts)
            for result in results[1:]:
                require_same(result, results[0], (config, batch, dtype))


def check_other_rows():
    for dtype in DTYPES:
        for config in (SMALL, BOTH, BACKWARDS):
            x, packed, arguments = everything(config, 41, 9, dtype)
            for training in (False, True):
                y, h, c = outputs(x, packed, **arguments, training=training)
                groups = [[n] for n in range(41)]
                groups += [
                    list(range(first, first + size)) for size in range(2, 26) for first in (0, 9)
                ]
                groups.append(list(reversed(range(41))))
                for rows in groups:
                    some = rows_of(arguments, rows)
                    result = outputs(x[rows], packed, **some, training=training)
                    require_same(result, [y[rows], h[:, rows], c[:, rows]], (config, rows, dtype))


def check_division():
    for dtype in DTYPES:
        for config in (SMALL, BACKWARDS, DEEP):
            for batch in (1, 4, 19):
                x, weights, arguments = random_case(
                    config, batch, 23, dtype, state=True, resets=True
                )
                packed = F.pack(weights, config)
                expected = outputs(x, packed, **arguments)
                for cuts in ([0, 1, 23], [0, 11, 12, 23], [0, 22, 23], list(range(24))):
                    spans = [slice(*pair) for pair in itertools.pairwise(cuts)]
                    if config.go_backwards:
                        spans.reverse()
                    y, state = np.empty_like(expected[0]), arguments["state"]
                    for span in spans:
                        reset = arguments["reset"][:, span]
                        y[:, span], state = F.lstm(x[:, span], packed, state=state, reset=reset)
                    require_same([y, *state], expected, (config, batch, cuts, dtype))


def check_streaming():
    for dtype in DTYPES:
        for config in (SMALL, DEEP, LSTMConfig(1, 1), LSTMConfig(3, 8, num_layers=3)):
            for batch in (1, 2, 5, 24):
                x, weights, arguments = random_case(config, batch, 15, dtype, state=True)
                packed = F.pack(weights, config)
                expected = outputs(x, packed, **arguments)
                stream = LSTMStream(packed, batch_size=batch)
                stream.state = arguments["state"]
                y = np.stack([stream.step(x[:, t]) for t in range(15)], axis=1)
                require_same([y, *stream.state], expected, (config, batch, dtype))


def check_padding():
    for dtype in DTYPES:
        for config in (SMALL, BOTH, BACKWARDS):
            x, packed, arguments = everything(config, 13, 10, dtype)
            for training in (False, True):
                y, h, c = outputs(x, packed, **arguments, training=training)
                for extra in (1, 6, 50):
                    padded = np.full((13, 10 + extra, config.input_size), np.nan, dtype)
                    padded[:, :10] = x
                    reset = np.ones((13, 10 + extra), bool)
                    reset[:, :10] = arguments["reset"]
                    more = {**arguments, "reset": reset}
                    result = outputs(padded, packed, **more, training=training)
                    assert not result[0][:, 10:].any()
                    result[0] = result[0][:, :10]
                    require_same(result, [y, h, c], (config, extra, dtype))


def check_ragged():
    for dtype in DTYPES:
        for config in (SMALL, BOTH, BACKWARDS):
            x, packed, arguments = everything(config, 13, 10, dtype)
            y, h, c = outputs(x, packed, **arguments)
            for n, length in enumerate(arguments["lengths"]):
                alone = rows_of(arguments, [n])
                del alone["lengths"]
                alone["reset"] = alone["reset"][:, :length]
                result = outputs(x[[n], :length], packed, **alone)
                require_same(result, [y[[n], :length], h[:, [n]], c[:, [n]]], (config, n, dtype))


def check_resets():
    for dtype in DTYPES:
        for config in (SMALL, BOTH, BACKWARDS):
            x, weights, _ = random_case(config, 5, 12, dtype)
            packed = F.pack(weights, config)
            reset = np.zeros((5, 12), bool)
            reset[:, 4] = True
            first, *_ = outputs(x[:, :4], packed)
            second, *_ = outputs(x[:, 4:], packed)
            y, *_ = outputs(x, packed, reset=reset)
            require_same([y[:, :4], y[:, 4:]], [first, second], (config, dtype))


def check_training():
    for dtype in DTYPES:
        for config in (SMALL, BOTH, BACKWARDS, WIDE, DEEP):
            for batch in (1, 5, 30):
                x, packed, arguments = everything(config, max(batch, 2), 8, dtype)
                x, arguments = x[:batch], rows_of(arguments, slice(batch))
                expected = outputs(x, packed, **arguments)
                require_same(
                    outputs(x, packed, **arguments, training=True), expected, (config, batch, dtype)
                )


def check_windows():
    random = np.random.default_rng(0)
    for dtype in DTYPES:
        x = random.standard_normal((11, 70, 30)).astype(dtype)
        kernel = random.standard_normal((4, 30, 50)).astype(dtype)
        gain, lengths = x[0, 0], random.integers(0, 71, 11)
        for how in ((1, "same", 1, "tanh"), (2, "causal", 3, "linear")):
            results = []
            for threads in (1, 2, 3, 7):
                _core.set_num_threads(threads)
                y = _core.conv1d_forward(x, lengths, kernel, None, *how)
                dkernel, dbias = np.empty_like(kernel), np.empty(50, dtype)
                dx = _core.conv1d_backward(x, lengths, kernel, y, y, *how, True, dkernel, dbias)
                z, moments = _core.layer_norm_forward(x, lengths, gain, gain, 1e-3)
                dgain, dshift = np.empty_like(gain), np.empty_like(gain)
                dz = _core.layer_norm_backward(x, lengths, gain, moments, z, True, dgain, dshift)
                results.append([y, dx, dkernel, dbias, z, dz, dgain, dshift])
            for result in results[1:]:
                require_same(result, results[0], (how, dtype))
            counts = _core.window_counts(lengths, 4, *how[:3])
            for n, (length, count) in enumerate(zip(lengths, counts, strict=True)):
                alone = x[[n], :length]
                result = [_core.conv1d_forward(alone, None, kernel, None, *how)]
                result.append(_core.layer_norm_forward(alone, None, gain, gain, 1e-3)[0])
                expected = [results[0][0][[n], :count], results[0][4][[n], :length]]
                require_same(result, expected, (how, n, dtype))


CHECKS = {
    name.removeprefix("check_"): value
    for name, value in list(globals().items())
    if name.startswith("check_")
}


def run_checks():
    """Return the traceback of each check that failed, and None for the others."""
    outcomes = {}
    for name, check in CHECKS.items():
        try:
            check()
            outcomes[name] = None
        except Exception:
            outcomes[name] = traceback.format_exc()
    return outcomes


@functools.cache
def outcomes_on(isa):
    path = os.pathsep.join(filter(None, sys.path))  # including the helpers that pytest added
    result = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "LSTMCORE_ISA": isa, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        return dict.fromkeys(CHECKS, f"exit status {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("isa", _core.supported_isas())
def test_same_bits(isa, check):
    outcomes = outcomes_on(isa)
    assert outcomes[check] is None, outcomes[check]
    assert outcomes["isa"] == isa


if __name__ == "__main__":
    print(json.dumps({"isa": _core.isa(), **run_checks()}))
