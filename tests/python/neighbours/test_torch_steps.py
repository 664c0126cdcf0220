"""A loop over LSTMCell, whose steps share a node of the weights, compared with PyTorch's."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import steps  # noqa: E402
from torch_kit import close, pair  # noqa: E402

# A warning of PyTorch's forward mode on first use.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def loop(cell, x, h=None, c=None):
    """Return h of all steps, and the last c."""
    state = None if h is None else (h, c)
    outputs = []
    for step in x:
        state = cell(step, state)
        outputs.append(state[0])
    return torch.stack(outputs), state[1]


def inputs(rows=4, dtype=torch.float64, time=6):
    torch.manual_seed(1)
    return torch.randn(time, rows, 5, dtype=dtype)


def gradients(cell, x, **options):
    y, c = loop(cell, x)
    weights = list(cell.parameters())
    return torch.autograd.grad((y.sin().sum() + c.sum()), weights, **options)


@DTYPES
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("size", [(5, 7), (16, 32), (3, 100)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(dtype, rows, size, bias):
    """Widths of part of a vector, of whole vectors and of several panels."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTMCell(*size, bias, dtype=dtype)
    ours = lt.LSTMCell(*size, bias, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    results = []
    for cell in (theirs, ours):
        torch.manual_seed(1)
        x = torch.randn(5, rows, size[0], dtype=dtype, requires_grad=True)
        h, c = (torch.randn(rows, size[1], dtype=dtype, requires_grad=True) for _ in "hc")
        y, c_after = loop(cell, x, h, c)
        ((y * y).sum() + c_after.cos().sum()).backward()
        results.append((y, c_after, x.grad, h.grad, c.grad, *(p.grad for p in cell.parameters())))
    assert ours._steps is not None
    for actual, expected in zip(results[1], results[0], strict=True):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


@DTYPES
def test_same_bits_as_a_whole_sequence(dtype):
    whole = lt.LSTM(5, 7, dtype=dtype)
    cell = lt.LSTMCell(5, 7, dtype=dtype)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in whole.state_dict().items()})
    x = inputs(dtype=dtype)
    expected = whole(x)[0]
    assert torch.equal(loop(cell, x)[0], expected)
    with torch.no_grad():
        assert torch.equal(loop(cell, x)[0], expected)
    with torch.no_grad(), lt.frozen(cell):
        assert torch.equal(loop(cell, x)[0], expected)


def test_first_and_second_derivatives():
    cell = lt.LSTMCell(2, 3, dtype=torch.float64)
    torch.manual_seed(2)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in "hc")

    def function(x, h, c, *_):
        return loop(cell, x, h, c)

    arguments = (x, h, c, *cell.parameters())  # which the checks change in place
    assert gradcheck(function, arguments)
    assert cell._steps is not None
    assert gradgradcheck(function, arguments)
    assert gradcheck(function, arguments, check_batched_grad=True)


def test_a_pass_with_a_graph_and_one_without():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    x = inputs()
    for options in ({"retain_graph": True}, {"create_graph": True}):
        for actual, expected in zip(
            gradients(ours, x, **options), gradients(theirs, x, **options), strict=True
        ):
            close(actual, expected)


def test_several_passes_over_a_graph():
    """No pass sees what steps of another left, whatever it asked for."""
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        x = inputs().requires_grad_()
        y, c = loop(cell, x)
        torch.autograd.grad(y.sum(), x, retain_graph=True)
        torch.autograd.grad(c.sum(), (x, cell.weight_hh), retain_graph=True)
        y.sum().backward(inputs=[x], retain_graph=True)
        assert cell.weight_ih.grad is None
        y[2].sum().backward(retain_graph=True)  # only the first steps
        (y.sum() + c.sum()).backward(retain_graph=True)
        (y.sum() + c.sum()).backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)
    close(x.grad, inputs_grad(theirs))


def inputs_grad(cell):
    x = inputs().requires_grad_()
    y, c = loop(cell, x)
    y.sum().backward(inputs=[x], retain_graph=True)
    y[2].sum().backward(inputs=[x], retain_graph=True)
    for _ in range(2):
        (y.sum() + c.sum()).backward(inputs=[x], retain_graph=True)
    return x.grad


def test_hooks_see_one_gradient_a_pass():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    seen = []
    for cell in (theirs, ours):
        calls = []
        cell.weight_hh.register_hook(lambda gradient, calls=calls: calls.append(gradient))
        cell.weight_ih.register_post_accumulate_grad_hook(
            lambda p, calls=calls: calls.append(p.grad)
        )
        y, _ = loop(cell, inputs())
        y[3].register_hook(lambda gradient: gradient * 2)  # of a stacked tensor: the last step's
        y.sum().backward()
        seen.append(calls)
    assert len(seen[0]) == len(seen[1]) == 2
    by_shape = [sorted(calls, key=lambda gradient: tuple(gradient.shape)) for calls in seen]
    for expected, actual in zip(*by_shape, strict=True):
        close(actual, expected)


def test_hooks_on_the_state_change_what_goes_back():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        h = c = torch.zeros(4, 7, dtype=torch.float64)
        for step in inputs():
            h, c = cell(step, (h, c))
            h.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
        (h * h).sum().backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)


def test_some_weights_frozen_and_changed_on_the_way():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        state = None
        for index, step in enumerate(inputs()):
            cell.weight_ih.requires_grad_(index != 2)  # of that step, no gradient
            cell.bias_hh.requires_grad_(index > 3)
            state = cell(step, state)
        state[0].sum().backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)


def test_no_weight_needs_a_gradient():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        cell.requires_grad_(False)
    xs = [inputs().requires_grad_() for _ in "ab"]
    for cell, x in zip((theirs, ours), xs, strict=True):
        loop(cell, x)[0].sum().backward()
    close(xs[1].grad, xs[0].grad)
    assert not loop(ours, inputs())[0].requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.data.mul_(2.0),
        lambda p: np.multiply(p.detach().numpy(), 2.0, out=p.detach().numpy()),
        lambda p: p.data.view(-1)[-1:].add_(1.0),
        lambda p: setattr(p, "data", p.data * 2.0),
        lambda p: setattr(p, "data", p.data.t().contiguous().t() * 2.0),
    ],
)
@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_changes_in_the_loop_take_effect(change, name):
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    results = []
    for cell in (theirs, ours):
        for keep in (torch.enable_grad, torch.no_grad):
            with keep():
                state = None
                for index, step in enumerate(inputs()):
                    if index == 3:
                        parameter = cell.get_parameter(name)
                        before = parameter.data.clone()
                        change(parameter)
                    state = cell(step, state)
                results.append(state[0].detach())
                parameter.data = before
    close(results[2], results[0])
    close(results[3], results[1])


def test_a_counted_change_before_the_backward_is_an_error():
    for cell in pair(kind=torch.nn.LSTMCell):
        y, _ = loop(cell, inputs())
        with torch.no_grad():
            cell.weight_hh.add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant):
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        x = inputs().requires_grad_()
        first, c = loop(cell, x[:3])
        y = checkpoint(
            lambda x, h, c, cell=cell: loop(cell, x, h, c)[0],
            x[3:],
            first[-1],
            c,
            use_reentrant=reentrant,
        )
        (y.sum() + first.sum()).backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)


def test_strided_and_expanded_inputs():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    results = []
    for cell in (theirs, ours):
        x = inputs().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
        h = torch.zeros(1, 7, dtype=torch.float64, requires_grad=True)
        y, c = loop(cell, x, h.expand(4, 7), torch.ones(7, 4, dtype=torch.float64).t())
        gradients = torch.autograd.grad(y.sum() + c.sum(), (x, h, *cell.parameters()))
        results.append((y, *gradients))
    assert ours._steps is not None
    for actual, expected in zip(results[1], results[0], strict=True):
        close(actual, expected)


class Negated(torch.autograd.Function):
    """The negative, whose gradient is a view that PyTorch negates when it is read."""

    @staticmethod
    def forward(ctx, x):
        return -x

    @staticmethod
    def backward(ctx, gradient):
        return torch._neg_view(gradient.contiguous())


def test_gradients_that_are_negated_views():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        h, c = cell(inputs()[0])
        (Negated.apply(h).exp().sum() + Negated.apply(c).exp().sum()).backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)


def test_hooks_of_saved_tensors_return_any_layout():
    theirs, ours = pair(kind=torch.nn.LSTMCell)

    def transposed(tensor):
        return tensor.t().contiguous().t() if tensor.dim() == 2 else tensor

    xs, h, c = inputs(), *torch.randn(2, 4, 7, dtype=torch.float64)
    results = []
    for cell in (theirs, ours):
        arguments = [t.clone().requires_grad_() for t in (xs, h, c)]
        with torch.autograd.graph.saved_tensors_hooks(transposed, transposed):
            y, last = loop(cell, *arguments)
        results.append(
            torch.autograd.grad(y.exp().sum() + last.sum(), [*arguments, *cell.parameters()])
        )
    for actual, expected in zip(results[1], results[0], strict=True):
        close(actual, expected)


def test_tensors_of_other_kinds_take_the_general_call():
    ours = lt.LSTMCell(5, 7)
    x = torch.randn(2, 5)
    expected = ours(x)[0]
    assert torch.equal(ours(x[0])[0], expected[0])
    assert torch.equal(ours(torch.nn.Parameter(x))[0], expected)
    assert torch.equal(ours(x, (torch.zeros(2, 7), None))[0], expected)
    assert torch.equal(ours(x, [torch.zeros(2, 7)] * 2)[0], expected)
    assert ours(x[:0])[0].shape == (0, 7)
    for wrong in (x.double(), x[:, :4], x.to("meta"), x.to_sparse(), x.int()):
        with pytest.raises((TypeError, ValueError), match="input: expected"):
            ours(wrong)
    with pytest.raises(ValueError, match=r"hx\[1\]: expected"):
        ours(x, (torch.zeros(2, 7), torch.zeros(2, 8)))
    with pytest.raises(TypeError, match=r"hx\[0\]: expected"):
        ours(x, (torch.zeros(2, 7).double(), torch.zeros(2, 7)))


def test_variants_take_the_general_call():
    for options in ({"peephole": True}, {"proj_size": 3}, {"layer_norm": True}, {"cell_clip": 1.0}):
        ours = lt.LSTMCell(5, 7, **options)
        loop(ours, inputs(dtype=torch.float32))[0].sum().backward()
        assert ours._steps is None


def test_weight_norm():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        torch.nn.utils.parametrizations.weight_norm(cell, "weight_hh")
        loop(cell, inputs())[0].sum().backward()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, expected.grad)


def test_frozen_blocks():
    ours = lt.LSTMCell(5, 7)
    x = torch.randn(3, 5)
    with lt.frozen(ours):
        before = ours(x)[0]
        ours.weight_ih.data.mul_(2.0)  # which is not counted
        assert torch.equal(ours(x)[0], before)
    after = ours(x)[0]
    assert not torch.equal(after, before)
    with lt.frozen(ours):
        assert torch.equal(ours(x)[0], after)
        with torch.no_grad():
            ours.weight_ih.mul_(2.0)
        with pytest.raises(RuntimeError, match="expected none to change inside"):
            ours(x)


def test_nothing_outlives_the_graph():
    ours = lt.LSTMCell(5, 7)
    y = loop(ours, inputs(dtype=torch.float32))[0]
    shared = weakref.ref(ours._steps._sums())
    terms = weakref.ref(shared().terms)
    y.sum().backward(retain_graph=True)
    assert not terms()._steps
    del y
    gc.collect()
    assert shared() is None
    assert terms() is None


def test_copies_and_pickles_keep_nothing():
    ours = lt.LSTMCell(5, 7)
    loop(ours, inputs(dtype=torch.float32))[0].sum().backward()
    assert ours._steps is not None
    assert copy.deepcopy(ours)._steps is None
    assert pickle.loads(pickle.dumps(ours))._steps is None


def test_threads_share_a_cell_and_a_graph():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    x = inputs()
    expected = gradients(theirs, x)
    y, c = loop(ours, x)
    total = y.sin().sum() + c.sum()
    results = [None] * 8

    def work(index):
        if index % 2:
            results[index] = gradients(ours, x)
        else:
            weights = list(ours.parameters())
            results[index] = torch.autograd.grad(total, weights, retain_graph=True)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        for actual, wanted in zip(result, expected, strict=True):
            close(actual, wanted)


def test_transforms():
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    x = inputs()
    y, _ = loop(ours, x)
    expected, _ = loop(theirs, x)
    directions = torch.randn(3, *y.shape, dtype=torch.float64)
    for outputs, cell in ((expected, theirs), (y, ours)):
        weights = list(cell.parameters())
        rows = [
            torch.autograd.grad(outputs, weights, direction, retain_graph=True)
            for direction in directions
        ]
        batched = torch.autograd.grad(
            outputs, weights, directions, is_grads_batched=True, retain_graph=True
        )
        for index, tensor in enumerate(batched):
            close(tensor, torch.stack([row[index] for row in rows]))
    tangent = torch.func.jvp(lambda x: loop(ours, x)[0], (x,), (torch.ones_like(x),))[1]
    close(tangent, torch.func.jvp(lambda x: loop(theirs, x)[0], (x,), (torch.ones_like(x),))[1])


@pytest.mark.filterwarnings("ignore")
def test_compiled_autograd():
    """PyTorch compiles the backward pass as a whole, without its engine."""
    from torch._dynamo import compiled_autograd

    enable = getattr(compiled_autograd, "_enable", None)
    if enable is None:
        pytest.skip("this version of PyTorch enables it in another way")
    theirs, ours = pair(kind=torch.nn.LSTMCell)
    for cell in (theirs, ours):
        x = inputs(time=3).requires_grad_()
        y, _ = loop(cell, x)
        total = y.sin().sum()
        if cell is ours:
            with enable(lambda graph: torch.compile(graph, backend="eager")):
                total.backward()
        else:
            total.backward()
            expected = x.grad
    close(x.grad, expected)
    for actual, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(actual.grad, wanted.grad)


def test_the_bits_do_not_depend_on_threads():
    import lstmcore

    cell = lt.LSTMCell(64, 256)
    results = []
    before = lstmcore.get_num_threads()
    try:
        for rows in (1, 40):
            for threads in (1, 2, 4):
                lstmcore.set_num_threads(threads)
                torch.manual_seed(0)
                x = torch.randn(9, rows, 64)
                y, c = loop(cell, x)
                results.append((y, *torch.autograd.grad(y.sum() + c.sum(), cell.parameters())))
            for other in results[1:]:
                assert all(map(torch.equal, results[0], other))
            results.clear()
    finally:
        lstmcore.set_num_threads(before)


def test_a_default_device_is_not_asked():
    ours = lt.LSTMCell(5, 7)
    x = inputs(dtype=torch.float32)
    expected = gradients(ours, x)
    with torch.device("meta"):
        actual = gradients(ours, x)
    assert all(map(torch.equal, actual, expected))
    assert isinstance(ours._steps, steps.Packed)
