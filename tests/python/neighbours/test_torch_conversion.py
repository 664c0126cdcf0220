"""Weights from and to PyTorch: the same values and the same outputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
from lstmcore import functional as F  # noqa: E402
from lstmcore.convert import (  # noqa: E402
    from_torch,
    layer_from_torch,
    load_torch,
    save_torch,
    to_torch,
)

# Relative to the largest entry; sums have different orders.
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=TOLERANCES[ours.dtype.name] * max(1.0, abs(theirs).max())
    )


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # PyTorch's warning about speed
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("projection", [0, 3])
def test_module_computes_the_same(dtype, layers, bidirectional, bias, projection):
    torch.manual_seed(1)
    module = torch.nn.LSTM(
        4,
        6,
        layers,
        bias=bias,
        bidirectional=bidirectional,
        proj_size=projection,
        dropout=0.25 if layers > 1 else 0.0,
        batch_first=True,
        dtype=getattr(torch, dtype),
    ).eval()
    weights, config = from_torch(module)
    assert config == lc.LSTMConfig(
        4,
        6,
        layers,
        bidirectional,
        dropout=0.25 if layers > 1 else 0.0,
        bias=bias,
        proj_size=projection,
    )
    x = torch.randn(3, 7, 4, dtype=getattr(torch, dtype))
    lengths = np.array([7, 2, 5])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    theirs, (h, c) = module(packed)
    theirs, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs, batch_first=True)
    ours, state = F.lstm(x.numpy(), weights, config, lengths=lengths)
    close(ours, theirs)
    close(state.h, h)
    close(state.c, c)

    back = to_torch(weights, config, module=True).eval()
    assert back.batch_first
    close(ours[:1], back(x[:1])[0])
    again, same = from_torch(back)
    assert same == config
    for name in weights:
        np.testing.assert_array_equal(again[name], weights[name], strict=True)


def test_the_state_dict_determines_the_sizes():
    module = torch.nn.LSTM(4, 6, 2, bidirectional=True, proj_size=2)
    for state in (
        module.state_dict(),
        {name: value.numpy() for name, value in module.state_dict().items()},
    ):
        weights, config = from_torch(state, dropout=0.5)
        expected = lc.LSTMConfig(4, 6, 2, True, dropout=0.5, proj_size=2)
        assert config == expected
        own = module.state_dict()
        np.testing.assert_array_equal(weights["weight_hr_l1"], own["weight_hr_l1"].numpy())
        total = own["bias_ih_l1_reverse"] + own["bias_hh_l1_reverse"]
        np.testing.assert_array_equal(weights["bias_l1_reverse"], total.numpy())
    # Weights are copies: the module can be trained on.
    weights["weight_ih_l0"][:] = 0
    assert module.weight_ih_l0.abs().min() > 0


def test_state_dict_of_numpy_arrays_needs_no_module():
    config = lc.LSTMConfig(2, 3, 2)
    weights = F.init_weights(config, dtype="float64")
    state = to_torch(weights, config, prefix="encoder.lstm")
    assert all(type(value) is np.ndarray for value in state.values())
    assert not state["encoder.lstm.bias_hh_l1"].any()
    torch.nn.LSTM(2, 3, 2).load_state_dict(
        {
            name.removeprefix("encoder.lstm."): torch.from_numpy(value).float()
            for name, value in state.items()
        }
    )
    again, same = from_torch(state, prefix="encoder.lstm")
    assert same == config
    for name in weights:
        np.testing.assert_array_equal(again[name], weights[name], strict=True)


def test_cell():
    cell = torch.nn.LSTMCell(3, 5, dtype=torch.float64)
    weights, config = from_torch(cell)
    x = torch.randn(2, 3, dtype=torch.float64)
    h, c = cell(x)
    y, state = F.lstm(x.numpy()[:, None], weights, config)
    close(y[:, 0], h)
    close(state.c[0], c)
    weights, config = from_torch(torch.nn.LSTMCell(3, 5, bias=False).state_dict())
    assert config == lc.LSTMConfig(3, 5, bias=False)


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(20, 5)
        self.norm = torch.nn.LayerNorm(5)
        self.conv = torch.nn.Conv1d(5, 6, 3, padding="same")
        self.encoder = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, ids):
        x = self.norm(self.words(ids))
        x = torch.relu(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return torch.softmax(self.head(self.encoder(x)[0]), -1)


def tagger():
    layers = lc.layers
    return lc.Sequential(
        [
            lc.layers.Input((None,)),
            layers.Embedding(20, 5, name="words"),
            layers.LayerNormalization(epsilon=1e-5, name="norm"),
            layers.Conv1D(6, 3, padding="same", activation="relu", name="conv"),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="encoder"),
            layers.TimeDistributed(layers.Dense(3, "softmax"), name="head"),
        ],
        dtype="float64",
    )


NAMES = {name: name for name in ("words", "norm", "conv", "encoder", "head")}


@pytest.mark.parametrize("form", ["module", "state", "pt", "safetensors"])
def test_whole_model(form, tmp_path):
    module = Tagger().double()
    source = module
    if form == "state":
        source = module.state_dict()
    elif form == "pt":
        source = tmp_path / "model.pt"
        torch.save(module.state_dict(), source)
    elif form == "safetensors":
        from safetensors.torch import save_file

        source = tmp_path / "model.safetensors"
        save_file(module.state_dict(), source)
    model = tagger()
    load_torch(model, source, NAMES)
    ids = np.random.default_rng(0).integers(0, 20, (4, 9))
    close(model.predict(ids), module(torch.from_numpy(ids)))

    weights, config = from_torch(source, prefix="encoder")
    assert config == lc.LSTMConfig(6, 4, bidirectional=True)
    np.testing.assert_array_equal(
        weights["weight_hh_l0_reverse"], model.weights["encoder.weight_hh_l0_reverse"]
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch's warning about speed
def test_single_layers():
    torch.manual_seed(0)
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    for module in (
        torch.nn.Linear(5, 3),
        torch.nn.Linear(5, 3, bias=False),
        torch.nn.LayerNorm(5),
        torch.nn.LayerNorm(5, bias=False),
        torch.nn.Conv1d(5, 3, 4, stride=2),
        torch.nn.Conv1d(5, 3, 3, padding=2, dilation=2, bias=False),
        torch.nn.Conv1d(5, 3, 2, padding="same"),
        torch.nn.LSTM(5, 3, 2, dropout=0.5, batch_first=True),
        torch.nn.LSTM(5, 3, bidirectional=True, bias=False, batch_first=True),
        torch.nn.LayerNorm(5, elementwise_affine=False),
    ):
        module = module.double().eval()
        layer = layer_from_torch(module)
        if not module.state_dict():  # without tensors it has no dtype
            x, module = x.float(), module.float()
        if isinstance(module, torch.nn.Conv1d):
            theirs = module(x.transpose(1, 2)).transpose(1, 2)
        else:
            theirs = module(x)
        close(layer(x.numpy()), theirs[0] if isinstance(theirs, tuple) else theirs)
    module = torch.nn.Embedding(7, 3)
    ids = np.array([[1, 6, 0]])
    np.testing.assert_array_equal(
        layer_from_torch(module)(ids), module(torch.from_numpy(ids)).detach().numpy(), strict=True
    )


class Subclass(torch.nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.nn.GRU(2, 3), "got GRU"),
        (torch.nn.GRU(2, 3).state_dict(), "an nn.GRU has 3"),
        (torch.nn.RNN(2, 3).state_dict(), "an nn.RNN has 1"),
        (torch.nn.Linear(2, 3), "got Linear"),
        (Subclass(2, 3), "got Subclass"),
        (Tagger(), "prefix may be 'encoder'"),
        (Tagger().state_dict(), "LSTMs may be at 'encoder'"),
    ],
)
def test_sources_that_are_not_an_lstm_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        from_torch(source)


def test_every_wrong_tensor_is_named():
    state = torch.nn.LSTM(2, 3, 2).state_dict()
    del state["weight_hh_l1"], state["bias_ih_l0"]
    state["bias_hh_l1"] = torch.zeros(11)
    state["more"] = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="PyTorch's LSTM: missing") as error:
        from_torch(state)
    for part in (
        "missing weight_hh_l1 (12, 3)",
        "missing bias_ih_l0 (12,)",
        "unexpected more (1,)",
        "bias_hh_l1: expected shape (12,), got (11,)",
        "more: expected float32 or float64, got int64",
    ):
        assert part in str(error.value)
    with pytest.raises(TypeError, match="weight_hh_l0: expected float32 or float64, got bfloat16"):
        from_torch(torch.nn.LSTM(2, 3).bfloat16())
    with pytest.raises(TypeError, match="expected tensors of one type"):
        from_torch(
            {**torch.nn.LSTM(2, 3).state_dict(), "weight_hh_l0": torch.zeros(12, 3).double()}
        )


def test_wrong_arguments():
    module = torch.nn.LSTM(2, 3)
    with pytest.raises(ValueError, match="dropout: expected None alongside a module"):
        from_torch(module, dropout=0.1)
    with pytest.raises(ValueError, match="prefix: .*nothing"):
        from_torch(Tagger(), prefix="nothing")
    with pytest.raises(TypeError, match="source: expected a PyTorch module"):
        from_torch(3)
    with pytest.raises(TypeError, match="model: expected an array, got a mapping.* are 'model'"):
        from_torch({"model": module.state_dict()})
    with pytest.raises(ValueError, match="weight_ih_l0: expected a tensor with numbers.*'meta'"):
        from_torch(torch.nn.LSTM(2, 3, device="meta"))
    with pytest.raises(ValueError, match="expected a file .safetensors"):
        from_torch("weights.h5")
    config = lc.LSTMConfig(2, 3)
    weights = F.init_weights(config)
    with pytest.raises(ValueError, match="prefix: expected '' for a module"):
        to_torch(weights, config, prefix="a", module=True)
    with pytest.raises(ValueError, match="missing bias_l0"):
        to_torch({name: weights[name] for name in ("weight_ih_l0", "weight_hh_l0")}, config)


@pytest.mark.parametrize(
    "options",
    [
        {"peephole": True},
        {"go_backwards": True},
        {"cell_clip": 3.0},
        {"gate_activation": "hard_sigmoid"},
        {"zoneout_h": 0.1},
        {"layer_norm": True},
    ],
)
def test_options_that_pytorch_lacks_are_named(options):
    config = lc.LSTMConfig(2, 3, **options)
    with pytest.raises(ValueError, match=next(iter(options))):
        to_torch(F.init_weights(config), config)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (torch.nn.Conv1d(4, 4, 3, groups=2), "groups=2"),
        (torch.nn.Conv1d(4, 4, 3, padding=2), "padding of 2 zeros"),
        (torch.nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular"), "padding_mode='circular'"),
        (torch.nn.Embedding(4, 4, padding_idx=0), "padding_idx=0"),
        (torch.nn.LayerNorm((3, 4)), "normalized_shape"),
        (torch.nn.CELU(), "got CELU"),
    ],
)
def test_modules_without_a_counterpart_are_named(module, message):
    with pytest.raises(ValueError, match=message):
        layer_from_torch(module)


def test_loading_is_all_or_nothing():
    model = tagger()
    before = model.get_weights()
    module = Tagger().double()
    with pytest.raises(ValueError, match="missing: words; unknown: letters"):
        load_torch(model, module, {**{n: n for n in NAMES if n != "words"}, "letters": "words"})
    with pytest.raises(ValueError, match="would be loaded twice"):
        load_torch(model, module, {**NAMES, "norm": "conv"})
    with pytest.raises(ValueError, match="unexpected extra"):
        load_torch(model, {**module.state_dict(), "extra": torch.zeros(1)}, NAMES)
    with pytest.raises(TypeError, match="expected float64, the type of the layers, got float32"):
        load_torch(model, Tagger(), NAMES)
    with pytest.raises(ValueError, match="no weights yet"):
        load_torch(lc.layers.Dense(3), torch.nn.Linear(5, 3))
    with pytest.raises(TypeError, match="names: expected a mapping"):
        load_torch(model, module)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # One layer of a model is loaded alone.
    load_torch(model.layers[-1], module, "head")
    np.testing.assert_array_equal(
        model.weights["head.kernel"], module.head.weight.detach().numpy().T
    )
    peephole = lc.layers.LSTM(3, peephole=True)
    peephole(np.zeros((1, 1, 2), np.float32))
    with pytest.raises(ValueError, match="has no peephole_l0"):
        load_torch(peephole, torch.nn.LSTM(2, 3))


@pytest.mark.parametrize("saved", [False, True])
def test_checkpoints(saved, tmp_path):
    """State dicts in a checkpoint are reached by prefixes that begin with their names."""
    module = Tagger().double()
    optimizer = torch.optim.Adam(module.parameters())
    checkpoint = {
        "epoch": 3,
        "state_dict": module.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    if saved:
        torch.save(checkpoint, tmp_path / "checkpoint.pt")
        checkpoint = tmp_path / "checkpoint.pt"
    found, config = from_torch(checkpoint, prefix="state_dict.encoder")
    expected, same = from_torch(module, prefix="encoder")
    assert config == same
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    model = tagger()
    load_torch(model, checkpoint, {name: f"state_dict.{prefix}" for name, prefix in NAMES.items()})
    np.testing.assert_array_equal(
        model.weights["words.embeddings"], module.words.weight.detach().numpy()
    )
    with pytest.raises(TypeError, match="there are 'state_dict', 'optimizer'"):
        from_torch(checkpoint, prefix="encoder")
    with pytest.raises(ValueError, match="LSTMs may be at 'state_dict.encoder'"):
        from_torch(checkpoint, prefix="state_dict")


def test_files_without_a_state_dict(tmp_path):
    whole, damaged, empty = (tmp_path / name for name in ("whole.pt", "damaged.pt", "empty.pt"))
    torch.save(torch.nn.LSTM(2, 3), whole)
    damaged.write_bytes(b"nothing of PyTorch")
    empty.write_bytes(b"")
    for path in (whole, damaged, empty):
        with pytest.raises(ValueError, match=f"{path.name}: expected a file of a state") as error:
            from_torch(path)
        assert "weights_only" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / "nothing.pt")


def test_a_package_that_pytorch_lacks_is_no_damage(tmp_path, monkeypatch):
    def load(*arguments, **options):
        raise ImportError("needs another package")

    path = tmp_path / "a.pt"
    torch.save({}, path)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(ImportError, match="needs another package"):
        from_torch(path)


def test_options_that_only_affect_training_can_be_left_out():
    for options in ({"padding_idx": 0}, {"scale_grad_by_freq": True}):
        module = torch.nn.Embedding(5, 3, **options)
        with pytest.raises(ValueError, match=f"{next(iter(options))}.*training=False leaves"):
            layer_from_torch(module)
        ids = np.array([[1, 4, 0]])
        np.testing.assert_array_equal(
            layer_from_torch(module, training=False)(ids),
            module(torch.from_numpy(ids)).detach().numpy(),
        )
    with pytest.raises(ValueError, match=r"max_norm=1\.0"):
        layer_from_torch(torch.nn.Embedding(5, 3, max_norm=1.0), training=False)


def test_modules_without_gradients_become_frozen_layers():
    pretrained = torch.nn.Embedding.from_pretrained(torch.randn(5, 3))  # frozen by default
    assert layer_from_torch(pretrained).trainable is False
    for module in (torch.nn.Linear(3, 2), torch.nn.LSTM(3, 2, bidirectional=True)):
        assert layer_from_torch(module).trainable is True
        module.requires_grad_(False)
        assert layer_from_torch(module).trainable is False


def test_partly_frozen_modules():
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="trained as a whole, got requires_grad=False for bias"):
        layer_from_torch(module)
    assert layer_from_torch(module, training=False).trainable is True


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch's warning about speed
def test_a_whole_model_is_written_as_a_state_dict(tmp_path):
    model = tagger()
    path = tmp_path / "model.pt"
    save_torch(model, path)
    module = Tagger().double().eval()
    module.load_state_dict(torch.load(path, weights_only=True))
    ids = np.random.default_rng(0).integers(0, 20, (4, 9))
    close(model.predict(ids), module(torch.from_numpy(ids)))

    again = tagger()
    again.set_weights([np.zeros_like(value) for value in again.get_weights()])
    load_torch(again, path, NAMES)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)


def test_models_that_cannot_be_written_are_refused(tmp_path):
    model = tagger()
    for path in ("model.bin", "model.safetensors", "model"):
        with pytest.raises(ValueError, match=r"path: expected \.pt or \.pth"):
            save_torch(model, tmp_path / path)
    with pytest.raises(ValueError, match="names: expected words"):
        save_torch(model, tmp_path / "model.pt", {"words": "words"})
    with pytest.raises(ValueError, match=r"names: .*weight would be written twice"):
        save_torch(model, tmp_path / "model.pt", dict.fromkeys(NAMES, "same"))
    with pytest.raises(ValueError, match="not built"):
        save_torch(lc.Sequential([lc.layers.LSTM(2)]), tmp_path / "model.pt")
    peephole = lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(2, peephole=True)])
    with pytest.raises(ValueError, match="PyTorch's LSTM has no peephole_l0"):
        save_torch(peephole, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["LSTM", "LSTMCell"])
def test_our_own_modules_are_read_as_torchs(kind):
    bridge = pytest.importorskip("lstmcore.torch")
    theirs = getattr(torch.nn, kind)(4, 6)
    ours = getattr(bridge, kind)(4, 6)
    ours.load_state_dict(theirs.state_dict())
    (weights, config), (expected, same) = from_torch(ours), from_torch(theirs)
    assert config == same
    for name, value in expected.items():
        np.testing.assert_array_equal(weights[name], value)
    if kind == "LSTM":
        assert isinstance(layer_from_torch(ours), lc.layers.LSTM)
    with pytest.raises(ValueError, match=f"expected an nn.LSTM or nn.LSTMCell, got {kind}"):
        from_torch(getattr(bridge, kind)(4, 6, peephole=True))
