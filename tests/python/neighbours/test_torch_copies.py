"""Copies and pickles of lstmcore.torch's modules, whatever they have computed and cached before."""

import copy
import io
import pickle
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402
from torch_kit import close  # noqa: E402

MODULES = {
    "lstm": lambda: lt.LSTM(5, 7),
    "variant": lambda: lt.LSTM(5, 7, 2, dropout=0.1, peephole=True, recompute=3),
    "cell": lambda: lt.LSTMCell(5, 7),
    "variant of the cell": lambda: lt.LSTMCell(5, 7, layer_norm=True, proj_size=3),
    "replaced": lambda: lt.replace_lstm(torch.nn.LSTM(5, 7, 2, bidirectional=True)),
    "replaced cell": lambda: lt.replace_lstm(torch.nn.LSTMCell(5, 7, bias=False)),
}
modules = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES.keys())
CACHES = ("_remembered", "_steps", "_frozen")


def call(module, grad=True):
    """Call a module three times, after which it has packed its weights; return its outputs."""
    torch.manual_seed(1)
    x = torch.randn(2, 5) if isinstance(module, torch.nn.LSTMCell) else torch.randn(3, 2, 5)
    with torch.set_grad_enabled(grad):
        for _ in range(3):
            first, second = module(x)
    return first, *(second if isinstance(second, tuple) else (second,))


def assert_same(one, other):
    for actual, expected in zip(call(one), call(other), strict=True):
        assert torch.equal(actual, expected)


def ways(module, path):
    """Return copies made in every way."""
    torch.save(module, path)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return [
        copy.deepcopy(module),
        copy.copy(module),
        copy.deepcopy(torch.nn.Sequential(module))[0],
        pickle.loads(pickle.dumps(module)),
        torch.load(path, weights_only=False),
    ]


@modules
def test_every_kind_of_copy(make, tmp_path):
    module = make().eval()
    call(module)
    assert any(vars(module).get(name) for name in CACHES)
    others = ways(module, tmp_path / "module.pt")
    with lt.frozen(module):
        call(module)
        others += ways(module, tmp_path / "module.pt")
    for other in others:
        assert type(other) is type(module)
        assert repr(other) == repr(module)
        assert not any(vars(other).get(name) for name in CACHES)
        assert_same(other, module)
        assert set(vars(other)) - set(CACHES) == set(vars(module)) - set(CACHES)
    changed = others[0]
    with torch.no_grad():
        next(changed.parameters()).mul_(2.0)
    assert not torch.equal(call(changed)[0], call(module)[0])


def test_state_dicts_of_variants():
    ours = lt.LSTM(5, 7, 2, dropout=0.1, peephole=True).eval()
    buffer = io.BytesIO()
    torch.save(ours.state_dict(), buffer)
    buffer.seek(0)
    fresh = lt.LSTM(5, 7, 2, dropout=0.1, peephole=True).eval()
    fresh.load_state_dict(torch.load(buffer))
    assert_same(fresh, ours)
    assert ours.double()(torch.zeros(3, 2, 5).double())[0].dtype == torch.float64


@modules
@pytest.mark.parametrize("grad", [True, False])
def test_copies_of_parametrized_modules(make, grad):
    """PyTorch cannot copy an nn.LSTM that has a parametrization and was called with gradients."""
    module = make().eval()
    name = "weight_ih" if isinstance(module, torch.nn.LSTMCell) else "weight_hh_l0"
    torch.nn.utils.parametrizations.weight_norm(module, name)
    call(module, grad)
    with lt.frozen(module):
        other = copy.deepcopy(module)
    assert_same(other, module)
    call(other)[0].sum().backward()
    for actual, parameter in zip(other.parameters(), module.parameters(), strict=True):
        assert actual is not parameter
        assert parameter.grad is None
        assert actual.grad is not None
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(module)


@pytest.mark.parametrize("make", [lt.LSTM, lt.LSTMCell])
def test_copies_with_the_hooks_of_weight_norm(make):
    module = make(5, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        name = "weight_ih" if make is lt.LSTMCell else "weight_hh_l0"
        torch.nn.utils.weight_norm(module, name)
    call(module, grad=False)
    other = copy.deepcopy(module)
    assert_same(other, module)
    with torch.no_grad():
        other.get_parameter(f"{name}_g").mul_(2.0)
    assert not torch.equal(call(other)[0], call(module)[0])


class CopiesAll(lt.LSTMCell):
    """A subclass that decides by itself what is copied."""

    def __getstate__(self):
        return {**vars(self)}


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_what_is_cached_may_be_copied(again):
    """Also where a subclass copies it: the copy packs its own weights."""
    for options in ({}, {"peephole": True}):  # the steps' weights, and those of the general call
        module = CopiesAll(5, 7, **options)
        call(module)
        other = again(module)
        assert_same(other, module)
        with torch.no_grad():
            other.weight_ih.mul_(2.0)
        assert not torch.equal(call(other)[0], call(module)[0])


def test_plans_may_be_copied():
    plan = lt.LSTM(5, 7, 2, peephole=True, recompute="sqrt")._plan()
    for other in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert other.config == plan.config
        assert other.names == plan.names
        assert other.recompute == plan.recompute


def test_pickled_modules_of_pytorch_load_and_are_replaced():
    theirs = torch.nn.LSTM(5, 7, 2, batch_first=True)
    loaded = pickle.loads(pickle.dumps(theirs))
    x = torch.randn(2, 3, 5)
    expected = theirs(x)[0]
    assert type(loaded) is torch.nn.LSTM
    close(lt.replace_lstm(loaded)(x)[0], expected)
    state = theirs.__getstate__()
    del state["proj_size"]  # as before PyTorch 1.8
    old = lt.LSTM.__new__(lt.LSTM)
    old.__setstate__(state)
    close(old(x)[0], expected)


def test_copies_after_functional_call():
    module = lt.LSTM(5, 7)
    x = torch.randn(3, 2, 5)
    doubled = {name: parameter * 2.0 for name, parameter in module.named_parameters()}
    assert not torch.equal(torch.func.functional_call(module, doubled, (x,))[0], module(x)[0])
    torch.func.functional_call(module, doubled, (x,))
    other = copy.deepcopy(module)  # the tensors of that call are results, which cannot be copied
    assert torch.equal(other(x)[0], module(x)[0])
