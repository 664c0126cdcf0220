"""lstmcore.torch's modules are torch.nn's, too, for code that inspects or changes them."""

import inspect
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils import prune  # noqa: E402

import lstmcore.torch as lt  # noqa: E402
from torch_kit import all_close, close, pair  # noqa: E402

KINDS = {
    "plain": {},
    "stacked": {"num_layers": 3, "bidirectional": True, "batch_first": True},
    "no biases": {"bias": False},
    "projection": {"proj_size": 3, "num_layers": 2},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
both = pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.LSTMCell], ids=["lstm", "cell"])

# A warning of torch.nn.LSTM.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def weight_of(module):
    return "weight_hh" if isinstance(module, torch.nn.LSTMCell) else "weight_hh_l0"


def inputs(module, dtype=torch.float64):
    torch.manual_seed(1)
    shape = (4, 5) if isinstance(module, torch.nn.LSTMCell) else (3, 4, 5)
    return torch.randn(shape, dtype=dtype)


def results(module):
    """Return the outputs of a module and the gradients of its parameters, as one list."""
    first, second = module(inputs(module))
    h, c = second if isinstance(second, tuple) else (first, second)
    parameters = list(module.parameters())
    loss = first.sin().sum() + h.sum() + (c * c).sum()
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [first, h, c, *(gradient for gradient in gradients if gradient is not None)]


def assert_same(ours, theirs):
    for actual, expected in zip(results(ours), results(theirs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


# ---- classes and attributes ----------------------------------------------------------------------


@both
def test_instances_are_torch_nns(kind):
    ours = getattr(lt, kind.__name__)
    module = ours(5, 7)
    assert issubclass(ours, kind)
    assert isinstance(module, kind)
    assert isinstance(module, torch.nn.RNNBase) == (kind is torch.nn.LSTM)
    assert set(vars(module)) == set(vars(kind(5, 7)))  # so the class alone makes the difference
    theirs = inspect.signature(kind.__init__ if kind is torch.nn.LSTMCell else torch.nn.RNNBase)
    names = [name for name in theirs.parameters if name not in ("self", "mode")]
    assert list(inspect.signature(ours).parameters)[: len(names)] == names


@kinds
def test_lists_of_weights(options):
    theirs, ours = pair(**options)
    assert ours.mode == theirs.mode
    assert ours._flat_weights_names == theirs._flat_weights_names
    assert ours._all_weights == theirs._all_weights

    def assert_in_step():
        for module in (theirs, ours):
            for weight, name in zip(module._flat_weights, module._flat_weights_names, strict=True):
                assert weight is getattr(module, name)
            flat = [weight for cell in module.all_weights for weight in cell]
            assert all(map(torch.equal, flat, module._flat_weights))

    assert_in_step()
    for change in (
        lambda module: module.float().double(),
        lambda module: module.flatten_parameters(),
        lambda module: module.load_state_dict(module.state_dict(), assign=True),
        lambda module: setattr(
            module, "weight_hh_l0", torch.nn.Parameter(module.weight_hh_l0.detach() * 0.5)
        ),
    ):
        for module in (theirs, ours):
            change(module)
            module(inputs(module))
        assert_in_step()
        assert_same(ours, theirs)


def test_lists_of_weights_with_other_options():
    ours = lt.LSTM(5, 7, 2, bidirectional=True, peephole=True, layer_norm=True, proj_size=3)
    names = [name for name, _ in ours.named_parameters()]
    assert ours._flat_weights_names == names
    assert [name for cell in ours._all_weights for name in cell] == names
    assert len(ours._all_weights) == 4
    assert {"peephole_l1_reverse", "gain_c_l1_reverse"} <= set(ours._all_weights[3])
    assert all(map(torch.equal, ours._flat_weights, ours.parameters()))
    wide = lt.LSTM(5, 3, proj_size=3)  # which torch.nn does not have
    assert wide._flat_weights_names == [name for name, _ in wide.named_parameters()]
    assert wide.weight_hr_l0.shape == (3, 3)
    assert wide.proj_size == 3
    y, _ = wide(torch.zeros(2, 1, 5))
    assert y.shape == (2, 1, 3)


def test_flat_weights_may_be_set():
    """As nn.LSTM does, ours computes with them until an attribute changes."""
    theirs, ours = pair()
    for module in (theirs, ours):
        before = module(inputs(module))[0]
        module._flat_weights[1] = (module.weight_hh_l0 * 2.0).detach()
        assert not torch.equal(module(inputs(module))[0], before)
    all_close(ours(inputs(ours)), theirs(inputs(theirs)))


@kinds
def test_checks_of_the_base_class(options):
    theirs, ours = pair(**options)
    x = inputs(ours)
    packed, sizes, order, _ = torch.nn.utils.rnn.pack_sequence(
        [torch.randn(length, 5).double() for length in (2, 4, 1)], enforce_sorted=False
    )
    for given, batch_sizes in ((x, None), (packed, sizes)):
        shapes = [
            (
                module.get_expected_hidden_size(given, batch_sizes),
                module.get_expected_cell_size(given, batch_sizes),
            )
            for module in (theirs, ours)
        ]
        assert shapes[0] == shapes[1]
        state = tuple(torch.randn(shape).double() for shape in shapes[0])
        ours.check_input(given, batch_sizes)
        ours.check_forward_args(given, state, batch_sizes)
        for wrong in ((state[0][:, :1], state[1]), (state[0], state[1][..., :2])):
            messages = []
            for module in (theirs, ours):
                with pytest.raises(RuntimeError, match="Expected hidden") as caught:
                    module.check_forward_args(given, wrong, batch_sizes)
                messages.append(str(caught.value))
            assert messages[0] == messages[1]
    permuted = [module.permute_hidden(state, order) for module in (theirs, ours)]
    assert all(map(torch.equal, *permuted))
    assert ours.permute_hidden(state, None) is state


def test_initialization_loops():
    """The usual loops over a model's modules reach ours as they reach torch.nn's."""

    def initialize(model):
        torch.manual_seed(0)
        touched = 0
        for module in model.modules():
            if isinstance(module, torch.nn.LSTM):
                for names in module._all_weights:
                    for name in (name for name in names if "bias" in name):
                        bias = getattr(module, name)
                        bias.data[len(bias) // 4 : len(bias) // 2].fill_(1.0)
                        touched += 1
            if isinstance(module, (torch.nn.LSTM, torch.nn.LSTMCell)):
                for name, parameter in module.named_parameters():
                    if name.startswith("weight"):
                        torch.nn.init.orthogonal_(parameter)
                        touched += 1
        return touched

    models = [
        torch.nn.Sequential(torch.nn.LSTM(5, 7, 2), torch.nn.LSTMCell(7, 7)) for _ in range(2)
    ]
    models[1].load_state_dict(models[0].state_dict())
    lt.replace_lstm(models[1])
    assert [initialize(model) for model in models] == [10, 10]
    for actual, expected in zip(models[1].parameters(), models[0].parameters(), strict=True):
        assert torch.equal(actual, expected)


def test_skip_init():
    ours = torch.nn.utils.skip_init(lt.LSTM, 5, 7, 2)
    ours.load_state_dict(torch.nn.LSTM(5, 7, 2).state_dict())
    assert ours(torch.zeros(3, 2, 5))[0].isfinite().all()


# ---- weights that are computed -------------------------------------------------------------------


def with_hooks(function, *arguments):
    def change(module):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            function(module, weight_of(module), *arguments)

    return change


CHANGED = {
    "weight_norm": with_hooks(torch.nn.utils.weight_norm),
    "spectral_norm": with_hooks(torch.nn.utils.spectral_norm),
    "pruning": with_hooks(prune.l1_unstructured, 0.3),
    "parametrized weight_norm": with_hooks(torch.nn.utils.parametrizations.weight_norm),
    "orthogonal": with_hooks(torch.nn.utils.parametrizations.orthogonal),
}


@both
@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
def test_computed_weights(kind, change):
    theirs, ours = pair(kind=kind)
    for module in (theirs, ours):
        torch.manual_seed(2)  # spectral_norm draws a vector
        change(module)
    for _ in range(3):  # also after a step of an optimizer
        assert_same(ours, theirs)
        for module in (theirs, ours):
            optimizer = torch.optim.SGD(module.parameters(), 0.1)
            optimizer.zero_grad()
            module(inputs(module))[0].sum().backward()
            optimizer.step()


@both
def test_parametrizations_can_be_removed(kind):
    theirs, ours = pair(kind=kind)
    for module in (theirs, ours):
        CHANGED["parametrized weight_norm"](module)
        module(inputs(module))
        torch.nn.utils.parametrize.remove_parametrizations(module, weight_of(module))
        assert type(module) in (kind, getattr(lt, kind.__name__))
    assert_same(ours, theirs)


def test_dropped_connections():
    """A wrapper that puts a tensor in the place of a parameter before each call."""
    theirs, ours = pair()
    for module in (theirs, ours):
        raw = torch.nn.Parameter(module.weight_hh_l0.detach().clone())
        del module.weight_hh_l0
        module.register_parameter("raw", raw)
        for factor in (1.0, 0.5):
            module.weight_hh_l0 = module.raw * factor
            y = module(inputs(module))[0]
    all_close(ours(inputs(ours)), theirs(inputs(theirs)))
    y.sum().backward()
    assert ours.raw.grad.any()


# ---- per-sample gradients ------------------------------------------------------------------------


def one_by_one(module, x, batch_axis):
    """Return the gradients of each sample, by a loop."""
    rows = []
    for index in range(x.size(batch_axis)):
        outputs = module(x.narrow(batch_axis, index, 1))[0]
        rows.append(torch.autograd.grad((outputs**2).sum(), list(module.parameters())))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_per_sample_gradients(options):
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    theirs, ours = pair(batch_first=True, **options)
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    expected = one_by_one(theirs, x, 0)
    y = call_for_per_sample_grads(ours, batch_size=4)(x)[0]
    (y**2).sum().backward()
    for parameter, samples in zip(ours.parameters(), expected, strict=True):
        close(parameter.grad_sample, samples)
        assert parameter.grad is None
    assert ours(x)[0].requires_grad
    assert_same(ours, theirs)


def test_per_sample_gradients_are_refused():
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    x = torch.randn(4, 3, 5)
    with pytest.raises(RuntimeError, match=r"use torch\.func\.vmap over torch\.func\.grad"):
        call_for_per_sample_grads(lt.LSTM(5, 7, peephole=True, batch_first=True))(x)
    with pytest.raises(RuntimeError, match=r"use torch\.func\.vmap over torch\.func\.grad"):
        call_for_per_sample_grads(lt.LSTM(5, 7, batch_first=True))(x, return_sequences=False)
    for cell in (torch.nn.LSTMCell(5, 7), lt.LSTMCell(5, 7)):
        with pytest.raises(RuntimeError, match="cannot handle function lstm_cell"):
            call_for_per_sample_grads(cell)(x[:, 0])


@pytest.mark.parametrize(
    "make",
    [lambda: lt.LSTM(5, 7, peephole=True, batch_first=True), lambda: lt.LSTMCell(5, 7)],
    ids=["lstm", "cell"],
)
def test_per_sample_gradients_by_transforms(make):
    module = make().double()
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    x = x[:, 0] if isinstance(module, lt.LSTMCell) else x
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters, row):
        outputs = torch.func.functional_call(module, parameters, (row.unsqueeze(0),))[0]
        return (outputs**2).sum()

    samples = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for actual, expected in zip(samples.values(), one_by_one(module, x, 0), strict=True):
        close(actual, expected)
    assert module(x)[0].requires_grad


# ---- compilation ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Dynamo:UserWarning")
def test_compiled_with_pytorchs_defaults():
    """PyTorch leaves nn.LSTM out of its graphs unless `allow_rnn` is set; results are the same."""
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Linear(5, 5), lt.LSTM(5, 7)).double()
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    graph = torch.compile(model, backend="aot_eager")
    gradients = []
    for function in (model, graph, graph):
        y, (h, _) = function(x)
        gradients.append(torch.autograd.grad(y.sum() + h.sum(), list(model.parameters())))
        with torch.no_grad():
            assert torch.equal(function(x)[0], y)
    for actual in gradients[1:]:
        for one, other in zip(actual, gradients[0], strict=True):
            close(one, other)
    torch._dynamo.reset()
