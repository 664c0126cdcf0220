"""Models with lstmcore.keras.LSTM are saved and copied as models of Keras' own layers."""

import copy
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

import lstmcore.keras as lk  # noqa: E402
from keras_engine_kit import BACKEND, FILTERS, Counted, H, close, randomize  # noqa: E402
from lstmcore.convert import from_keras  # noqa: E402

K = keras.layers
X = np.random.default_rng(5).normal(size=(3, 7, 4)).astype("float32")
pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def model_of(layer=lk.LSTM):
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            K.Bidirectional(layer(H, return_sequences=True)),
            layer(H, recurrent_dropout=0.2, kernel_regularizer="l2"),
            K.Dense(2),
        ]
    )
    return randomize(model)


def outputs(model):
    return [model.predict(X, verbose=0)]


def layers_of(document):
    """Yield the descriptions of all LSTMs in a configuration."""
    if isinstance(document, dict):
        if "LSTM" in str(document.get("class_name")):
            yield document
        for value in document.values():
            yield from layers_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from layers_of(value)


def comparable(document):
    """Return a configuration without what differs between two models of one process."""
    if not isinstance(document, dict):
        return document
    left_out = ("name", "shared_object_id")
    return {key: comparable(value) for key, value in document.items() if key not in left_out}


def test_files_name_the_layer_of_keras(tmp_path):
    for kind, name in ((lk.LSTM, "ours"), (K.LSTM, "theirs")):
        model_of(kind).save(tmp_path / f"{name}.keras")
    found = []
    for name in ("ours", "theirs"):
        with zipfile.ZipFile(tmp_path / f"{name}.keras") as archive:
            found.append([*layers_of(json.loads(archive.read("config.json")))])
    assert len(found[0]) == len(found[1]) >= 2
    for ours, theirs in zip(*found, strict=True):
        assert ours["module"] == "keras.layers"
        assert ours["class_name"] == "LSTM"
        assert ours["registered_name"] is None
        assert comparable(ours) == comparable(theirs)


WITHOUT_LSTMCORE = """
import sys
sys.modules["lstmcore"] = None
import keras, numpy
model = keras.models.load_model(sys.argv[1])
assert {type(layer).__module__ for layer in model.layers} <= {
    "keras.src.layers.rnn.lstm", "keras.src.layers.rnn.bidirectional", "keras.src.layers.core.dense"
}
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_load_without_lstmcore(suffix, tmp_path):
    model = model_of()
    model.save(tmp_path / f"model.{suffix}")
    np.save(tmp_path / "x.npy", X)
    arguments = [tmp_path / f"model.{suffix}", tmp_path / "x.npy", tmp_path / "y.npy"]
    command = [sys.executable, "-c", WITHOUT_LSTMCORE, *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    close([np.load(tmp_path / "y.npy")], outputs(model))


def test_files_in_both_directions(tmp_path):
    ours = model_of()
    ours.save(tmp_path / "ours.keras")
    theirs = keras.models.load_model(tmp_path / "ours.keras")
    assert type(theirs.layers[1]) is K.LSTM
    with Counted() as counted:
        close(outputs(theirs), outputs(ours))
    assert counted.engine == 3  # those of ours
    with Counted() as counted, lk.accelerate():
        close(outputs(theirs), outputs(ours))
    assert counted.engine == 6
    randomize(theirs, seed=9)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    close(outputs(ours), outputs(theirs))


def test_copies():
    model = model_of()
    expected = outputs(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(outputs(copied), expected)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    close(outputs(clone), expected)
    layer = lk.LSTM.from_config(model.layers[1].get_config())
    assert type(layer) is lk.LSTM
    assert pickle.loads(pickle.dumps(lk.LSTM)) is lk.LSTM


def test_models_for_lstmcore():
    model = model_of()
    close([from_keras(model, training=False).predict(X)], outputs(model))


@pytest.mark.skipif(BACKEND == "torch", reason="of TensorFlow and JAX alone")
def test_exported_programs_do_not_call_back(tmp_path):
    tf = pytest.importorskip("tensorflow") if BACKEND == "tensorflow" else None
    if tf is None:
        import jax
        from jax import export

        layer = lk.LSTM(H)
        layer.build(X.shape)
        trainable = [variable.value for variable in layer.trainable_variables]
        others = [variable.value for variable in layer.non_trainable_variables]
        call = jax.jit(lambda x: layer.stateless_call(trainable, others, x)[0])
        with Counted() as counted:
            exported = export.export(call)(jax.ShapeDtypeStruct(X.shape, "float32"))
        text = exported.mlir_module()
        assert "callback" not in text
        assert list(counted.keras) == ["an export"]
        close([export.deserialize(exported.serialize()).call(X)], [layer(X)])
        return
    model = model_of()
    expected = outputs(model)
    with Counted() as counted:
        model.export(str(tmp_path / "saved"), verbose=False)
    assert "an export" in counted.keras
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    with Counted() as counted:
        close([loaded.serve(tf.constant(X))], expected)
    assert counted.engine == 0
