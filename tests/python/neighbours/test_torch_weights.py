"""Every change of a module's weights takes effect at the next call, however they are packed."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402
from torch_kit import all_close, pair  # noqa: E402


def test_no_stale_weights():
    """However weights are changed, the next call uses the new values."""
    theirs, ours = pair()
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    edits = [
        lambda m: m.weight_hh_l0.data.mul_(0.5),
        lambda m: m.weight_ih_l0.detach().numpy().__imul__(0.5),
        lambda m: setattr(m.bias_ih_l0, "data", torch.ones(28, dtype=torch.float64)),
        lambda m: m.flatten_parameters(),
        lambda m: m.load_state_dict({k: v + 0.1 for k, v in m.state_dict().items()}),
    ]

    def in_inference_mode(module):
        with torch.inference_mode():
            module.weight_hh_l0.add_(0.25)

    for edit in [*edits, in_inference_mode]:
        edit(theirs)
        edit(ours)
        all_close(ours(x), theirs(x))
        with torch.inference_mode():
            all_close(ours(x), theirs(x))


def test_frozen_weights_are_packed_once(monkeypatch):
    from lstmcore.torch import weights

    count = itertools.count()
    pack = weights.pack
    monkeypatch.setattr(weights, "pack", lambda *a: (next(count), pack(*a))[1])
    model = torch.nn.ModuleDict({"lstm": lt.LSTM(5, 7), "cell": lt.LSTMCell(5, 7)})
    x = torch.randn(3, 2, 5)
    y, h = model.lstm(x)[0], model.cell(x[0])[0]
    y.sum().backward()
    expected = model.lstm.weight_hh_l0.grad.clone()
    model.zero_grad()
    count = itertools.count()
    with lt.frozen(model) as same:
        assert same is model
        for _ in range(3):
            assert torch.equal(model.lstm(x)[0], y)
            assert torch.equal(model.cell(x[0])[0], h)
        model.lstm(x)[0].sum().backward()
        assert torch.equal(model.lstm.weight_hh_l0.grad, expected)
        with torch.inference_mode(), lt.frozen(model.lstm):
            model.lstm(x)
    assert next(count) == 3
    with lt.frozen(model):
        model.lstm(x)
        with torch.no_grad():
            model.lstm.weight_hh_l0.mul_(2)
        with pytest.raises(RuntimeError, match="expected none to change inside"):
            model.lstm(x)
    assert not torch.equal(model.lstm(x)[0], y)
    with torch.inference_mode():
        inferring = lt.LSTM(5, 7)
        with lt.frozen(inferring):
            assert torch.equal(inferring(x)[0], inferring(x)[0])


# Every way to change a parameter.
CHANGES = {
    "an operation": lambda p: p.mul_(2.0),
    "data": lambda p: p.data.mul_(2.0),
    "numpy": lambda p: np.multiply(p.detach().numpy(), 2.0, out=p.detach().numpy()),
    "one element": lambda p: p.data.view(-1)[-1:].add_(1.0),
    "other memory": lambda p: setattr(p, "data", p.data * 2.0),
    "reversed": lambda p: setattr(p, "data", p.data.flip(0)),
    "transposed": lambda p: setattr(p, "data", p.data.t().contiguous().t() * 2.0),
}


class TestReusedWeights:
    """Calls with unchanged weights reuse the packed ones; any change of weights takes effect."""

    @pytest.mark.parametrize("calls", [1, 2, 3, 5])
    @pytest.mark.parametrize("change", CHANGES)
    def test_changes_are_seen(self, change, calls):
        ours, theirs = lt.LSTM(3, 5), torch.nn.LSTM(3, 5)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(4, 2, 3)
        with torch.no_grad():
            for _ in range(calls):
                ours(x)
            for module in (ours, theirs):
                CHANGES[change](module.weight_hh_l0)
            for _ in range(3):
                torch.testing.assert_close(ours(x)[0], theirs(x)[0])

    def test_same_address_and_other_strides(self):
        module = lt.LSTMCell(5, 5)
        square = torch.randn(20, 20)
        plain = torch.nn.LSTMCell(5, 5)
        x = torch.randn(2, 5)
        with torch.no_grad():
            for view in (square[:, :5], square[:, :5], square[:, :5], square.t()[:, :5]):
                module.weight_ih.data = view
                plain.load_state_dict(module.state_dict())
                torch.testing.assert_close(module(x), plain(x))

    def test_gradients_in_a_loop(self):
        ours, theirs = lt.LSTMCell(3, 4), torch.nn.LSTMCell(3, 4)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(6, 2, 3)
        for module in (ours, theirs):
            state = None
            for step in x:
                state = module(step, state)
            (state[0] ** 2).sum().backward()
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad)

    def test_inference_mode(self):
        with torch.inference_mode():
            module = lt.LSTM(3, 4)
            x = torch.randn(2, 1, 3)
            before = [module(x)[0] for _ in range(3)][-1]
            module.weight_ih_l0.mul_(3.0)
            assert not torch.equal(module(x)[0], before)
