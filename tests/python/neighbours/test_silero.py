"""Silero's voice activity detector compared with ONNX Runtime: its files, the example's model."""

import importlib.util
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
# Located without an import, which would need PyTorch and torchaudio.
SILERO = importlib.util.find_spec("silero_vad")
if SILERO is None:
    pytest.skip("silero-vad is not installed", allow_module_level=True)

from onnx import numpy_helper  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402

DATA = Path(SILERO.origin).parent / "data"
EXAMPLE = Path(__file__).parents[3] / "examples" / "python" / "voice_activity.py"
SEQUENCE = DATA / "silero_vad_16k_sequence.onnx"
TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(
    not EXAMPLE.exists(), reason="the example is only in the source tree"
)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("voice_activity", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def minute(example):
    """Return a minute of sound in chunks."""
    return example.chunks_of(example.make_recording(60, seed=3))


def session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def begin():
    return {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}


@pytest.fixture(scope="module")
def expected(minute):
    return session(SEQUENCE).run(None, {"input": minute, **begin()})


def test_a_sequence(minute, expected):
    found = lc_onnx.load(SEQUENCE, same_bits=True).run({"input": minute, **begin()})
    assert list(found) == ["speech_probs", "hn", "cn"]
    for result, reference in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(result, reference, atol=TOLERANCE)
    probability = found["speech_probs"]
    assert np.mean(probability > 0.9) > 0.3  # contains speech, and silence
    assert np.mean(probability < 0.1) > 0.1


def test_the_sequence_chunk_by_chunk(minute, expected):
    model = lc_onnx.load(SEQUENCE, same_bits=True)
    states, found = begin(), []
    for chunk in minute:
        results = model.run({"input": chunk[None], **states})
        found.append(results["speech_probs"][0])
        states = {"h": results["hn"], "c": results["cn"]}
    np.testing.assert_allclose(found, expected[0], atol=TOLERANCE)


@pytest.mark.parametrize(
    "name",
    [
        "silero_vad.onnx",
        "silero_vad_16k_op15.onnx",
        "silero_vad_half.onnx",
        "silero_vad_op18_ifless.onnx",
        "silero_vad_openvino_16k.onnx",
    ],
)
def test_models_with_branches(name, minute):
    """A minute, chunk by chunk; both runtimes carry their own states."""
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in this version of silero-vad")
    theirs, ours = session(DATA / name), lc_onnx.load(DATA / name, same_bits=True)
    state = np.zeros((2, 1, 128), np.float32)
    rate = {"sr": np.array(16000, np.int64)} if len(ours.inputs) == 3 else {}
    feeds = [{"input": minute[:1], "state": state, **rate} for _ in range(2)]
    for chunk in minute[:: 4 if len(rate) else 1]:
        for feed in feeds:
            feed["input"] = chunk[None]
        reference, feeds[0]["state"] = theirs.run(None, feeds[0])
        found = ours.run(feeds[1])
        feeds[1]["state"] = found["stateN"]
        np.testing.assert_allclose(found["output"], reference, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_op18_ifless.onnx"])
def test_the_other_sampling_rate(name):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in this version of silero-vad")
    random = np.random.default_rng(0)
    feed = {
        "input": random.normal(0, 0.1, (3, 288)).astype(np.float32),
        "state": random.normal(0, 0.1, (2, 3, 128)).astype(np.float32),
        "sr": np.array(8000, np.int64),
    }
    found = lc_onnx.load(DATA / name, same_bits=True).run(feed)
    for result, reference in zip(found.values(), session(DATA / name).run(None, feed), strict=True):
        np.testing.assert_allclose(result, reference, atol=TOLERANCE)


# ---- the example's model, made of lstmcore's layers ----------------------------------------------

GATES = [0, 2, 3, 1]  # indices of ONNX's i, o, f, c in the order i, f, g, o
BACK = [0, 3, 1, 2]
CONVOLUTIONS = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{
        f"encoder.{k}.{part}": f"conv{k + 1}.{part}"
        for k in range(4)
        for part in ("weight", "bias")
    },
    "output.weight": "final_conv.weight",
    "output.bias": "final_conv.bias",
}


def gates(array, order):
    return np.concatenate([np.split(array, 4)[place] for place in order])


def lstm_names(proto):
    (node,) = [node for node in proto.graph.node if node.op_type == "LSTM"]
    return list(node.input[1:4])


def weights_of(proto):
    """Return the weights of the ONNX file by the names that the safetensors file uses."""
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in proto.graph.initializer}
    weights = {own: arrays[name] for name, own in CONVOLUTIONS.items()}
    w, r, b = (arrays[name][0] for name in lstm_names(proto))
    for part, array in (
        ("weight_ih", w),
        ("weight_hh", r),
        ("bias_ih", b[:512]),
        ("bias_hh", b[512:]),
    ):
        weights[f"lstm_cell.{part}"] = gates(array, GATES)
    return weights


def with_weights(proto, weights):
    """Return the ONNX file with other weights, since those of the two files differ."""
    arrays = {name: weights[own] for name, own in CONVOLUTIONS.items()}
    cell = {name: gates(weights[f"lstm_cell.{name}"], BACK) for name in ("weight_ih", "weight_hh")}
    bias = [gates(weights[f"lstm_cell.{name}"], BACK) for name in ("bias_ih", "bias_hh")]
    values = [cell["weight_ih"], cell["weight_hh"], np.concatenate(bias)]
    arrays.update({name: v[None] for name, v in zip(lstm_names(proto), values, strict=True)})
    for entry in proto.graph.initializer:
        if entry.name in arrays:
            entry.CopyFrom(
                numpy_helper.from_array(np.ascontiguousarray(arrays[entry.name]), entry.name)
            )
    return proto.SerializeToString()


@pytest.fixture(scope="module", params=["of the ONNX file", "of the safetensors file"])
def own_and_reference(request, example, minute):
    proto = onnx.load(SEQUENCE)
    if request.param == "of the ONNX file":
        weights = weights_of(proto)
    else:
        weights = load_file(DATA / example.WEIGHTS)
    reference = session(with_weights(proto, weights))
    probability = reference.run(None, {"input": minute, **begin()})[0]
    return example.VoiceActivity(weights), probability


def test_own_model(example, own_and_reference):
    model, reference = own_and_reference
    probability = model(example.make_recording(60, seed=3))
    np.testing.assert_allclose(probability, reference, atol=TOLERANCE)
    assert np.mean(probability > 0.9) > 0.3


def test_own_model_chunk_by_chunk(example, own_and_reference, minute):
    model, reference = own_and_reference
    listener = example.Listener(model)
    heard, buffer = [], np.empty(example.CHUNK, np.float32)
    for chunk in minute[:600]:
        buffer[:] = chunk[example.CONTEXT :]  # like code that reads a microphone
        heard.append(listener.hear(buffer))
    np.testing.assert_allclose(heard, reference[:600], atol=TOLERANCE)


def test_the_example_from_a_file(example, tmp_path, monkeypatch, capsys):
    """The example reads a stereo WAV file and draws a well-formed picture."""
    recording = example.make_recording(6, seed=1)
    path, picture = tmp_path / "speech.wav", tmp_path / "picture.svg"
    with example.wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(example.RATE)
        file.writeframes(np.repeat((recording * 32767).astype("<i2"), 2).tobytes())
    np.testing.assert_allclose(example.read_recording(path), recording, atol=1e-4)
    monkeypatch.setattr("sys.argv", ["voice_activity.py", str(path), "--picture", str(picture)])
    example.main()
    assert "6.0 s of sound" in capsys.readouterr().out
    root = ET.parse(picture).getroot()
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}path")) > 4


def test_the_figures_of_the_gallery():
    program = runpy.run_path(str(EXAMPLE.parents[1] / "gallery" / "elsewhere" / "silero.py"))
    figures = program["run"](seed=3)
    assert set(figures) == set(program["MEASURES"])
    assert 0 < figures["difference from ONNX Runtime"] < TOLERANCE
    assert 0.3 < figures["speech, by our layers"] < 0.9
