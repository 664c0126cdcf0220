"""Products of lower precision next to PyTorch's, which may use the same units in the same threads.

A matrix unit has a configuration per thread: every user must restore the state that others expect,
and must not rely on the state in which others left it.
"""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
from lstmcore import functional as F  # noqa: E402

CONFIG = lc.LSTMConfig(48, 130)  # not a multiple of a tile
PRECISIONS = ("bf16", "bf16x3", "int8")
ROUNDS = 6


@pytest.fixture(autouse=True)
def keep_torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ours(precision):
    """Return lstmcore calls that return arrays: inference, a stream, training."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 6, CONFIG.input_size)).astype(np.float32)
    packed = F.pack(F.init_weights(CONFIG, 3), CONFIG, precision)

    def infer():
        y, state = F.lstm(x, packed)
        return [y, *state]

    def stream():
        steps = lc.LSTMStream(packed, batch_size=5)
        return [steps.step(np.ascontiguousarray(x[:5, t])) for t in range(3)]

    def train():
        y, _, tape = F.lstm(x, packed, training=True)
        gradients = F.lstm_backward(tape, y)
        return [gradients.x, *gradients.weights.values()]

    return [infer, stream] if precision == "int8" else [infer, stream, train]


def theirs():
    """Return PyTorch calls in bfloat16: products, an LSTM and its gradients."""
    torch.manual_seed(3)
    a, b = (torch.randn(shape).bfloat16() for shape in ((70, 130), (130, 200)))
    module = torch.nn.LSTM(48, 130, batch_first=True).bfloat16()
    x = torch.randn(40, 6, 48).bfloat16()

    def bits(*tensors):
        return [tensor.detach().contiguous().view(torch.int16).numpy() for tensor in tensors]

    def multiply():
        return bits(a @ b, a[:3] @ b)

    def infer():
        with torch.inference_mode():
            y, (h, c) = module(x)
            return bits(y.clone(), h.clone(), c.clone())

    def train():
        parameters = list(module.parameters())
        return bits(*torch.autograd.grad(module(x)[0].sum(), parameters))

    return [multiply, infer, train]


@pytest.mark.parametrize("threads", [1, 2])
def test_results_have_the_same_bits_alone_and_in_turns(threads):
    lc.set_num_threads(threads)
    torch.set_num_threads(threads)
    of_torch = [(call, call()) for call in theirs()]  # before any lstmcore call
    own = [(call, call()) for precision in PRECISIONS for call in ours(precision)]

    def take_turns(first):
        torch.set_num_threads(threads)  # the setting is per thread
        for turn in range(first, first + ROUNDS):
            for place, one in enumerate(own):
                for call, alone in (one, of_torch[(place + turn) % len(of_torch)]):
                    for result, expected in zip(call(), alone, strict=True):
                        np.testing.assert_array_equal(result, expected)

    take_turns(0)

    errors = []
    gate = threading.Barrier(4)

    def run(first):
        gate.wait()
        try:
            take_turns(first)
        except Exception as error:
            errors.append(error)

    players = [threading.Thread(target=run, args=(first,)) for first in range(4)]
    for player in players:
        player.start()
    for player in players:
        player.join()
    assert not errors, errors
