"""Gradients through lstmcore.torch: exact up to second order, and computed only as needed."""

import gc
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import engine, tapes  # noqa: E402

# A warning of PyTorch's forward mode on first use.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

KINDS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "stacked, both directions": {"num_layers": 2, "bidirectional": True},
    "no biases": {"bias": False},
    "projection": {"proj_size": 2, "proj_clip": 0.4},
    "norms and peepholes": {"layer_norm": True, "peephole": True},
    "zoneout and dropout": {"zoneout_h": 0.3, "zoneout_c": 0.2, "recurrent_dropout": 0.3},
    "dropout between": {"num_layers": 2, "dropout": 0.4, "input_dropout": 0.2},
    "in segments": {"recompute": 2},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())


def make(lengths=True, **options):
    """Return a function of all tensors that an LSTM's outputs depend on, and these tensors."""
    torch.manual_seed(2)
    module = lt.LSTM(2, 3, **options, dtype=torch.float64)
    names, parameters = zip(*module.named_parameters(), strict=True)
    parameters = [
        (parameter + 0.1 * torch.randn_like(parameter)).detach().requires_grad_()
        for parameter in parameters
    ]
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    batch = 2 if module.batch_first else 3
    cells = module.num_layers * (2 if module.bidirectional else 1)
    h = torch.randn(cells, batch, module.proj_size or 3, dtype=torch.float64, requires_grad=True)
    c = torch.randn(cells, batch, 3, dtype=torch.float64, requires_grad=True)
    rows = ([3, 1] if module.batch_first else [2, 0, 1]) if lengths else None

    def function(x, h, c, *weights):
        y, (h, c) = torch.func.functional_call(
            module,
            dict(zip(names, weights, strict=True)),
            (x, (h, c)),
            {"lengths": rows, "seed": 7},
        )
        return y, h, c

    return function, (x, h, c, *parameters)


@kinds
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck(options, training, monkeypatch):
    if not training:
        monkeypatch.setattr(lt.LSTM, "training", False, raising=False)
    function, inputs = make(**options)
    # The fast mode compares along random directions, and finds the same errors as the slow one.
    assert gradcheck(function, inputs, fast_mode=True, check_forward_ad=True)
    assert gradgradcheck(function, inputs, fast_mode=True)


def test_gradcheck_slowly():
    function, inputs = make()
    assert gradcheck(function, inputs, check_forward_ad=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True)


def test_evaluation_with_gradients():
    """Zoneout's expected values, without masks, have gradients too."""
    torch.manual_seed(0)
    module = lt.LSTM(2, 3, 2, dropout=0.5, zoneout_h=0.3, zoneout_c=0.2, dtype=torch.float64).eval()
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    y, _ = module(x)
    with torch.no_grad():
        assert torch.equal(module(x)[0], y)
    assert gradcheck(lambda x: module(x)[0], x)


@pytest.mark.parametrize("bias", [True, False])
def test_cell_gradcheck(bias):
    torch.manual_seed(0)
    cell = lt.LSTMCell(2, 3, bias, peephole=True, dtype=torch.float64)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    x = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def function(x, h, c, *weights):
        state = torch.func.functional_call(
            cell, dict(zip(names, weights, strict=True)), (x, (h, c)), {"reset": [False, True]}
        )
        return torch.func.functional_call(
            cell, dict(zip(names, weights, strict=True)), (x * 2, state)
        )

    assert gradcheck(function, (x, h, c, *parameters), check_forward_ad=True)
    assert gradgradcheck(function, (x, h, c, *parameters))


def test_second_derivatives_match_torch():
    """Differentiate a penalty on the gradient, with one output unused."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(4, 5, 2, bidirectional=True, dtype=torch.float64)
    ours = lt.LSTM(4, 5, 2, bidirectional=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for module in (theirs, ours):
        y, (_, c) = module(x)
        gradients = torch.autograd.grad(
            (y**3).sum() + c.sin().sum(),
            [x, module.weight_hh_l1, module.bias_ih_l0],
            create_graph=True,
        )
        penalty = sum((gradient**2).sum() for gradient in gradients)
        results.append(torch.autograd.grad(penalty, [x, *module.parameters()]))
    for actual, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-11)


def test_third_derivatives_of_variants_are_refused():
    module = lt.LSTM(2, 3, peephole=True, dtype=torch.float64)
    x = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad((module(x)[0] ** 3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first**3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="expected at most second derivatives"):
        torch.autograd.grad(second.sum(), x)
    with forward_ad.dual_level():
        y, _ = module(forward_ad.make_dual(x, torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(y).tangent
        with pytest.raises(RuntimeError, match="no gradients of forward-mode tangents"):
            torch.autograd.grad(tangent.sum(), x)


def test_functional_transforms():
    torch.manual_seed(0)
    module = lt.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64)

    def loss(parameters, **options):
        y, _ = torch.func.functional_call(module, parameters, (x,), options)
        return (y**2).sum()

    parameters = dict(module.named_parameters())
    loss(parameters).backward()
    for options in ({}, {"return_sequences": False}):
        module.zero_grad()
        loss(parameters, **options).backward()
        gradients = torch.func.grad(loss)(parameters, **options)
        for name, parameter in parameters.items():
            torch.testing.assert_close(gradients[name], parameter.grad)

    def penalty(parameters):
        return sum((value**2).sum() for value in torch.func.grad(loss)(parameters).values())

    second = torch.func.grad(penalty)(parameters)
    first = torch.autograd.grad(loss(parameters), parameters.values(), create_graph=True)
    expected = torch.autograd.grad(sum((value**2).sum() for value in first), parameters.values())
    for actual, value in zip(second.values(), expected, strict=True):
        torch.testing.assert_close(actual, value)
    for options in ({}, {"return_sequences": False}):

        def outputs(x, options=options):
            return module(x, **options)[0].sum()

        _, tangent = torch.func.jvp(outputs, (x,), (torch.ones_like(x),))
        _, pull = torch.func.vjp(outputs, x)
        torch.testing.assert_close(tangent, pull(torch.ones_like(tangent))[0].sum())


def test_frozen_weights_have_derivatives_too():
    torch.manual_seed(0)
    module = lt.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    inputs = (x, module.weight_hh_l0)

    def penalty():
        gradients = torch.autograd.grad((module(x)[0] ** 2).sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum((value**2).sum() for value in gradients), inputs)

    def functional(x):
        return torch.func.grad(lambda x: (module(x)[0] ** 2).sum())(x)

    expected, transformed = penalty(), functional(x)
    with lt.frozen(module):
        for actual, value in zip(penalty(), expected, strict=True):
            assert torch.equal(actual, value)
        assert torch.equal(functional(x), transformed)


def test_vmap_and_jacobians():
    torch.manual_seed(0)
    module = lt.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    stack = torch.stack([x, x * 2, -x], 1)
    outputs = torch.func.vmap(lambda x: module(x)[0], 1)(stack)
    for output, part in zip(outputs, stack.unbind(1), strict=True):
        assert torch.equal(output, module(part)[0])
    with torch.no_grad():
        assert torch.equal(torch.func.vmap(lambda x: module(x)[0], 1)(stack), outputs)

    def last(x):
        return module(x, return_sequences=False)[0]

    expected = torch.autograd.functional.jacobian(last, x)
    torch.testing.assert_close(torch.func.jacrev(last)(x), expected)
    torch.testing.assert_close(torch.func.jacfwd(last)(x), expected)
    hessian = torch.func.hessian(lambda x: (last(x) ** 2).sum())(x)
    expected = torch.autograd.functional.hessian(lambda x: (last(x) ** 2).sum(), x)
    torch.testing.assert_close(hessian, expected)


def test_forward_mode_without_gradients():
    module = lt.LSTM(2, 3, dtype=torch.float64).requires_grad_(False)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    with forward_ad.dual_level():
        y, _ = module(forward_ad.make_dual(x, torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(y).tangent
    step = 1e-6
    difference = (module(x + step)[0] - module(x - step)[0]) / (2 * step)
    torch.testing.assert_close(tangent, difference, rtol=1e-7, atol=1e-9)


# ---- only what is needed ----------------------------------------------------------------------


class Watch:
    """Counts tapes, and records what each backward of the engine had to compute."""

    def __init__(self, monkeypatch):
        self.tapes = 0
        self.asked = []
        tensor_of, take = tapes.tensor_of, tapes.take

        def count(tape):
            self.tapes += 1
            return tensor_of(tape)

        def watch(tensor):
            tape = take(tensor)
            return None if tape is None else Tape(self, tape)

        monkeypatch.setattr(engine.tapes, "tensor_of", count)
        monkeypatch.setattr(engine.tapes, "take", watch)


class Tape:
    def __init__(self, watch, tape):
        self.watch, self.tape = watch, tape

    def backward(self, dy, dh, dc, need_x, need_state, weights):
        given = tuple(part is not None for part in (dy, dh, dc))
        self.watch.asked.append((given, need_x, need_state, sorted(weights or ())))
        return self.tape.backward(dy, dh, dc, need_x, need_state, weights)


def test_only_what_is_needed_is_computed(monkeypatch):
    watch = Watch(monkeypatch)
    module = lt.LSTM(2, 3)
    everything = ["bias_l0", "weight_hh_l0", "weight_ih_l0"]
    x = torch.randn(4, 2, 2)
    state = (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    module(x)[0].sum().backward()
    assert watch.asked.pop() == ((True, False, False), False, False, everything)
    module(x, state)[1][1].sum().backward()
    assert watch.asked.pop() == ((False, False, True), False, False, everything)
    module(x.requires_grad_(), return_sequences=False)[0].sum().backward()
    assert watch.asked.pop() == ((False, True, False), True, False, everything)
    module.weight_hh_l0.requires_grad_(False)
    module.bias_ih_l0.requires_grad_(False)
    state[1].requires_grad_()
    module(x, state)[0].sum().backward()
    assert watch.asked.pop() == ((True, False, False), True, True, ["bias_l0", "weight_ih_l0"])
    assert state[0].grad is None
    assert state[1].grad.any()
    module.zero_grad()
    module.requires_grad_(False)
    (module(x, state)[0] ** 2).sum().backward()
    assert watch.asked.pop()[1:] == (True, True, [])
    assert module.weight_ih_l0.grad is None
    y, _ = module(x)
    torch.autograd.grad(y.sum(), x)
    assert watch.asked.pop()[1:] == (True, False, [])


def test_no_tape_without_gradients(monkeypatch):
    watch = Watch(monkeypatch)
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y, (h, c) = module(x.clone().requires_grad_())
        assert not any(output.requires_grad for output in (y, h, c))
        assert y.is_inference() is (mode is torch.inference_mode)
    module.requires_grad_(False)
    assert not module(x)[0].requires_grad
    assert watch.tapes == 0
    module.requires_grad_(True)
    assert module(x)[0].requires_grad
    assert watch.tapes == 1


def test_tapes_are_freed_with_their_graphs():
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2)
    gc.collect()
    before = tapes.count()
    y, state = module(x)
    assert tapes.count() == before + 1
    del y, state
    assert tapes.count() == before
    y, _ = module(x)
    y.sum().backward()
    assert tapes.count() == before


# ---- uses of graphs -----------------------------------------------------------------------------


def test_backward_twice():
    module = lt.LSTM(2, 3, 2, dropout=0.5)
    x = torch.randn(4, 2, 2, requires_grad=True)
    loss = (module(x)[0] ** 2).sum()
    first = torch.autograd.grad(loss, [x, *module.parameters()], retain_graph=True)
    second = torch.autograd.grad(loss, [x, *module.parameters()])  # the tape was consumed
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, x)


def test_two_forwards_before_their_backwards():
    module = lt.LSTM(2, 3)
    inputs = [torch.randn(4, 2, 2, requires_grad=True) for _ in range(2)]
    alone = [torch.autograd.grad((module(x)[0] ** 2).sum(), x)[0] for x in inputs]
    losses = [(module(x)[0] ** 2).sum() for x in inputs]
    together = [torch.autograd.grad(loss, x)[0] for loss, x in zip(losses, inputs, strict=True)]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_changed_inputs_are_noticed():
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2)
    loss = module(x)[0].sum()
    with torch.no_grad():
        module.weight_ih_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_outputs_belong_to_the_caller():
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2)
    y, _ = module(x)
    expected = torch.autograd.grad((module(x)[0] * 2).sum(), module.weight_hh_l0)[0]
    y.mul_(2)  # the tape holds copies
    actual = torch.autograd.grad(y.sum(), module.weight_hh_l0)[0]
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant):
    module = lt.LSTM(2, 3, 2, dropout=0.5, recurrent_dropout=0.3)
    x = torch.randn(4, 2, 2, requires_grad=True)
    torch.manual_seed(5)
    expected = torch.autograd.grad(module(x)[0].sum(), x)[0]
    gc.collect()
    before = tapes.count()
    torch.manual_seed(5)
    y = checkpoint(lambda x: module(x)[0], x, use_reentrant=reentrant)
    assert tapes.count() == before  # nothing stays alive until the backward
    y.sum().backward()
    assert torch.equal(x.grad, expected)


def test_saved_tensors_that_were_copied():
    """The tape is freed with the tensor that owned it, so the forward is run again."""
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2, requires_grad=True)
    expected = torch.autograd.grad(module(x)[0].sum(), x)[0]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y, _ = module(x)
    y.sum().backward()
    assert torch.equal(x.grad, expected)


@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
def test_anomaly_detection_and_hooks():
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2, requires_grad=True)
    seen = []
    module.register_full_backward_hook(lambda _, grad_input, grad_output: seen.append(grad_input))
    with torch.autograd.detect_anomaly(check_nan=True):
        module(x)[0].sum().backward()
    assert torch.equal(seen[0][0], x.grad)


def test_strided_and_expanded_gradients():
    module = lt.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    y, (h, _) = module(x)
    dy = torch.randn(3, 2, 4, dtype=torch.float64).permute(2, 1, 0)
    expected = torch.autograd.grad([y, h], x, [dy.contiguous(), torch.ones_like(h)], True)[0]
    actual = torch.autograd.grad([y, h], x, [dy, torch.ones(1).double().expand_as(h)])[0]
    assert torch.equal(actual, expected)


# ---- what callers do to their tensors afterwards -------------------------------------------------


def test_each_bias_has_a_gradient_of_its_own():
    module = lt.LSTM(2, 3, 2)
    x = torch.randn(4, 2, 2)
    parameters = list(module.parameters())
    expected = torch.autograd.grad(module(x)[0].sum(), parameters)
    actual = torch.autograd.grad(module(x)[0].sum(), parameters)
    torch._foreach_mul_(actual, 0.5)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other / 2)
    named = dict(module.named_parameters())
    functional = torch.func.grad(
        lambda named: torch.func.functional_call(module, named, (x,))[0].sum()
    )(named)
    assert functional["bias_ih_l0"].data_ptr() != functional["bias_hh_l0"].data_ptr()
    module.bias_ih_l1.register_hook(lambda gradient: [gradient.mul_(2), None][1])
    module(x)[0].sum().backward()
    torch.testing.assert_close(module.bias_hh_l1.grad, expected[-1])


def steps_of():
    lengths = torch.tensor([4, 2])
    starts = torch.zeros(2, 4, dtype=torch.bool)
    starts[0, 2] = True
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[0, 2:] = False
    return {"lengths": lengths, "reset": starts, "mask": mask}


@pytest.mark.parametrize("name", ["lengths", "reset", "mask"])
@pytest.mark.parametrize("how", ["twice", "differentiated"])
def test_steps_changed_after_the_call(name, how):
    """The graph uses the values at the time of the call."""
    torch.manual_seed(0)
    module = lt.LSTM(2, 3, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    results = []
    for change in (False, True):
        given = steps_of()[name]
        y, _ = module(x, **{name: given})
        loss = (y**2).sum()
        if how == "twice":
            torch.autograd.grad(loss, x, retain_graph=True)
        (first,) = torch.autograd.grad(loss, x, retain_graph=True, create_graph=how != "twice")
        if change:
            given.fill_(1) if name == "lengths" else given.logical_not_()
        if how == "twice":
            results.append(torch.autograd.grad(loss, x)[0])
        else:
            results.append(torch.autograd.grad((first**2).sum(), x)[0])
    assert torch.equal(*results)


def test_backwards_of_several_threads():
    """One thread uses the tape, the others run the forward again; all results are the same."""
    torch.manual_seed(0)
    module = lt.LSTM(8, 16)
    x = torch.randn(20, 4, 8, requires_grad=True)
    (expected,) = torch.autograd.grad(module(x)[0].sum(), x)
    for _ in range(20):
        loss = module(x)[0].sum()
        results = []
        gate = threading.Barrier(4)

        def run(loss=loss, results=results, gate=gate):
            gate.wait()
            try:
                results.append(torch.autograd.grad(loss, x, retain_graph=True)[0])
            except Exception as error:
                results.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(torch.equal(result, expected) for result in results), results


def test_a_tape_is_taken_once():
    module = lt.LSTM(2, 3)
    x = torch.randn(4, 2, 2, requires_grad=True)
    y, _ = module(x)
    tensor = y.grad_fn.saved_tensors[0]
    assert tapes.take(tensor) is not None
    assert tapes.take(tensor) is None
