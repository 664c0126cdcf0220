"""An output layer that uses the embedding's vectors again: values, gradients, one weight."""

import copy

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import check_file
from lstmcore import layers as L

V, E, N, T = 7, 3, 2, 4
IDS = np.random.default_rng(0).integers(0, V, (N, T))


def model(activation="softmax", use_bias=True, seed=3):
    made = lc.Sequential(
        [
            L.Embedding(V, E),
            L.LSTM(E, return_sequences=True),
            L.TiedDense(activation=activation, use_bias=use_bias),
        ],
        seed=seed,
        dtype="float64",
    )
    made.build((None, None))
    rng = np.random.default_rng(1)
    made.set_weights([rng.standard_normal(weight.shape) for weight in made.get_weights()])
    return made


def untied(tied):
    """The same function with a Dense layer of its own."""
    same = lc.Sequential(
        [L.Embedding(V, E), L.LSTM(E, return_sequences=True), L.Dense(V, "softmax")],
        dtype="float64",
    )
    same.build((None, None))
    weights = dict(tied.weights)
    bias = weights.pop("tied_dense.bias")
    same.set_weights(
        {**weights, "dense.kernel": weights["embedding.embeddings"].T, "dense.bias": bias}
    )
    return same


@pytest.mark.parametrize("activation", [None, "softmax", "tanh"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_gradients_are_those_of_finite_differences(activation, use_bias):
    tied = model(activation, use_bias)
    weigh = np.random.default_rng(2).standard_normal((N, T, V))

    def loss():
        return float((tied.forward(IDS, None, False, 0, False)[0] * weigh).sum())

    outputs, _, contexts = tied.forward(IDS, None, True, 0, False)
    tied.backward(contexts, weigh)
    gradients = tied.parameters.gradients.copy()
    step = 1e-6
    values = tied.parameters.values
    for place in range(values.size):
        before = values[place]
        found = []
        for value in (before + step, before - step):
            values[place] = value
            tied.parameters.touch()
            found.append(loss())
        values[place] = before
        tied.parameters.touch()
        # Central differences in float64 have errors near 1e-9 here.
        assert gradients[place] == pytest.approx((found[0] - found[1]) / (2 * step), abs=1e-8)
    assert outputs.shape == (N, T, V)


def test_the_gradient_is_the_sum_of_both_uses():
    tied = model()
    apart = untied(tied)
    np.testing.assert_allclose(tied(IDS), apart(IDS), rtol=1e-13)
    y = IDS[:, ::-1].copy()
    for one in (tied, apart):
        one.compile(lc.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    before = {name: value.copy() for name, value in apart.weights.items()}
    tied_before = tied.weights["embedding.embeddings"].copy()
    for one in (tied, apart):
        one.train_on_batch(IDS, y)
    both = (apart.weights["embedding.embeddings"] - before["embedding.embeddings"]) + (
        apart.weights["dense.kernel"] - before["dense.kernel"]
    ).T
    np.testing.assert_allclose(tied.weights["embedding.embeddings"] - tied_before, both, atol=1e-14)


def test_the_vectors_are_counted_and_saved_once(tmp_path):
    tied = model()
    assert tied.count_params() == V * E + 8 * E * E + 4 * E + V
    assert list(tied.weights).count("embedding.embeddings") == 1
    assert list(tied.layers[-1].weights) == ["bias"]
    lines = []
    tied.summary(print_fn=lines.append)
    assert f"Parameters: {tied.count_params():,}" in lines[-1]
    again = check_file(tied, IDS, tmp_path / "tied.safetensors")
    assert again.layers[-1].get_config() == tied.layers[-1].get_config()


def test_frozen_vectors_stay_and_the_bias_learns():
    tied = model()
    tied.layers[0].trainable = False
    tied.compile("sgd", "sparse_categorical_crossentropy")
    vectors = tied.weights["embedding.embeddings"].copy()
    bias = tied.weights["tied_dense.bias"].copy()
    tied.train_on_batch(IDS, IDS)
    np.testing.assert_array_equal(tied.weights["embedding.embeddings"], vectors)
    assert (tied.weights["tied_dense.bias"] != bias).any()
    tied.layers[0].trainable = True
    tied.layers[-1].trainable = False
    bias = tied.weights["tied_dense.bias"].copy()
    tied.train_on_batch(IDS, IDS)
    assert (tied.weights["embedding.embeddings"] != vectors).any()
    np.testing.assert_array_equal(tied.weights["tied_dense.bias"], bias)


def test_copies_are_tied_to_the_model_that_they_join():
    tied = model()
    layers = [layer.copy() for layer in tied.layers]
    again = lc.Sequential(layers, dtype="float64")
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), tied.predict(IDS, verbose=0))
    twin = copy.deepcopy(tied)
    twin.set_weights({"embedding.embeddings": np.zeros((V, E))})
    assert tied.weights["embedding.embeddings"].any()
    assert twin(IDS)[0, 0] == pytest.approx(
        np.exp(twin.weights["tied_dense.bias"]) / np.exp(twin.weights["tied_dense.bias"]).sum()
    )
    popped = tied.pop()
    with pytest.raises(ValueError, match="tied to the layer 'embedding' of a model; add it"):
        popped(np.zeros((1, 1, E)))
    tied.add(popped)
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), tied.predict(IDS, verbose=0))


def test_gradients_that_are_not_finite_are_noticed():
    tied = model(None)
    tied.compile("sgd", "mse")
    y = np.zeros((N, T, V))
    weights = tied.get_weights()
    tied.set_weights({"embedding.embeddings": np.full((V, E), 1e200)})
    with pytest.raises(FloatingPointError):
        tied.train_on_batch(IDS, y, check_finite=False)
    tied.set_weights(weights)
    assert np.isfinite(tied.train_on_batch(IDS, y))


def test_quantized_models_use_the_rounded_vectors():
    tied = lc.Sequential(
        [L.Embedding(V, E), L.LSTM(E, return_sequences=True), L.TiedDense(activation="softmax")]
    )
    tied.build((None, None))
    small = lc.quantize(tied)
    vectors = small.weights["embedding.embeddings"]
    h = small.inputs_of(IDS, "tied_dense")[0]
    z = h @ vectors.T + small.weights["tied_dense.bias"]
    expected = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(small(IDS), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.TiedDense()(np.zeros((1, E))), "must be one of the model's own layers"),
        (
            lambda: lc.Sequential([L.Input((None, E)), L.TiedDense()]),
            r"tied_to: .*\(there is none\), got 'embedding', no layer of that name",
        ),
        (
            lambda: lc.Sequential(
                [L.Input((None,), ), L.Embedding(V, E, name="words"), L.TiedDense("word")]
            ),
            r"\('words'\), got 'word'",
        ),
        (
            lambda: lc.Sequential(
                [L.Input((None,)), L.Embedding(V, E), L.LSTM(2, name="x"), L.TiedDense("x")]
            ),
            "got 'x', a LSTM",
        ),
        (
            lambda: lc.Sequential([L.Input((None,)), L.Embedding(V, E), L.LSTM(2), L.TiedDense()]),
            r"as wide as the vectors of 'embedding', 3, got 2; a Dense\(3\) before",
        ),
        (
            lambda: lc.Sequential(
                [L.Input((None,)), L.Embedding(V, E), L.TimeDistributed(L.TiedDense())]
            ),
            "must be one of the model's own layers",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_be_tied_to(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_loss_is_checked_against_its_activation():
    tied = model(None)
    with pytest.raises(ValueError, match="expects the probabilities that softmax returns"):
        tied.compile("sgd", "sparse_categorical_crossentropy")
