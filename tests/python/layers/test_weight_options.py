"""Options of recurrent weights: forget bias, shared and frozen matrices, how they are stored."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, H, N, T, built, check_gradients
from lstmcore import layers


@pytest.mark.parametrize("value", [0.0, -1.0, 3.5])
def test_forget_bias_is_the_initial_bias_of_the_forget_gate(value):
    both = layers.Bidirectional(layers.LSTM(H, num_layers=2, forget_bias=value))
    stack = layers.RNN([layers.LSTMCell(H, forget_bias=value), layers.LSTMCell(H)])
    for layer in (both, stack):
        built(layer, (N, T, C))
    expected = np.repeat([0.0, value, 0.0, 0.0], H)
    for name, values in both.weights.items():
        if name.startswith("bias"):
            np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(stack.weights["bias_l0"], expected)
    np.testing.assert_array_equal(stack.weights["bias_l1"], np.repeat([0.0, 1.0, 0.0, 0.0], H))


SHARING = {
    "stacked": lambda **options: layers.LSTM(H, num_layers=3, return_sequences=True, **options),
    "both": lambda **options: layers.Bidirectional(layers.LSTM(H, **options)),
    "stacked_both": lambda **options: layers.Bidirectional(
        layers.LSTM(H, num_layers=2, return_sequences=True, **options), "sum"
    ),
    "projected": lambda **options: layers.LSTM(H, num_layers=2, proj_size=2, **options),
    "rnn": lambda **options: layers.RNN([layers.LSTMCell(H), layers.LSTMCell(H)], **options),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", SHARING)
def test_a_shared_recurrent_matrix_has_the_sum_of_the_gradients(name, lengths, rng):
    x = rng.standard_normal((N, T, C))
    shared, apart = SHARING[name](share_recurrent=True), SHARING[name]()
    y = shared(x, lengths=lengths)
    apart(x)
    names = [other for other in apart.weights if other.startswith("weight_hh")]
    assert [other for other in shared.weights if other.startswith("weight_hh")] == names[:1]
    apart.set_weights(
        [shared.weights["weight_hh_l0" if other in names else other] for other in apart.weights]
    )
    np.testing.assert_array_equal(apart(x, lengths=lengths), y)
    dy = rng.standard_normal(y.shape)
    dx = []
    for layer in (shared, apart):
        _, _, context = layer.forward(x, lengths, True, 7)
        dx.append(layer.backward(context, dy))
    np.testing.assert_array_equal(*dx)
    total = sum(apart._gradients[other] for other in names)
    np.testing.assert_allclose(shared._gradients["weight_hh_l0"], total, rtol=1e-14, atol=1e-16)
    for other, gradient in shared._gradients.items():
        if other not in names:
            np.testing.assert_array_equal(gradient, apart._gradients[other])
    check_gradients(shared, x, lengths, rng)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("shared", [False, True])
def test_a_walk_in_two_runs_has_the_gradients_of_one(shared, trainable, rng):
    x, dy = rng.standard_normal((N, T, C)), rng.standard_normal((N, T, H))
    layer = layers.LSTM(
        H,
        num_layers=2,
        return_sequences=True,
        share_recurrent=shared,
        recurrent_trainable=trainable,
        recompute=2,
    )
    y, _, context = built(layer, (N, T, C)).forward(x, None, True, 0)
    dx = layer.backward(context, dy)
    whole = {name: gradient.copy() for name, gradient in layer._gradients.items()}
    first, state, early = layer._run(x[:, :2], None, None, True, 0)
    rest, _, late = layer._run(x[:, 2:], None, state, True, 0)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), y)
    for gradient in layer._gradients.values():
        gradient.fill(0)
    dx_rest, dstate = layer._run_backward(late, dy[:, 2:], None)
    dx_first, _ = layer._run_backward(early, dy[:, :2], dstate, add=True)
    joined = np.concatenate([dx_first, dx_rest], axis=1)
    np.testing.assert_allclose(joined, dx, rtol=1e-12, atol=1e-15)
    for name, gradient in layer._gradients.items():
        np.testing.assert_allclose(gradient, whole[name], rtol=1e-12, atol=1e-14, err_msg=name)
        assert np.any(gradient) == (trainable or "weight_hh" not in name)


def test_cells_of_a_shared_stack_use_the_shared_matrix(rng):
    x = rng.standard_normal((N, T, C))
    cells = [layers.LSTMCell(H), layers.LSTMCell(H)]
    stack = layers.RNN(cells, share_recurrent=True, return_state=True)
    y, _, _ = stack(x)
    states = [None, None]
    for step in range(T):
        value = x[:, step]
        for place, cell in enumerate(cells):
            value, states[place] = cell(value, states[place])
    np.testing.assert_array_equal(value, y)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("shared", [False, True])
def test_frozen_recurrent_weights_stay_and_cost_no_gradient(optimizer, shared, rng, monkeypatch):
    model = lc.Sequential(
        [
            layers.LSTM(
                H,
                num_layers=2,
                recurrent_trainable=False,
                share_recurrent=shared,
                recurrent_regularizer="l2",
                recurrent_constraint=lc.constraints.MaxNorm(0.1),
            ),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    x, y = rng.standard_normal((8, T, C)).astype("f4"), rng.standard_normal((8, 1)).astype("f4")
    model.train_on_batch(x, y)
    outs = []
    original = lc.functional.lstm_backward
    monkeypatch.setattr(
        lc.functional,
        "lstm_backward",
        lambda *given, out, **options: outs.append(out) or original(*given, out=out, **options),
    )
    before = {name: values.copy() for name, values in model.weights.items()}
    model.fit(x, y, epochs=3, verbose=0)
    frozen = [name for name in before if "weight_hh" in name]
    assert len(frozen) == (1 if shared else 2)
    for name, values in model.weights.items():
        assert (values == before[name]).all() == (name in frozen), name
    assert outs[0]["weight_hh_l0"] is outs[0]["weight_hh_l1"] is None
    for name in frozen:
        assert not model.parameters.gradient(name).any()
    # Frozen weights have no penalty either.
    plain = float(np.mean((model.predict(x) - y) ** 2))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(plain, rel=1e-5)


def test_other_gradients_do_not_depend_on_what_is_frozen(rng):
    x = rng.standard_normal((N, T, C))
    gradients = []
    for trainable in (True, False):
        layer = built(layers.LSTM(H, recurrent_trainable=trainable), (N, T, C))
        _, _, context = layer.forward(x, None, True, 7)
        layer.backward(context, np.ones((N, H)))
        gradients.append(layer._gradients)
    for name, values in gradients[1].items():
        if name != "weight_hh_l0":
            np.testing.assert_array_equal(values, gradients[0][name])


def test_options_of_the_weights_are_restored(tmp_path, rng):
    model = lc.Sequential(
        [
            layers.Bidirectional(
                layers.LSTM(
                    H, num_layers=2, return_sequences=True, share_recurrent=True, forget_bias=2.0
                )
            ),
            layers.RNN(
                [layers.LSTMCell(H, recurrent_trainable=False), layers.LSTMCell(H)],
                return_sequences=True,
                stateful=False,
            ),
            layers.LSTM(2, recurrent_trainable=False),
        ]
    )
    x = rng.standard_normal((N, T, C)).astype("f4")
    y = model.predict(x)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = lc.load(path)
    np.testing.assert_array_equal(loaded.predict(x), y)
    assert [layer.get_config() for layer in loaded.layers] == [
        layer.get_config() for layer in model.layers
    ]
    assert sum("weight_hh" in name for name in loaded.weights) == 4


def test_options_of_the_weights_that_contradict_each_other():
    for error, match, make in (
        (ValueError, "forget_bias: .*unit_forget_bias", {"unit_forget_bias": False}),
        (ValueError, "forget_bias: .*without biases", {"use_bias": False}),
    ):
        for layer in (layers.LSTM, layers.LSTMCell):
            with pytest.raises(error, match=match):
                layer(H, forget_bias=2.0, **make)
    with pytest.raises(TypeError, match="forget_bias: expected a number"):
        layers.LSTM(H, forget_bias="big")
    with pytest.raises(TypeError, match="recurrent_trainable: expected True or False"):
        layers.LSTM(H, recurrent_trainable=0)
    with pytest.raises(ValueError, match="share_recurrent: expected at least two layers"):
        built(layers.LSTM(H, share_recurrent=True), (N, T, C))
    for options in (
        {"recurrent_trainable": False},
        {"recurrent_initializer": "zeros"},
        {"recurrent_regularizer": "l2"},
        {"recurrent_constraint": "max_norm"},
    ):
        cells = [layers.LSTMCell(H), layers.LSTMCell(H, **options)]
        with pytest.raises(ValueError, match="share_recurrent: expected cells with the same"):
            layers.RNN(cells, share_recurrent=True)
        layers.RNN(cells)
