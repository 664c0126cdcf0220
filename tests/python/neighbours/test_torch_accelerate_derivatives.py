"""Second and third derivatives with `accelerate`, and what programs do with graphs."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import accelerate, accelerated_calls  # noqa: E402
from torch_kit import assert_same, on_both  # noqa: E402

# A warning of PyTorch's own on first use of a checkpoint or of vectorized derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def function_of(module, packed=False):
    """Return a function of x and all parameters, and arguments for it, small."""
    names = [name for name, _ in module.named_parameters()]
    cell = isinstance(module, torch.nn.LSTMCell)

    def function(x, *parameters):
        given = x
        if packed:
            given = pack_padded_sequence(x, torch.tensor([3, 1]), enforce_sorted=False)
        values = dict(zip(names, parameters, strict=True))
        if not cell:
            y, (h, c) = torch.func.functional_call(module, values, (given,))
            return (y.data if packed else y), h, c
        state = None
        for step in x:
            state = torch.func.functional_call(module, values, (step, state))
        return state

    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = [value.detach().clone().requires_grad_() for value in module.parameters()]
    return function, (x, *parameters)


CASES = pytest.mark.parametrize(
    ("kind", "options", "packed"),
    [
        (torch.nn.LSTM, {"num_layers": 2, "bidirectional": True}, False),
        (torch.nn.LSTM, {"bias": False, "proj_size": 2}, True),
        (torch.nn.LSTMCell, {}, False),
    ],
    ids=["stack", "packed", "cell"],
)


@CASES
def test_first_and_second_derivatives(kind, options, packed):
    torch.manual_seed(0)
    function, arguments = function_of(kind(2, 3, dtype=torch.float64, **options), packed)
    with accelerate():
        assert gradcheck(function, arguments)
        assert gradgradcheck(function, arguments)
        assert accelerated_calls().pytorch == {}


def derivatives(function, arguments, order):
    """Return the gradients of all orders up to `order`, with respect to all arguments."""
    value = sum(output.sin().sum() for output in function(*arguments))
    results = []
    for left in reversed(range(order)):
        gradients = torch.autograd.grad(
            value, arguments, create_graph=left > 0, materialize_grads=True
        )
        results += gradients
        value = sum(gradient.sin().sum() for gradient in gradients)
    return results


@CASES
def test_third_and_fourth_derivatives(kind, options, packed):
    """Those beyond the second are PyTorch's own, and reach x, the state and all parameters."""
    torch.manual_seed(0)
    function, arguments = function_of(kind(2, 3, dtype=torch.float64, **options), packed)
    operator = "lstm_cell" if kind is torch.nn.LSTMCell else "lstm.data" if packed else "lstm.input"
    for order in (3, 4):
        assert_same(*on_both(lambda order=order: derivatives(function, arguments, order), operator))


def test_third_derivatives_of_a_gradient_that_depends_on_the_input():
    """The partial derivatives with respect to dy and x must not be mixed."""
    lstm = torch.nn.LSTM(2, 3, dtype=torch.float64)

    def run():
        start = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
        x = start.sin()
        y = lstm(x)[0]
        (first,) = torch.autograd.grad(y, x, x.sum() * y, create_graph=True)
        (second,) = torch.autograd.grad((first * x).sum(), x, create_graph=True)
        (third,) = torch.autograd.grad((second**2).sum(), start)
        return [first, second, third]

    assert_same(*on_both(run, "lstm.input"))


def test_hessian_vector_products():
    lstm = torch.nn.LSTM(2, 3, 2, dtype=torch.float64)

    def run():
        x, v = torch.randn(2, 4, 2, 2, dtype=torch.float64)
        x.requires_grad_()

        def loss(x):
            return lstm(x)[0].square().sum()

        functional = torch.autograd.functional
        _, product = functional.hvp(loss, x, v, create_graph=True)
        (of_product,) = torch.autograd.grad(product.square().sum(), x)
        hessian = functional.hessian(loss, x)
        vectorized = functional.hessian(loss, x, vectorize=True)
        jacobian = functional.jacobian(lambda x: lstm(x)[0], x, vectorize=True)
        return [product, of_product, hessian, vectorized, jacobian]

    assert_same(*on_both(run, "lstm.input"))


def test_batched_third_derivatives():
    lstm = torch.nn.LSTM(2, 3, dtype=torch.float64)

    def run():
        x = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(lstm(x)[0].sin().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), x, create_graph=True)
        rows = torch.eye(6, dtype=torch.float64).view(6, 3, 1, 2)
        return torch.autograd.grad(second, x, rows, is_grads_batched=True)

    assert_same(*on_both(run, "lstm.input"))


def test_third_derivatives_of_lstmcores_own_modules():
    """They have the parameters of torch.nn's, and so the same derivatives of any order."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(2, 3, 2, batch_first=True, dtype=torch.float64)
    ours = lt.LSTM(2, 3, 2, batch_first=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    results = []
    for module in (ours, theirs):
        function, (_, *parameters) = function_of(module)
        torch.manual_seed(1)
        x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
        results.append(derivatives(function, (x, *parameters), 3))
    assert_same(*results)
    state = torch.randn(2, 2, 3, dtype=torch.float64)
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)

    def ragged(x):
        return (ours(x, (state, None), lengths=[4, 2])[0],)

    def masked(x):
        packed = pack_padded_sequence(x, torch.tensor([4, 2]), True, enforce_sorted=False)
        y, _ = theirs(packed, (state, torch.zeros_like(state)))
        return (torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0],)

    assert_same(*(derivatives(function, (x,), 3) for function in (ragged, masked)))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant):
    lstm, cell = torch.nn.LSTM(5, 7, 2, dropout=0.4), torch.nn.LSTMCell(7, 5)

    def block(x):
        y = lstm(x)[0]
        return cell(y[-1])[0]

    def run():
        for module in (lstm, cell):
            module.zero_grad()
        x = torch.randn(4, 3, 5, requires_grad=True)
        y = checkpoint(block, x, use_reentrant=reentrant)
        y.sin().sum().backward()
        weights = [*lstm.parameters(), *cell.parameters()]
        return [y, x.grad, *(weight.grad.clone() for weight in weights)]

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


def test_saved_tensors_may_leave_memory():
    lstm, cell = torch.nn.LSTM(5, 7), torch.nn.LSTMCell(7, 7)

    def run():
        x = torch.randn(4, 3, 5, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: tensor.clone(), lambda tensor: tensor
        ):
            h, _ = cell(lstm(x)[0][-1])
        weights = [*lstm.parameters(), *cell.parameters()]
        return [h, *torch.autograd.grad(h.sum(), [x, *weights])]

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


def test_hooks():
    """Of modules, of tensors and of parameters; each sees what it sees without."""
    lstm = torch.nn.LSTM(5, 7)

    def run():
        seen = []
        handles = [
            lstm.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[0])),
            lstm.register_full_backward_hook(lambda module, of_x, of_y: seen.append(of_x[0])),
            lstm.weight_hh_l0.register_hook(lambda gradient: seen.append(gradient.clone())),
            lstm.bias_hh_l0.register_post_accumulate_grad_hook(
                lambda weight: seen.append(weight.grad.clone())
            ),
        ]
        lstm.zero_grad()
        x = torch.randn(4, 3, 5, requires_grad=True)
        y, _ = lstm(x)
        y.register_hook(lambda gradient: gradient * 2)
        y.sum().backward()
        for handle in handles:
            handle.remove()
        assert len(seen) == 4
        return sorted(seen, key=lambda tensor: (tensor.dim(), tensor.numel()))

    assert_same(*on_both(run, "lstm.input"))


def test_results_may_be_changed_in_place():
    """The backward pass does not need them."""
    lstm = torch.nn.LSTM(5, 7, batch_first=True)
    x = torch.randn(3, 4, 5)
    with accelerate():
        y, (h, c) = lstm(x)
        expected = torch.autograd.grad((2 * y).sum() + (h + 1).sin().sum(), lstm.parameters())
        y, (h, c) = lstm(x)
        y.mul_(2)
        h.add_(1)
        c[0] = 0
        actual = torch.autograd.grad(y.sum() + h.sin().sum() + c.sum(), lstm.parameters())
    assert_same(actual, expected)
