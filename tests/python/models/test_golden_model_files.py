"""The model files that the C++ tests read agree with what this package writes and reads.

If ``test_same_description`` alone fails, because layers have new options, the old files can still
be read: run ``tests/golden/make_model_files.py``. If others fail, older files no longer load: see
``Stored::optional`` in ``cpp/src/api/cell_options.hpp``, and ``cpp/src/model_file/layer_*.cpp``.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.models import int8, model_file

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maker", GOLDEN / "make_model_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["features", "stack"])
def test_predictions(maker, name):
    model = lc.load(GOLDEN / f"{name}_model.safetensors")
    y = model.predict(maker.example_input(3, 6, 3), verbose=0)
    # Four layers with large weights, and possibly another instruction set.
    expected = np.loadtxt(GOLDEN / f"{name}_model.txt")
    np.testing.assert_allclose(y, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", ["attention", "additive"])
def test_predictions_with_attention(maker, name):
    model = lc.load(GOLDEN / f"{name}_model.safetensors")
    x = maker.example_input(3, 6, 3).astype(model.dtype)
    expected = np.loadtxt(GOLDEN / f"{name}_model.txt")
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=0, atol=1e-6)


def test_predictions_of_a_quantized_model(maker):
    model = lc.load(GOLDEN / "quantized_model.safetensors")
    y = model.predict(maker.example_ids(3, 6), verbose=0)
    expected = np.loadtxt(GOLDEN / "quantized_model.txt")
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5)


def test_the_discharge_of_a_catchment():
    """So the C++ example, which compares with the same table, finds an efficiency of 1."""
    model = lc.load(GOLDEN / "catchment.safetensors")
    columns = (1, 2, 4, 3)  # the weather, then the discharge
    table = np.loadtxt(GOLDEN / "catchment.csv", delimiter=",", skiprows=1, usecols=columns)
    y = model.predict(table[None, :, :3], verbose=0)[0]
    np.testing.assert_allclose(y, table[:, 3:], rtol=0, atol=1e-6)


def test_frozen_layers(maker):
    """Exactly the layers that were frozen in the saved model are frozen."""
    model = lc.load(GOLDEN / "frozen_model.safetensors")
    model._follow_trainable()
    parts = ("embedding.", "bidirectional.", "time_distributed.", "residual.0.")
    assert model.parameters.frozen == {
        name
        for name in model.weights
        if name.startswith(parts) or (name.startswith("rnn.") and name.endswith("_l0"))
    }


def test_same_rounding(maker):
    tensors, _ = model_file.read(GOLDEN / "rounding_model.safetensors")
    matrix = maker.awkward_matrix()
    numbers, scales = int8.encode("matrix", matrix, 0)
    np.testing.assert_array_equal(numbers, tensors["dense.kernel"])
    np.testing.assert_array_equal(scales, tensors["dense.kernel.scale"])


@pytest.mark.parametrize(
    "name",
    [
        "features",
        "text",
        "stream",
        "stack",
        "frozen",
        "attention",
        "additive",
        "quantized",
        "rounding",
    ],
)
def test_same_description(maker, name, tmp_path):
    fresh = getattr(maker, f"{name}_model")()
    fresh.save(tmp_path / "fresh.safetensors")
    documents = []
    for path in (GOLDEN / f"{name}_model.safetensors", tmp_path / "fresh.safetensors"):
        tensors, document = model_file.read(path)
        del document["lstmcore"]  # its version
        shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
        documents.append((document, shapes))
    assert documents[0] == documents[1]


ONLY_PYTHON = {
    "Activation",
    "Add",
    "Average",
    "AveragePooling1D",
    "BatchNormalization",
    "CRF",
    "Concatenate",
    "EALSTM",
    "Flatten",
    "GaussianNoise",
    "Masking",
    "Multiply",
    "Normalization",
    "Permute",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SimpleRNN",
    "SpatialDropout1D",
    "Subtract",
    "TiedDense",
}
"""Layers that the reader in C++, which has the same golden files, does not know."""


def test_all_layer_classes_are_in_a_golden_file():
    found = set()
    for path in GOLDEN.glob("*_model.safetensors"):
        _, document = model_file.read(path)
        pending = list(document["layers"])
        while pending:
            entry = pending.pop()
            found.add(entry["class"])
            for value in entry["config"].values():
                pending += [
                    part
                    for part in (value if isinstance(value, list) else [value])
                    if isinstance(part, dict) and "class" in part
                ]
    known = {
        name
        for name in lc.layers.__all__
        if isinstance(getattr(lc.layers, name), type) and name not in ("Layer", "Input")
    }
    assert known - ONLY_PYTHON == found - {"L2"}
