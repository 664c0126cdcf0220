"""The simple RNN beside PyTorch's, call for call."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from bench.controller import available_cores
from bench.turns import Call, alternate

SHAPES = ((32, 100, 64, 128), (1, 100, 64, 128))
"""Batch, steps, features and hidden units."""


def calls(shape: tuple[int, int, int, int], training: bool) -> tuple[Call, Call]:
    """Return lstmcore's and PyTorch's call for one layer with the same weights, in float32."""
    F: Any = import_module("lstmcore.functional")
    torch: Any = import_module("torch")
    batch, steps, inputs, hidden = shape
    module = torch.nn.RNN(inputs, hidden, batch_first=True)
    weights = {
        name: parameter.detach().numpy().copy() for name, parameter in module.named_parameters()
    }
    weights["bias_l0"] = weights.pop("bias_ih_l0") + weights.pop("bias_hh_l0")
    config = F.RNNConfig(inputs, hidden)
    packed = F.pack_rnn(weights, config)
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, steps, inputs)).astype(np.float32)
    dy = random.standard_normal((batch, steps, hidden)).astype(np.float32)
    theirs = torch.from_numpy(x).requires_grad_(training)

    def ours() -> None:
        if not training:
            F.rnn(x, packed)
            return
        _, _, tape = F.rnn(x, weights, config, training=True)
        F.rnn_backward(tape, dy, need_state=False)

    def peer() -> None:
        if not training:
            with torch.no_grad():
                module(theirs)
            return
        module.zero_grad()
        theirs.grad = None
        module(theirs)[0].backward(torch.from_numpy(dy))

    return ours, peer


def main(arguments: Sequence[str]) -> int:
    """Print the times of both and their ratio, the median over turns."""
    parser = argparse.ArgumentParser(prog="python -m bench simple-rnn", description=main.__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=15, help="turns of each")
    add("--turn", type=float, default=0.05, help="seconds that a turn lasts at least")
    options = parser.parse_args(arguments)
    threads = len(available_cores())
    import_module("torch").set_num_threads(threads)
    print(f"{threads} threads; batch x steps x features x hidden units")
    for shape in SHAPES:
        for training in (False, True):
            table = alternate(calls(shape, training), options.rounds, options.turn)
            ours, peer = (statistics.median(times) for times in zip(*table, strict=True))
            ratio = statistics.median(theirs / own for own, theirs in table)
            what = "training" if training else "inference"
            print(
                f"{' x '.join(map(str, shape)):20} {what:10} lstmcore {ours * 1e3:7.3f} ms  "
                f"PyTorch {peer * 1e3:7.3f} ms  ratio {ratio:.1f}",
                flush=True,
            )
    return 0
