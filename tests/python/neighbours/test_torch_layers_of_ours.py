"""SimpleRNN, BatchNormalization, Flatten and activations from PyTorch's modules."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
from lstmcore import layers  # noqa: E402
from lstmcore.convert import layer_from_torch, load_torch, save_torch  # noqa: E402

nn = torch.nn


def batch_norm(**options):
    torch.manual_seed(0)
    module = nn.BatchNorm1d(4, **options).double()
    for values in module.state_dict().values():
        if values.dtype == torch.float64:
            values.copy_(torch.rand(4) + 0.5)
    return module


@pytest.mark.parametrize("affine", [False, True])
def test_batch_normalization(affine, rng):
    module = batch_norm(affine=affine, eps=0.01, momentum=0.2)
    layer = layer_from_torch(module)
    assert (layer.momentum, layer.epsilon) == (0.8, 0.01)
    x = rng.standard_normal((5, 7, 4))
    theirs = torch.tensor(x).transpose(1, 2)  # features second
    module.eval()
    expected = module(theirs).transpose(1, 2).detach().numpy()
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)
    module.train()
    before = module.running_var.numpy().copy()
    expected = module(theirs).transpose(1, 2).detach().numpy()
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.weights["moving_mean"], module.running_mean, rtol=1e-12)
    # Of 35 vectors, PyTorch's running variance divides the sum of squares by 34.
    moved = (module.running_var.numpy() - 0.8 * before) * 34 / 35 + 0.8 * before
    np.testing.assert_allclose(layer.weights["moving_variance"], moved, rtol=1e-12)


def test_state_dicts_of_models(tmp_path, rng):
    network = nn.Sequential(nn.Linear(4, 4), batch_norm()).double()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    model = lc.Sequential(
        [layers.Dense(4, name="a"), layers.BatchNormalization(name="b", epsilon=1e-5)],
        dtype="float64",
    )
    model.build((None, 4))
    x = rng.standard_normal((6, 4))
    network.eval()
    expected = network(torch.tensor(x)).detach().numpy()
    for source in (network, tmp_path / "model.pt", network.state_dict()):
        model.set_weights([value + 1 for value in model.get_weights()])
        load_torch(model, source, {"a": "0", "b": "1"})
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-12)
    save_torch(model, tmp_path / "back.pt", {"a": "0", "b": "1"})
    again = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double()
    again.load_state_dict(torch.load(tmp_path / "back.pt"))
    again.eval()
    np.testing.assert_allclose(again(torch.tensor(x)).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_simple_rnn(nonlinearity, both, bias, rng, tmp_path):
    torch.manual_seed(0)
    options = {"nonlinearity": nonlinearity, "bias": bias, "batch_first": True}
    module = nn.RNN(4, 19, 2, bidirectional=both, dtype=torch.float64, **options)
    layer = layer_from_torch(module)
    x = rng.standard_normal((5, 7, 4))
    theirs = torch.tensor(x, requires_grad=True)
    y, _ = module(theirs)
    ours, _, context = layer.forward(x, None, True, 0)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-12, atol=1e-14)
    dy = rng.standard_normal(ours.shape)
    (y * torch.tensor(dy)).sum().backward()
    np.testing.assert_allclose(layer.backward(context, dy), theirs.grad, rtol=1e-11, atol=1e-13)
    for name in layer.weights:
        of_torch = getattr(module, name.replace("bias_", "bias_ih_")).grad
        np.testing.assert_allclose(layer.gradient_place(name), of_torch, rtol=1e-11, atol=1e-12)
    model = lc.Sequential([layer.copy(name="rnn")], dtype="float64")
    model.build((None, None, 4))
    save_torch(model, tmp_path / "back.pt", {"rnn": ""})
    again = nn.RNN(4, 19, 2, bidirectional=both, dtype=torch.float64, **options)
    again.load_state_dict(torch.load(tmp_path / "back.pt"))
    np.testing.assert_allclose(again(torch.tensor(x))[0].detach(), ours, rtol=1e-12, atol=1e-14)


ACTIVATIONS = {
    "ReLU": nn.ReLU(),
    "Tanh": nn.Tanh(),
    "Sigmoid": nn.Sigmoid(),
    "Softmax": nn.Softmax(-1),
    "ELU": nn.ELU(0.7),
    "SELU": nn.SELU(),
    "GELU": nn.GELU(),
    "SiLU": nn.SiLU(),
    "Hardswish": nn.Hardswish(),
    "Softplus": nn.Softplus(),
    "Softsign": nn.Softsign(),
    "LeakyReLU": nn.LeakyReLU(),
    "Hardsigmoid": nn.Hardsigmoid(),
    "ReLU6": nn.ReLU6(),
    "Mish": nn.Mish(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    module, x = ACTIVATIONS[name], np.linspace(-9, 9, 60).reshape(3, 5, 4)
    layer = layer_from_torch(module)
    theirs = torch.tensor(x, requires_grad=True)
    y = module(theirs)
    # PyTorch's softplus is the identity above 20, and approximates the error function in float64.
    np.testing.assert_allclose(layer(x), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    y.backward(torch.tensor(dy))
    dx = layer.backward(layer.forward(x, None, True, 0)[2], dy)
    # PyTorch has 1/6, the slope of its Hardsigmoid, in float32 only.
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-11
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=rtol, atol=1e-14)


def test_other_modules_without_weights(rng):
    x = rng.standard_normal((3, 5, 4))
    assert layer_from_torch(nn.Dropout(0.3)).rate == 0.3
    np.testing.assert_array_equal(layer_from_torch(nn.Flatten())(x), x.reshape(3, 20))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.BatchNorm1d(4, track_running_stats=False), "track_running_stats=False"),
        (nn.BatchNorm1d(4, momentum=None), "got momentum=None"),
        (nn.GELU("tanh"), "approximate='tanh'"),
        (nn.Softplus(beta=2), "beta=2"),
        (nn.Softmax(1), "over the last axis, got dim=1"),
        (nn.Flatten(2), "start_dim=2"),
        (nn.GRU(2, 3), "expected one of nn.LSTM, .*nn.BatchNorm1d, .*nn.GELU"),
    ],
)
def test_what_has_no_counterpart(module, message):
    with pytest.raises(ValueError, match=message):
        layer_from_torch(module)
