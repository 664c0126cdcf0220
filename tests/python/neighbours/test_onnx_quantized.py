"""`lstmcore.onnx` on files with 8-bit weights, as ONNX Runtime's dynamic quantization makes."""

import os
import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import quantize_dynamic  # noqa: E402

import lstmcore as lc  # noqa: E402
from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import (  # noqa: E402
    EVERYTHING,
    C,
    H,
    lstm_case,
    lstm_model,
    make_model,
    recurrent_model,
    runtime,
    tensor,
    value,
    without_runtime,
)

QUANTIZED = "DynamicQuantizeLSTM"
CASES = {
    "plain": ({}, ("B",)),
    "everything": ({"direction": "bidirectional"}, EVERYTHING),
    "reverse": ({"direction": "reverse", "clip": 0.7}, EVERYTHING),
    "activations": ({"activations": ["HardSigmoid", "Softsign", "Relu"]}, ("B",)),
}


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("ERROR")  # quantize_dynamic advises to preprocess


def quantized(model, tmp_path, kinds=("LSTM",), per_channel=False):
    """Return what ONNX Runtime's tool makes of a float model."""
    before, after = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    onnx.save(model, before)
    quantize_dynamic(before, after, op_types_to_quantize=list(kinds), per_channel=per_channel)
    result = onnx.load(after)
    assert QUANTIZED in {node.op_type for node in result.graph.node}
    return result


def dequantized(model):
    """Replace the quantized nodes of a model by LSTMs with the weights that they stand for."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in plain.graph.initializer}
    for node in plain.graph.node:
        if node.op_type != QUANTIZED:
            continue
        for place, scale, zero in ((1, 8, 9), (2, 10, 11)):
            array, factor, offset = (arrays[node.input[k]] for k in (place, scale, zero))
            rows = [
                (array[d].astype(np.float32) - np.float32(offset[d])) * factor[d]
                for d in range(len(array))
            ]
            name = f"{node.input[place]}_float"
            plain.graph.initializer.append(tensor(name, np.stack(rows).swapaxes(1, 2)))
            node.input[place] = name
        del node.input[8:]
        node.op_type, node.domain = "LSTM", ""
    return plain


@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("case", CASES)
def test_the_quantized_node(case, per_channel, tmp_path):
    """Ours has the bits of an LSTM with the dequantized weights and the precision int8."""
    node, weights, inputs = lstm_case(*CASES[case])
    original = lstm_model(node, weights, inputs)
    model = quantized(original, tmp_path, per_channel=per_channel)
    loaded = lc_onnx.load(model, same_bits=True)
    assert [step.split(" '")[0] for step in loaded.steps] == [f"lstmcore: {QUANTIZED}"]
    found = loaded.run(inputs)
    lc.set_precision("int8")
    try:
        same = lc_onnx.load(dequantized(model), clip_output=False).run(inputs)
    finally:
        lc.set_precision("fp32")
    theirs, exact = runtime(model, inputs), runtime(original, inputs)
    for name, array in found.items():
        np.testing.assert_array_equal(array, same[name])
        # 8 bits of x and of h at each of 7 steps.
        np.testing.assert_allclose(array, theirs[name], atol=0.1)
        assert np.abs(array - exact[name]).max() < 0.08
    errors = [
        np.concatenate([np.abs(results[name] - exact[name]).ravel() for name in found]).mean()
        for results in (found, theirs)
    ]
    assert errors[0] < 1.25 * errors[1]


def node_by_hand(kind, zero):
    """Make a model of one quantized node with weights of either sign, one scale for a direction."""
    random = np.random.default_rng(1)
    low = 0 if kind is np.uint8 else -128
    weights = {
        "W": random.integers(low, low + 256, (2, C, 4 * H)).astype(kind),
        "R": random.integers(low, low + 256, (2, H, 4 * H)).astype(kind),
    }
    constants = [tensor(name, array, kind) for name, array in weights.items()]
    for name, factor in (("W", 0.004), ("R", 0.003)):
        constants.append(tensor(f"{name}s", [factor, factor * 2]))
        constants.append(tensor(f"{name}z", [zero, zero], kind))
    names = ["X", "W", "R", *[""] * 5, "Ws", "Wz", "Rs", "Rz"]
    node = helper.make_node(
        QUANTIZED,
        names,
        ["Y", "Y_h"],
        hidden_size=H,
        direction="bidirectional",
        domain="com.microsoft",
    )
    return node, constants


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 128), (np.uint8, 110), (np.int8, 0)])
def test_unsigned_weights_and_zero_points(kind, zero):
    node, constants = node_by_hand(kind, zero)
    model = make_model(
        [node],
        [value("X", (None, None, C))],
        [value("Y"), value("Y_h")],
        constants,
        domains=["com.microsoft"],
    )
    x = np.random.default_rng(0).normal(0, 1, (6, 4, C)).astype(np.float32)
    found, theirs = lc_onnx.load(model, same_bits=True).run({"X": x}), runtime(model, {"X": x})
    for name, array in found.items():
        assert array.shape == theirs[name].shape
        np.testing.assert_allclose(array, theirs[name], atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Ws": tensor("Ws", [1.0, 2.0, 3.0])}, r"W_scale: expected shape \(2,\) or \(2, 20\)"),
        ({"Rz": tensor("Rz", [0, 0, 0], np.int8)}, r"R_zero_point: expected shape"),
        ({"Rz": tensor("Rz", [0, 0], np.uint8)}, "R_zero_point: expected int8 like R, got uint8"),
        ({"W": tensor("W", np.ones((2, C, 4 * H)))}, "W: expected int8 or uint8 of shape"),
    ],
)
def test_wrong_weights(change, message):
    node, constants = node_by_hand(np.int8, 0)
    constants = [change.get(entry.name, entry) for entry in constants]
    model = make_model([node], ["X"], ["Y"], constants, domains=["com.microsoft"])
    with pytest.raises(ValueError, match=message):
        lc_onnx.load(model, same_bits=True)


def test_missing_scales():
    node, constants = node_by_hand(np.int8, 0)
    node.input[10] = ""
    model = make_model([node], ["X"], ["Y"], constants, domains=["com.microsoft"])
    with pytest.raises(
        ValueError, match=r"expected X, W, R and the scales .* at \[10\] are missing"
    ):
        lc_onnx.load(model, same_bits=True)


# ---- who runs it ---------------------------------------------------------------------------------

WITH_BYTES = ("amx", "avx512_vnni", "avx_vnni")


def test_the_processor_decides(tmp_path):
    """Where it has no products of bytes, ONNX Runtime runs the nodes, with its own bits."""
    node, weights, inputs = lstm_case(*CASES["plain"])
    model = quantized(lstm_model(node, weights, inputs), tmp_path)
    loaded = lc_onnx.load(model)
    here = lc.cpu_info().product_units["int8"] in WITH_BYTES
    assert loaded.steps[0].startswith("lstmcore: " if here else "ONNX Runtime: ")
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "inputs.npz", **inputs)
    program = (
        "import sys, numpy as np, lstmcore.onnx\n"
        "folder = sys.argv[1]\n"
        "model = lstmcore.onnx.load(folder + '/model.onnx')\n"
        "assert model.steps == ('ONNX Runtime: DynamicQuantizeLSTM',), model.steps\n"
        "same = lstmcore.onnx.load(folder + '/model.onnx', same_bits=True)\n"
        "assert same.steps[0].startswith('lstmcore: '), same.steps\n"
        "np.savez(folder + '/found.npz', **model.run(dict(np.load(folder + '/inputs.npz'))))\n"
    )
    poorest = {**os.environ, "LSTMCORE_ISA": lc.cpu_info().supported_isas[0]}
    poorest["OMP_NUM_THREADS"] = "1"  # ONNX Runtime has a scale for the rows of each thread
    subprocess.run([sys.executable, "-c", program, tmp_path], env=poorest, check=True)
    found = np.load(tmp_path / "found.npz")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for name, array in zip(found, session.run(list(found), inputs), strict=True):
        np.testing.assert_array_equal(found[name], array)


def test_a_left_node_beside_a_float_one(monkeypatch, tmp_path):
    """A file of both kinds is cut at the float node only."""
    monkeypatch.setattr("lstmcore.onnx.model.better_left", lambda: {f"com.microsoft.{QUANTIZED}"})
    node, weights, inputs = lstm_case(*CASES["plain"])
    model = quantized(lstm_model(node, weights, inputs), tmp_path)
    second = helper.make_node("LSTM", ["X", "w", "r"], ["again"], hidden_size=H)
    random = np.random.default_rng(2)
    model.graph.node.append(second)
    model.graph.initializer.append(tensor("w", random.normal(0, 0.5, (1, 4 * H, C))))
    model.graph.initializer.append(tensor("r", random.normal(0, 0.5, (1, 4 * H, H))))
    model.graph.output.append(value("again"))
    loaded = lc_onnx.load(model)
    assert [step.split(":")[0] for step in loaded.steps] == ["ONNX Runtime", "lstmcore"]
    found = loaded.run(inputs)
    for name, array in runtime(model, inputs).items():
        # Of the quantized node, ONNX Runtime's results depend on its number of threads.
        np.testing.assert_allclose(found[name], array, atol=1e-6 if name == "again" else 0.01)


# ---- whole files ---------------------------------------------------------------------------------


@pytest.fixture
def sequences():
    return np.random.default_rng(1).normal(0, 1, (6, 11, 3)).astype(np.float32)


@pytest.fixture
def whole(tmp_path):
    return quantized(recurrent_model(), tmp_path, ("Conv", "LSTM", "MatMul", "Gemm"))


def test_a_whole_file(whole, sequences):
    """Convolutions and matrix products between the recurrent nodes are quantized too."""
    kinds = {node.op_type for node in whole.graph.node}
    assert kinds >= {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", QUANTIZED}
    model = lc_onnx.load(whole, same_bits=True)
    assert "ConvInteger" in model.steps[0]
    assert sum(step.startswith("lstmcore: ") for step in model.steps) == 2
    found, theirs = model.run({"x": sequences}), runtime(whole, {"x": sequences})
    np.testing.assert_allclose(found["p"], theirs["p"], atol=0.05)
    exact = runtime(recurrent_model(), {"x": sequences})["p"]
    np.testing.assert_allclose(found["p"], exact, atol=0.05)


def test_a_whole_file_without_onnx_runtime(whole, sequences, monkeypatch):
    expected = lc_onnx.load(whole).run({"x": sequences})["p"]
    without_runtime(monkeypatch)
    model = lc_onnx.load(whole)
    assert not any(step.startswith("ONNX Runtime") for step in model.steps)
    np.testing.assert_allclose(model.run({"x": sequences})["p"], expected, atol=0.01)


def test_an_exported_model(tmp_path):
    model = lc.Sequential(
        [
            lc.layers.Input((None, 3)),
            lc.layers.Bidirectional(lc.layers.LSTM(16, return_sequences=True)),
            lc.layers.LSTM(8),
            lc.layers.Dense(2),
        ]
    )
    path = tmp_path / "model.onnx"
    lc_onnx.export(model, path)
    small = quantized(onnx.load(path), tmp_path, ("LSTM", "MatMul"))
    x = np.random.default_rng(0).normal(size=(4, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(lc_onnx.load(small)(x), model.predict(x), atol=0.05)
