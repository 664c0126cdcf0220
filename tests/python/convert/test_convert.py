"""Conversions without any other framework: results, and errors that say what is needed."""

import subprocess
import sys

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import convert
from lstmcore import functional as F


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, lstmcore.convert as c\n"
        "for name in c.__all__: getattr(c, name)\n"
        "frameworks = {'h5py', 'keras', 'onnx', 'tensorflow', 'torch'} & set(sys.modules)\n"
        "assert not frameworks, frameworks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names():
    assert set(convert.__all__) <= set(dir(convert))
    with pytest.raises(AttributeError, match="has no attribute 'from_nothing'"):
        convert.from_nothing  # noqa: B018


@pytest.fixture
def without(monkeypatch):
    for name in ("torch", "keras", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without")
def test_errors_say_what_to_install(tmp_path):
    config = lc.LSTMConfig(2, 3)
    weights = F.init_weights(config)
    with pytest.raises(ImportError, match="pip install torch"):
        convert.to_torch(weights, config, module=True)
    with pytest.raises(ImportError, match="pip install torch"):
        convert.from_torch(tmp_path / "model.pt")
    model = lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(3)])
    with pytest.raises(ImportError, match=r"pip install keras h5py"):
        convert.to_keras(model)
    for call in (convert.from_keras, lambda path: convert.load_keras_weights(model, path)):
        with pytest.raises(ImportError, match=r"pip install keras h5py"):
            call(tmp_path / "model.keras")


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 2}])
def test_state_dicts_of_arrays(tmp_path, dtype, options):
    from safetensors.numpy import save_file

    config = lc.LSTMConfig(4, 3, 2, True, **options)
    weights = F.init_weights(config, dtype=dtype)
    state = convert.to_torch(weights, config)
    names = {name: value.shape for name, value in state.items()}
    assert names["weight_ih_l0_reverse"] == (12, 4)
    assert names.get("bias_hh_l1") == (None if options.get("bias") is False else (12,))
    save_file(state, tmp_path / "lstm.safetensors")
    for source in (state, tmp_path / "lstm.safetensors", str(tmp_path / "lstm.safetensors")):
        again, same = convert.from_torch(source)
        assert same == config
        assert list(again) == list(config.parameter_shapes())
        for name, value in weights.items():
            np.testing.assert_array_equal(again[name], value, strict=True)


def test_two_biases_are_added():
    config = lc.LSTMConfig(2, 3)
    state = convert.to_torch(F.init_weights(config, dtype="float64"), config)
    state["bias_hh_l0"] = np.arange(12.0)
    weights, _ = convert.from_torch(state)
    np.testing.assert_array_equal(weights["bias_l0"], state["bias_ih_l0"] + np.arange(12.0))


def test_all_layers_of_a_model_are_loaded():
    rng = np.random.default_rng(0)
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(9, 4),
            layers.Conv1D(5, 3),
            layers.LayerNormalization(),
            layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)]),
            layers.Dense(2),
        ]
    )
    shapes = {
        "a.weight": (9, 4),
        "b.weight": (5, 4, 3),
        "b.bias": (5,),
        "c.weight": (5,),
        "c.bias": (5,),
        "d.e.weight_ih_l0": (12, 5),
        "d.e.weight_hh_l0": (12, 3),
        "d.e.bias_ih_l0": (12,),
        "d.e.bias_hh_l0": (12,),
        "d.e.weight_ih_l1": (12, 3),
        "d.e.weight_hh_l1": (12, 3),
        "d.e.bias_ih_l1": (12,),
        "d.e.bias_hh_l1": (12,),
        "f.weight": (2, 3),
        "f.bias": (2,),
    }
    state = {name: rng.normal(size=shape).astype("f") for name, shape in shapes.items()}
    places = dict(
        zip((layer.name for layer in model.layers), ["a", "b", "c", "d.e", "f"], strict=True)
    )
    convert.load_torch(model, state, places)
    weights = model.weights
    np.testing.assert_array_equal(weights["embedding.embeddings"], state["a.weight"])
    np.testing.assert_array_equal(weights["conv1d.kernel"][2, 1, 3], state["b.weight"][3, 1, 2])
    np.testing.assert_array_equal(weights["layer_normalization.gamma"], state["c.weight"])
    np.testing.assert_array_equal(weights["rnn.weight_hh_l1"], state["d.e.weight_hh_l1"])
    np.testing.assert_array_equal(
        weights["rnn.bias_l1"], state["d.e.bias_ih_l1"] + state["d.e.bias_hh_l1"]
    )
    np.testing.assert_array_equal(weights["dense.kernel"], state["f.weight"].T)
    # A prefix consists of whole names: "d" does not match "d.e", nor does "f" match "ff".
    before = model.get_weights()
    state["f.bias"], state["ff.bias"] = state["f.bias"][:1], state["f.bias"]
    with pytest.raises(ValueError, match=r"unexpected ff.bias \(2,\); f.bias: expected shape"):
        convert.load_torch(model, state, places)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_files(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="a.safetensors: not a safetensors file"):
        convert.from_torch(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError):
        convert.from_torch(tmp_path / "b.safetensors")
    from safetensors.numpy import save_file

    config = lc.LSTMConfig(2, 3)
    state = convert.to_torch(F.init_weights(config), config)
    half = {name: value.astype("float16") for name, value in state.items()}
    save_file(half, tmp_path / "c.safetensors")
    with pytest.raises(TypeError, match="weight_ih_l0: expected float32 or float64, got float16"):
        convert.from_torch(tmp_path / "c.safetensors")
