"""Exported models of random layers agree with ONNX Runtime's results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmcore import Activation, layers

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from lstmcore.onnx import export  # noqa: E402
from onnx_export_kit import OPSETS, agree, batch, build, ragged, random_state, ready  # noqa: E402


@st.composite
def lstms(draw, sequences):
    scan = draw(st.integers(0, 3)) == 0
    both = draw(st.booleans())
    bounded = st.sampled_from(["tanh", "sigmoid", "softsign", Activation("scaled_tanh", 1.1, 0.8)])
    options = {
        "return_sequences": sequences,
        "num_layers": draw(st.integers(1, 2)),
        "go_backwards": not both and draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "peephole": draw(st.booleans()),
        "coupled_gates": draw(st.booleans()),
        "activation": draw(bounded),
        "gate_clip": draw(st.sampled_from([0.0, 0.7])),
    }
    units = draw(st.integers(1, 6))
    if scan:
        options |= {
            "proj_size": draw(st.sampled_from([0, 1, units])),
            "layer_norm": draw(st.booleans()),
            "layer_norm_epsilon": 0.1,  # a small one may amplify rounding hundreds of times
            "cell_clip": draw(st.sampled_from([0.0, 0.5])),
            "zoneout_h": draw(st.sampled_from([0.0, 0.3])),
            "zoneout_c": draw(st.sampled_from([0.0, 0.3])),
        }
    layer = layers.LSTM(units, **options)
    mode = draw(st.sampled_from(["concat", "sum", "mul", "ave"]))
    return layers.Bidirectional(layer, mode) if both else layer


@st.composite
def steps(draw):
    """Draw a layer whose input and output have a time axis."""
    kind = draw(st.sampled_from(["lstm", "dense", "norm", "conv", "pool", "residual", "each"]))
    if kind == "lstm":
        return draw(lstms(True))
    if kind == "dense":
        return layers.Dense(draw(st.integers(1, 4)), draw(st.sampled_from(["relu", "softmax"])))
    if kind == "norm":
        return layers.LayerNormalization(epsilon=0.1)
    windows = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if kind == "conv":
        return layers.Conv1D(
            draw(st.integers(1, 4)),
            *windows,
            draw(st.sampled_from(["same", "causal"])),
            dilation_rate=draw(st.integers(1, 2)),
        )
    if kind == "pool":
        return layers.MaxPooling1D(*windows, "same")
    if kind == "each":
        return layers.TimeDistributed(layers.Dense(draw(st.integers(1, 4)), "tanh"))
    return layers.Residual([draw(lstms(True)), layers.Dropout(0.5)], projection=True)


@st.composite
def models(draw):
    stack = draw(st.lists(steps(), max_size=3))
    pooling = [layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D, layers.Attention]
    last = draw(st.integers(0, 4))
    if last < 3:
        stack.append(pooling[last]())
    elif last == 3:
        stack.append(draw(lstms(False)))
    stack.append(layers.Dense(2))
    return build(stack, (None, 3), draw(st.integers(0, 99)))


@given(models(), st.sampled_from(OPSETS), st.integers(1, 5), st.integers(1, 9), st.booleans())
def test_random_models(model, opset, size, steps, states):
    states = states and bool(model.recurrent_layers)
    x = batch(model, size, steps)
    state = random_state(model, size, 1) if states else None
    # A single unit may be near 0 after cancellation, with a large relative error.
    options = {"opset": opset, "states": states, "recurrent": "auto"}
    agree(model, ready(export(model, **options)), x, None, state, least=0.1)
    try:
        proto = export(model, lengths=True, **options)
    except ValueError as error:
        assert "no layer" in str(error)
        return
    agree(model, ready(proto), x, ragged(size, steps), state, least=0.1)
