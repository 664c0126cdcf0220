"""Within autocast to bfloat16, the engine's products are bfloat16 where the processor has them."""

import contextlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

from lstmcore.torch import accelerate, accelerated_calls, operators  # noqa: E402

pytestmark = [
    pytest.mark.skipif(
        not operators._multiplies_bfloat16(), reason="the processor has no products of bfloat16"
    ),
    pytest.mark.filterwarnings("ignore:LSTM with projections"),  # by PyTorch's own kernel
]

STACKS = {
    "plain": {},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
    "without bias, batch first": {"bias": False, "batch_first": True},
}


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def parts(lstm, x, *state):
    y, (h, c) = lstm(x, *state)
    return y, h, c


def error(actual, right):
    """Return the norm of the difference, relative to that of the right values."""
    actual, right = actual.detach().double(), right.detach().double()
    return float((actual - right).norm() / right.norm())


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("lowered", [False, True], ids=["float32 input", "bfloat16 input"])
def test_outputs_and_gradients_are_as_good_as_those_of_torch(name, lowered):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(24, 48, **STACKS[name])
    x = torch.randn(10, 7, 24)
    directions = 2 if lstm.bidirectional else 1
    batch = x.size(0 if lstm.batch_first else 1)
    state = tuple(torch.randn(directions * lstm.num_layers, batch, 48) for _ in range(2))

    def run(context):
        given = x.clone().requires_grad_()
        lstm.zero_grad()
        with context:
            y, h, c = parts(lstm, given.bfloat16() if lowered else given, state)
        (y.float().square().sum() + h.float().sum() + c.float().sin().sum()).backward()
        gradients = [given.grad, *(weight.grad.clone() for weight in lstm.parameters())]
        return (y, h, c), gradients

    exact_outputs, exact = run(contextlib.nullcontext()) if not lowered else (None, None)
    theirs, their_gradients = run(autocast())
    with accelerate():
        ours, gradients = run(autocast())
    assert accelerated_calls().engine == {"lstm.input": 1}
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype is other.dtype is torch.bfloat16
        assert mine.shape == other.shape
        assert mine.stride() == other.stride()
        assert error(mine, other) < 1e-2  # bfloat16 has 8 bits: each rounds to 2e-3
    for mine, other in zip(gradients, their_gradients, strict=True):
        assert mine.dtype is other.dtype is torch.float32
        assert error(mine, other) < 2e-2
    if exact is not None:
        # Sums and the cell are float32 here, so that errors are no larger than PyTorch's.
        for mine, other, right in zip(ours, theirs, exact_outputs, strict=True):
            assert error(mine, right) < 1.2 * error(other, right) + 1e-4
        for mine, other, right in zip(gradients, their_gradients, exact, strict=True):
            assert error(mine, right) < 1.2 * error(other, right) + 1e-3


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_weights_that_change_and_modes_without_gradients(mode):
    torch.manual_seed(0)
    lstm, x = torch.nn.LSTM(8, 32), torch.randn(5, 4, 8)
    with accelerate(), mode(), autocast():
        first = [lstm(x)[0] for _ in range(3)][-1]
        lstm.weight_hh_l0.data.mul_(0.5)
        second = lstm(x)[0]
    with mode():
        assert error(second, lstm(x)[0]) < 1e-2
    assert not np.array_equal(first.float().numpy(), second.float().numpy())
    assert accelerated_calls().engine == {"lstm.input": 4}


def test_float32_after_autocast_has_the_bits_of_float32():
    torch.manual_seed(0)
    lstm, x = torch.nn.LSTM(8, 32), torch.randn(5, 4, 8)
    with accelerate(), torch.no_grad():
        before = [lstm(x)[0] for _ in range(3)][-1]
        with autocast():
            lowered = [lstm(x)[0] for _ in range(3)][-1]
        after = lstm(x)[0]
    assert lowered.dtype is torch.bfloat16
    assert torch.equal(before, after)


def test_what_torch_computes():
    x = torch.randn(5, 4, 8)
    packed = pack_padded_sequence(x, [5, 4, 2, 1])
    dropped = torch.nn.LSTM(8, 32, 2, dropout=0.5)
    with accelerate():
        with autocast():
            torch.nn.LSTM(8, 32)(packed)
            torch.nn.LSTM(8, 32, proj_size=4)(x)
            dropped(x)
        assert accelerated_calls().engine == {}
        assert {reason for found in accelerated_calls().pytorch.values() for reason in found} == {
            "autocast"
        }
        with autocast():
            dropped.eval()(x)
    assert accelerated_calls().engine == {"lstm.input": 1}
