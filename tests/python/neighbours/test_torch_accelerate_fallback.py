"""What lstmcore does not compute goes to PyTorch's own kernel: right, and with PyTorch's errors."""

import contextlib

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import forward_ad  # noqa: E402
from torch.nn.utils.rnn import pack_sequence  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from lstmcore.torch import accelerate, accelerated_calls  # noqa: E402

# A warning of PyTorch's forward mode on first use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections"),  # by PyTorch's own kernel
]

lstm_input = torch.ops.aten.lstm.input
lstm_data = torch.ops.aten.lstm.data
lstm_cell = torch.ops.aten.lstm_cell.default


def left_to_torch(run, reason, *operators):
    """Check that `run` returns the same bits with `accelerate`, all of it computed by PyTorch."""
    torch.manual_seed(0)
    expected = run()
    torch.manual_seed(0)
    with accelerate():
        actual = run()
    calls = accelerated_calls()
    assert calls.engine == {}
    assert {name: set(reasons) for name, reasons in calls.pytorch.items()} == {
        operator: {reason} for operator in operators
    }
    for mine, other in zip(actual, expected, strict=True):
        assert type(mine) is type(other)
        assert mine.dtype == other.dtype
        assert mine.device.type == "meta" or torch.equal(mine, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_other_dtypes(dtype):
    lstm, cell = torch.nn.LSTM(5, 7, 2, dtype=dtype), torch.nn.LSTMCell(5, 7, dtype=dtype)

    def run():
        x = torch.randn(6, 3, 5).to(dtype)
        with torch.no_grad():
            results = [*cell(x[0])]
            if not dtype.is_complex:
                results += [lstm(x)[0], lstm(pack_sequence([x[:, 0], x[:2, 1]]))[0].data]
            return results

    operators = ["lstm_cell"] if dtype.is_complex else ["lstm_cell", "lstm.input", "lstm.data"]
    left_to_torch(run, f"dtype {dtype}", *operators)


def test_autocast():
    # What the engine does not compute there, even if the processor multiplies bfloat16.
    lstm, cell = torch.nn.LSTM(5, 7, proj_size=3), torch.nn.LSTMCell(5, 7)

    def run():
        x = torch.randn(6, 3, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, h = lstm(x)[0], cell(x[0])[0]
        (y.float().sum() + h.float().sum()).backward()
        return [y, h, lstm.weight_hh_l0.grad.clone(), cell.weight_hh.grad.clone()]

    def fresh():
        lstm.zero_grad()
        cell.zero_grad()
        return run()

    left_to_torch(fresh, "autocast", "lstm.input", "lstm_cell")


def test_transforms():
    lstm = torch.nn.LSTM(5, 7, dtype=torch.float64)
    parameters = {name: value.detach() for name, value in lstm.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(lstm, parameters, (x,))[0].square().sum()

    def run():
        x = torch.randn(4, 6, 3, 5, dtype=torch.float64)
        gradients = torch.func.grad(loss)(parameters, x[0])
        _, tangent = torch.func.jvp(lambda x: loss(parameters, x), (x[0],), (x[1],))
        (second,) = torch.func.grad(
            lambda x: torch.func.grad(lambda x: loss(parameters, x))(x).sin().sum(), argnums=(0,)
        )(x[0])
        return [*gradients.values(), tangent, second]

    left_to_torch(run, "a transform of torch.func", "lstm.input")


def test_vmap_is_refused_as_by_torch():
    """PyTorch has no rule for its LSTM operators."""
    x = torch.zeros(2, 6, 3, 5)
    for module, rows in ((torch.nn.LSTM(5, 7), x), (torch.nn.LSTMCell(5, 7), x[0])):
        errors = []
        for context in (contextlib.nullcontext, accelerate):
            with context(), pytest.raises(RuntimeError, match="Batching rule") as raised:
                torch.func.vmap(module)(rows)
            errors.append(str(raised.value))
        assert errors[0] == errors[1]


def test_forward_mode():
    """In float64, since PyTorch has none for the LSTM in float32."""
    lstm, cell = torch.nn.LSTM(5, 7).double(), torch.nn.LSTMCell(5, 7).double()

    def run():
        x, direction = torch.randn(2, 6, 3, 5, dtype=torch.float64)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, direction)
            results = [lstm(dual)[0], *cell(dual[0])]
            return [part for result in results for part in forward_ad.unpack_dual(result)]

    left_to_torch(run, "forward-mode derivatives", "lstm.input", "lstm_cell")


class Mine(torch.Tensor):
    """A subclass that changes nothing."""


class Named(torch.Tensor):
    """A subclass that sees the operators."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})


@pytest.mark.parametrize("kind", [Mine, Named])
def test_subclasses(kind):
    lstm, cell = torch.nn.LSTM(5, 7), torch.nn.LSTMCell(5, 7)

    def run():
        x = torch.randn(6, 3, 5).as_subclass(kind)
        return [lstm(x)[0], *cell(x[0])]

    left_to_torch(run, "a subclass of Tensor", "lstm.input", "lstm_cell")


def test_dispatch_modes_see_the_operators_below():
    lstm = torch.nn.LSTM(5, 7)

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    def run():
        x = torch.randn(6, 3, 5)
        with Recorder() as recorder:
            recorder.names = []
            y = lstm(x)[0]
        seen.append(recorder.names)
        return [y]

    seen = []
    reason = "torch.compile, torch.export or another dispatch mode"
    left_to_torch(run, reason, "lstm.input")
    assert seen[0] == seen[1] != []


def test_function_modes():
    """A mode of __torch_function__ sees an operator once, whoever computes it."""
    lstm = torch.nn.LSTM(5, 7, proj_size=3)  # which PyTorch computes

    def run():
        with torch.device("cpu"):
            x = torch.randn(6, 3, 5)
            with torch.autocast("cpu"):
                return [lstm(x)[0]]

    left_to_torch(run, "autocast", "lstm.input")


def test_meta_and_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    meta = torch.nn.LSTM(5, 7, 2, device="meta")
    with accelerate():
        y, (h, _) = meta(torch.empty(6, 3, 5, device="meta"))
        assert (y.shape, h.shape, y.device.type) == ((6, 3, 7), (2, 3, 7), "meta")
        assert accelerated_calls().engine == {}
        with FakeTensorMode():
            y, _ = torch.nn.LSTM(5, 7)(torch.randn(6, 3, 5))
            h, _ = torch.nn.LSTMCell(5, 7)(torch.randn(3, 5))
        assert (y.shape, h.shape) == ((6, 3, 7), (3, 7))
        assert accelerated_calls().engine == {}


def stack(**changes):
    """Return arguments of aten::lstm.input, some of them changed."""
    arguments = {
        "x": torch.zeros(6, 3, 5),
        "hx": [torch.zeros(1, 3, 7), torch.zeros(1, 3, 7)],
        "params": [*torch.nn.LSTM(5, 7).parameters()],
        "bias": True,
        "layers": 1,
        "dropout": 0.0,
        "train": False,
        "both": False,
        "batch_first": False,
    }
    assert changes.keys() <= arguments.keys()
    return [*(arguments | changes).values()]


def packed(sizes=(3, 2, 1), steps=6, **changes):
    """Return arguments of aten::lstm.data, some of them changed."""
    _, *others, _ = stack(**changes)
    return [torch.zeros(steps, 5), torch.tensor(sizes), *others]


W_IH, W_HH, B_IH, B_HH = torch.nn.LSTM(5, 7).parameters()
STATE = [torch.zeros(3, 7), torch.zeros(3, 7)]
# Without those for which PyTorch itself ends the process: an input with four axes, a state of too
# few rows.
WRONG = {
    "features": (lstm_input, stack(x=torch.zeros(6, 3, 4))),
    "unbatched": (lstm_input, stack(x=torch.zeros(6, 5))),
    "no steps": (lstm_input, stack(x=torch.zeros(0, 3, 5))),
    "no rows": (
        lstm_input,
        stack(x=torch.zeros(6, 0, 5), hx=[torch.zeros(1, 0, 7), torch.zeros(1, 0, 7)]),
    ),
    "layers of the state": (lstm_input, stack(hx=[torch.zeros(2, 3, 7), torch.zeros(2, 3, 7)])),
    "one state": (lstm_input, stack(hx=[torch.zeros(1, 3, 7)])),
    "axes of the state": (lstm_input, stack(hx=[torch.zeros(3, 7), torch.zeros(3, 7)])),
    "width of c": (lstm_input, stack(hx=[torch.zeros(1, 3, 7), torch.zeros(1, 3, 6)])),
    "weights": (lstm_input, stack(params=[W_IH, W_HH])),
    "no weights": (lstm_input, stack(params=[])),
    "transposed weights": (lstm_input, stack(params=[W_IH.t(), W_HH, B_IH, B_HH])),
    "layers": (lstm_input, stack(layers=2)),
    "no layers": (lstm_input, stack(layers=0)),
    "dtype": (lstm_input, stack(x=torch.zeros(6, 3, 5, dtype=torch.float64))),
    "dtype of the state": (
        lstm_input,
        stack(hx=[torch.zeros(1, 3, 7), torch.zeros(1, 3, 7).double()]),
    ),
    "integers": (lstm_input, stack(x=torch.zeros(6, 3, 5, dtype=torch.int64))),
    "sparse": (lstm_input, stack(x=torch.zeros(6, 3, 5).to_sparse())),
    "meta": (lstm_input, stack(x=torch.zeros(6, 3, 5, device="meta"))),
    "dropout": (
        lstm_input,
        stack(
            params=[*torch.nn.LSTM(5, 7, 2).parameters()],
            hx=[torch.zeros(2, 3, 7), torch.zeros(2, 3, 7)],
            layers=2,
            train=True,
            dropout=1.5,
        ),
    ),
    "packed, too many steps": (lstm_data, packed(steps=7)),
    "packed, too few steps": (lstm_data, packed(steps=5)),
    "packed, rising": (lstm_data, packed(sizes=(3, 1, 2))),
    "packed, zero": (lstm_data, packed(sizes=(3, 3, 0))),
    "packed, floats": (lstm_data, packed(sizes=(3.0, 2.0, 1.0))),
    "packed, rows of the state": (lstm_data, packed(sizes=(2, 2, 2))),
    "cell, features": (lstm_cell, [torch.zeros(3, 4), STATE, W_IH, W_HH, B_IH, B_HH]),
    "cell, rows": (lstm_cell, [torch.zeros(2, 5), STATE, W_IH, W_HH, B_IH, B_HH]),
    "cell, unbatched": (lstm_cell, [torch.zeros(5), STATE, W_IH, W_HH, B_IH, B_HH]),
    "cell, one state": (lstm_cell, [torch.zeros(3, 5), STATE[:1], W_IH, W_HH, B_IH, B_HH]),
    "cell, no rows": (
        lstm_cell,
        [torch.zeros(0, 5), [torch.zeros(0, 7)] * 2, W_IH, W_HH, B_IH, B_HH],
    ),
    "cell, one bias": (lstm_cell, [torch.zeros(3, 5), STATE, W_IH, W_HH, B_IH]),
    "cell, the other bias": (lstm_cell, [torch.zeros(3, 5), STATE, W_IH, W_HH, None, B_HH]),
    "cell, dtype": (lstm_cell, [torch.zeros(3, 5).double(), STATE, W_IH, W_HH, B_IH, B_HH]),
    "cell, weights": (lstm_cell, [torch.zeros(3, 5), STATE, W_HH, W_IH, B_IH, B_HH]),
}


def outcome(operator, arguments):
    """Return shapes of the results, or the error."""
    try:
        with torch.no_grad():
            return [tuple(result.shape) for result in operator(*arguments)]
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_have_the_outcome_they_have_in_torch(case):
    operator, arguments = WRONG[case]
    expected = outcome(operator, arguments)
    with accelerate():
        assert outcome(operator, arguments) == expected
    assert accelerated_calls().engine == ({"lstm.input": 1} if case == "dropout" else {})


def test_errors_of_modules_are_those_of_torch():
    lstm = torch.nn.LSTM(5, 7)

    def errors():
        for arguments in (
            (torch.zeros(6, 3, 4),),
            (torch.zeros(6, 3, 5), (torch.zeros(1, 2, 7), torch.zeros(1, 2, 7))),
            (torch.zeros(6, 3, 5, dtype=torch.float64),),
        ):
            with pytest.raises((RuntimeError, ValueError)) as raised:
                lstm(*arguments)
            yield type(raised.value), str(raised.value)

    expected = list(errors())
    with accelerate():
        assert list(errors()) == expected


def test_changing_weights_between_the_passes_is_an_error_as_in_torch():
    for module in (torch.nn.LSTM(5, 7), torch.nn.LSTMCell(5, 7)):
        with accelerate():
            y = module(
                torch.randn(2, 3, 5) if isinstance(module, torch.nn.LSTM) else torch.randn(3, 5)
            )[0]
            with torch.no_grad():
                next(module.parameters()).add_(1)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                y.sum().backward()
