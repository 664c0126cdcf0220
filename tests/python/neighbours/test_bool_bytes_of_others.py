"""Bool tensors whose true bytes are not 1 have the results of those with ones, in every bridge."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402

ROWS, STEPS = 4, 7


@pytest.fixture
def flags(rng):
    return rng.random((ROWS, STEPS)) < 0.6


def other_bytes(flags):
    return (flags * np.uint8(255)).astype(np.uint8).view(np.bool_)


def tensor(flags):
    """Return a tensor that shares the bytes of an array."""
    found = torch.from_numpy(flags.view(np.uint8)).view(torch.bool)
    assert found.numpy().view(np.uint8).max() == flags.view(np.uint8).max()
    return found


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("name", ["mask", "reset"])
@pytest.mark.parametrize("compiled", [False, True])
def test_torch_modules(name, compiled, flags):
    torch.manual_seed(1)
    module = lt.LSTM(3, 5, batch_first=True)
    called = torch.compile(module, backend="aot_eager") if compiled else module

    def run(of):
        x = torch.linspace(-1, 1, ROWS * STEPS * 3).reshape(ROWS, STEPS, 3).requires_grad_()
        module.zero_grad()
        y, state = called(x, **{name: tensor(of)})
        torch.cos(y).sum().backward()
        return y, *state, x.grad, *(weight.grad for weight in module.parameters())

    same(run(other_bytes(flags)), run(flags))


def test_torch_cells(flags):
    torch.manual_seed(1)
    cell = lt.LSTMCell(3, 5)
    x = torch.ones(ROWS, 3)
    hx = torch.ones(ROWS, 5), torch.ones(ROWS, 5)
    same(
        cell(x, hx, reset=tensor(other_bytes(flags)[:, 0].copy())),
        cell(x, hx, reset=tensor(flags[:, 0].copy())),
    )


def test_tensors_in_numpy_functions(flags):
    import lstmcore as lc
    from lstmcore import functional as F

    config = lc.LSTMConfig(3, 5)
    weights = F.init_weights(config, seed=2)
    x = np.ones((ROWS, STEPS, 3), np.float32)
    for name in ("mask", "reset"):
        found = F.lstm(x, weights, config, **{name: tensor(other_bytes(flags))})[0]
        np.testing.assert_array_equal(found, F.lstm(x, weights, config, **{name: flags})[0])


def test_jax(flags):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    import lstmcore.jax as lj

    random = np.random.default_rng(3)
    x = random.standard_normal((ROWS, STEPS, 3)).astype(np.float32)
    w_ih, w_hh = (random.standard_normal((20, width)).astype(np.float32) for width in (3, 5))

    def loss(x, mask):
        y, *_ = lj.lstm(x, w_ih, w_hh, mask=mask)
        return jax.numpy.cos(y).sum()

    for function in (jax.grad(loss), jax.jit(jax.grad(loss))):
        np.testing.assert_array_equal(function(x, other_bytes(flags)), function(x, flags))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras(flags):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    import lstmcore.keras as lk

    keras.utils.set_random_seed(1)
    layer = lk.LSTM(5, return_sequences=True)
    x = np.random.default_rng(3).standard_normal((ROWS, STEPS, 3)).astype(np.float32)
    found = layer(x, mask=other_bytes(flags))
    wanted = layer(x, mask=flags)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(wanted)
    )
