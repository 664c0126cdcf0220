"""torch.nn's modules with lstmcore under PyTorch's operators compute what they compute without."""

import gc
import weakref

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence  # noqa: E402

import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import cells, operators  # noqa: E402
from torch_kit import assert_same, on_both  # noqa: E402

# PyTorch says so once in a process.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
STACKS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"num_layers": 3},
        {"bidirectional": True},
        {"proj_size": 3},
        {"num_layers": 2, "bidirectional": True, "bias": False},
        {"num_layers": 2, "bidirectional": True, "proj_size": 2},
    ],
    ids=str,
)


def state_of(module, rows, dtype):
    """Return h and c that require gradients."""
    cells_of = module.num_layers * (2 if module.bidirectional else 1)
    widths = (module.proj_size or module.hidden_size, module.hidden_size)
    return tuple(
        torch.randn(cells_of, rows, width, dtype=dtype, requires_grad=True) for width in widths
    )


def with_gradients(outputs, inputs):
    """Return the outputs and gradients of all inputs, from a loss that uses all outputs."""
    loss = sum((output.sin() * (place + 1)).sum() for place, output in enumerate(outputs))
    return [*outputs, *torch.autograd.grad(loss, inputs)]


@DTYPES
@STACKS
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_batches(dtype, options, training, batch_first):
    module = torch.nn.LSTM(5, 7, batch_first=batch_first, dtype=dtype, **options).train(training)

    def run():
        x = torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
        h, c = state_of(module, 4 if batch_first else 6, dtype)
        y, (h_n, c_n) = module(x, (h, c))
        return with_gradients([y, h_n, c_n], [x, h, c, *module.parameters()])

    actual, expected = on_both(run, "lstm.input")
    assert_same(actual, expected)
    for mine, other in zip(actual[:3], expected[:3], strict=True):
        assert mine.stride() == other.stride()  # which decide whether a program can call view


@DTYPES
@STACKS
@pytest.mark.parametrize("batch_first", [True, False])
def test_one_sequence_and_no_state(dtype, options, batch_first):
    module = torch.nn.LSTM(5, 7, batch_first=batch_first, dtype=dtype, **options)

    def run():
        x = torch.randn(6, 5, dtype=dtype, requires_grad=True)
        y, (h_n, c_n) = module(x)
        return with_gradients([y, h_n, c_n], [x, *module.parameters()])

    assert_same(*on_both(run, "lstm.input"))


@DTYPES
@STACKS
@pytest.mark.parametrize("lengths", [[6, 4, 4, 1], [2, 6, 1, 6], [3, 3, 3, 3]])
def test_packed_sequences(dtype, options, lengths):
    module = torch.nn.LSTM(5, 7, dtype=dtype, **options)

    def run():
        x = torch.randn(max(lengths), len(lengths), 5, dtype=dtype, requires_grad=True)
        packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        h, c = state_of(module, len(lengths), dtype)
        y, (h_n, c_n) = module(packed, (h, c))
        assert torch.equal(y.batch_sizes, packed.batch_sizes)
        return with_gradients([y.data, h_n, c_n], [x, h, c, *module.parameters()])

    assert_same(*on_both(run, "lstm.data"))


@DTYPES
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}], ids=str)
def test_dropout_draws_the_masks_of_torch(dtype, packed, dropout, options):
    """Other masks, or none, would change the results by far more than the tolerance."""
    module = torch.nn.LSTM(5, 7, 3, dropout=dropout, dtype=dtype, **options)

    def run():
        x = torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
        inputs = x
        if packed:
            first = module.batch_first
            lengths = torch.tensor([3, 6, 1, 2] if first else [3, 4, 1, 2, 2, 4])
            inputs = pack_padded_sequence(x, lengths, first, enforce_sorted=False)
        y, (h_n, c_n) = module(inputs)
        after = torch.rand(3)  # the generator is left in the same state
        y = y.data if packed else y
        return [*with_gradients([y, h_n, c_n], [x, *module.parameters()]), after]

    operator = "lstm.data" if packed else "lstm.input"
    assert_same(*on_both(run, operator))
    module.eval()
    assert_same(*on_both(run, operator))


@DTYPES
def test_a_seed_reproduces_a_training_run(dtype):
    """Losses of a model with dropout, step by step, against those without lstmcore."""

    def run():
        model = torch.nn.LSTM(4, 8, 2, dropout=0.5, dtype=dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        x = torch.randn(12, 5, 4, dtype=dtype)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (model(x)[0] - x.mean()).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return losses

    assert_same(*on_both(run, "lstm.input"))


@DTYPES
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(dtype, mode):
    """In inference mode even the weights may be made there, and have no version."""
    with mode():
        lstm = torch.nn.LSTM(5, 7, 2, dtype=dtype)
        cell = torch.nn.LSTMCell(5, 7, dtype=dtype)

    def run():
        x = torch.randn(6, 3, 5, dtype=dtype)
        with mode():
            outside = [lstm(x)[0] for _ in range(3)]  # packed, then remembered
            inside = cell(torch.randn(3, 5, dtype=dtype))
            packed = lstm(pack_sequence([x[:, 0], x[:2, 1]]))[0].data
        results = [*outside, *inside, packed]
        assert not any(result.requires_grad for result in results)
        assert all(result.is_inference() == (mode is torch.inference_mode) for result in results)
        return results

    assert_same(*on_both(run, "lstm.input", "lstm.data", "lstm_cell"))


@DTYPES
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_loop_over_a_cell(dtype, rows, bias):
    cell = torch.nn.LSTMCell(5, 7, bias, dtype=dtype)

    def run():
        x = torch.randn(6, rows, 5, dtype=dtype, requires_grad=True)
        h, c = (torch.randn(rows, 7, dtype=dtype, requires_grad=True) for _ in range(2))
        state, outputs = (h, c), []
        for step in x:
            state = cell(step, state)
            outputs.append(state[0])
        return with_gradients([*outputs, state[1]], [x, h, c, *cell.parameters()])

    assert_same(*on_both(run, "lstm_cell"))


def test_inputs_of_a_cell_in_any_layout():
    """One example, no state, a parameter and an expanded tensor as state, a transposed input."""
    cell = torch.nn.LSTMCell(5, 7)
    start = torch.nn.Parameter(torch.randn(1, 7))

    def run():
        x = torch.randn(5, 4).t()
        one = cell(x[0])
        none = cell(x)
        learnt = cell(x, (start.expand(4, 7), start.repeat(4, 1)))
        single = cell(x[:1], (start, start))
        outputs = [*one, *none, *learnt, *single]
        return with_gradients(outputs, [start, *cell.parameters()])

    assert_same(*on_both(run, "lstm_cell"))


def test_a_cell_too_large_to_be_remembered():
    cell = torch.nn.LSTMCell(8, 1100)

    def run():
        x = torch.randn(2, 8)
        state = cell(x, cell(x))
        return with_gradients(state, list(cell.parameters()))

    actual, expected = on_both(run, "lstm_cell")
    for mine, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)  # sums over 1100 units


def test_changed_weights_take_effect():
    """In place, through ``.data`` and through NumPy, whose changes PyTorch does not count."""
    lstm, cell = torch.nn.LSTM(5, 7), torch.nn.LSTMCell(5, 7)
    before = [lstm.state_dict(), cell.state_dict()]
    before = [{name: value.clone() for name, value in state.items()} for state in before]

    def add(module):
        with torch.no_grad():
            module.weight_hh_l0.add_(0.1) if module is lstm else module.weight_hh.add_(0.1)

    def data(module):
        for parameter in module.parameters():
            parameter.data = parameter.data * 1.1

    def numpy(module):
        for parameter in module.parameters():
            parameter.detach().numpy()[:] *= 0.9

    def run():
        for module, state in zip((lstm, cell), before, strict=True):
            module.load_state_dict(state)
        x = torch.randn(6, 3, 5)
        results = []
        for change in (add, data, numpy, add, numpy, numpy, data):
            for module in (lstm, cell):
                change(module)
            for _ in range(3):
                results += [lstm(x)[0], *cell(x[0])]
        return results

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


def test_frozen_and_tied_parameters():
    first, second = torch.nn.LSTM(6, 6), torch.nn.LSTM(6, 6)
    second.weight_hh_l0 = first.weight_hh_l0
    first.weight_ih_l0.requires_grad_(False)
    parameters = [first.weight_hh_l0, first.bias_ih_l0, first.bias_hh_l0, second.weight_ih_l0]

    def run():
        y = second(first(torch.randn(5, 2, 6))[0])[0]
        return with_gradients([y], parameters)

    assert_same(*on_both(run, "lstm.input"))
    with lt.accelerate():
        first(torch.randn(5, 2, 6))[0].sum().backward()
    assert first.weight_ih_l0.grad is None
    assert first.bias_ih_l0.grad.data_ptr() != first.bias_hh_l0.grad.data_ptr()


def test_gradients_accumulate_and_graphs_are_kept():
    lstm, cell = torch.nn.LSTM(5, 7, dtype=torch.float64), torch.nn.LSTMCell(7, 7).double()

    def run():
        for module in (lstm, cell):
            module.zero_grad()
        y, _ = lstm(torch.randn(4, 3, 5, dtype=torch.float64))
        loss = sum(cell(step)[0].sum() for step in y)
        loss.backward(retain_graph=True)
        loss.backward()
        return [
            parameter.grad.clone() for module in (lstm, cell) for parameter in module.parameters()
        ]

    assert_same(*on_both(run, "lstm.input", "lstm_cell"))


def test_models_are_freed_with_what_was_stored_for_them():
    gc.collect()
    stored = len(operators._remembered._found), len(cells._cells)
    with lt.accelerate():
        models = torch.nn.LSTM(5, 7, 2, dropout=0.5), torch.nn.LSTMCell(5, 7)
        for _ in range(3):
            y = models[0](torch.randn(4, 3, 5))[0]
            models[1](y[0, :, :5])
        watched = [weakref.ref(model) for model in models]
        watched += [weakref.ref(weight) for model in models for weight in model.parameters()]
        assert len(operators._remembered._found) > stored[0]
        assert len(cells._cells) > stored[1]
        del models, y
        gc.collect()
        assert [watch() for watch in watched] == [None] * len(watched)
        assert (len(operators._remembered._found), len(cells._cells)) == stored


def test_what_is_stored_is_bounded():
    most = operators._remembered._found.MOST
    with lt.accelerate():
        modules = [torch.nn.LSTM(1, 1) for _ in range(most + 5)]
        for module in modules:
            module(torch.zeros(1, 1, 1))
        assert len(operators._remembered._found) == most
