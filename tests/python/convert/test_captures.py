"""Captures of amplifiers, written here in each format, play as a slow loop in float64 does."""

import copy
import json

import numpy as np
import pytest

import lstmcore as lc
from capture_kit import RATES, RNG, Network, X
from lstmcore.convert import Capture, CaptureStream, load_capture
from lstmcore.stream import LSTMStream


@pytest.fixture
def load(tmp_path):
    def loaded(document, name="Verstärker 音.json"):
        path = tmp_path / name
        path.write_text(json.dumps(document), encoding="utf-8")
        return load_capture(path)

    return loaded


def close(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-6 * np.abs(expected).max())


@pytest.mark.parametrize("layers", [1, 2])
def test_neural_amp_modeler_with_its_first_state(load, layers):
    network = Network(layers, stored_state=True)
    capture = load(network.nam())
    close(capture.play(X), network.play(X))
    assert (capture.format, capture.name, capture.sample_rate) == ("nam", "Röhre", 48000.0)
    assert (capture.loudness, capture.input_level, capture.output_level) == (-20.5, None, None)
    assert not capture.skip
    assert (capture.input_gain, capture.output_gain, capture.controls) == (1.0, 1.0, 0)
    assert [state.h.shape for state in capture.states()] == [(1, 1, 6)] * layers
    assert (capture.states()[0].c[0, 0] == network.cells[0]["c"]).all()
    assert "lstm(6), " in repr(capture)


def test_rtneural_with_skip_gains_and_controls(load):
    network = Network(2, inputs=3)
    capture = load(network.rtneural(skip=1, decibels=(6.0, -12.0)))
    gains = (10 ** (6 / 20), 10 ** (-12 / 20))
    close(capture.play(X, 0.3, 0.7), network.play(X, 0.3, 0.7, skip=1, gains=gains))
    assert (capture.format, capture.sample_rate, capture.controls) == ("rtneural", 44100.0, 2)
    assert capture.input_gain == pytest.approx(gains[0])
    stream = capture.stream()
    stream.set_control(1, 0.7)
    stream.set_control(0, 0.3)
    close(stream.process(X), network.play(X, 0.3, 0.7, skip=1, gains=gains))


@pytest.mark.parametrize("skip", [0, 1])
def test_state_dict_with_and_without_skip(load, skip):
    network = Network(2)
    document = network.state_dict(skip)
    capture = load(document)
    close(capture.play(X), network.play(X, skip=skip))
    assert (capture.format, capture.sample_rate, capture.skip) == ("state_dict", None, bool(skip))
    close(load(document["state_dict"]).play(X), network.play(X))  # alone, as RTNeural's exports


def test_blocks_do_not_change_bits(load):
    capture = load(Network(stored_state=True).nam())
    whole = capture.play(X)
    for size in (1, 7, 64):
        stream = CaptureStream(capture)
        parts = [stream.process(X[at : at + size]) for at in range(0, len(X), size)]
        assert (np.concatenate(parts) == whole).all()
        assert not (stream.process(X) == whole).all()
        stream.reset()
        assert (stream.process(X) == whole).all()


def test_settle_plays_silence(load):
    capture = load(Network(stored_state=True).nam())
    settled, played = capture.stream(), capture.stream()
    settled.settle(500)
    played.process(np.zeros(500, np.float32))
    assert (settled.process(X) == played.process(X)).all()


def test_other_forms_of_samples(load):
    capture = load(Network().nam())
    assert capture.play(X[:0]).shape == (0,)
    assert (capture.play(np.repeat(X, 2)[::2]) == capture.play(X)).all()  # not contiguous
    assert (capture.play(memoryview(X)) == capture.play(X)).all()
    with pytest.raises(TypeError, match="x: expected dtype float32"):
        capture.play(X.astype(np.float64))
    with pytest.raises(ValueError, match=r"x: expected shape .*, got \(1, 300\)"):
        capture.play(X[None])


@pytest.mark.parametrize("form", ["nam", "rtneural", "state_dict"])
def test_model_of_the_same_layers(load, form, tmp_path):
    network = Network(2)
    document = getattr(network, form)()
    if form == "state_dict":
        document["model_data"]["skip"] = 1
    capture = load(document)
    model = capture.model()
    y = model.predict(X[None, :, None], verbose=0)[0, :, 0]
    close(y, network.play(X, skip=int(capture.skip)))
    model.save(tmp_path / "Röhre 音.safetensors")
    again = lc.load(tmp_path / "Röhre 音.safetensors")
    assert (again.predict(X[None, :, None], verbose=0)[0, :, 0] == y).all()


def test_model_of_other_activations_and_widths(load):
    document = Network().rtneural()
    dense = {
        "type": "time-distributed-dense",
        "activation": "relu",
        "shape": [None, 4],
        "weights": [RNG.normal(size=(6, 4)).tolist(), RNG.normal(size=4).tolist()],
    }
    last = {
        "type": "dense",
        "shape": [None, 1],
        "weights": [RNG.normal(size=(4, 1)).tolist(), [0.5]],
    }
    document["layers"][1:] = [dense, last, {"type": "activation", "activation": "sigmoid"}]
    capture = load(document)
    y = capture.model().predict(X[None, :, None], verbose=0)[0, :, 0]
    close(capture.play(X), y.astype(np.float64))


def test_states_are_those_of_a_stream(load):
    network = Network(stored_state=True)
    capture = load(network.nam())
    arrays = capture._capture.layers[0][1]
    weights = {name: arrays[name] for name in ("weight_ih_l0", "weight_hh_l0", "bias_l0")}
    stream = LSTMStream(weights, lc.LSTMConfig(input_size=1, hidden_size=6))
    stream.state = capture.states()[0]
    h = stream.step(X[:1])
    close(np.array([h @ network.head + network.head_bias], np.float32), network.play(X[:1]))


def changed(document, path, value):
    """Return a copy of the document with one entry replaced; `...` removes it."""
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


REFUSED = [
    ("nam", ["architecture"], "WaveNet", 'architecture: expected LSTM, .* got "WaveNet"'),
    ("nam", ["version"], "0.4.9", "version: expected one that begins with 0.5"),
    ("nam", ["config", "hidden_size"], 7, "weights: expected 274 numbers"),
    ("nam", ["config", "num_layers"], 0, "num_layers: expected an integer from 1"),
    ("nam", ["config", "num_layers"], ..., "config: missing num_layers"),
    ("nam", ["config", "gated"], True, "config: unknown gated"),
    ("nam", ["weights", 3], "1", "weights: number 3: expected a number"),
    ("nam", ["weights", 3], 1e300, "number 3: expected a number that a float can hold"),
    ("nam", ["weights"], ..., "missing weights"),
    ("rtneural", ["layers", 0, "type"], "gru", 'layer 0: expected lstm.* as type, got "gru"'),
    ("rtneural", ["layers", 0, "activation"], "relu", "expected tanh or .* of an LSTM"),
    ("rtneural", ["layers", 1, "activation"], "elu", 'as activation, got "elu"'),
    ("rtneural", ["layers", 0, "weights"], [], "expected 3 arrays as weights, got 0"),
    ("rtneural", ["layers", 0, "shape"], [], "expected a size at the end of shape"),
    ("rtneural", ["layers", 0, "weights", 1, 2], [1.0], "row 2: expected 24 numbers, got 1"),
    ("rtneural", ["layers", 1], ..., "expected one output, the sample, got 6"),
    ("rtneural", ["layers", 0], ..., "kernel: expected 1 rows, got 6"),
    ("rtneural", ["in_shape"], [None, 2], "kernel: expected 2 rows, got 1"),
    ("rtneural", ["in_skip"], 2, "in_skip: expected 0 or 1"),
    ("rtneural", ["out_gain"], "loud", "out_gain: expected a number, got a string"),
    ("rtneural", ["in_gain"], 1e30, "in_gain: expected at most 770 dB"),
    ("rtneural", ["in_skip"], "yes", "in_skip: expected 0 or 1, got a string"),
    ("rtneural", ["layers", 1, "activation"], 5, "expected a string as activation, got an integer"),
    ("state_dict", ["model_data", "unit_type"], "GRU", 'got "GRU"'),
    ("state_dict", ["model_data", "model"], "WaveNet1", 'got "WaveNet1"'),
    ("state_dict", ["model_data", "hidden_size"], 5, "hidden_size is 5, but the tensors have 6"),
    ("state_dict", ["state_dict", "lin.weight"], ..., "expected one tensor ...weight, got 0"),
    ("state_dict", ["state_dict", "rec.weight_hr_l0"], [], "got also rec.weight_hr_l0"),
    ("state_dict", ["state_dict", "rec.bias_hh_l0"], ..., "missing rec.bias_hh_l0"),
]


@pytest.mark.parametrize(
    ("note", "rate"),
    [
        ("48000", 48000.0),
        ("44100.0", 44100.0),
        *((note, None) for note in ("48 kHz", "", -1, 0, True, [], {}, None)),
    ],
)
@pytest.mark.parametrize("form", ["nam", "rtneural", "state_dict"])
def test_no_note_about_the_rate_makes_a_capture_unplayable(load, form, note, rate):
    network = Network()
    capture = load(getattr(network, form)() | {RATES[form]: note})
    assert capture.sample_rate == rate
    close(capture.play(X), network.play(X, skip=int(capture.skip)))


def test_the_rate_as_a_string_in_the_metadata(load):
    document = Network().rtneural()
    del document["samplerate"]
    assert load(document | {"metadata": {"samplerate": "48000"}}).sample_rate == 48000.0


def test_levels_that_are_no_numbers(load):
    document = Network().nam()
    document["metadata"] |= {"loudness": "-17.5", "input_level_dbu": "high"}
    capture = load(document)
    assert (capture.loudness, capture.input_level) == (-17.5, None)


@pytest.mark.parametrize("skip", [1, 1.0, True, 0, 0.0, False])
def test_skip_is_any_kind_of_zero_or_one(load, skip):
    network = Network()
    for document in (network.rtneural(skip), network.state_dict(skip)):
        assert load(document).skip is bool(skip)


def test_a_byte_order_mark_is_skipped(tmp_path):
    network = Network()
    path = tmp_path / "x.nam"
    path.write_text(json.dumps(network.nam()), encoding="utf-8-sig")
    close(load_capture(path).play(X), network.play(X))


@pytest.mark.parametrize(("form", "path", "value", "message"), REFUSED)
def test_what_is_wrong_is_named(load, form, path, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(changed(getattr(Network(), form)(), path, value))
    assert "Verstärker 音.json: " in str(caught.value)


def test_files_that_are_no_captures(load, tmp_path):
    for document in ([], 3, {}, {"weights": [1]}):
        with pytest.raises(ValueError, match="expected a"):
            load(document)
    path = tmp_path / "x.nam"
    whole = json.dumps(Network(units=1).nam()).encode()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not valid JSON"):
            load_capture(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_capture(path)
    path.write_bytes(b" " * (2**24 + 1))
    with pytest.raises(ValueError, match=r"x.nam: expected a capture, of at most 16777216 bytes"):
        load_capture(path)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        load_capture(path)
    with pytest.raises(FileNotFoundError):
        load_capture(tmp_path / "none.nam")
    with pytest.raises(TypeError, match="path: expected a path, got 3"):
        load_capture(3)


def test_wrong_arguments(load):
    capture = load(Network(inputs=2).rtneural(skip=1))
    with pytest.raises(ValueError, match="controls: expected 1 values"):
        capture.play(X)
    with pytest.raises(ValueError, match="without controls"):
        capture.model()
    stream = capture.stream()
    with pytest.raises(ValueError, match="index: expected a control below 1, got 1"):
        stream.set_control(1, 0.5)
    with pytest.raises(TypeError, match="value"):
        stream.set_control(0, "much")
    with pytest.raises(ValueError, match="count: expected at least 0"):
        stream.settle(-1)
    with pytest.raises(TypeError, match="capture: expected a Capture"):
        CaptureStream(load)
    with pytest.raises(TypeError, match="capture: expected what load_capture read"):
        Capture({})
