"""Arguments that the modules of lstmcore.torch refuse, and the error messages."""

import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402

# A warning of torch.nn.LSTM.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def test_constructor_refuses():
    for arguments, options, error, text in [
        ((2, 3), {"peepholes": True}, TypeError, "LSTM: expected options among"),
        ((2, 3), {"batch_first": 1}, TypeError, "batch_first: expected True or False, got 1"),
        ((2, 3), {"bidirectional": 1.0}, TypeError, "bidirectional: expected True or False, got 1"),
        ((2, 3), {"dropout": 1.0, "num_layers": 2}, ValueError, "dropout"),
        ((0, 3), {}, ValueError, "input_size"),
        ((2, 3), {"dtype": torch.bfloat16}, TypeError, "dtype: expected torch.float32 or"),
        ((2, 3), {"recompute": "cube"}, ValueError, "recompute"),
    ]:
        with pytest.raises(error, match=text):
            lt.LSTM(*arguments, **options)
    with pytest.raises(TypeError, match="LSTMCell: expected options among .* 'go_backwards'"):
        lt.LSTMCell(2, 3, go_backwards=True)
    with pytest.warns(UserWarning, match="num_layers greater than 1, but got dropout=0.5"):
        lt.LSTM(2, 3, dropout=0.5)


def x_of(**options):
    return torch.zeros(3, 2, 5, **options)


BAD_INPUTS = {
    "bfloat16": (lambda: x_of(dtype=torch.bfloat16), {}, TypeError, r"bfloat16; .*\.float\(\)"),
    "half": (lambda: x_of(dtype=torch.half), {}, TypeError, r"float16; .*\.float\(\)"),
    "float64": (lambda: x_of(dtype=torch.float64), {}, TypeError, "like the weights, got .*64"),
    "integers": (lambda: x_of(dtype=torch.int64), {}, TypeError, r"int64; .*\.float\(\)"),
    "complex": (lambda: x_of(dtype=torch.complex64), {}, TypeError, "complex numbers is not"),
    "sparse": (lambda: x_of().to_sparse(), {}, TypeError, "to_dense"),
    "meta": (lambda: x_of(device="meta"), {}, TypeError, "input: .* on meta"),
    "array": (lambda: np.zeros((3, 2, 5), "f4"), {}, TypeError, "got ndarray; torch.from_numpy"),
    "list": (lambda: [[1.0]], {}, TypeError, "input: expected a tensor .* got list"),
    "four axes": (lambda: torch.zeros(1, 3, 2, 5), {}, ValueError, r"\(T, N, C\) or \(T, C\)"),
    "features": (lambda: torch.zeros(3, 2, 4), {}, ValueError, "batch_first=False, got"),
    "packed features": (
        lambda: torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 4)]),
        {},
        ValueError,
        r"input.data: expected \(steps, C=5\), got \(3, 4\)",
    ),
    "packed and lengths": (
        lambda: torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 5)]),
        {"lengths": [3]},
        ValueError,
        "expected none alongside a PackedSequence",
    ),
    "state alone": (x_of, {"hx": torch.zeros(1, 2, 7)}, TypeError, "expected a pair"),
    "state of three": (x_of, {"hx": (None, None, None)}, TypeError, "expected a pair"),
    "state of lists": (x_of, {"hx": ([0.0], None)}, TypeError, r"hx\[0\]: expected a tensor"),
    "state of another batch": (
        x_of,
        {"hx": (torch.zeros(1, 3, 7), None)},
        ValueError,
        r"\(1, 2, 7\), got \(1, 3, 7\); with batch_first=False the input is 2 sequences of 3",
    ),
    "state batch first": (
        x_of,
        {"hx": (torch.zeros(2, 1, 7), None)},
        ValueError,
        "has N in the middle",
    ),
    "cell state": (x_of, {"hx": (None, torch.zeros(1, 2, 6))}, ValueError, r"hx\[1\]"),
    "state dtype": (
        x_of,
        {"hx": (torch.zeros(1, 2, 7, dtype=torch.float64), None)},
        TypeError,
        r"hx\[0\]: expected torch.float32 like the weights",
    ),
    "unbatched state": (
        lambda: torch.zeros(3, 5),
        {"hx": (torch.zeros(1, 1, 7), torch.zeros(1, 1, 7))},
        ValueError,
        "unbatched input",
    ),
    "unbatched lengths": (lambda: torch.zeros(3, 5), {"lengths": [2]}, ValueError, "length]"),
    "number of lengths": (
        x_of,
        {"lengths": [1, 2, 3]},
        ValueError,
        r"\(2,\), got \(3,\); with batch_first=False the input has 2 sequences of 3",
    ),
    "lengths": (x_of, {"lengths": [1, 4]}, ValueError, "lengths: expected values from 0 to 3"),
    "lengths that no float holds": (
        x_of,
        {"lengths": [1.0, 10**400]},
        ValueError,
        "lengths: expected integers of at most 64 bits",
    ),
    "fractions": (x_of, {"lengths": [1.0, 2.0]}, TypeError, "lengths: expected integers"),
    "lengths elsewhere": (
        x_of,
        {"lengths": torch.zeros(2, dtype=torch.int64, device="meta")},
        TypeError,
        "lengths: expected a tensor on the CPU",
    ),
    "reset shape": (
        x_of,
        {"reset": torch.zeros(2, 3, dtype=torch.bool)},
        ValueError,
        "reset: .*T, N",
    ),
    "reset type": (x_of, {"reset": torch.zeros(3, 2)}, TypeError, "reset: expected bools"),
    "both": (
        x_of,
        {"lengths": [1, 2], "mask": torch.ones(3, 2, dtype=torch.bool)},
        ValueError,
        "mask: expected none alongside lengths",
    ),
    "seed": (x_of, {"seed": -1}, ValueError, "seed: expected an integer of at least 0"),
    "large seed": (x_of, {"seed": 2**63}, ValueError, r"seed: expected an integer below 2\*\*63"),
}


UNCLEAR = {
    "state of arrays": (
        (3, 5),
        {"hx": (np.zeros((1, 7), np.float32), None)},
        TypeError,
        r"hx\[0\]: expected a tensor of .*, got ndarray",
    ),
    "one flag": ((3, 5), {"mask": True}, ValueError, r"mask: expected shape \(T,\) = \(3,\)"),
    "flags, batched": ((3, 5), {"reset": [[True]]}, ValueError, r"reset: expected shape \(T,\)"),
    "text": ((3, 2, 5), {"lengths": "ab"}, TypeError, "lengths: expected integers, got 'ab'"),
    "ragged": ((3, 2, 5), {"mask": [[True], []]}, TypeError, "mask: expected bools, got"),
}


@pytest.mark.parametrize("case", UNCLEAR.values(), ids=UNCLEAR.keys())
def test_errors_name_arguments_that_are_not_tensors(case):
    shape, options, error, text = case
    with pytest.raises(error, match=text):
        lt.LSTM(5, 7)(torch.zeros(shape), **options)


def test_nested_tensors_are_refused():
    parts = [torch.zeros(2, 5), torch.zeros(3, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = [
            torch.nested.nested_tensor(parts, layout=layout)
            for layout in (torch.strided, torch.jagged)
        ]
    for tensor in nested:
        with pytest.raises(TypeError, match="input: expected a dense tensor, got a nested one"):
            lt.LSTM(5, 7)(tensor)


def test_arrays_of_any_layout():
    ours = lt.LSTM(5, 7)
    x = torch.randn(3, 2, 5)
    lengths = np.array([3, 1])
    lengths.flags.writeable = False
    expected = ours(x, lengths=torch.tensor([1, 3]))[0]
    assert torch.equal(ours(x, lengths=lengths[::-1])[0], expected)
    mask = np.arange(3)[:, None] < lengths
    assert torch.equal(ours(x, mask=mask[:, ::-1])[0], expected)


@pytest.mark.parametrize("case", BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_calls_refuse(case):
    make, options, error, text = case
    ours = lt.LSTM(5, 7)
    with pytest.raises(error, match=text) as caught:
        ours(make(), **options)
    assert isinstance(caught.value, RuntimeError)


BAD_STEPS = {
    "features": (lambda: torch.zeros(2, 4), {}, ValueError, r"\(N, C=5\)"),
    "axes": (x_of, {}, ValueError, r"input: expected \(N, C=5\)"),
    "state": (lambda: torch.zeros(2, 5), {"hx": (torch.zeros(2, 6), None)}, ValueError, r"hx\[0\]"),
    "reset": (lambda: torch.zeros(2, 5), {"reset": [True]}, ValueError, "reset: expected shape"),
    "unbatched reset": (lambda: torch.zeros(5), {"reset": [True]}, ValueError, "pass no state"),
    "array": (lambda: np.zeros((2, 5), "f4"), {}, TypeError, "input: expected a tensor"),
    "half": (lambda: torch.zeros(2, 5).half(), {}, TypeError, "float16"),
}


@pytest.mark.parametrize("case", BAD_STEPS.values(), ids=BAD_STEPS.keys())
def test_cells_refuse(case):
    make, options, error, text = case
    with pytest.raises(error, match=text) as caught:
        lt.LSTMCell(5, 7)(make(), **options)
    assert isinstance(caught.value, RuntimeError)


def state(*shape):
    return torch.zeros(shape), torch.zeros(shape)


# Arguments of the module, and of a call, that torch.nn refuses with words that programs look for.
SAME_WORDS = {
    "four axes": ({}, torch.zeros(1, 3, 2, 5), None),
    "features": ({}, torch.zeros(3, 2, 4), None),
    "features, unbatched": ({}, torch.zeros(3, 4), None),
    "features, batch first": ({"batch_first": True}, torch.zeros(3, 2, 4), state(1, 3, 7)),
    "dtype": ({}, torch.zeros(3, 2, 5).double(), None),
    "integers": ({}, torch.zeros(3, 2, 5).int(), None),
    "batch of h": ({}, torch.zeros(3, 2, 5), (torch.zeros(1, 3, 7), torch.zeros(1, 2, 7))),
    "width of c": ({}, torch.zeros(3, 2, 5), (torch.zeros(1, 2, 7), torch.zeros(1, 2, 8))),
    "layers of the state": ({"num_layers": 2}, torch.zeros(3, 2, 5), state(1, 2, 7)),
    "projected state": ({"proj_size": 3}, torch.zeros(3, 2, 5), state(1, 2, 7)),
    "unbatched state": ({}, torch.zeros(3, 2, 5), state(1, 7)),
    "batched state": ({}, torch.zeros(3, 5), state(1, 1, 7)),
    "unbatched width": ({}, torch.zeros(3, 5), state(1, 8)),
}
SAME_WORDS_OF_CELLS = {
    "features": (torch.zeros(2, 4), None),
    "axes": (torch.zeros(3, 2, 5), None),
    "batch of the state": (torch.zeros(2, 5), state(3, 7)),
    "width of the state": (torch.zeros(2, 5), state(2, 8)),
    "axes of the state": (torch.zeros(2, 5), state(1, 2, 7)),
}


def assert_same_words(kind, options, arguments):
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        kind(5, 7, **options)(*arguments)
    with pytest.raises(RuntimeError, match=re.escape(str(theirs.value).splitlines()[0])) as ours:
        getattr(lt, kind.__name__)(5, 7, **options)(*arguments)
    assert isinstance(ours.value, type(theirs.value))


@pytest.mark.parametrize("case", SAME_WORDS.values(), ids=SAME_WORDS.keys())
def test_errors_contain_pytorchs_words(case):
    options, *arguments = case
    assert_same_words(torch.nn.LSTM, options, arguments)


@pytest.mark.parametrize("case", SAME_WORDS_OF_CELLS.values(), ids=SAME_WORDS_OF_CELLS.keys())
def test_errors_of_cells_contain_pytorchs_words(case):
    assert_same_words(torch.nn.LSTMCell, {}, case)


def test_errors_of_packed_sequences_contain_pytorchs_words():
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 5)] * 2)
    wrong = state(1, 3, 7)
    with pytest.raises(
        RuntimeError, match=r"Expected hidden\[0\] size \(1, 2, 7\), got \[1, 3, 7\]"
    ):
        lt.LSTM(5, 7)(packed, wrong)


def test_errors_of_frameworks_alike():
    """One handler serves modules of both, as in a search over shapes."""
    for module in (torch.nn.LSTM(5, 7), lt.LSTM(5, 7)):
        try:
            module(torch.zeros(3, 2, 4))
        except RuntimeError as error:
            assert "input.size(-1) must be equal to input_size" in str(error)
        else:
            pytest.fail("expected a RuntimeError")


def test_refuses_weights_that_do_not_fit():
    ours = lt.LSTM(5, 7).to(torch.bfloat16)
    with pytest.raises(TypeError, match="weight_ih_l0: expected torch.float32 or torch.float64"):
        ours(torch.zeros(3, 2, 5, dtype=torch.bfloat16))
    ours = lt.LSTM(5, 7)
    ours.weight_hh_l0.data = ours.weight_hh_l0.data.double()
    with pytest.raises(TypeError, match="weight_hh_l0: expected torch.float32 like the weights"):
        ours(torch.zeros(3, 2, 5))


class Elsewhere(torch.Tensor):
    """Pretends to be on a GPU."""

    device = torch.device("cuda:0")

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_refuses_tensors_elsewhere():
    ours = lt.LSTM(5, 7)
    with pytest.raises(TypeError, match=r"input: .* one on cuda:0: .*restore_lstm\(model\)"):
        ours(torch.zeros(3, 2, 5).as_subclass(Elsewhere))


def test_refuses_tensors_without_memory():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        ours = lt.LSTM(5, 7)
        with pytest.raises(TypeError, match="expected a tensor with memory of its own"):
            ours(torch.zeros(3, 2, 5))


def test_autocast():
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), lt.LSTM(5, 7))
    x = torch.randn(3, 2, 4)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(TypeError, match=r"inside torch.autocast\('cpu', enabled=False\)"),
    ):
        model(x)
    with torch.autocast("cpu", torch.bfloat16):  # float32 stays float32
        assert model[1](torch.randn(3, 2, 5))[0].dtype == torch.float32


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ours", [lt.LSTM(5, 7), lt.LSTMCell(5, 7)], ids=["lstm", "cell"])
def test_tracing_is_refused(ours):
    with pytest.raises(RuntimeError, match=r"torch\.jit\.trace would record"):
        torch.jit.trace(ours, torch.zeros(3, 5))


@pytest.mark.parametrize("options", [{}, {"peephole": True}], ids=["of torch", "of ours"])
@pytest.mark.parametrize("kind", [lt.LSTM, lt.LSTMCell])
def test_devices_without_tensors(kind, options):
    for device, error in {"nonsense": ValueError, "xla": ValueError, 1.5: TypeError}.items():
        with pytest.raises(error, match="device: expected one on which there can be tensors"):
            kind(4, 3, device=device, **options)
    kind(4, 3, device="meta", **options)


def test_errors_of_devices_keep_what_pytorch_says(monkeypatch):
    """It may be about the process: a forked child cannot use CUDA."""

    def empty(*arguments, **options):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    with pytest.raises(ValueError, match=r"got '(x)+\.\.\.; PyTorch says: Expected one of cpu"):
        lt.LSTM(4, 3, device="x" * 1000)
    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ValueError, match="says: Cannot re-initialize CUDA in forked subprocess"):
        lt.LSTM(4, 3, device="cuda")
