"""Small calls of `lstmcore.onnx`, which ONNX Runtime runs without leaving it."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx import whole  # noqa: E402
from onnx_kit import make_model, op, recurrent_model, runtime, tensor, value  # noqa: E402

RANDOM = np.random.default_rng(1)
ONE = RANDOM.normal(0, 1, (1, 1, 3)).astype(np.float32)
MANY = RANDOM.normal(0, 1, (200, 500, 3)).astype(np.float32)


def test_a_small_call_has_the_bits_of_onnx_runtime():
    """Also in its first run, which finds out that it is small."""
    model = lc_onnx.load(recurrent_model())
    expected = runtime(recurrent_model(), {"x": ONE})
    for _ in range(3):
        found = model.run({"x": ONE})
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_large_call_has_the_bits_of_the_engine():
    model, divided = (lc_onnx.load(recurrent_model(), same_bits=same) for same in (False, True))
    expected = divided.run({"x": MANY})
    for _ in range(2):
        np.testing.assert_array_equal(model.run({"x": MANY})["p"], expected["p"])


def test_same_bits(monkeypatch):
    """With the option, no call stays whole."""
    monkeypatch.setattr(whole.Whole, "run", None)
    model = lc_onnx.load(recurrent_model(), same_bits=True)
    np.testing.assert_allclose(
        model.run({"x": ONE})["p"], runtime(recurrent_model(), {"x": ONE})["p"], rtol=1e-5
    )


def test_the_model_that_was_passed_may_change():
    own = recurrent_model()
    model = lc_onnx.load(own)
    own.graph.ClearField("node")
    expected = runtime(recurrent_model(), {"x": ONE})["p"]
    np.testing.assert_array_equal(model.run({"x": ONE})["p"], expected)


def test_shapes_are_remembered_one_by_one(monkeypatch):
    monkeypatch.setattr(whole, "MOST", 3)
    model = lc_onnx.load(recurrent_model())
    for steps in (*range(1, 9), 1, 2):
        x = RANDOM.normal(0, 1, (2, steps, 3)).astype(np.float32)
        expected = runtime(recurrent_model(), {"x": x})
        np.testing.assert_array_equal(model.run({"x": x})["p"], expected["p"])


def test_errors_of_a_small_call():
    """They are those of the divided model, also after calls that stayed whole."""
    model = lc_onnx.load(recurrent_model())
    model.run({"x": ONE})
    wrong = {
        "x: expected dtype float32, got float64": {"x": ONE.astype(np.float64)},
        "x: expected a NumPy array, got list": {"x": ONE.tolist()},
        "x: expected a NumPy array, got MaskedArray": {"x": np.ma.masked_array(ONE)},
        "inputs: expected a mapping": ONE,
    }
    for message, inputs in wrong.items():
        with pytest.raises(TypeError, match=message):
            model.run(inputs)
    for message, inputs in {
        "x: expected shape": {"x": ONE[..., :2]},
        "inputs: missing: x": {},
        "also got z": {"x": ONE, "z": ONE},
    }.items():
        with pytest.raises(ValueError, match=message):
            model.run(inputs)


@pytest.mark.parametrize("kind", ["clip", "lengths"])
def test_nodes_that_onnx_runtime_computes_otherwise_never_stay(kind):
    """Of a row without steps, ONNX Runtime returns zeros; the engine its initial state."""
    weights = [
        tensor("w", RANDOM.normal(0, 0.5, (1, 8, 3))),
        tensor("r", RANDOM.normal(0, 0.5, (1, 8, 2))),
    ]
    inputs = ["x", "w", "r", "", "n" if kind == "lengths" else "", "h"]
    options = {"clip": 0.5} if kind == "clip" else {}
    nodes = [
        op("LSTM", inputs, ["", "hn"], hidden_size=2, **options),
        op("Exp", ["hn"], "y"),
    ]
    given = [value("x", ("t", 1, 3)), value("h", (1, 1, 2)), value("n", (1,), 6)]
    model = make_model(nodes, given, [value("y")], weights)
    assert not whole.may_stay_whole(model, 17)
    h = np.full((1, 1, 2), 0.25, np.float32)
    found = lc_onnx.load(model).run({"x": ONE, "h": h, "n": np.zeros(1, np.int32)})["y"]
    if kind == "lengths":
        np.testing.assert_allclose(found, np.exp(h), rtol=1e-6)
