"""Weights in textbook form: one matrix over [h, x] for each gate."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore.convert import from_textbook, to_textbook


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def textbook_lstm(gates, x, order):
    """Compute an LSTM over x (N, T, C) with the equations of textbooks."""
    hidden = gates["b_f"].shape[0]
    h = c = np.zeros((x.shape[0], hidden))
    outputs = []
    for step in np.moveaxis(x, 1, 0):
        both = np.concatenate([h, step] if order == "hx" else [step, h], axis=1)
        forget = sigmoid(both @ gates["W_f"].T + gates["b_f"])
        enter = sigmoid(both @ gates["W_i"].T + gates["b_i"])
        new = np.tanh(both @ gates["W_c"].T + gates["b_c"])
        show = sigmoid(both @ gates["W_o"].T + gates["b_o"])
        c = forget * c + enter * new
        h = show * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def random_gates(hidden, width, rng, dtype=np.float64):
    gates = {f"W_{gate}": rng.normal(size=(hidden, hidden + width)) for gate in "fico"}
    gates |= {f"b_{gate}": rng.normal(size=hidden) for gate in "fico"}
    return {name: value.astype(dtype) for name, value in gates.items()}


@pytest.mark.parametrize("order", ["hx", "xh"])
def test_computes_the_textbook_equations(order):
    rng = np.random.default_rng(0)
    gates = random_gates(4, 3, rng)
    weights, config = from_textbook(gates, order=order)
    assert config == lc.LSTMConfig(3, 4)
    x = rng.normal(size=(2, 6, 3))
    y, _ = F.lstm(x, weights, config)
    np.testing.assert_allclose(y, textbook_lstm(gates, x, order), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["hx", "xh"])
@pytest.mark.parametrize("candidate", ["c", "g"])
@pytest.mark.parametrize(
    ("layers", "bidirectional"), [(1, False), (3, False), (1, True), (2, True)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_round_trip_is_exact(dtype, order, candidate, layers, bidirectional, bias):
    config = lc.LSTMConfig(2, 5, layers, bidirectional, bias=bias)
    weights = F.init_weights(config, dtype=dtype)
    gates = to_textbook(weights, config, order=order, candidate=candidate)
    first = gates
    while not isinstance(first, dict):
        first = first[0]
    assert set(first) == {
        f"{letter}_{g}" for letter in ("Wb" if bias else "W") for g in f"if{candidate}o"
    }
    assert first["W_f"].shape == (5, 7)
    again, same = from_textbook(gates, order=order)
    assert same == config
    assert list(again) == list(weights) or set(again) == set(weights)
    for name in weights:
        np.testing.assert_array_equal(again[name], weights[name], strict=True)


def test_several_layers_are_a_list():
    config = lc.LSTMConfig(2, 3, 2, dropout=0.5)
    gates = to_textbook(F.init_weights(config), config)
    assert [sorted(layer) for layer in gates] == [sorted(gates[0])] * 2
    assert from_textbook(gates, dropout=0.5)[1] == config
    # The results are copies.
    weights, _ = from_textbook(gates)
    gates[0]["W_f"][:] = 7
    assert (weights["weight_ih_l0"] != 7).all()


def test_every_wrong_matrix_is_named():
    gates = random_gates(4, 3, np.random.default_rng(0))
    del gates["b_o"], gates["W_i"]
    gates["W_o"] = gates["W_o"][:, 1:]
    gates["W_z"] = np.zeros((4, 7), int)
    with pytest.raises(ValueError, match="gates: missing") as error:
        from_textbook(gates)
    for part in (
        "missing W_i_l0 (4, 7)",
        "missing b_o_l0 (4,)",
        "unexpected W_z_l0 (4, 7)",
        "W_o_l0: expected shape (4, 7), got (4, 6)",
        "W_z_l0: expected float32 or float64, got int64",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("bad", [3, [], [3], "W_f", [[]], [[{}, {}, {}]]])
def test_wrong_containers(bad):
    with pytest.raises(TypeError, match="gates: expected"):
        from_textbook(bad)


def test_wrong_input():
    rng = np.random.default_rng(0)
    gates = random_gates(4, 3, rng)
    with pytest.raises(ValueError, match="order: expected one of 'hx', 'xh', got 'hc'"):
        from_textbook(gates, order="hc")
    with pytest.raises(ValueError, match="W_f: expected a matrix"):
        from_textbook({**gates, "W_f": gates["W_f"][:, :4]})
    with pytest.raises(ValueError, match="W_f: expected a matrix"):
        from_textbook({})
    with pytest.raises(TypeError, match="W_f_l0: expected float32 or float64, got float16"):
        from_textbook({name: value.astype(np.float16) for name, value in gates.items()})
    with pytest.raises(TypeError, match="one type"):
        from_textbook({**gates, "b_f": gates["b_f"].astype(np.float32)})
    with pytest.raises(ValueError, match="one direction in all layers"):
        from_textbook([gates, (gates, gates)])
    config = lc.LSTMConfig(2, 3, peephole=True)
    with pytest.raises(ValueError, match="cannot express peephole=True"):
        to_textbook(F.init_weights(config), config)
    plain = lc.LSTMConfig(2, 3)
    with pytest.raises(ValueError, match="missing weight_ih_l0"):
        to_textbook({}, plain)
    with pytest.raises(TypeError, match="config: expected an LSTMConfig"):
        to_textbook({}, 3)
    with pytest.raises(ValueError, match="candidate: expected one of 'c', 'g'"):
        to_textbook(F.init_weights(plain), plain, candidate="z")
