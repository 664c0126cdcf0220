"""EncoderDecoder: sources that are numbers, and embeddings that do two jobs."""

import numpy as np
import pytest

import lstmcore as lc
from pair_kit import ATTENTIONS, check_gradients, check_layers_alone, some_rows, spread


def model_of(**options):
    options = {"embedding_size": 4, "units": 4, "seed": 5, "dtype": "float64", **options}
    return lc.EncoderDecoder(target_vocabulary=6, **options)


def sequences(rng, lengths=(3, 0, 5, 1), width=3):
    return [rng.normal(size=(length, width)) for length in lengths]


def targets(rng):
    return some_rows(rng, [2, 4, 0, 3], 3, 6)


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_with_sequences_of_numbers(rng, attention, bidirectional):
    model = model_of(source_features=3, attention=attention, bidirectional=bidirectional)
    x, y = sequences(rng), targets(rng)
    check_gradients(spread(model, rng), x, y, rng)
    check_layers_alone(model, x, y, rng)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.3}])
def test_gradients_with_vectors(rng, options):
    """They reach the layers that make the decoder's first h and c."""
    model = spread(model_of(source_vector=5, **options), rng)
    assert [layer.name for layer in model.layers][:2] == ["bridge_h_l0", "bridge_c_l0"]
    x, y = rng.normal(size=(4, 5)), targets(rng)
    check_layers_alone(model, x, y, rng)
    check_gradients(model, x, y, rng)
    assert np.abs(model.parameters.gradient("bridge_c_l0.kernel")).min() > 0


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    "options", [{"tie_embeddings": True}, {"tie_embeddings": True, "share_embeddings": True}]
)
def test_gradients_of_tied_and_shared_embeddings(rng, attention, options):
    model = model_of(source_vocabulary=6, attention=attention, dropout=0.2, **options)
    x = some_rows(rng, [3, 0, 5, 1], 1, 6)
    y = targets(rng)
    check_gradients(spread(model, rng), x, y, rng, places=24)
    check_layers_alone(model, x, y, rng)


def test_gradients_of_a_shared_embedding(rng):
    model = model_of(source_vocabulary=6, share_embeddings=True, embedding_size=3)
    check_gradients(spread(model, rng), some_rows(rng, [3, 0, 5, 1], 1, 6), targets(rng), rng)


# ---- what they compute ---------------------------------------------------------------------------


def test_a_vector_sets_the_first_state(rng):
    """The decoder begins with tanh(x W_h + b_h) and x W_c + b_c, as a plain LSTM would."""
    model = spread(model_of(source_vector=5), rng)
    x, y = rng.normal(size=(2, 5)), np.array([[3, 4], [5, 3]])
    weights = model.weights
    h = np.tanh(x @ weights["bridge_h_l0.kernel"] + weights["bridge_h_l0.bias"])
    c = x @ weights["bridge_c_l0.kernel"] + weights["bridge_c_l0.bias"]
    read = weights["target_embedding.embeddings"][np.insert(y, 0, model.start, axis=1)]
    layer = model.get_layer("decoder")
    out, _, _ = layer._run(read, None, lc.functional.LSTMState(h[None], c[None]), False, 0)
    logits = out @ weights["output.kernel"] + weights["output.bias"]
    powers = np.exp(logits)
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(model(x, y), expected, rtol=1e-12)


def test_sequences_of_numbers_alone_and_padded_have_the_same_bits(rng):
    model = spread(model_of(source_features=3, bidirectional=True), rng)
    x, y = sequences(rng, (3, 5, 1, 2)), targets(rng)
    together = model(x, y)
    for row, (source, target) in enumerate(zip(x, y, strict=True)):
        assert np.array_equal(together[row, : len(target) + 1], model([source], [target])[0])
    same = np.stack([x[1], x[1]])
    assert np.array_equal(model(same, y[:2]), model([x[1], x[1]], y[:2]))


def test_a_tied_output_is_a_product_with_the_table(rng):
    tied = spread(model_of(source_vocabulary=6, tie_embeddings=True), rng)
    plain = model_of(source_vocabulary=6)
    assert "output.kernel" not in tied.weights
    table = tied.weights["target_embedding.embeddings"]
    assert plain.count_params() - tied.count_params() == table.size
    plain.set_weights({**tied.weights, "output.kernel": table.T})
    x, y = some_rows(rng, [3, 5], 1, 6), some_rows(rng, [2, 4], 3, 6)
    np.testing.assert_allclose(tied(x, y), plain(x, y), rtol=1e-12)
    assert [row.tolist() for row in tied.predict(x)] == [row.tolist() for row in plain.predict(x)]


def test_a_shared_table_is_stored_once(rng, tmp_path):
    model = model_of(source_vocabulary=6, tie_embeddings=True, share_embeddings=True)
    assert sum(values.shape == (6, 4) for values in model.weights.values()) == 1
    assert [layer.name for layer in model.layers].count("embedding") == 1
    x, y = some_rows(rng, [3, 5], 1, 6), some_rows(rng, [2, 4], 3, 6)
    model.compile("adam")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    loaded = lc.load(tmp_path / "model.safetensors")
    assert np.array_equal(loaded(x, y), model(x, y))
    for each in (model, loaded):
        each.fit(x, y, epochs=4, initial_epoch=2, verbose=0)
    assert np.array_equal(loaded.parameters.values, model.parameters.values)
    small = model_of(source_vocabulary=6, tie_embeddings=True, dtype="float32")
    quantized = lc.quantize(small)
    np.testing.assert_allclose(quantized(x, y), small(x, y), atol=0.02)


def test_a_frozen_shared_table_keeps_its_bits(rng):
    model = model_of(source_vocabulary=6, tie_embeddings=True, share_embeddings=True)
    model.get_layer("embedding").trainable = False
    before = model.weights["embedding.embeddings"].copy()
    model.compile("sgd")
    x, y = some_rows(rng, [3, 5], 1, 6), some_rows(rng, [2, 4], 3, 6)
    model.fit(x, y, epochs=2, verbose=0)
    assert np.array_equal(model.weights["embedding.embeddings"], before)


@pytest.mark.parametrize("kind", ["source_features", "source_vector"])
def test_numbers_to_tokens_are_learnt_saved_and_decoded(rng, tmp_path, kind):
    """The target says which of three channels was largest, twice."""
    largest = rng.integers(3, size=120)
    x = np.eye(3)[largest] + rng.normal(scale=0.1, size=(120, 3))
    if kind == "source_features":
        x = np.repeat(x[:, None], 4, axis=1)
    y = [[3 + channel] * 2 for channel in largest]
    model = lc.EncoderDecoder(target_vocabulary=6, **{kind: 3}, embedding_size=8, units=16)
    model.compile(lc.optimizers.Adam(2e-2))
    model.fit(x, y, epochs=8, verbose=0)
    found = model.predict(x, verbose=0)
    assert [row.tolist() for row in found] == y
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors").predict(x, verbose=0)
    assert [row.tolist() for row in again] == y
    # Where the target must be longer than is usual for such a source.
    assert len(model.predict(x[:1], verbose=0, min_length=70)[0]) >= 70


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "source_vocabulary: expected exactly one of .*, got none"),
        ({"source_vocabulary": 5, "source_vector": 5}, "got source_vocabulary and source_vector"),
        ({"source_vector": 0}, "source_vector: expected an integer of at least 1, got 0"),
        ({"source_features": -1}, "source_features: expected an integer of at least 1"),
        (
            {"source_vector": 5, "bidirectional": True},
            "bidirectional: expected False with source_v",
        ),
        ({"source_vector": 5, "attention": "additive"}, "attention: expected None with source_vec"),
        (
            {"source_vocabulary": 6, "tie_embeddings": True, "embedding_size": 3},
            "expected units, 4",
        ),
        ({"source_vocabulary": 5, "share_embeddings": True}, "expected equal .*, got 5 and 6"),
        ({"source_vector": 5, "share_embeddings": True}, "share_embeddings: expected False"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        model_of(**options)


@pytest.mark.parametrize(
    ("kind", "x", "message"),
    [
        ("source_vector", np.zeros((1, 4)), r"x: expected shape \(N, C\) with C = 5, got \(1, 4\)"),
        ("source_vector", np.zeros((1, 2, 5)), r"x: expected shape \(N, C\) with C = 5"),
        ("source_features", np.zeros((1, 5)), r"x: expected shape \(N, T, C\) with C = 5"),
        ("source_features", [np.zeros((2, 4))], r"x: expected shape \(N, T, C\) with C = 5"),
        ("source_vector", np.full((1, 5), np.nan), "x.*nan"),
    ],
)
def test_numbers_that_do_not_fit(kind, x, message):
    model = model_of(**{kind: 5})
    model.compile()
    for call in (lambda: model.fit(x, [[3]], verbose=0), lambda: model.predict(x, verbose=0)):
        with pytest.raises(ValueError, match=message):
            call()
