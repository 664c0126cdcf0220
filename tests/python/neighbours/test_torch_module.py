"""lstmcore.torch's modules compared with torch.nn's: inputs, outputs and refusals."""

import inspect
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
import lstmcore.torch as lt  # noqa: E402
from lstmcore import functional as F  # noqa: E402
from lstmcore.torch import plan  # noqa: E402
from torch_kit import all_close, close, pair  # noqa: E402

# A warning of torch.nn.LSTM.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

KINDS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "stacked": {"num_layers": 3},
    "both directions": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no biases": {"bias": False},
    "projection": {"proj_size": 3, "num_layers": 2, "bidirectional": True},
    "projection, no biases": {"proj_size": 3, "bias": False},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def state_of(module, batch):
    cells = module.num_layers * (2 if module.bidirectional else 1)
    widths = (module.proj_size or module.hidden_size, module.hidden_size)
    dtype = module.weight_ih_l0.dtype
    shape = (cells,) if batch is None else (cells, batch)
    return tuple(torch.randn(*shape, width, dtype=dtype) for width in widths)


# ---- drop-in -------------------------------------------------------------------------------------


@kinds
@dtypes
def test_same_parameters_results_and_gradients(options, dtype):
    theirs, ours = pair(dtype, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name), parameter)
    assert [[p.shape for p in cell] for cell in ours.all_weights] == [
        [p.shape for p in cell] for cell in theirs.all_weights
    ]
    x = torch.randn(6, 4, 5, dtype=dtype)
    batch = 6 if options.get("batch_first") else 4
    for state in (None, state_of(ours, batch)):
        results = []
        for module in (theirs, ours):
            inputs = [x, *(state or ())]
            inputs = [tensor.clone().requires_grad_() for tensor in inputs]
            y, (h, c) = module(inputs[0], tuple(inputs[1:]) or None)
            loss = (y**2).sum() + (h * c.mean()).sum() + c.sin().sum()
            results.append((y, (h, c), torch.autograd.grad(loss, [*inputs, *module.parameters()])))
        all_close(results[1][:2], results[0][:2])
        for actual, expected in zip(results[1][2], results[0][2], strict=True):
            tolerance = 1e-11 if dtype == torch.float64 else 3e-5
            torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@kinds
def test_unbatched(options):
    theirs, ours = pair(**options)
    x = torch.randn(6, 5, dtype=torch.float64)
    for state in (None, state_of(ours, None)):
        all_close(ours(x, state), theirs(x, state))
    assert ours(x, return_sequences=False)[0].dim() == 1


@kinds
@pytest.mark.parametrize("lengths", [[6, 4, 4, 1], [2, 6, 1, 3]], ids=["sorted", "unsorted"])
def test_packed_sequences(options, lengths):
    theirs, ours = pair(**options)
    sequences = [torch.randn(length, 5, dtype=torch.float64) for length in lengths]
    packed = torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
    packed.data.requires_grad_()
    for state in (None, state_of(ours, 4)):
        gradients, outputs = [], []
        for module in (theirs, ours):
            y, (h, c) = module(packed, state)
            assert isinstance(y, torch.nn.utils.rnn.PackedSequence)
            outputs.append((y.data, (h, c)))
            loss = y.data.sin().sum() + h.sum() + (c**2).sum()
            gradients.append(torch.autograd.grad(loss, [packed.data, *module.parameters()]))
            for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
                assert torch.equal(getattr(y, field), getattr(packed, field))
        all_close(outputs[1], outputs[0])
        for actual, expected in zip(*reversed(gradients), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    last, (h, _) = ours(packed, return_sequences=False)
    assert torch.equal(last[:, : h.shape[2]], h[-2 if ours.bidirectional else -1])


def test_packed_without_indices():
    theirs, ours = pair()
    data = torch.nn.utils.rnn.PackedSequence(
        torch.randn(5, 5, dtype=torch.float64), torch.tensor([2, 2, 1])
    )
    (y, state), (expected, expected_state) = ours(data), theirs(data)
    all_close((y.data, state), (expected.data, expected_state))


def test_lengths_are_equivalent_to_packing():
    theirs, ours = pair(batch_first=True, num_layers=2, bidirectional=True)
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    lengths = [2, 6, 1, 3]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, False)
    y, state = theirs(packed)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    for given in (lengths, torch.tensor(lengths), torch.tensor(lengths, dtype=torch.int32)):
        all_close(ours(x, lengths=given), (y, state))
    all_close(ours(x, lengths=np.array(lengths)), (y, state))
    last, (h, _) = ours(x, lengths=lengths, return_sequences=False)
    assert torch.equal(last, torch.cat([h[-2], h[-1]], 1))


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5)], ids=["no steps", "no sequences"])
def test_empty(shape):
    ours = lt.LSTM(5, 7)
    x = torch.randn(shape, requires_grad=True)
    y, (h, c) = ours(x)
    assert y.shape == (*shape[:2], 7)
    assert h.shape == c.shape == (1, shape[1], 7)
    (y.sum() + h.sum()).backward()
    assert not ours.weight_ih_l0.grad.any()
    assert x.grad.shape == shape


def test_state_dicts_load_both_ways():
    theirs, _ = pair(num_layers=2, bidirectional=True, proj_size=2)
    ours = lt.LSTM(5, 7, 2, bidirectional=True, proj_size=2, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    all_close(ours(x), theirs(x))
    with torch.no_grad():
        ours.weight_hh_l0.mul_(2)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    all_close(ours(x), theirs(x))


def test_default_dtype_and_meta():
    torch.set_default_dtype(torch.float64)
    try:
        assert lt.LSTM(2, 3).weight_ih_l0.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    meta = lt.LSTM(5, 7, device="meta")
    assert meta.weight_ih_l0.device.type == "meta"
    with pytest.raises(TypeError, match=r"weight_ih_l0: .*meta.*to_empty"):
        meta(torch.randn(3, 2, 5))
    meta.to_empty(device="cpu").reset_parameters()
    assert meta(torch.randn(3, 2, 5))[0].isfinite().all()


def test_import_does_not_import_torch():
    code = "import sys, lstmcore; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- memory is shared ----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
def test_nothing_is_copied_in_or_out(batch_first, monkeypatch):
    from lstmcore.torch import weights

    seen = []

    class Watched:
        def __init__(self, lstm):
            self.lstm = lstm

        def forward(self, x, h, c, *rest):
            result = self.lstm.forward(x, h, c, *rest)
            seen.append(([x, h, c], result))
            return result

    pack = weights.pack
    monkeypatch.setattr(weights, "pack", lambda *arguments: Watched(pack(*arguments)))
    ours = lt.LSTM(5, 7, batch_first=batch_first)
    x, h, c = torch.randn(6, 4, 5), torch.randn(1, 4, 7), torch.randn(1, 4, 7)
    if batch_first:
        x = x.transpose(0, 1)  # any strides
    for mode in (torch.enable_grad(), torch.no_grad()):
        with mode:
            y, (h_n, c_n) = ours(x, (h, c))
        inputs, outputs = seen.pop()
        for tensor, array in zip((x, h, c, y, h_n, c_n), [*inputs, *outputs[:3]], strict=True):
            assert tensor.data_ptr() == array.__array_interface__["data"][0]
        assert inputs[0].shape == (4, 6, 5)
        assert y.is_contiguous()


@pytest.mark.parametrize("batch_first", [False, True])
def test_input_gradient_is_laid_out_like_the_input(batch_first):
    ours = lt.LSTM(5, 7, batch_first=batch_first)
    x = torch.randn(6, 4, 5, requires_grad=True)
    (dx,) = torch.autograd.grad(ours(x)[0].sum(), x)
    assert dx.is_contiguous()


# ---- options -------------------------------------------------------------------------------------

OPTIONS = {
    "peephole": {"peephole": True},
    "coupled gates": {"coupled_gates": True},
    "layer norm": {"layer_norm": True, "layer_norm_epsilon": 1e-3},
    "layer norm, no biases": {"layer_norm": True, "bias": False},
    "activations": {
        "gate_activation": "hard_sigmoid",
        "cell_activation": lc.Activation("leaky_relu", 0.2),
        "output_activation": "softsign",
    },
    "clips": {"gate_clip": 0.4, "cell_clip": 0.2},
    "bounded projection": {"proj_size": 3, "proj_clip": 0.1},
    "backwards": {"go_backwards": True},
    "zoneout": {"zoneout_h": 0.2, "zoneout_c": 0.3},
    "dropouts": {"recurrent_dropout": 0.2, "input_dropout": 0.3, "weight_dropout": 0.1},
    "between layers": {"num_layers": 2, "dropout": 0.4},
    "in segments": {"recompute": 2},
    "in segments of sqrt(T) steps": {"recompute": "sqrt", "num_layers": 2, "bidirectional": True},
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_match_the_engine(options, training):
    torch.manual_seed(1)
    ours = lt.LSTM(5, 7, **options, batch_first=True, dtype=torch.float64).train(training)
    config = ours.config
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = {
        name: parameter.detach().numpy()
        for name, parameter in ours.named_parameters()
        if not name.startswith(("bias_ih", "bias_hh"))
    }
    for name in config.parameter_shapes():
        if name.startswith("bias_l"):
            parts = (name.replace("bias", "bias_ih"), name.replace("bias", "bias_hh"))
            weights[name] = sum(getattr(ours, part).detach().numpy() for part in parts)
    x = torch.randn(4, 6, 5, dtype=torch.float64, requires_grad=True)
    lengths = np.array([6, 2, 4, 0])
    y, (h, c) = ours(x, lengths=lengths, seed=9)
    recompute = options.get("recompute") if training else None
    more = {"recompute": recompute} if training else {}
    expected = F.lstm(
        x.detach().numpy(), weights, config, lengths=lengths, training=training, seed=9, **more
    )
    for actual, array in ((y, expected[0]), (h, expected[1].h), (c, expected[1].c)):
        np.testing.assert_array_equal(actual.detach().numpy(), array)
    with torch.no_grad():  # without a tape
        assert torch.equal(ours(x, lengths=lengths, seed=9)[0], y)
    if training:
        gradients = F.lstm_backward(expected[2], np.ones_like(expected[0]))
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), gradients.x)
        for name, array in gradients.weights.items():
            if name.startswith("bias_l"):
                name = name.replace("bias_l", "bias_hh_l")
            np.testing.assert_array_equal(getattr(ours, name).grad.numpy(), array)


def test_reset_and_mask():
    reset = np.zeros((4, 6), bool)
    reset[1, 3] = reset[2, 0] = True
    mask = np.ones((4, 6), bool)
    mask[0, 2:4] = mask[3] = False
    ours = lt.LSTM(5, 7, batch_first=True, bidirectional=True)
    weights = {
        name: getattr(ours, name.replace("bias", "bias_ih")).detach().numpy()
        + (getattr(ours, name.replace("bias", "bias_hh")).detach().numpy() if "bias" in name else 0)
        for name in ours.config.parameter_shapes()
    }
    x = torch.randn(4, 6, 5)
    expected, state = F.lstm(x.numpy(), weights, ours.config, reset=reset, mask=mask)
    for given in ((reset, mask), (torch.from_numpy(reset), torch.from_numpy(mask))):
        y, (h, c) = ours(x, reset=given[0], mask=given[1])
        for actual, array in ((y, expected), (h, state.h), (c, state.c)):
            np.testing.assert_array_equal(actual.detach().numpy(), array)
    ours.batch_first = False
    y, _ = ours(x.transpose(0, 1), reset=reset.T, mask=mask.T)
    np.testing.assert_array_equal(y.transpose(0, 1).detach().numpy(), expected)
    y, _ = ours(x[1], reset=reset[1], mask=mask[1])
    np.testing.assert_array_equal(y.detach().numpy(), expected[1])


def test_masks_follow_manual_seed():
    ours = lt.LSTM(5, 7, 2, dropout=0.5, recurrent_dropout=0.2)
    x = torch.randn(3, 2, 5)
    torch.manual_seed(4)
    first, second = ours(x)[0], ours(x)[0]
    torch.manual_seed(4)
    assert torch.equal(ours(x)[0], first)
    assert not torch.equal(first, second)
    assert torch.equal(ours(x, seed=1)[0], ours(x, seed=1)[0])
    ours.eval()
    before = torch.random.get_rng_state()
    assert torch.equal(ours(x)[0], ours(x, seed=3)[0])
    assert torch.equal(torch.random.get_rng_state(), before)  # draws no random number
    ours.train()
    ours.dropout = 0.0  # as with torch.nn.LSTM
    assert ours.config.dropout == 0.0


def test_repr_shows_options():
    module = lt.LSTM(
        2,
        3,
        peephole=True,
        gate_activation="relu",
        cell_activation=("elu", 0.5, 0.0),
        recompute="sqrt",
    )
    text = repr(module)
    assert text.startswith("LSTM(2, 3, peephole=True, gate_activation='relu', cell_activation=(")
    assert text.endswith(", recompute='sqrt')")
    assert repr(eval(text, {"LSTM": lt.LSTM})) == text
    assert repr(lt.LSTMCell(2, 3, False, proj_size=2, peephole=True)) == (
        "LSTMCell(2, 3, bias=False, proj_size=2, peephole=True)"
    )


def test_every_option_is_listed():
    of_torch = ["input_size", "hidden_size", "num_layers", "bidirectional", "dropout", "bias"]
    assert (*of_torch, "proj_size") == plan.OF_TORCH
    assert set(plan.OPTIONS) <= set(lc.LSTMConfig.__dataclass_fields__)
    for kind, options in ((lt.LSTM, plan.OPTIONS), (lt.LSTMCell, plan.STEP_OPTIONS)):
        shown = inspect.signature(kind).parameters
        config = inspect.signature(lc.LSTMConfig).parameters
        assert {name: shown[name].default for name in options} == {
            name: config[name].default for name in options
        }
        assert "Krueger et al. 2016" in kind.__doc__


# ---- cells ---------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("bias", [True, False])
def test_cell(bias, dtype):
    theirs, ours = pair(dtype, torch.nn.LSTMCell, bias=bias)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert (ours.bias_ih is None) is (not bias)
    x = torch.randn(3, 4, 5, dtype=dtype)
    results = []
    for module in (theirs, ours):
        inputs = x.clone().requires_grad_()
        state, total = None, 0
        for step in inputs:
            state = module(step, state)
            total = total + (state[0] * state[1]).sum()
        results.append([*state, *torch.autograd.grad(total, [inputs, *module.parameters()])])
    for actual, expected in zip(*reversed(results), strict=True):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    unbatched = ours(x[0, 0], (state[0][0], state[1][0]))
    for actual, expected in zip(
        unbatched, theirs(x[0, 0], (state[0][0], state[1][0])), strict=True
    ):
        close(actual, expected)
    assert ours(x[0, 0])[0].shape == (7,)


def test_cell_options_and_reset():
    cell = lt.LSTMCell(5, 7, peephole=True, layer_norm=True, proj_size=3, zoneout_c=0.1)
    assert {"peephole", "weight_hr", "gain_ih", "bias_c", "bias_hh"} <= set(cell.state_dict())
    whole = lt.LSTM(5, 7, peephole=True, layer_norm=True, proj_size=3, zoneout_c=0.1)
    whole.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    cell.eval()
    whole.eval()
    x = torch.randn(3, 2, 5)
    reset = torch.tensor([[False, False], [False, True], [True, False]])
    y, (h, c) = whole(x, reset=reset)
    state, outputs = None, []
    for step, resets in zip(x, reset, strict=True):
        state = cell(step, state, reset=resets)
        outputs.append(state[0])
    assert torch.equal(torch.stack(outputs), y)
    assert torch.equal(state[0], h[0])
    assert torch.equal(state[1], c[0])
    cell.train()
    torch.manual_seed(0)
    first, second = cell(x[0])[1], cell(x[0])[1]
    assert not torch.equal(first, second)
    assert torch.equal(cell(x[0], seed=5)[1], cell(x[0], seed=5)[1])
    with torch.no_grad():
        assert torch.equal(cell(x[0], seed=5)[1], cell(x[0], seed=5)[1])


# ---- threads and processes -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ours", [lt.LSTM(5, 7), lt.LSTMCell(5, 7)], ids=["lstm", "cell"])
def test_scripts_and_the_old_exporter_are_refused(ours):
    model = torch.nn.Sequential(torch.nn.Linear(5, 5), ours)
    for module in (ours, model):
        with pytest.raises(RuntimeError, match=r"torch\.jit\.script cannot .* restore_lstm"):
            torch.jit.script(module)
        with pytest.raises(RuntimeError, match=r"or trace after restore_lstm\(model\)"):
            torch.onnx.export(module, (torch.zeros(3, 5),), io.BytesIO(), dynamo=False)


class Steps(torch.nn.Module):
    """A model that torch.fx traces."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 5)
        self.lstm = lt.LSTM(5, 6, batch_first=True)
        self.cell = lt.LSTMCell(6, 2)

    def forward(self, x, lengths):
        y, (h, c) = self.lstm(torch.relu(self.first(x)), lengths=lengths)
        last, _ = self.lstm(torch.relu(self.first(x)), (h, c), return_sequences=False)
        return y, self.cell(last, (h[0, :, :2], c[0, :, :2]))


def test_symbolic_tracing_keeps_the_modules_whole():
    model = Steps()
    graph = torch.fx.symbolic_trace(model)
    called = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    assert called == ["first", "lstm", "first", "lstm", "cell"]
    arguments = torch.randn(2, 4, 3), torch.tensor([4, 2])
    (y, state), (expected, expected_state) = graph(*arguments), model(*arguments)
    assert torch.equal(y, expected)
    assert torch.equal(state[1], expected_state[1])
    with pytest.raises(RuntimeError, match="expected a model that has this module in it"):
        torch.fx.symbolic_trace(lt.LSTM(5, 7))


def test_threads_share_a_module():
    torch.manual_seed(0)
    ours = lt.LSTM(5, 7, 2, dropout=0.0, batch_first=True)
    inputs = [torch.randn(4, 6, 5, requires_grad=True) for _ in range(8)]
    expected = [torch.autograd.grad(ours(x)[0].sin().sum(), x)[0] for x in inputs]
    results = [None] * 8

    def work(index):
        for _ in range(5):
            x = inputs[index]
            results[index] = torch.autograd.grad(ours(x)[0].sin().sum(), x)[0]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for actual, gradient in zip(results, expected, strict=True):
        assert torch.equal(actual, gradient)


def test_replicas():
    """Like DataParallel's replicas: modules whose parameters are results of an operation."""
    ours = lt.LSTM(5, 7)
    replica = ours._replicate_for_data_parallel()
    for name, parameter in ours.named_parameters():
        replica._parameters.pop(name, None)
        setattr(replica, name, parameter * 1.0)
    x = torch.randn(3, 2, 5)
    assert torch.equal(replica(x)[0], ours(x)[0])
    replica(x)[0].sum().backward()
    assert ours.weight_ih_l0.grad.any()


class Rows(torch.utils.data.Dataset):
    """A dataset whose items a worker computes with an LSTM."""

    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 4

    def __getitem__(self, index):
        with torch.no_grad():
            return self.module(torch.full((3, 5), float(index)))[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_workers():
    ours = lt.LSTM(5, 7)
    rows = Rows(ours)
    ours(torch.randn(50, 8, 5))[0].sum().backward()  # starts threads before the fork
    loader = torch.utils.data.DataLoader(
        rows, batch_size=2, num_workers=2, multiprocessing_context="fork"
    )
    loaded = torch.cat(list(loader))
    assert torch.equal(loaded, torch.stack([rows[index] for index in range(4)]))


def test_default_device_is_not_used():
    """Tensors that the modules create are on the CPU, whatever the default device."""
    ours = lt.LSTM(5, 7, 2, dropout=0.5)
    cell = lt.LSTMCell(5, 7)
    x = torch.randn(3, 2, 5)

    def run():
        ours.zero_grad()
        y, _ = ours(x, lengths=[3, 1], reset=[[True, False]] * 3, seed=5)
        (ours(x)[0] + y).sum().backward()
        cell(x[0], reset=[True, False])[0].sum().backward()
        torch.func.vjp(lambda x: ours(x, return_sequences=False)[1][0], x)[1](
            torch.ones_like(y[:2, :, :7])
        )
        return y

    expected = run()
    with torch.device("meta"):
        assert torch.equal(run(), expected)


def test_lazily_negated_tensors():
    ours = lt.LSTM(5, 7, dtype=torch.float64)
    z = torch.randn(3, 2, 5, dtype=torch.complex128)
    x = z.conj().imag
    assert x.is_neg()
    with torch.no_grad():
        assert torch.equal(ours(x)[0], ours(x.resolve_neg())[0])
    leaf = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    results = []
    for dy in (torch._neg_view(torch.ones(3, 2, 7).double()), -torch.ones(3, 2, 7).double()):
        results.append(torch.autograd.grad(ours(leaf)[0], leaf, dy)[0])
    assert torch.equal(*results)
    # Also a weight, and one that is negated in place.
    plain = leaf.detach()
    with torch.no_grad():
        for _ in range(3):
            before = ours(plain)[0]
        ours.weight_hh_l0.data = torch._neg_view(ours.weight_hh_l0.data)
        after = ours(plain)[0]
        ours.weight_hh_l0.data = ours.weight_hh_l0.data.resolve_neg()
        assert torch.equal(after, ours(plain)[0])
        assert not torch.equal(after, before)
