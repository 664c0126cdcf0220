"""Models and tools of others meet `accelerate` unchanged: their modules stay PyTorch's."""

import copy
import io
import pickle
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils import parametrizations, prune  # noqa: E402

from lstmcore.torch import accelerate, accelerated_calls  # noqa: E402
from torch_kit import assert_same, on_both  # noqa: E402

# PyTorch announces that some of what is tested will go.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes self._flat_weights:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*[qQ]uantiz.*:UserWarning"),
]


class Tagger(torch.nn.Module):
    """Embedding, a stack, a cell in a loop, and an output."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 5)
        self.lstm = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True)
        self.cell = torch.nn.LSTMCell(12, 4)
        self.output = torch.nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.embedding(ids))
        h, c = torch.zeros(ids.size(0), 4), torch.zeros(ids.size(0), 4)
        steps = []
        for t in range(y.size(1)):
            h, c = self.cell(y[:, t], (h, c))
            steps.append(self.output(h))
        return torch.stack(steps, 1)


def ids(rows=3):
    return torch.randint(10, (rows, 4))


def losses_of(model, epochs=8):
    """Train, and return the losses and what was learnt."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for _ in range(epochs):
        batch = ids(8)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch).flatten(0, 1), batch.flatten() % 3)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, *(parameter.detach().clone() for parameter in model.parameters())]


def test_training():
    def run():
        model = Tagger()
        assert type(model.lstm) is torch.nn.LSTM
        return losses_of(model)

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


@pytest.mark.parametrize("tool", [torch.jit.script, lambda model: torch.jit.trace(model, ids())])
def test_torchscript(tool):
    """Scripted or traced before or inside, saved and loaded, trained and not."""
    model = Tagger()
    compiled = tool(model)
    file = io.BytesIO()
    torch.jit.save(compiled, file)
    file.seek(0)
    loaded = torch.jit.load(file)

    def run():
        results = []
        for variant in (compiled, loaded, tool(model)):
            for _ in range(3):  # more often than TorchScript takes to specialize
                y = variant(ids())
                results.append(y)
            results += torch.autograd.grad(y.sin().sum(), list(variant.parameters()))
        return results

    torch.manual_seed(0)
    expected = run()
    torch.manual_seed(0)
    with accelerate():
        actual = run()
    assert_same(actual, expected)
    assert accelerated_calls().engine["lstm.input"] >= 9


def test_export():
    """The exported program has PyTorch's operator in it, whether made with or without."""
    model = torch.nn.LSTM(5, 6, 2).eval()
    x = torch.randn(4, 3, 5)
    expected = model(x)[0]
    plain = torch.export.export(model, (x,))
    with accelerate():
        program = torch.export.export(model, (x,))
        assert str(program.graph) == str(plain.graph)
        assert any("lstm.input" in str(node.target) for node in program.graph.nodes)
        before = accelerated_calls().engine.get("lstm.input", 0)
        for each in (plain, program):
            with torch.no_grad():
                torch.testing.assert_close(each.module()(x)[0], expected)
        assert accelerated_calls().engine["lstm.input"] == before + 2
        lowered = program.run_decompositions()
        torch.testing.assert_close(lowered.module()(x)[0], expected)
    torch.testing.assert_close(program.module()(x)[0], expected)
    torch.testing.assert_close(lowered.module()(x)[0], expected)


def test_compile():
    """By default PyTorch leaves an LSTM out of a compiled graph; then it runs on lstmcore."""
    import torch._dynamo

    torch._dynamo.reset()
    model = torch.nn.LSTM(5, 6, 2)

    def compute(x):
        return torch.tanh(model(x * 2)[0]) + 1

    x = torch.randn(4, 3, 5)
    expected = compute(x)
    gradients = torch.autograd.grad(expected.sum(), model.parameters())
    with accelerate():
        compiled = torch.compile(compute, backend="aot_eager")
        for _ in range(3):
            y = compiled(x)
            actual = torch.autograd.grad(y.sum(), model.parameters())
        assert accelerated_calls() == ({"lstm.input": 3}, {})
        assert_same([y, *actual], [expected, *gradients])
        with torch._dynamo.config.patch(allow_rnn=True), torch.no_grad():
            torch._dynamo.reset()
            whole = torch.compile(compute, backend="aot_eager", fullgraph=True)
            assert_same([whole(x)], [expected])
    torch._dynamo.reset()


def test_quantized_modules():
    """They have kernels of their own, and those made from a model are found as without."""
    model = torch.nn.Sequential(torch.nn.LSTM(5, 6, 2))
    x = torch.randn(4, 3, 5)
    quantize = torch.ao.quantization.quantize_dynamic
    expected = quantize(model, {torch.nn.LSTM}, dtype=torch.qint8)(x)[0]
    with accelerate():
        quantized = quantize(model, {torch.nn.LSTM}, dtype=torch.qint8)
        assert type(quantized[0]) is torch.ao.nn.quantized.dynamic.LSTM
        assert torch.equal(quantized(x)[0], expected)
        assert accelerated_calls().engine == {}


def weight_norm(module):
    for name in (
        ("weight_ih_l0", "weight_hh_l0") if isinstance(module, torch.nn.LSTM) else ("weight_hh",)
    ):
        parametrizations.weight_norm(module, name)
    return module


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def old_weight_norm(module):
    name = "weight_hh_l0" if isinstance(module, torch.nn.LSTM) else "weight_hh"
    return torch.nn.utils.weight_norm(module, name)


def pruned(module):
    name = "weight_hh_l0" if isinstance(module, torch.nn.LSTM) else "weight_hh"
    return prune.l1_unstructured(module, name, 0.5)


def spectral_norm(module):
    name = "weight_hh_l0" if isinstance(module, torch.nn.LSTM) else "weight_hh"
    return parametrizations.spectral_norm(module, name)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single:UserWarning")
@pytest.mark.parametrize("change", [weight_norm, old_weight_norm, pruned, spectral_norm])
def test_reparametrized_weights(change):
    def run():
        lstm, cell = change(torch.nn.LSTM(5, 6)), change(torch.nn.LSTMCell(6, 6))
        parameters = [*lstm.parameters(), *cell.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        results = []
        for _ in range(4):
            optimizer.zero_grad()
            y, _ = lstm(torch.randn(4, 3, 5))
            state = None
            for step in y:
                state = cell(step, state)
            state[0].square().sum().backward()
            results += [y.detach(), *(parameter.grad.clone() for parameter in parameters)]
            optimizer.step()
        return results

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


def test_copies_and_files():
    """Of models that have run: modules hold nothing of lstmcore."""
    model = Tagger()
    batch = ids()
    expected = model(batch)
    with accelerate():
        for _ in range(3):
            model(batch).sum().backward()
        attributes = {name: set(vars(module)) for name, module in model.named_modules()}
        copied = copy.deepcopy(model)
        loaded = pickle.loads(pickle.dumps(model))
        state = Tagger()
        state.load_state_dict(model.state_dict(), strict=True)
        for other in (copied, loaded, state):
            torch.testing.assert_close(other(batch), expected)
        with torch.no_grad():
            copied.lstm.weight_hh_l0.add_(1)
        torch.testing.assert_close(model(batch), expected)
        assert not torch.allclose(copied(batch), expected)
        doubled = copy.deepcopy(model).double()
        torch.testing.assert_close(doubled.embedding(batch), model.embedding(batch).double())
        assert doubled.lstm(doubled.embedding(batch))[0].dtype is torch.float64
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(batch), expected)
    assert {name: set(vars(module)) for name, module in Tagger().named_modules()} == attributes


def test_models_in_threads():
    """Each thread trains a model of its own, and all read one that is shared."""
    shared = Tagger()
    batch = ids()
    expected = shared(batch).detach()
    alone = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        alone.append((Tagger(), torch.randint(10, (4, 5), generator=generator)))
    models = [(copy.deepcopy(model), x) for model, x in alone]
    failures = []

    def train(model, x):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            torch.testing.assert_close(shared(batch), expected)

    def guarded(*arguments):
        try:
            train(*arguments)
        except BaseException as error:
            failures.append(error)

    for model, x in alone:
        train(model, x)
    with accelerate():
        threads = [threading.Thread(target=guarded, args=pair) for pair in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    for (mine, _), (other, _) in zip(models, alone, strict=True):
        assert_same(
            [parameter.detach() for parameter in mine.parameters()],
            [parameter.detach() for parameter in other.parameters()],
        )


class Rows(torch.utils.data.Dataset):
    """Outputs of a model, computed in the workers of a loader."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = torch.nn.LSTM(5, 6)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        with torch.no_grad():
            return self.model(torch.full((4, 1, 5), float(index)))[0]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_workers_of_a_loader():
    rows = Rows()
    expected = torch.stack([rows[index] for index in range(8)])
    with accelerate():
        torch.testing.assert_close(rows[0], expected[0])
        loader = torch.utils.data.DataLoader(rows, 4, num_workers=2)
        torch.testing.assert_close(torch.cat(list(loader)), expected)
