"""lstmcore.torch inside torch.compile and torch.export: one graph, same results as eager calls."""

import gc
import os
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def forget_graphs():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):  # or no nn.LSTM is part of a graph
        yield
    torch._dynamo.reset()


def compiled(function, backend="aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


class Model(torch.nn.Module):
    """An LSTM between other layers."""

    def __init__(self, **options):
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.lstm = lt.LSTM(4, 5, batch_first=True, **options)
        self.last = torch.nn.Linear(self.lstm.config.output_size, 2)

    def forward(self, x, lengths=None, state=None):
        y, (h, c) = self.lstm(torch.relu(self.first(x)), state, lengths=lengths)
        return self.last(y), h, c


def loss_of(outputs):
    y, h, c = outputs
    return (y**2).sum() + h.sin().sum() + c.sum()


KINDS = {
    "plain": {},
    "stacked, both directions": {"num_layers": 2, "bidirectional": True},
    "options": {"layer_norm": True, "peephole": True, "proj_size": 2, "recompute": 2},
    "no biases": {"bias": False},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_training_and_inference(options):
    torch.manual_seed(0)
    model = Model(**options)
    graph = compiled(model)
    for batch, steps in ((2, 3), (4, 6), (3, 5)):  # the second call makes sizes symbolic
        x = torch.randn(batch, steps, 3)
        lengths = torch.randint(0, steps + 1, (batch,))
        results = []
        for function in (model, graph):
            model.zero_grad()
            loss = loss_of(function(x, lengths))
            loss.backward()
            results.append([loss, *(parameter.grad for parameter in model.parameters())])
        for expected, actual in zip(*results, strict=True):
            torch.testing.assert_close(actual, expected)
    with torch.no_grad():
        for arguments in ((x,), (x, lengths)):
            for expected, actual in zip(model(*arguments), graph(*arguments), strict=True):
                torch.testing.assert_close(actual, expected)


def test_state_reset_mask_and_last_output():
    torch.manual_seed(0)
    lstm = lt.LSTM(3, 4, 2)
    x = torch.randn(6, 2, 3, requires_grad=True)
    state = tuple(torch.randn(2, 2, 4, requires_grad=True) for _ in range(2))
    flags = {
        "reset": torch.zeros(6, 2, dtype=torch.bool).index_fill_(0, torch.tensor(2), True),
        "mask": torch.ones(6, 2, dtype=torch.bool).index_fill_(0, torch.tensor(4), False),
    }

    def function(x, h, c):
        y, _ = lstm(x, (h, c), **flags, return_sequences=False)
        return (y**2).sum()

    inputs = [x, *state, lstm.weight_hh_l1, lstm.bias_hh_l0]
    expected = torch.autograd.grad(function(x, *state), inputs)
    actual = torch.autograd.grad(compiled(function)(x, *state), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_only_some_gradients():
    lstm = lt.LSTM(3, 4).requires_grad_(False)
    x = torch.randn(6, 2, 3, requires_grad=True)
    expected = torch.autograd.grad(lstm(x)[0].sum(), x)[0]
    actual = torch.autograd.grad(compiled(lambda x: lstm(x)[0].sum())(x), x)[0]
    torch.testing.assert_close(actual, expected)
    lstm.bias_hh_l0.requires_grad_(True)
    compiled(lambda x: lstm(x)[0].sum())(x.detach()).backward()
    actual = lstm.bias_hh_l0.grad.clone()
    lstm.zero_grad()
    lstm(x.detach())[0].sum().backward()
    torch.testing.assert_close(actual, lstm.bias_hh_l0.grad)
    assert lstm.bias_ih_l0.grad is None


def test_dropout_is_drawn_at_every_call():
    lstm = lt.LSTM(3, 4, 2, dropout=0.5, zoneout_h=0.1)
    graph = compiled(lambda x, seed=None: lstm(x, seed=seed)[0])
    x = torch.randn(6, 2, 3)
    torch.manual_seed(1)
    first, second = graph(x), graph(x)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(graph(x), first)
    torch.testing.assert_close(graph(x, 5), lstm(x, seed=5)[0])
    graph(x, 5).sum().backward()
    actual = lstm.weight_hh_l0.grad.clone()
    lstm.zero_grad()
    lstm(x, seed=5)[0].sum().backward()
    torch.testing.assert_close(actual, lstm.weight_hh_l0.grad)
    lstm.eval()
    torch.testing.assert_close(graph(x), lstm(x)[0])
    lstm.train()
    lstm.dropout = 0.0  # takes effect
    torch.testing.assert_close(graph(x, 5), lstm(x, seed=5)[0])


def test_a_graph_serves_all_seeds():
    lstm = lt.LSTM(3, 4, zoneout_h=0.5)
    backend = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    graph = compiled(lambda x, seed: lstm(x, seed=seed)[0], backend=backend)
    x = torch.randn(6, 2, 3)
    for seed in (*range(2, 14), 2**62):
        torch.testing.assert_close(graph(x, seed), lstm(x, seed=seed)[0])
    assert backend.frame_count == 2  # for one seed, then for any


def test_lengths_in_an_array_are_not_constants():
    lstm = lt.LSTM(3, 4)
    backend = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    graph = compiled(lambda x, lengths: lstm(x, lengths=lengths)[0], backend=backend)
    x = torch.randn(6, 2, 3)
    for length in range(7):
        lengths = np.array([length, 6 - length])
        torch.testing.assert_close(graph(x, lengths), lstm(x, lengths=lengths)[0])
    assert backend.frame_count == 1


TRANSFORMED = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "grad": lambda f, x: torch.func.grad(lambda x: f(x).sum())(x),
    "vmap": lambda f, x: torch.func.vmap(f, 1)(x),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("function", TRANSFORMED.values(), ids=TRANSFORMED.keys())
def test_transforms_inside_are_not_compiled(function):
    """PyTorch runs the function uncompiled, and ignores no transform silently."""
    lstm = lt.LSTM(3, 4)
    x = torch.randn(6, 2, 3)

    def call(x):
        return function(lambda x: lstm(x)[0], x)

    expected = call(x)
    torch.testing.assert_close(torch.compile(call, backend="aot_eager")(x), expected)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="Observed exception"):
        compiled(call)(x)


def test_a_loop_over_a_cell():
    torch.manual_seed(0)
    cell = lt.LSTMCell(3, 4)

    def function(x):
        state, total = None, 0.0
        for step in x.unbind(0):
            state = cell(step, state)
            total = total + (state[0] * state[1]).sum()
        return total

    x = torch.randn(4, 2, 3, requires_grad=True)
    inputs = [x, *cell.parameters()]
    expected = torch.autograd.grad(function(x), inputs)
    actual = torch.autograd.grad(compiled(function)(x), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_packed_sequence():
    lstm = lt.LSTM(3, 4)
    parts = [torch.randn(length, 3) for length in (2, 4, 3)]
    packed = torch.nn.utils.rnn.pack_sequence(parts, enforce_sorted=False)

    def function(packed):
        y, (h, _) = lstm(packed)
        return y.data.sum() + h.sin().sum()

    graph = torch.compile(function, backend="aot_eager")  # PyTorch's padding breaks the graph
    torch.testing.assert_close(graph(packed), function(packed))


def test_tapes_do_not_pile_up():
    from lstmcore.torch import tapes

    model = Model()
    graph = compiled(model)
    x = torch.randn(2, 3, 3)
    gc.collect()
    before = tapes.count()  # an earlier test's traceback may hold some
    for _ in range(3):
        loss_of(graph(x)).backward()
    assert tapes.count() == before
    loss = loss_of(graph(x))
    assert tapes.count() == before + 1
    del loss
    assert tapes.count() == before


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="inductor needs a C++ compiler"
)
def test_inductor(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    model = Model()
    graph = compiled(model, backend="inductor")
    x = torch.randn(2, 3, 3)
    lengths = torch.tensor([3, 1])
    results = []
    for function in (model, graph):
        model.zero_grad()
        loss = loss_of(function(x, lengths))
        loss.backward()
        results.append([loss, *(parameter.grad for parameter in model.parameters())])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_export():
    model = Model().eval()
    x = torch.randn(2, 3, 3)
    batch, steps = torch.export.Dim("batch", min=1), torch.export.Dim("steps", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: batch, 1: steps}})
    other = torch.randn(4, 7, 3)
    for actual, expected in zip(program.module()(other), model(other), strict=True):
        torch.testing.assert_close(actual, expected)


def test_operators_pass_opcheck():
    lstm = lt.LSTM(3, 4)
    x = torch.randn(6, 2, 3, requires_grad=True)
    weights = [getattr(lstm, name) for name in lstm._flat_weights_names]
    sizes = [3, 4, 1, 0]
    for time_major, sequences in ((True, True), (False, True), (True, False)):
        how = (sizes, True, 0.0, False, "", time_major, False, sequences, False)
        description = (None, None, None, None, *how)
        torch.library.opcheck(
            torch.ops.lstmcore.lstm.default,
            (x, None, None, weights, *description, True),
            test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
        )
        y, h, _, tape = torch.ops.lstmcore.lstm(x, None, None, weights, *description, True)
        needs = [True, False, False, True, False, True]
        grads = (torch.ones_like(y) if sequences else None, torch.ones_like(h), None)
        torch.library.opcheck(
            torch.ops.lstmcore.lstm_backward.default,
            (needs, tape, *grads, x, None, None, weights, *description),
            test_utils=("test_schema", "test_faketensor"),
        )


def test_errors_come_from_the_call():
    lstm = lt.LSTM(3, 4)
    graph = compiled(lambda x: lstm(x)[0])
    with pytest.raises(TypeError, match="input: expected torch.float32 like the weights"):
        graph(torch.zeros(2, 1, 3, dtype=torch.bfloat16))
