"""Keras files read without Keras: one that Keras wrote, and damaged versions of it."""

import errno
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

import lstmcore as lc  # noqa: E402
from lstmcore.convert import from_keras, load_keras_weights  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "golden" / "keras_model.keras"

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the files are only in the source tree")


def changed(path, config=None, weights=None, metadata=None, leave_out=()):
    """Write the golden file with changes."""
    with zipfile.ZipFile(GOLDEN) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name, change in (("config.json", config), ("metadata.json", metadata)):
        if change is not None:
            document = json.loads(parts[name])
            parts[name] = json.dumps(change(document) or document).encode()
    if weights is not None:
        buffer = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            weights(file)
        parts["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if name not in leave_out:
                archive.writestr(name, content)
    return path


def test_predicts_what_keras_predicts():
    golden = np.load(GOLDEN.with_suffix(".npz"))
    model = from_keras(GOLDEN)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Embedding", "Bidirectional", "RNN", "Dropout", "LSTM", "Dense"]
    assert model.layers[-1].activation == "softmax"
    assert model.layers[4].recurrent_dropout == 0.1
    # float32, relative to 1; Keras sums in another order.
    np.testing.assert_allclose(model.predict(golden["ids"]), golden["outputs"], rtol=0, atol=1e-6)


def test_neither_keras_nor_a_backend_is_imported():
    code = (
        "import sys, lstmcore.convert as c; before = set(sys.modules); c.from_keras(sys.argv[1]);"
        "assert not {'keras', 'torch', 'tensorflow', 'jax'} & set(sys.modules), 'imported';"
        "assert 'h5py' not in before"
    )
    subprocess.run([sys.executable, "-c", code, str(GOLDEN)], check=True)


def test_file_becomes_a_model_file(tmp_path):
    model = from_keras(GOLDEN)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    ids = np.load(GOLDEN.with_suffix(".npz"))["ids"]
    np.testing.assert_array_equal(again.predict(ids), model.predict(ids))


def test_a_converted_model_can_be_trained(tmp_path):
    model = from_keras(GOLDEN)
    model.compile("adam", "sparse_categorical_crossentropy")
    ids = np.load(GOLDEN.with_suffix(".npz"))["ids"]
    before = model.evaluate(ids, np.array([0, 1, 0]), verbose=0)
    model.fit(ids, np.array([0, 1, 0]), epochs=30, verbose=0)
    assert model.evaluate(ids, np.array([0, 1, 0]), verbose=0) < before


def test_weights_alone(tmp_path):
    path = tmp_path / "model.weights.h5"
    with zipfile.ZipFile(GOLDEN) as archive:
        path.write_bytes(archive.read("model.weights.h5"))
    model = from_keras(GOLDEN)
    before = model.get_weights()
    model.set_weights([0 * value for value in before])
    load_keras_weights(model, path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    with pytest.raises(ValueError, match="use load_keras_weights"):
        from_keras(path)


def move(file, old, new):
    file[new] = file[old][()]
    del file[old]


CELL = "layers/rnn/cell/cells/lstm_cell_1/vars"


def wrong_tensors(file):
    move(file, "layers/dense/vars/1", "layers/dense/vars/2")
    bias = file[f"{CELL}/2"][()]
    del file[f"{CELL}/2"]
    file[f"{CELL}/2"] = bias[1:]


def test_every_wrong_tensor_is_named(tmp_path):
    path = changed(tmp_path / "a.keras", weights=wrong_tensors)
    with pytest.raises(ValueError, match="source: missing") as error:
        from_keras(path)
    for part in (
        "missing layers/dense/vars/1 (2,)",
        "unexpected layers/dense/vars/2 (2,)",
        f"{CELL}/2: expected shape (12,), got (11,)",
    ):
        assert part in str(error.value)


def replaced(address, make):
    def change(file):
        value = file[address][()]
        del file[address]
        file[address] = make(value)

    return change


def link(kind):
    def change(file):
        del file["layers/dense/vars/1"]
        target = "/layers/dense/vars/0"
        file["layers/dense/vars/1"] = (
            h5py.SoftLink(target) if kind == "soft" else h5py.ExternalLink("/other.h5", target)
        )

    return change


def outside(file):
    del file["layers/dense/vars/1"]
    file["layers/dense/vars"].create_dataset(
        "1", (2,), "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]
    )


DENSE = "layers/dense/vars/0"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (replaced(DENSE, lambda v: v.astype("f2")), TypeError, "float32 or float64, got float16"),
        (replaced(DENSE, lambda v: v.astype("f8")), TypeError, "expected tensors of one type"),
        (replaced(DENSE, lambda v: "text"), ValueError, f"{DENSE}: expected shape"),
        (link("soft"), ValueError, "layers/dense/vars/1 is a link"),
        (link("external"), ValueError, "layers/dense/vars/1 is a link"),
        (outside, ValueError, "layers/dense/vars/1 lies in another file"),
    ],
)
def test_wrong_weights(tmp_path, change, kind, message):
    with pytest.raises(kind, match=message):
        from_keras(changed(tmp_path / "a.keras", weights=change))


def test_byte_order_does_not_matter(tmp_path):
    path = changed(tmp_path / "a.keras", weights=replaced(DENSE, lambda v: v.astype(">f4")))
    for one, other in zip(
        from_keras(path).get_weights(), from_keras(GOLDEN).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other, strict=True)


def set_option(place, **options):
    def change(document):
        document["config"]["layers"][place]["config"].update(options)

    return change


def set_layer(place, **entries):
    def change(document):
        document["config"]["layers"][place].update(entries)

    return change


def nested(depth):
    def change(document):
        layer = document["config"]["layers"][6]
        for _ in range(depth):
            layer = {"module": "keras.layers", "class_name": "TimeDistributed"} | {
                "config": {"name": "t", "layer": layer}
            }
        document["config"]["layers"][6] = layer

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_option(6, quantization_config={"a": 1}), "Dense 'dense': has no counterpart for qu"),
        (set_option(6, units=0), "Dense 'dense': units: expected an integer of at least 1"),
        (set_option(6, units=10**15), "layers/dense/vars/0: expected shape"),
        (set_option(6, units="many"), "Dense 'dense': units: expected an integer"),
        (set_option(6, use_bias=3), "Dense 'dense': use_bias: expected True or False"),
        (set_option(6, name="a.b"), "without dots"),
        (set_option(6, name="optimizer"), "the name 'optimizer' is taken"),
        (set_option(2, layer=None), "Bidirectional 'bidirectional': expected the configuration"),
        (set_layer(6, class_name="Own", registered_name="my>Own"), "Own 'dense': a custom class"),
        (set_layer(6, module="elsewhere"), "Dense 'dense': a custom class"),
        (set_layer(6, config=None), "not one that Keras writes"),
        (lambda d: d["config"]["layers"][6].update(class_name=None), "has no counterpart"),
        (lambda d: d["config"].update(layers="text"), "a.keras: its configuration is not one that"),
        (lambda d: d["config"].update(layers=[1]), "a.keras: its configuration is not one that"),
        (lambda d: d["config"].update(layers=None), "no configuration of a Sequential"),
        (lambda d: d.update(class_name="Own"), "Own: expected a Sequential or a functional"),
        (lambda d: d.update(registered_name="my>Model"), "a custom class"),
        (lambda d: d["config"]["layers"].clear(), "the model is not built|at least one layer"),
        (set_option(0, batch_shape=None), "InputLayer.*expected batch_shape"),
        (set_option(0, ragged=True), "ragged=True has no counterpart"),
        (lambda d: [d], "config.json is not an object"),
        (nested(5), "inputs of shape"),
        (nested(400), "."),
    ],
)
def test_wrong_configuration(tmp_path, change, message):
    path = changed(tmp_path / "a.keras", config=change)
    with pytest.raises(ValueError, match=message):
        from_keras(path)


def test_wrong_files(tmp_path):
    with pytest.raises(ValueError, match="expected a file of Keras 2 or 3, got Keras '4.0.0'"):
        from_keras(changed(tmp_path / "a.keras", metadata=lambda d: {"keras_version": "4.0.0"}))
    with pytest.raises(ValueError, match="not a Keras model: no model.weights.h5"):
        from_keras(changed(tmp_path / "b.keras", leave_out=["model.weights.h5"]))
    (tmp_path / "c.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not a readable zip archive"):
        from_keras(tmp_path / "c.keras")
    (tmp_path / "d.weights.h5").write_bytes(b"no weights")
    model = from_keras(GOLDEN)
    with pytest.raises(ValueError, match="not an HDF5 file"):
        load_keras_weights(model, tmp_path / "d.weights.h5")
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "nothing.keras")
    with pytest.raises(FileNotFoundError):
        load_keras_weights(model, tmp_path / "nothing.weights.h5")
    cut = GOLDEN.read_bytes()
    (tmp_path / "e.keras").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ValueError, match="not a readable zip archive"):
        from_keras(tmp_path / "e.keras")


def of_method(archive, method):
    """Let an archive say that its entries are compressed in another way than they are."""
    content = bytearray(archive)
    for signature, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + offset : place + offset + 2] = method.to_bytes(2, "little")
            place = content.find(signature, place + 1)
    return bytes(content)


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_archives_of_other_methods_are_named(tmp_path, method):
    """12 is bzip2, which fails with an OSError that names nothing; 14 is LZMA."""
    path = tmp_path / "a.keras"
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with packed as archive, zipfile.ZipFile(GOLDEN) as golden:
        for name in golden.namelist():
            archive.writestr(name, golden.read(name))
    path.write_bytes(of_method(path.read_bytes(), method))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: not a readable zip archive"):
        from_keras(path)


def test_errors_of_a_disk_name_the_file(tmp_path, monkeypatch):
    def fail(self, *arguments):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "a.keras"
    path.write_bytes(GOLDEN.read_bytes())
    monkeypatch.setattr(zipfile.ZipFile, "read", fail)
    with pytest.raises(OSError, match=re.escape(str(path))) as caught:
        from_keras(path)
    assert caught.value.errno == errno.EIO
