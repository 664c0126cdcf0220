"""The predictions that the tests of the C interface and of examples/cpp/bmi expect are Python's."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import lstmcore as lc

GOLDEN = Path(__file__).parents[2] / "golden"
# Up to nine layers with large weights or of 8 bits, and possibly another instruction set.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maker", GOLDEN / "make_predictions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries() -> dict[str, str]:
    """Return the entries of predictions.txt by the name of the model file."""
    found: dict[str, list[str]] = {}
    for line in (GOLDEN / "predictions.txt").read_text(encoding="utf-8").splitlines():
        if ".safetensors" in line:
            name = line.split()[0]
            found[name] = []
        found[name].append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


@pytest.mark.parametrize("file", entries())
def test_ragged_predictions(maker, file):
    stored, computed = (text.split()[1:] for text in (entries()[file], maker.entry(file)))
    header = 2 + len(maker.LENGTHS) + 2
    assert stored[:header] == computed[:header]
    expected, y = (np.array(numbers[header:], float) for numbers in (stored, computed))
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE)


def test_every_layer_that_files_describe_is_among_them():
    classes = {
        layer.__class__.__name__ for file in entries() for layer in lc.load(GOLDEN / file).layers
    }
    assert classes >= {
        "Attention",
        "Bidirectional",
        "Conv1D",
        "Dense",
        "Dropout",
        "Embedding",
        "GlobalAveragePooling1D",
        "GlobalMaxPooling1D",
        "LSTM",
        "LayerNormalization",
        "MaxPooling1D",
        "RNN",
        "Residual",
        "TimeDistributed",
    }


def test_steps_of_a_stream(maker):
    x = np.loadtxt(GOLDEN / "stream_inputs.txt").astype(np.float32)
    np.testing.assert_array_equal(x, maker.example_input(1, maker.STEPS, 2)[0])
    model = lc.load(GOLDEN / "stream_model.safetensors")
    y = [model.predict(x[None, : t + 1], verbose=0)[0, 0] for t in range(len(x))]
    np.testing.assert_allclose(y, np.loadtxt(GOLDEN / "stream_steps.txt"), rtol=0, atol=1e-6)


def test_catchments():
    folder = GOLDEN / "catchments"
    model = lc.load(folder / "catchments.safetensors")
    attributes = np.loadtxt(
        folder / "attributes.csv", delimiter=",", skiprows=1, usecols=(3, 4), dtype=np.float32
    )
    count = len(attributes)
    forcings = np.loadtxt(folder / "forcings.txt", dtype=np.float32).reshape(-1, count, 3)
    static = np.broadcast_to(attributes, (len(forcings), count, 2))
    y = model.predict(np.concatenate([forcings, static], axis=2).swapaxes(0, 1), verbose=0)
    expected = np.loadtxt(folder / "outputs.txt").reshape(-1, count, 2).swapaxes(0, 1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
