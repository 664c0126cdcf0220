"""PyTorch's own quantization of models with lstmcore.torch's modules."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
quantization = pytest.importorskip("torch.ao.quantization", reason="PyTorch quantizes elsewhere")

import lstmcore.torch as lt  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.skipif(
        torch.backends.quantized.engine == "none", reason="PyTorch cannot quantize here"
    ),
]

LEFT = "passes over lstmcore.torch"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 16, 2, batch_first=True, bidirectional=True)
        self.cell = torch.nn.LSTMCell(32, 16)
        self.last = torch.nn.Linear(16, 3)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.last(self.cell(y[:, -1])[0])


def models():
    """Return a model of torch.nn and the same one with ours."""
    torch.manual_seed(0)
    theirs = Model().eval()
    return theirs, lt.replace_lstm(copy.deepcopy(theirs))


def quantized(model, *kinds, **options):
    return quantization.quantize_dynamic(model, set(kinds), **options)


X = torch.linspace(-1, 1, 60).reshape(2, 6, 5)
OURS = (lt.LSTM, lt.LSTMCell)
THEIRS = (torch.nn.LSTM, torch.nn.LSTMCell)


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16], ids=["int8", "float16"])
def test_our_classes_are_quantized_as_torch_nns(dtype):
    theirs, ours = models()
    expected = quantized(theirs, *THEIRS, torch.nn.Linear, dtype=dtype)
    actual = quantized(ours, *OURS, torch.nn.Linear, dtype=dtype)
    assert [type(part) for part in actual.children()] == [type(p) for p in expected.children()]
    assert not any(isinstance(part, (*OURS, *THEIRS)) for part in actual.modules())
    assert torch.equal(actual(X), expected(X))
    assert (type(ours.lstm), type(ours.cell)) == OURS  # a copy was quantized
    assert not hasattr(ours.lstm, "qconfig")
    torch.testing.assert_close(ours(X), theirs(X))


def test_modules_by_name_and_in_place():
    theirs, ours = models()
    by_name = {"lstm": quantization.default_dynamic_qconfig}
    expected = quantization.quantize_dynamic(theirs, by_name)
    with pytest.warns(UserWarning, match=f"{LEFT}.LSTMCell"):
        actual = quantization.quantize_dynamic(ours, by_name, inplace=True)
    assert actual is ours
    assert type(ours.lstm) is type(expected.lstm)
    assert type(ours.cell) is lt.LSTMCell
    torch.testing.assert_close(ours(X), expected(X))


@pytest.mark.parametrize("kinds", [THEIRS, None], ids=["named", "by default"])
def test_torch_nns_classes_alone_do_not_reach_ours(kinds):
    """PyTorch compares classes exactly, so ours stay in float32; a warning says so."""
    _, ours = models()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = quantization.quantize_dynamic(ours, None if kinds is None else set(kinds))
    messages = {str(warning.message) for warning in seen if LEFT in str(warning.message)}
    assert len(messages) == 2
    for name in ("LSTM", "LSTMCell"):
        assert any(f"to have it quantized, pass lstmcore.torch.{name} too" in m for m in messages)
    assert (type(result.lstm), type(result.cell)) == OURS
    assert not hasattr(result.lstm, "qconfig")
    if kinds is not None:
        assert torch.equal(result(X), ours(X))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        restored = quantized(lt.restore_lstm(ours), *THEIRS)
    assert not any(LEFT in str(warning.message) for warning in seen)
    assert not any(isinstance(part, THEIRS) for part in restored.modules())


def test_options_are_refused():
    for options in ({"peephole": True}, {"recompute": 2}):
        model = torch.nn.Sequential(lt.LSTM(5, 7, **options))
        with pytest.raises(ValueError, match="qconfig: expected .* got LSTM with .*leave it out"):
            quantized(model, lt.LSTM)
        assert type(model[0]) is lt.LSTM
        assert not hasattr(model[0], "qconfig")


class Derived(lt.LSTM):
    def forward(self, input, hx=None):
        return super().forward(input * 2, hx)


def test_derived_classes_are_left_alone():
    x = torch.randn(3, 2, 5)
    model = torch.nn.Sequential(Derived(5, 7))
    with pytest.warns(UserWarning, match="leaves a module of class Derived as it is"):
        result = quantized(model, Derived)
    assert type(result[0]) is Derived
    assert torch.equal(result(x)[0], model(x)[0])
    model = torch.nn.Sequential(lt.LSTM(5, 7))
    torch.nn.utils.parametrizations.weight_norm(model[0], "weight_hh_l0")
    with pytest.warns(UserWarning, match="leaves a module of class ParametrizedLSTM as it is"):
        result = quantized(model, lt.LSTM)
    assert torch.equal(result(x)[0], model(x)[0])


def test_the_attribute():
    module = lt.LSTM(5, 7)
    with pytest.raises(AttributeError, match="qconfig"):
        del module.qconfig
    assert not hasattr(module, "qconfig")
    with pytest.warns(UserWarning, match=LEFT):
        module.qconfig = None
    assert module.qconfig is None
    del module.qconfig
    assert not hasattr(module, "qconfig")
    module.qconfig = quantization.default_dynamic_qconfig
    assert type(module) is torch.nn.LSTM
    assert set(vars(module)) == {*vars(torch.nn.LSTM(5, 7)), "qconfig"}
