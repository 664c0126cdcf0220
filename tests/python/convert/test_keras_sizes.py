"""Small files of Keras that would take any amount of memory or time are refused."""

import io
import json
import zipfile

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

from keras2_kit import dense, first_shape, lstm, sequential, write  # noqa: E402
from lstmcore.convert import from_keras  # noqa: E402

GIB = 1 << 30


def archived(path, weights, config=b"{}", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


def hdf5(fill):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    return content.getvalue()


def model(path):
    rng = np.random.default_rng(0)
    layers = first_shape([lstm(rng, "lstm", 2, 2), dense(rng, "dense", 1, 2)], None, 2)
    return write(path, layers, sequential("model", layers).document)


def test_weights_that_grow_when_they_are_unpacked(tmp_path):
    path = archived(tmp_path / "a.keras", bytes(100 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(
        ValueError, match="model.weights.h5 would have 104857600 bytes, in a file of"
    ):
        from_keras(path)


def test_a_configuration_that_grows_when_it_is_unpacked(tmp_path):
    path = archived(tmp_path / "a.keras", b"", b"[" * (8 << 20))
    with pytest.raises(ValueError, match="config.json is larger than any configuration"):
        from_keras(path)


@pytest.mark.parametrize("options", [{}, {"chunks": (1 << 20,), "compression": "gzip"}])
def test_tensors_of_which_nothing_is_stored(tmp_path, options):
    path = model(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/lstm"].create_dataset("zeros", (GIB,), "f4", **options)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="its tensors would have 4294967"):
        from_keras(path)


def test_many_tensors_of_which_nothing_is_stored(tmp_path):
    path = model(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        for number in range(40):
            file["model_weights"].create_dataset(f"zeros{number}", (500_000,), "f4")
    with pytest.raises(ValueError, match="its tensors would have"):
        from_keras(path)


def test_groups_that_hold_themselves(tmp_path):
    path = model(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        group = file["model_weights/lstm"]
        group["again"] = group
        group["once_more"] = group
    with pytest.raises(ValueError, match="the group 'model_weights/lstm/again/' has another name"):
        from_keras(path)
    assert from_keras(model(tmp_path / "b.h5")).built


@pytest.mark.parametrize("name", ["model_config", "layer_names", "keras_version", "backend"])
def test_an_attribute_that_holds_nothing_is_named(tmp_path, name):
    path = model(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        holder = file if name in file.attrs else file["model_weights"]
        holder.attrs.create(name, h5py.Empty("S1"))
    with pytest.raises(ValueError, match=rf"a\.h5: its attribute '{name}' holds nothing"):
        from_keras(path)


def test_messages_do_not_repeat_what_a_file_says(tmp_path):
    config = {"class_name": "x" * 20_000, "config": {"layers": []}}
    path = archived(tmp_path / "a.keras", hdf5(lambda file: None), json.dumps(config).encode())
    with pytest.raises(ValueError, match=r"a\.keras: ") as caught:
        from_keras(path)
    assert len(str(caught.value)) < 1200 + len(str(path))
