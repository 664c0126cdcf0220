"""`replace_lstm` and `restore_lstm`: a model's modules become lstmcore's, and PyTorch's again."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402
from torch_kit import close, pair  # noqa: E402

# A warning of torch.nn.LSTM.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True)
        self.shared = torch.nn.LSTM(12, 12, batch_first=True, proj_size=4)
        self.layers = torch.nn.ModuleList([self.shared, torch.nn.Linear(4, 12), self.shared])
        self.cell = torch.nn.LSTMCell(4, 3)

    def forward(self, x):
        x, _ = self.first(x)
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return self.cell(x[:, -1])[0]


def test_replace_keeps_parameters_hooks_and_optimizer():
    torch.manual_seed(0)
    theirs = Model()
    ours = copy.deepcopy(theirs)
    calls = []
    ours.first.register_forward_hook(lambda *_: calls.append("hook"))
    parameters = dict(ours.named_parameters())
    modules = {name: id(module) for name, module in ours.named_modules()}
    attributes = {name: set(vars(module)) for name, module in ours.named_modules()}
    optimizers = [torch.optim.Adam(model.parameters(), 0.01) for model in (theirs, ours)]
    assert lt.replace_lstm(ours) is ours
    assert type(ours.first) is type(ours.shared) is lt.LSTM
    assert type(ours.cell) is lt.LSTMCell
    assert ours.layers[0] is ours.layers[2] is ours.shared
    assert {name: id(module) for name, module in ours.named_modules()} == modules
    assert {name: set(vars(module)) for name, module in ours.named_modules()} == attributes
    assert isinstance(ours.first, torch.nn.LSTM)
    assert isinstance(ours.cell, torch.nn.LSTMCell)
    for name, parameter in ours.named_parameters():
        assert parameter is parameters[name]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    x = torch.randn(3, 4, 5)
    for _ in range(3):
        losses = []
        for model, optimizer in zip((theirs, ours), optimizers, strict=True):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert calls == ["hook"] * 3
    lt.replace_lstm(ours)  # nothing left to do
    assert lt.restore_lstm(ours) is ours
    assert type(ours.first) is torch.nn.LSTM
    assert type(ours.cell) is torch.nn.LSTMCell
    assert set(ours.first.__dict__) == set(theirs.first.__dict__)
    assert set(ours.cell.__dict__) == set(theirs.cell.__dict__)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    for model in (ours, theirs):
        model.zero_grad()
        model.double()(x.double()).sum().backward()
    assert torch.equal(ours.first.weight_hh_l0.grad, theirs.first.weight_hh_l0.grad)


def test_replace_one_and_restore_ours():
    lstm = torch.nn.LSTM(2, 3)
    assert lt.replace_lstm(lstm) is lstm
    assert isinstance(lstm, lt.LSTM)
    ours = lt.LSTM(2, 3, 2, bidirectional=True, dropout=0.1)
    assert type(lt.restore_lstm(ours)) is torch.nn.LSTM
    plain = torch.nn.LSTM(2, 3, 2, bidirectional=True, dropout=0.1)
    assert set(ours.__dict__) == set(plain.__dict__)
    assert ours._all_weights == plain._all_weights
    assert ours._flat_weights_names == plain._flat_weights_names
    ours(torch.randn(3, 1, 2))


def test_modules_that_cannot_be_replaced():
    class Derived(torch.nn.LSTM):
        pass

    model = torch.nn.Sequential(Derived(2, 3))
    with pytest.warns(UserWarning, match="leaves 0 as it is: its class Derived"):
        lt.replace_lstm(model)
    assert type(model[0]) is Derived
    model = torch.nn.ModuleList([torch.nn.LSTM(2, 3), torch.nn.LSTM(2, 3, 2, dropout=1.0)])
    with pytest.raises(ValueError, match="dropout"):
        lt.replace_lstm(model)
    assert type(model[0]) is torch.nn.LSTM
    for options in ({"peephole": True}, {"recompute": 2}, {"proj_size": 3}):
        model = torch.nn.ModuleList([lt.LSTM(2, 3), lt.LSTM(2, 3, **options)])
        with pytest.raises(ValueError, match="restore_lstm: .* got 1 "):
            lt.restore_lstm(model)
        assert type(model[0]) is lt.LSTM
    with pytest.raises(ValueError, match="got a module .* proj_size 2"):
        lt.restore_lstm(lt.LSTMCell(2, 3, proj_size=2))


def test_weight_norm_keeps_working():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        lstm = torch.nn.utils.weight_norm(torch.nn.LSTM(2, 3), "weight_hh_l0")
    x = torch.randn(4, 1, 2)
    expected = lstm(x)[0]
    actual = lt.replace_lstm(lstm)(x)[0]
    close(actual, expected)
    actual.sum().backward()
    assert lstm.weight_hh_l0_g.grad.any()


def test_numbers_for_flags():
    """torch.nn accepts numbers as flags, so its modules may have them."""
    expected, _ = pair(bidirectional=True)
    module, ours = pair(bidirectional=1)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    close(lt.replace_lstm(module)(x)[0], expected(x)[0])
    close(ours(x)[0], expected(x)[0])
    assert ours.bidirectional is True
    assert lt.LSTMCell(5, 7, bias=1).bias is True


def test_replace_names_the_module():
    model = torch.nn.ModuleDict({"encoder": torch.nn.LSTM(5, 7, 2, dropout=1.0)})
    with pytest.raises(ValueError, match="replace_lstm: encoder: dropout"):
        lt.replace_lstm(model)


class Derived(lt.LSTM):
    def forward(self, input, hx=None):
        return super().forward(input * 2, hx)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_restore_leaves_derived_classes():
    model = torch.nn.Sequential(Derived(5, 7), lt.LSTMCell(5, 7))
    x = torch.randn(4, 2, 5)
    expected = model[0](x)[0]
    with pytest.warns(UserWarning, match="restore_lstm leaves 0 as it is: its class Derived is"):
        lt.restore_lstm(model)
    assert type(model[1]) is torch.nn.LSTMCell
    assert torch.equal(model[0](x)[0], expected)
    normed = torch.nn.utils.parametrizations.weight_norm(lt.LSTM(5, 7), "weight_hh_l0")
    expected = normed(x)[0]
    with pytest.warns(UserWarning, match="restore_lstm leaves the module as it is"):
        lt.restore_lstm(normed)
    assert torch.equal(normed(x)[0], expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_replace_warns_of_compiled_scripts():
    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(5, 5), torch.nn.LSTM(5, 7)))
    with pytest.warns(UserWarning, match="replace_lstm leaves 1 as it is: it is a compiled LSTM"):
        lt.replace_lstm(model)


def test_frozen_blocks_end_in_any_order():
    lstm = lt.LSTM(5, 7)
    x = torch.randn(4, 2, 5)
    first, second = lt.frozen(lstm), lt.frozen(lstm)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    y, _ = lstm(x)
    with torch.no_grad():
        lstm.bias_ih_l0.add_(1)
    with pytest.raises(RuntimeError, match="expected none to change inside"):
        lstm(x)
    second.__exit__(None, None, None)
    assert not torch.equal(lstm(x)[0], y)
    with lt.frozen(lstm):
        lt.restore_lstm(lstm)
    assert "_frozen" not in vars(lstm)
    lstm(x)
