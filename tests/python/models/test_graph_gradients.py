"""Gradients of graphs against finite differences in float64."""

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import C, H, N, S, T, check_graph_gradients, ragged, static_model
from lstmcore import layers


def compiled(model, loss="mse", **options):
    model.compile("sgd", loss, **options)
    return model


@pytest.mark.parametrize("rows", ["array", "ragged"])
@pytest.mark.parametrize("how", ["every step", "first state", "before the head"])
def test_static_features(how, rows, rng):
    model = compiled(static_model(how))
    sequence = rng.standard_normal((N, T, C)) if rows == "array" else ragged(rng)
    x, y = [sequence, rng.standard_normal((N, S))], rng.standard_normal((N, 1))
    seen = check_graph_gradients(model, x, y)
    assert min(seen.values()) > 1e-6  # no weight is left out


def test_two_inputs_a_shared_layer_two_outputs_and_a_residual(rng):
    """Everything at once, with rows of different lengths and masks."""
    left, right = lc.Input((None, C), name="left"), lc.Input((None,), name="right")
    inner = layers.Dense(H, "tanh", name="inner")(left)
    vectors = layers.Embedding(9, H, mask_zero=True, name="vectors")(right)
    shared = layers.LSTM(H, return_sequences=True, name="shared")
    a, b = shared(inner), shared(vectors)
    a = layers.Add(name="shortcut")([a, inner])
    walked = layers.Bidirectional(layers.LSTM(3), merge_mode="ave", name="walked")
    ends = layers.Multiply(name="gate")([walked(a), walked(b)])
    difference = layers.Subtract()([layers.GlobalMaxPooling1D()(a), layers.Attention()(b)])
    score = layers.Dense(1, name="score")(layers.Concatenate()([ends, difference]))
    tags = layers.Dense(3, "softmax", name="tags")(layers.Average()([a, inner]))
    model = compiled(
        lc.Model([left, right], {"score": score, "tags": tags}, dtype="float64"),
        {"score": "mse", "tags": "sparse_categorical_crossentropy"},
        loss_weights={"score": 0.7, "tags": 1.3},
    )
    x = {"left": ragged(rng), "right": [[1, 2, 3], [4], [5, 6, 7, 8]]}
    y = {
        "score": rng.standard_normal((N, 1)),
        "tags": [rng.integers(0, 3, len(row)) for row in x["left"]],
    }
    seen = check_graph_gradients(model, x, y)
    assert min(seen.values()) > 1e-6


def test_states_pass_between_layers_with_gradients(rng):
    """An encoder's last states begin a decoder, and a state is an output by itself."""
    source, target = lc.Input((None, C), name="source"), lc.Input((None, S), name="target")
    options = {"peephole": True, "num_layers": 2}
    encoder = layers.LSTM(H, return_state=True, name="encoder", **options)
    y, *states = encoder(source)
    decoder = layers.LSTM(H, return_sequences=True, return_state=True, name="decoder", **options)
    steps, *last = decoder(target, initial_state=states)
    assert len(states) == len(last) == 4
    outputs = [layers.Dense(2, name="steps")(steps), layers.Add(name="sum")([last[1], last[2], y])]
    model = compiled(lc.Model([source, target], outputs, dtype="float64"), ["mse", "mse"])
    x = [ragged(rng), rng.standard_normal((N, T, S))]
    y = [rng.standard_normal((N, T, 2)), rng.standard_normal((N, H))]
    seen = check_graph_gradients(model, x, y)
    assert min(seen.values()) > 1e-7


def test_both_directions_side_by_side_with_their_states(rng):
    x = lc.Input((None, C))
    layer = layers.Bidirectional(
        layers.LSTM(H, return_sequences=True, return_state=True), merge_mode=None, name="both"
    )
    ahead, back, h0, c0, h1, c1 = layer(x)
    y = layers.Concatenate()([layers.GlobalAveragePooling1D()(ahead), h1, c0])
    z = layers.Concatenate(name="z")([y, layers.GlobalMaxPooling1D()(back)])
    model = compiled(lc.Model(x, layers.Dense(1)(z), dtype="float64"))
    assert c1.shape == h0.shape == (None, H)
    check_graph_gradients(model, ragged(rng), rng.standard_normal((N, 1)))


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_with_queries(kind, rng):
    memory, asked = lc.Input((None, C), name="memory"), lc.Input((None, S), name="asked")
    queries = layers.LSTM(H, return_sequences=True, name="queries")(asked)
    every = layers.Attention(kind, query_size=H, name="every")(memory, queries)
    last = layers.Attention(kind, query_size=H, name="last")(
        layers.Dense(H)(memory), query=layers.LSTM(H)(asked)
    )
    y = layers.Concatenate()([layers.GlobalAveragePooling1D()(every), last])
    model = compiled(lc.Model([memory, asked], layers.Dense(1)(y), dtype="float64"))
    assert every.shape == (None, None, C)
    x = [ragged(rng), ragged(rng, S, [2, 4, 1])]
    seen = check_graph_gradients(model, x, rng.standard_normal((N, 1)))
    assert min(seen.values()) > 1e-7


def test_frozen_layers_pass_gradients_on(rng):
    model = static_model("first state")
    model.get_layer("lstm").trainable = False
    model.get_layer("head").trainable = False
    compiled(model)
    x = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))]
    seen = check_graph_gradients(model, x, rng.standard_normal((N, 1)))
    assert set(seen) == {"dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"}
    assert min(seen.values()) > 1e-7
    frozen = model.parameters.gradient("lstm.weight_hh_l0")
    assert not frozen.any()


def test_gradients_of_a_shared_embedding_are_summed_and_stay_checked(rng):
    """An embedding notes that its gradient is finite; the sum of two uses must not rely on one."""
    a, b = lc.Input((None,), name="a"), lc.Input((None,), name="b")
    table = layers.Embedding(6, H, name="table")
    y = layers.Concatenate()([layers.LSTM(H)(table(a)), layers.GlobalMaxPooling1D()(table(b))])
    model = compiled(lc.Model([a, b], layers.Dense(1)(y), dtype="float64"))
    x = [rng.integers(0, 6, (N, T)), rng.integers(0, 6, (N, 2))]
    check_graph_gradients(model, x, rng.standard_normal((N, 1)), places=24)
    assert model.parameters.is_finite("table.embeddings")


def test_losses_from_logits_only_where_an_output_is_used_for_nothing_else(rng):
    """A softmax that feeds another layer is computed; its loss then takes probabilities."""
    x = lc.Input((C,))
    shares = layers.Dense(3, "softmax", name="shares")(x)
    value = layers.Dense(1, name="value")(shares)
    model = lc.Model(x, [shares, value], dtype="float64")
    compiled(model, ["sparse_categorical_crossentropy", "mse"])
    assert model.compiled.takes_logits == [False, False]
    targets = [rng.integers(0, 3, N), rng.standard_normal((N, 1))]
    check_graph_gradients(model, rng.standard_normal((N, C)), targets)
    np.testing.assert_allclose(model.predict(rng.standard_normal((N, C)))[0].sum(1), 1.0)
