"""Parity of the cell's variants with frameworks that have them: ONNX Runtime, Keras, PyTorch.

Each part is skipped if its framework is not installed.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig
from lstmcore.convert import to_onnx
from reference import random_case, relative_error

BATCH, STEPS = 5, 12

# ---- ONNX Runtime ------------------------------------------------------------------------------

ONNX_CASES = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "reversed": {"go_backwards": True},
    "peephole": {"peephole": True, "bidirectional": True},
    "coupled gates": {"coupled_gates": True, "peephole": True, "gate_clip": 0.3},
    "clip": {"gate_clip": 0.3, "peephole": True},
    "hard sigmoid, softsign": {
        "gate_activation": Activation("hard_sigmoid", 0.3, 0.4),
        "cell_activation": "softsign",
        "output_activation": "softsign",
    },
    "affine, elu": {
        "gate_activation": Activation("affine", 0.2, 0.5),
        "cell_activation": Activation("elu", 0.7),
        "output_activation": "tanh",
    },
    "leaky relu, scaled tanh": {
        "cell_activation": Activation("leaky_relu", 0.1),
        "output_activation": Activation("scaled_tanh", 1.2, 0.7),
    },
    "thresholded relu, softplus": {
        "cell_activation": Activation("thresholded_relu", 0.1),
        "output_activation": "softplus",
    },
    "relu": {"cell_activation": "relu", "output_activation": "relu", "gate_clip": 2.0},
}


def onnx_model(onnx, config, weights):
    """Make a model of one LSTM node with every attribute that the configuration needs."""
    # ONNX Runtime bounds only the gates, whatever `clip` means in the standard.
    parts = to_onnx(weights, replace(config, output_clip=config.gate_clip))
    initializers = {name: parts.pop(name) for name in "WRBP"}
    attributes = {name: value for name, value in parts.items() if value is not None}
    inputs = ["X", "W", "R", "B", "lengths", "h0", "c0", "P"]
    inputs = [name if initializers.get(name, ...) is not None else "" for name in inputs]
    node = onnx.helper.make_node("LSTM", inputs, ["Y", "Y_h", "Y_c"], **attributes)
    single, integer = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32

    def value(name, kind, rank):
        return onnx.helper.make_tensor_value_info(name, kind, [None] * rank)

    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [
            value(n, integer if n == "lengths" else single, 1 if n == "lengths" else 3)
            for n in ("X", "lengths", "h0", "c0")
        ],
        [value(n, single, 4 if n == "Y" else 3) for n in ("Y", "Y_h", "Y_c")],
        [onnx.numpy_helper.from_array(v, n) for n, v in initializers.items() if v is not None],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("name", ONNX_CASES)
def test_onnx_runtime(name):
    check_onnx_runtime(LSTMConfig(3, 7, **ONNX_CASES[name]), BATCH, STEPS, 2)


@st.composite
def onnx_configs(draw):
    """Draw configurations that an LSTM node can express and whose state stays bounded."""
    bounded = st.sampled_from(
        ["tanh", "sigmoid", "softsign", Activation("scaled_tanh", 1.1, 0.8), "hard_sigmoid"]
    )
    direction = draw(st.sampled_from(["forward", "reverse", "both"]))
    coupled = draw(st.booleans())
    return LSTMConfig(
        draw(st.integers(1, 6)),
        draw(st.integers(1, 40)),
        bidirectional=direction == "both",
        bias=draw(st.booleans()),
        go_backwards=direction == "reverse",
        peephole=draw(st.booleans()),
        coupled_gates=coupled,
        gate_activation=draw(
            st.sampled_from(["sigmoid", Activation("hard_sigmoid", 0.3, 0.5 if coupled else 0.4)])
        ),
        cell_activation=draw(bounded),
        output_activation=draw(bounded),
        gate_clip=draw(st.sampled_from([0.0, 0.7])),
    )


@given(onnx_configs(), st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6))
def test_onnx_runtime_on_random_calls(config, batch, steps, seed):
    check_onnx_runtime(config, batch, steps, seed)


def check_onnx_runtime(config, batch, steps, seed):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    x, weights, arguments = random_case(
        config, batch, steps, np.float32, seed=seed, ragged=batch > 1, state=True
    )
    arguments.setdefault("lengths", np.full(batch, steps))
    arguments["lengths"] = np.maximum(arguments["lengths"], 1)  # ONNX Runtime refuses empty rows
    session = runtime.InferenceSession(
        onnx_model(onnx, config, weights), providers=["CPUExecutionProvider"]
    )
    h0, c0 = arguments["state"]
    y, h, c = session.run(
        None,
        {
            "X": np.ascontiguousarray(x.transpose(1, 0, 2)),
            "lengths": arguments["lengths"].astype(np.int32),
            "h0": h0,
            "c0": c0,
        },
    )
    own_y, state = F.lstm(x, weights, config, **arguments)
    # (T, D, N, H) to (N, T, D * H)
    assert relative_error(own_y, y.transpose(2, 0, 1, 3).reshape(own_y.shape)) < 5e-6
    assert relative_error(state.h, h) < 5e-6
    assert relative_error(state.c, c) < 5e-6


# ---- Keras -------------------------------------------------------------------------------------


def keras_weights(weights, suffix):
    """Convert weights: transpose the kernels; the order of the gates is the same."""
    names = [name for name in ("weight_ih", "weight_hh", "bias") if name + suffix in weights]
    return [weights[name + suffix].T for name in names]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"go_backwards": True},
        {"gate_activation": "hard_sigmoid", "cell_activation": "softsign"},
        {"cell_activation": "elu"},
    ],
)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras(options, bidirectional):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    if bidirectional and "go_backwards" in options:
        pytest.skip("Keras' Bidirectional goes in both directions already")
    options = dict(options)
    if "cell_activation" in options:  # Keras uses the same function for both
        options["output_activation"] = options["cell_activation"]
    if options.get("gate_activation") == "hard_sigmoid":  # Keras 3: x / 6 + 0.5
        options["gate_activation"] = Activation("hard_sigmoid", 1 / 6, 0.5)
    config = LSTMConfig(3, 7, bidirectional=bidirectional, **options)
    x, weights, arguments = random_case(config, BATCH, STEPS, np.float32, seed=3, ragged=True)
    arguments["lengths"] = np.maximum(arguments["lengths"], 1)
    mask = np.arange(STEPS) < arguments["lengths"][:, None]
    layer = keras.layers.LSTM(
        7,
        activation=config.cell_activation.name,
        recurrent_activation=config.gate_activation.name,
        use_bias=config.bias,
        go_backwards=config.go_backwards,
    )
    if bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build(x.shape)
    suffixes = ("_l0", "_l0_reverse")[: config.num_directions]
    layer.set_weights([value for suffix in suffixes for value in keras_weights(weights, suffix)])
    expected = np.asarray(keras.ops.convert_to_numpy(layer(x, mask=mask)))
    y, _ = F.lstm(x, weights, config, **arguments, return_sequences=False)
    assert relative_error(y, expected) < 5e-6


@pytest.mark.parametrize("option", ["recurrent_dropout", "input_dropout"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_dropout_is_one_mask_per_sequence(option):
    """Keras' cell with lstmcore's masks instead of its own, which may differ between gates."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    config = LSTMConfig(3, 7, **{option: 0.4})
    x, weights, _ = random_case(config, BATCH, STEPS, np.float32, seed=3)
    mask = F.lstm_masks(config, BATCH, STEPS, seed=5)[option]
    mask = keras.ops.convert_to_tensor(np.float32(mask if mask.ndim == 2 else mask[0]))
    name = "recurrent_dropout" if option == "recurrent_dropout" else "dropout"
    cell = keras.layers.LSTMCell(7, implementation=1, **{name: 0.4})
    cell.build(x.shape[::2])
    cell.set_weights(keras_weights(weights, "_l0"))
    setattr(cell, f"get_{name}_mask", lambda _: [mask] * 4)
    states = [keras.ops.zeros((BATCH, 7))] * 2
    outputs = []
    for t in range(STEPS):
        output, states = cell(keras.ops.convert_to_tensor(x[:, t]), states, training=True)
        outputs.append(keras.ops.convert_to_numpy(output))
    y, _, _ = F.lstm(x, weights, config, training=True, seed=5)
    assert relative_error(y, np.stack(outputs, axis=1)) < 5e-6


# ---- PyTorch -----------------------------------------------------------------------------------


@st.composite
def torch_configs(draw):
    """Draw configurations of ``torch.nn.LSTM``."""
    hidden = draw(st.integers(2, 40))
    return LSTMConfig(
        draw(st.integers(1, 6)),
        hidden,
        num_layers=draw(st.integers(1, 3)),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.sampled_from([0, 1, hidden // 2])),
    )


@given(torch_configs(), st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6), st.booleans())
def test_torch_on_random_calls(config, batch, steps, seed, ragged):
    """Compare values and gradients, of a packed sequence if the batch is ragged."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, weights, arguments = random_case(
        config, batch, steps, np.float64, seed=seed, ragged=ragged and batch > 1, state=True
    )
    module = torch.nn.LSTM(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        batch_first=True,
        bidirectional=config.bidirectional,
        proj_size=config.proj_size,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("bias_hh"):
                parameter.zero_()
            else:
                parameter.copy_(torch.from_numpy(weights[name.replace("bias_ih", "bias")]))
    lengths = np.maximum(arguments.get("lengths", np.full(batch, steps)), 1)
    inputs = torch.tensor(x, requires_grad=True)
    state = tuple(torch.tensor(part, requires_grad=True) for part in arguments["state"])
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths, True, False)
    y, (h, c) = module(packed, state)
    y = torch.nn.utils.rnn.pad_packed_sequence(y, True, total_length=steps)[0]
    own_y, own, tape = F.lstm(
        x, weights, config, state=arguments["state"], lengths=lengths, training=True
    )
    dy, dh, dc = (torch.tensor(np.cos(3 * array)) for array in (own_y, *own))
    ((y * dy).sum() + (h * dh).sum() + (c * dc).sum()).backward()
    gradients = F.lstm_backward(tape, dy.numpy(), (dh.numpy(), dc.numpy()))
    for result, expected in zip((own_y, *own), (y, h, c), strict=True):
        assert relative_error(result, expected.detach().numpy()) < 1e-12
    assert relative_error(gradients.x, inputs.grad.numpy()) < 1e-11
    for result, initial in zip(gradients.state, state, strict=True):
        assert relative_error(result, initial.grad.numpy()) < 1e-11
    for name, parameter in module.named_parameters():
        if not name.startswith("bias_hh"):
            result = gradients.weights[name.replace("bias_ih", "bias")]
            assert relative_error(result, parameter.grad.numpy()) < 1e-11, name


@pytest.mark.parametrize(
    "options",
    [
        {"layer_norm": True},
        {"layer_norm": True, "peephole": True, "cell_clip": 0.9, "proj_size": 4},
        {"zoneout_h": 0.3, "zoneout_c": 0.2, "recurrent_dropout": 0.3},
    ],
)
def test_autograd(options):
    """Compare with a loop over steps in PyTorch's own operations, and with its gradients."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    config = LSTMConfig(3, 7, **options)
    x, weights, _ = random_case(config, BATCH, STEPS, np.float64, seed=4)
    masks = F.lstm_masks(config, BATCH, STEPS, seed=6)
    w = {name[:-3]: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    inputs = torch.tensor(x, requires_grad=True)
    h, c = torch.zeros(BATCH, config.state_size).double(), torch.zeros(BATCH, 7).double()
    normalize = torch.nn.functional.layer_norm
    outputs = []

    def with_zoneout(name, t, before, fresh):
        if name not in masks:
            return fresh
        return torch.where(torch.tensor(masks[name][0, :, t]) != 0, before, fresh)

    for t in range(STEPS):
        seen = (
            h * torch.tensor(masks["recurrent_dropout"][0]) if "recurrent_dropout" in masks else h
        )
        from_x, from_h = inputs[:, t] @ w["weight_ih"].T, seen @ w["weight_hh"].T
        if config.layer_norm:
            from_x = normalize(from_x, (28,), w["gain_ih"], eps=config.layer_norm_epsilon)
            from_h = normalize(from_h, (28,), w["gain_hh"], eps=config.layer_norm_epsilon)
        i, f, g, o = (from_x + from_h + w["bias"]).chunk(4, dim=1)
        if config.peephole:
            p_i, p_f, p_o = w["peephole"].chunk(3)
            i, f = i + p_i * c, f + p_f * c
        new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if config.cell_clip:
            new_c = new_c.clamp(-config.cell_clip, config.cell_clip)
        if config.peephole:
            o = o + p_o * new_c
        shown = new_c
        if config.layer_norm:
            shown = normalize(new_c, (7,), w["gain_c"], w["bias_c"], config.layer_norm_epsilon)
        new_h = torch.sigmoid(o) * torch.tanh(shown)
        if config.proj_size:
            new_h = new_h @ w["weight_hr"].T
        h, c = with_zoneout("zoneout_h", t, h, new_h), with_zoneout("zoneout_c", t, c, new_c)
        outputs.append(h)
    y = torch.stack(outputs, dim=1)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()

    own_y, _, tape = F.lstm(x, weights, config, training=True, seed=6)
    gradients = F.lstm_backward(tape, dy.numpy())
    assert relative_error(own_y, y.detach().numpy()) < 1e-12
    assert relative_error(gradients.x, inputs.grad.numpy()) < 1e-11
    for name, gradient in gradients.weights.items():
        assert relative_error(gradient, w[name[:-3]].grad.numpy()) < 1e-11, name
