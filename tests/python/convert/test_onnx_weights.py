"""Weights and options to and from ONNX's LSTM operator; the package onnx is not needed."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmcore import Activation, LSTMConfig
from lstmcore import functional as F
from lstmcore.convert import from_onnx, to_onnx
from lstmcore.convert.onnx import ACTIVATIONS, split_directions
from reference import activate, bounded, random_case, relative_error

H, C = 3, 2


def arrays(directions=1, hidden=H, width=C, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    shapes = {
        "W": (directions, 4 * hidden, width),
        "R": (directions, 4 * hidden, hidden),
        "B": (directions, 8 * hidden),
        "P": (directions, 3 * hidden),
    }
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


OWN_NAMES = {name: own for own, name in ACTIVATIONS.items()}


def operator(x, W, R, B, P, activations, clip, clip_output, reverse, input_forget):
    """Compute one direction with the standard's equations: x (T, C) to Y (T, H), in plain loops."""
    f, g = (lambda a, entry=entry: activate(entry, bounded(a, clip)) for entry in activations[:2])
    hidden = R.shape[1]
    Wb, Rb = np.split(B, 2)
    Pi, Po, Pf = np.split(P, 3)
    H_t, C_t = np.zeros(hidden), np.zeros(hidden)
    Y = np.zeros((len(x), hidden))
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        i, o, forget, c = np.split(W @ x[t] + R @ H_t + Wb + Rb, 4)
        i = f(i + Pi * C_t)
        forget = 1 - i if input_forget else f(forget + Pf * C_t)
        C_t = forget * C_t + i * g(c)
        H_t = f(o + Po * C_t) * activate(activations[2], bounded(C_t, clip if clip_output else 0.0))
        Y[t] = H_t
    return Y


def own_entry(name, alpha=0.0, beta=0.0):
    return OWN_NAMES[name], alpha, beta


NODES = {
    "plain": ({}, [("Sigmoid",), ("Tanh",), ("Tanh",)]),
    "clip": ({"clip": 0.4}, [("Sigmoid",), ("Tanh",), ("Tanh",)]),
    "clip of the gates": (
        {"clip": 0.4, "clip_output": False},
        [("Sigmoid",), ("Tanh",), ("Tanh",)],
    ),
    "coupled": ({"input_forget": 1, "clip": 0.7}, [("Sigmoid",), ("Tanh",), ("Tanh",)]),
    "coupled, hard": (
        {
            "input_forget": 1,
            "activations": ["HardSigmoid", "Tanh", "Softsign"],
            "activation_alpha": [0.3],
            "activation_beta": [0.5],
        },
        [("HardSigmoid", 0.3, 0.5), ("Tanh",), ("Softsign",)],
    ),
    "names in any case": (
        {"activations": ["hardsigmoid", "RELU", "softPlus"]},
        [("HardSigmoid", 0.2, 0.5), ("Relu",), ("Softplus",)],
    ),
    "default values": (
        {"activations": ["Sigmoid", "Affine", "LeakyRelu"]},
        [("Sigmoid",), ("Affine", 1.0, 0.0), ("LeakyRelu", 0.01)],
    ),
    "more default values": (
        {"activations": ["HardSigmoid", "ScaledTanh", "ThresholdedRelu"]},
        [("HardSigmoid", 0.2, 0.5), ("ScaledTanh", 1.0, 1.0), ("ThresholdedRelu", 1.0)],
    ),
    "values in order": (
        {
            "activations": ["HardSigmoid", "LeakyRelu", "ScaledTanh"],
            "activation_alpha": [0.1, 0.2, 0.9],
            "activation_beta": [0.4, 0.8],
        },
        [("HardSigmoid", 0.1, 0.4), ("LeakyRelu", 0.2), ("ScaledTanh", 0.9, 0.8)],
    ),
    "values that end early": (
        {
            "activations": ["HardSigmoid", "Elu", "ScaledTanh"],
            "activation_alpha": [0.1],
            "activation_beta": (),
        },
        [("HardSigmoid", 0.1, 0.5), ("Elu", 1.0), ("ScaledTanh", 1.0, 1.0)],
    ),
}


@pytest.mark.parametrize(("clip_output", "output"), [(True, 0.5), (False, 1.5)])
def test_clip_bounds_what_the_output_is_computed_from(clip_output, output):
    """With zero weights, c falls from 3 to 1.5, which the next step sees, and o is 0.5."""
    zeros = {"W": np.zeros((1, 4, 1)), "R": np.zeros((1, 4, 1))}
    weights, config = from_onnx(**zeros, hidden_size=1, clip=0.5, clip_output=clip_output)
    y, state = F.lstm(
        np.ones((1, 1, 1)), weights, config, state=(np.zeros((1, 1, 1)), np.full((1, 1, 1), 3.0))
    )
    assert y.item() == pytest.approx(0.5 * np.tanh(output), rel=1e-14)
    assert state.c.item() == 1.5


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("name", NODES)
def test_operator(name, direction):
    attributes, activations = NODES[name]
    given = arrays(dtype=np.float64)
    weights, config = from_onnx(**given, hidden_size=H, direction=direction, **attributes)
    x = np.random.default_rng(1).normal(size=(6, C))
    expected = operator(
        x,
        *(given[part][0] for part in "WRBP"),
        [own_entry(*entry) for entry in activations],
        attributes.get("clip", 0.0),
        attributes.get("clip_output", True),
        direction == "reverse",
        attributes.get("input_forget", 0),
    )
    y, _ = F.lstm(x[None], weights, config)
    assert relative_error(y[0], expected) < 1e-13
    assert all(array.dtype == np.float64 for array in weights.values())
    assert list(weights) == list(config.parameter_shapes())


def test_directions_side_by_side():
    given = arrays(2)
    weights, config = from_onnx(**given, hidden_size=H, direction="bidirectional")
    assert config == LSTMConfig(C, H, bidirectional=True, peephole=True)
    x = np.random.default_rng(1).normal(size=(2, 5, C)).astype(np.float32)
    y, _ = F.lstm(x, weights, config)
    for place, direction in enumerate(["forward", "reverse"]):
        one = {name: array[place : place + 1] for name, array in given.items()}
        part, _ = F.lstm(x, *from_onnx(**one, hidden_size=H, direction=direction))
        np.testing.assert_array_equal(y[..., place * H : (place + 1) * H], part)


def test_directions_that_differ():
    given = arrays(2, dtype=np.float64)
    options = {
        "activations": ["Sigmoid", "LeakyRelu", "Tanh", "HardSigmoid", "Tanh", "ScaledTanh"],
        "activation_alpha": [0.1, 0.3, 0.9],
        "activation_beta": [0.4, 1.1],
        "clip": 0.8,
        "hidden_size": H,
    }
    message = r"both directions, got sigmoid, leaky_relu\(0.1\), tanh and hard_sigmoid\(0.3, 0.4\)"
    with pytest.raises(ValueError, match=f"^activations: .*{message}.*split_directions"):
        from_onnx(**given, direction="bidirectional", **options)
    ahead, back = (from_onnx(**part) for part in split_directions(**given, **options))
    assert (ahead[1].go_backwards, back[1].go_backwards) == (False, True)
    assert ahead[1].cell_activation == Activation("leaky_relu", 0.1, 0.0)
    assert back[1].gate_activation == Activation("hard_sigmoid", 0.3, 0.4)
    assert back[1].output_activation == Activation("scaled_tanh", 0.9, 1.1)
    assert ahead[1].gate_clip == back[1].gate_clip == 0.8
    assert ahead[1].output_clip == back[1].output_clip == 0.8
    gates = [from_onnx(**part) for part in split_directions(**given, **options, clip_output=False)]
    assert [(config.gate_clip, config.output_clip) for _, config in gates] == [(0.8, 0.0)] * 2
    for place, (weights, _) in enumerate((ahead, back)):
        np.testing.assert_array_equal(
            weights["peephole_l0"].reshape(3, H), given["P"][place].reshape(3, H)[[0, 2, 1]]
        )


def test_halves_of_the_bias_keep_their_bits():
    given = arrays()
    first = given["B"][0, : 4 * H]
    first[0] = -0.0
    second = np.zeros(4 * H, np.float32)
    i, o, f, c = np.split(first, 4)
    expected = np.concatenate([i, f, c, o]).tobytes()
    for halves in ([first, second], [first, -second]):
        given["B"] = np.concatenate(halves)[None]
        weights, _ = from_onnx(**given, hidden_size=H)
        assert weights["bias_l0"].tobytes() == expected
    for halves in ([second, first], [first, 0.1 + first]):
        given["B"] = np.concatenate(halves)[None].astype(np.float32)
        weights, _ = from_onnx(**given, hidden_size=H)
        i, o, f, c = np.split(np.add(*np.split(given["B"][0], 2)), 4)
        np.testing.assert_array_equal(weights["bias_l0"], np.concatenate([i, f, c, o]))


@st.composite
def configs(draw):
    gate = draw(st.sampled_from(["sigmoid", "hard_sigmoid", Activation("affine", 0.3, 0.5)]))
    direction = draw(st.sampled_from(["forward", "reverse", "both"]))
    bound = draw(st.sampled_from([0.0, 0.5]))
    return LSTMConfig(
        draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
        num_layers=draw(st.integers(1, 3)),
        bidirectional=direction == "both",
        go_backwards=direction == "reverse",
        bias=draw(st.booleans()),
        peephole=draw(st.booleans()),
        coupled_gates=draw(st.booleans()),
        gate_activation=gate,
        cell_activation=draw(st.sampled_from(["tanh", "relu", Activation("elu", 0.3)])),
        output_activation=draw(st.sampled_from(["tanh", Activation("scaled_tanh", 1.5, 0.6)])),
        gate_clip=bound,
        output_clip=bound,
        dropout=0.1,
        recurrent_dropout=0.2,
        weight_dropout=0.1,
    )


@given(configs(), st.sampled_from([np.float32, np.float64]))
def test_round_trip_keeps_every_bit(config, dtype):
    _, weights, _ = random_case(config, 1, 1, dtype)
    for layer in range(config.num_layers):
        node = to_onnx(weights, config, layer)
        back, one = from_onnx(**node)
        assert one.num_layers == 1
        for option in ("bidirectional", "go_backwards", "bias", "peephole", "coupled_gates"):
            assert getattr(one, option) == getattr(config, option)
        assert one.gate_activation == config.gate_activation
        for name, array in back.items():
            assert array.dtype == dtype
            assert array.tobytes() == weights[name.replace("_l0", f"_l{layer}")].tobytes()
        again = to_onnx(back, one)
        for name, value in node.items():
            np.testing.assert_array_equal(again[name], value)


def test_inputs_and_attributes_of_a_node():
    config = LSTMConfig(C, H, cell_activation="linear", gate_activation="hard_sigmoid")
    _, weights, _ = random_case(config, 1, 1, np.float32)
    node = to_onnx(weights, config)
    assert node.pop("W").shape == (1, 4 * H, C)
    assert node.pop("R").shape == (1, 4 * H, H)
    B = node.pop("B")
    assert B.shape == (1, 8 * H)
    assert not B[:, 4 * H :].any()
    assert node == {
        "P": None,
        "hidden_size": H,
        "direction": "forward",
        "activations": ["HardSigmoid", "Affine", "Tanh"],
        "activation_alpha": [0.2, 1.0],
        "activation_beta": [0.5, 0.0],
        "clip": None,
        "input_forget": 0,
    }


BAD_NODES = {
    "W: expected shape (1, 12, C)": {"W": np.zeros((1, 11, C), np.float32)},
    "W: expected shape (2, 12, C)": {"direction": "bidirectional"},
    "W: expected float32 or float64, got int64": {"W": np.zeros((1, 12, C), int)},
    "R: expected shape (1, 12, 3), got (1, 12, 2)": {"R": np.zeros((1, 12, 2), np.float32)},
    "R: expected float32, got float64": {"R": np.zeros((1, 12, 3))},
    "R: expected an array, got None": {"R": None},
    "B: expected shape (1, 24), got (1, 12)": {"B": np.zeros((1, 12), np.float32)},
    "P: expected shape (1, 9), got (9,)": {"P": np.zeros(9, np.float32)},
    "hidden_size: expected an integer, got 3.0": {"hidden_size": 3.0},
    "hidden_size: expected an integer of at least 1": {"hidden_size": 0},
    "direction: expected one of 'forward'": {"direction": "backward"},
    "activations: expected 3 names": {"activations": ["Tanh"]},
    "activations: expected a list of names": {"activations": "Tanh"},
    "activations: expected names, got 3": {"activations": ["Tanh", 3, "Tanh"]},
    "activations: expected some of Sigmoid": {"activations": ["Tanh", "Gelu", "Tanh"]},
    "activation_alpha: expected a list": {"activation_alpha": 0.1},
    "activation_alpha: expected a number": {
        "activations": ["HardSigmoid", "Tanh", "Tanh"],
        "activation_alpha": ["much"],
    },
    "activations: expected an alpha of at least 0, got -1": {
        "activations": ["Sigmoid", "LeakyRelu", "Tanh"],
        "activation_alpha": [-1.0],
    },
    "clip: expected a number in (0, inf)": {"clip": 0.0},
    "clip_output: expected True or False": {"clip_output": 1},
    "input_forget: expected 0 or 1": {"input_forget": 2},
    "input_forget: ONNX couples": {
        "input_forget": 1,
        "activations": ["Tanh", "Tanh", "Tanh"],
    },
}


@pytest.mark.parametrize("message", BAD_NODES)
def test_bad_nodes(message):
    given = {**arrays(), "hidden_size": H, **BAD_NODES[message]}
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
        from_onnx(**given)


def test_bad_weights():
    config = LSTMConfig(C, H, num_layers=2)
    _, weights, _ = random_case(config, 1, 1, np.float32)
    changes = {
        "weights: missing: bias_l1": {"bias_l1": None},
        "weights: unknown: peephole_l0, more": {"peephole_l0": np.zeros(9), "more": 1},
        "weight_hh_l1: expected shape (12, 3), got (3, 12)": {
            "weight_hh_l1": np.zeros((3, 12), np.float32)
        },
        "bias_l0: expected float32, got float64": {"bias_l0": np.zeros(12)},
        "weight_ih_l0: expected float32 or float64, got int8": {
            "weight_ih_l0": np.zeros((12, 2), np.int8)
        },
        "bias_l0: expected numbers that float32 can hold, got [1000": {"bias_l0": [10**400]},
    }
    for message, change in changes.items():
        given = {name: value for name, value in {**weights, **change}.items() if value is not None}
        with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
            to_onnx(given, config)
    with pytest.raises(TypeError, match="^weights: expected a mapping"):
        to_onnx(list(weights.values()), config)
    with pytest.raises(TypeError, match="^config: "):
        to_onnx(weights, {"hidden_size": 3})
    for layer in (-1, 2):
        with pytest.raises(ValueError, match=rf"^layer: .*got {layer}"):
            to_onnx(weights, config, layer)


@pytest.mark.parametrize(
    "options",
    [
        {"cell_clip": 1.0},
        {"output_clip": 1.0},
        {"output_clip": 0.5, "gate_clip": 1.0},
        {"output_clip": 0.0, "gate_clip": 1.0},
        {"zoneout_h": 0.1},
        {"zoneout_c": 0.1},
        {"proj_size": 2},
        {"layer_norm": True},
        {"cell_activation": "fast_tanh"},
        {"gate_activation": "fast_sigmoid", "coupled_gates": True},
        {"coupled_gates": True, "gate_activation": "tanh"},
        {"coupled_gates": True, "gate_activation": Activation("hard_sigmoid", 0.2, 0.4)},
    ],
)
def test_options_that_onnx_lacks(options):
    config = LSTMConfig(C, H, **options)
    _, weights, _ = random_case(config, 1, 1, np.float32)
    with pytest.raises(ValueError, match=f"^{next(iter(options))}: ONNX"):
        to_onnx(weights, config)
