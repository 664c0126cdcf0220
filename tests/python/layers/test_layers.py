"""Single layers: outputs, exact gradients, initial values."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, H, N, T, built, check_gradients
from lstmcore import layers
from lstmcore.layers.recurrent import reverse_rows

RECURRENT = {
    "last": lambda: layers.LSTM(H),
    "sequences": lambda: layers.LSTM(H, return_sequences=True),
    "backwards": lambda: layers.LSTM(H, return_sequences=True, go_backwards=True),
    "backwards_last": lambda: layers.LSTM(H, go_backwards=True),
    "stacked": lambda: layers.LSTM(H, num_layers=2, dropout=0.4, return_sequences=True),
    "rnn": lambda: layers.RNN([layers.LSTMCell(H), layers.LSTMCell(H)]),
    **{
        f"{mode}{'_sequences' if sequences else ''}": lambda mode=mode, sequences=sequences: (
            layers.Bidirectional(layers.LSTM(H, return_sequences=sequences), merge_mode=mode)
        )
        for mode in ("concat", "sum", "mul", "ave")
        for sequences in (False, True)
    },
    "stacked_both": lambda: layers.Bidirectional(layers.LSTM(H, num_layers=2), "mul"),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_gradients(name, lengths, rng):
    layer = built(RECURRENT[name](), (N, T, C))
    check_gradients(layer, rng.standard_normal((N, T, C)), lengths, rng)


OTHERS = {
    **{
        activation: lambda activation=activation: layers.Dense(H, activation=activation)
        for activation in ("linear", "relu", "tanh", "sigmoid", "softmax")
    },
    "no_bias": lambda: layers.Dense(H, use_bias=False),
    "time_distributed": lambda: layers.TimeDistributed(layers.Dense(H, activation="tanh")),
    "dropout": lambda: layers.Dropout(0.4),
    "maximum": lambda: layers.GlobalMaxPooling1D(),
    "average": lambda: layers.GlobalAveragePooling1D(),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_gradients(name, lengths, rng):
    layer = built(OTHERS[name](), (N, T, C))
    check_gradients(layer, rng.standard_normal((N, T, C)), lengths, rng)


def test_embedding_gathers_and_adds_up():
    layer = layers.Embedding(6, 2)
    ids = np.array([[1, 5, 1], [0, 1, 5]])
    outputs, lengths, context = (layer(ids), *layer.forward(ids, None, True, 0)[1:])
    assert lengths is None
    np.testing.assert_array_equal(outputs, layer.weights["embeddings"][ids])
    layer.backward(context, np.ones((2, 3, 2), np.float32))
    counts = np.array([1, 3, 0, 0, 0, 2], np.float32)
    np.testing.assert_array_equal(layer._gradients["embeddings"], counts[:, None] * np.ones(2))


def test_embedding_returns_lengths_of_padded_rows():
    layer = layers.Embedding(6, 2, mask_zero=True)
    ids = np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0]])
    layer(ids)
    np.testing.assert_array_equal(layer.forward(ids, None, False, 0)[1], [3, 1, 0])


def test_two_forwards_in_flight_are_independent(rng):
    layer = built(layers.LSTM(H, num_layers=2, dropout=0.5), (N, T, C))
    first, second = rng.standard_normal((2, N, T, C))
    dy = rng.standard_normal((N, H))
    alone = layer.backward(layer.forward(first, None, True, 1)[2], dy)
    gradient = layer._gradients["weight_hh_l0"].copy()
    context = layer.forward(first, None, True, 1)[2]
    other = layer.forward(second, None, True, 2)[2]
    layer.backward(other, dy)
    np.testing.assert_array_equal(layer.backward(context, dy), alone)
    np.testing.assert_array_equal(layer._gradients["weight_hh_l0"], gradient)


def test_going_backwards_returns_outputs_in_the_order_of_the_walk(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    ahead = layers.LSTM(H, return_sequences=True, seed=3)
    back = layers.LSTM(H, return_sequences=True, go_backwards=True, seed=3)
    # The same steps in the same order, hence the same bits.
    np.testing.assert_array_equal(back(x), ahead(x[:, ::-1]))
    mirrored = reverse_rows(x, LENGTHS)
    np.testing.assert_array_equal(back(x, lengths=LENGTHS), ahead(mirrored, lengths=LENGTHS))
    last = layers.LSTM(H, go_backwards=True, seed=3)
    np.testing.assert_array_equal(last(x), back(x)[:, -1])


def test_reversing_rows_twice_changes_nothing(rng):
    y = rng.standard_normal((N, T, C))
    np.testing.assert_array_equal(reverse_rows(reverse_rows(y, LENGTHS), LENGTHS), y)
    np.testing.assert_array_equal(reverse_rows(y, LENGTHS)[1, :2], y[1, 1::-1])


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
def test_bidirectional_merges_two_walks(mode, rng):
    x = rng.standard_normal((N, T, C))
    both = layers.Bidirectional(layers.LSTM(H, return_sequences=True), mode)
    outputs = both(x)
    ahead, back = layers.LSTM(H, return_sequences=True), layers.LSTM(H, return_sequences=True)
    for layer, suffix in ((ahead, "_l0"), (back, "_l0_reverse")):
        layer(x)
        names = ("weight_ih", "weight_hh", "bias")
        layer.set_weights([both.weights[name + suffix] for name in names])
    first, second = ahead(x), back(x[:, ::-1])[:, ::-1]
    expected = {
        "concat": np.concatenate([first, second], axis=-1),
        "sum": first + second,
        "mul": first * second,
        "ave": (first + second) / 2,
    }[mode]
    np.testing.assert_array_equal(outputs, expected)


def test_a_cell_computes_the_steps_of_its_rnn(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    cell = layers.LSTMCell(H)
    rnn = layers.RNN(cell, return_sequences=True, return_state=True)
    y, h, c = rnn(x)
    states = None
    for step in range(T):
        output, states = cell(x[:, step], states)
        np.testing.assert_array_equal(output, y[:, step])
    np.testing.assert_array_equal(states[0], h)
    np.testing.assert_array_equal(states[1], c)


def test_a_cell_works_alone(rng):
    x = rng.standard_normal((N, C)).astype(np.float32)
    cell = layers.LSTMCell(H)
    h, (h_again, c) = cell(x)
    assert h.shape == c.shape == (N, H)
    np.testing.assert_array_equal(h, h_again)


@pytest.mark.parametrize("wide", [False, True], ids=["one_layer", "stacked"])
def test_a_returned_state_continues_the_sequence(wide, rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    layer = layers.LSTM(H, num_layers=2 if wide else 1, return_sequences=True, return_state=True)
    whole, h, c = layer(x)
    first, *state = layer(x[:, :2])
    second, h_end, c_end = layer(x[:, 2:], initial_state=state)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    np.testing.assert_array_equal(h_end, h)
    np.testing.assert_array_equal(c_end, c)
    assert h.shape == ((2, N, H) if wide else (N, H))


def test_initial_values_are_those_of_keras():
    layer = layers.LSTM(16)
    layer(np.zeros((1, 1, 8)))
    weights = layer.weights
    limit = np.sqrt(6 / (8 + 4 * 16))
    assert 0.9 * limit < abs(weights["weight_ih_l0"]).max() <= limit
    recurrent = weights["weight_hh_l0"]
    # Orthonormal columns, up to rounding.
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(16), atol=1e-14)
    np.testing.assert_array_equal(weights["bias_l0"], np.repeat([0.0, 1.0, 0.0, 0.0], 16))
    plain = layers.LSTM(16, unit_forget_bias=False)
    plain(np.zeros((1, 1, 8)))
    assert not plain.weights["bias_l0"].any()
    embedding = layers.Embedding(50, 8)
    embedding(np.zeros((1, 1), int))
    assert 0.045 < abs(embedding.weights["embeddings"]).max() <= 0.05


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "uniform", "zeros", "ones"])
def test_initializers_by_name(name):
    layer = layers.Dense(30, kernel_initializer=name)
    layer(np.zeros((1, 20)))
    spread = {
        "glorot_uniform": np.sqrt(6 / 50),
        "he_uniform": np.sqrt(6 / 20),
        "uniform": 0.05,
        "zeros": 0.0,
        "ones": 1.0,
    }[name]
    largest = abs(layer.weights["kernel"]).max()
    assert 0.95 * spread <= largest <= spread


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_normal", 2 / 500),
        ("glorot_uniform", 2 / 500),
        ("he_normal", 2 / 200),
        ("he_uniform", 2 / 200),
        ("lecun_normal", 1 / 200),
        ("lecun_uniform", 1 / 200),
        ("random_normal", 0.05**2),
        ("random_uniform", 0.1**2 / 12),
        ("truncated_normal", (0.05 * 0.87962566) ** 2),
    ],
)
def test_variance_of_initial_values(name, variance):
    layer = layers.Dense(300, kernel_initializer=name)
    layer(np.zeros((1, 200)))
    kernel = layer.weights["kernel"]
    # 60 000 values determine the variance to about half a percent.
    assert kernel.var() == pytest.approx(variance, rel=0.03)
    assert abs(kernel.mean()) < 5 * np.sqrt(variance / kernel.size)
    if name in ("glorot_normal", "he_normal", "lecun_normal", "truncated_normal"):
        assert abs(kernel).max() <= 2 * np.sqrt(variance) / 0.8796


@pytest.mark.parametrize(
    ("penalty", "l1", "l2"),
    [
        (0.3, 0.0, 0.3),
        ("l1", 0.01, 0.0),
        ("l2", 0.0, 0.01),
        ("l1_l2", 0.01, 0.01),
        (lc.regularizers.L1(0.2), 0.2, 0.0),
        (lc.regularizers.L1L2(0.2, 0.1), 0.2, 0.1),
    ],
)
def test_penalties_and_their_gradients(penalty, l1, l2, tmp_path):
    def train(penalty):
        layer = layers.LSTM(3, recurrent_regularizer=penalty, seed=1)
        model = lc.Sequential([layer, layers.Dense(1, seed=2)], seed=3)
        model.compile(optimizer=lc.optimizers.SGD(0.5), loss="mse")
        x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
        model.build((None, None, 2))
        before = layer.weights["weight_hh_l0"].astype(np.float64)
        loss = model.train_on_batch(x, np.ones((4, 1), np.float32))
        return model, before, np.float64(layer.weights["weight_hh_l0"]), loss

    model, before, with_penalty, loss = train(penalty)
    _, _, without, plain = train(None)
    assert loss - plain == pytest.approx(l1 * abs(before).sum() + l2 * (before**2).sum(), rel=1e-5)
    slope = l1 * np.sign(before) + 2 * l2 * before
    np.testing.assert_allclose(with_penalty, without - 0.5 * slope, atol=2e-7)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors").layers[0].recurrent_regularizer
    assert (again.l1, again.l2) == (l1, l2)


def test_max_norm_holds_after_every_step(tmp_path):
    bound = lc.constraints.MaxNorm(0.5)
    model = lc.Sequential(
        [
            layers.LSTM(
                4, kernel_constraint=bound, recurrent_constraint=bound, bias_constraint="max_norm"
            ),
            layers.Dense(2, kernel_constraint=bound),
        ],
        seed=3,
    )
    model.compile(optimizer=lc.optimizers.SGD(1.0), loss="mse")
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    for _ in range(3):
        model.train_on_batch(x, 9 * np.ones((4, 2), np.float32))
        lstm, dense = (layer.weights for layer in model.layers)
        limit = 0.5 * (1 + 1e-6)
        for name in ("weight_ih_l0", "weight_hh_l0"):
            assert np.linalg.norm(lstm[name], axis=1).max() <= limit
        assert np.linalg.norm(lstm["bias_l0"]) <= 2 * (1 + 1e-6)
        assert np.linalg.norm(dense["kernel"], axis=0).max() <= limit
    before = model.predict(x)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    assert again.layers[0].kernel_constraint.max_value == 0.5
    assert np.array_equal(again.predict(x), before)


def test_the_seed_determines_the_initial_values():
    kernels = []
    for seed in (1, 1, 2):
        layer = layers.Dense(4, seed=seed)
        layer(np.zeros((1, 3)))
        kernels.append(layer.weights["kernel"])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).all()


def test_new_weights_are_used_at_once(rng):
    x = rng.standard_normal((N, T, C))
    layer = built(layers.LSTM(H), (N, T, C))
    before = layer(x)
    layer.set_weights([2 * view for view in layer.get_weights()])
    assert (layer(x) != before).any()
    with pytest.raises(ValueError, match="read-only"):
        layer.weights["bias_l0"][0] = 1


def test_dropout_drops_only_while_training():
    layer = layers.Dropout(0.25)
    x = np.ones((200, 50), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    dropped = layer(x, training=True, seed=1)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    # 10,000 draws: five standard deviations are 0.022.
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.022)
    np.testing.assert_array_equal(layer(x, training=True, seed=1), dropped)
    assert (layer(x, training=True, seed=2) != dropped).any()
    seeded = layers.Dropout(0.25, seed=9)
    assert (seeded(x, training=True, seed=1) != dropped).any()


def test_pooling_ignores_invalid_steps():
    x = np.array([[[1.0], [5.0], [9.0]], [[-3.0], [-2.0], [7.0]], [[4.0], [4.0], [4.0]]])
    lengths = [3, 2, 0]
    np.testing.assert_array_equal(
        layers.GlobalMaxPooling1D()(x, lengths=lengths), [[9.0], [-2.0], [0.0]]
    )
    np.testing.assert_array_equal(
        layers.GlobalAveragePooling1D()(x, lengths=lengths), [[5.0], [-2.5], [0.0]]
    )


def test_time_distributed_applies_its_layer_at_every_step(rng):
    x = rng.standard_normal((N, T, C))
    inner = layers.Dense(H, activation="softmax")
    outputs = layers.TimeDistributed(inner)(x)
    for step in range(T):
        np.testing.assert_array_equal(inner(x[:, step]), outputs[:, step])


TEXTS = ["The cat sat.", "the CAT ran!", "a dog; the dog", ""]


def test_text_vectorization_ranks_tokens_by_frequency_then_name():
    layer = layers.TextVectorization()
    layer.adapt(TEXTS)
    assert layer.get_vocabulary() == ["", "[UNK]", "the", "cat", "dog", "a", "ran", "sat"]
    assert layer.vocabulary_size() == 8
    expected = [[2, 3, 7], [2, 3, 6], [5, 4, 2], [1, 0, 0]]
    np.testing.assert_array_equal(
        layer(["the cat sat", "The cat ran", "a dog the", "zebra"]), expected
    )


def test_text_vectorization_options():
    layer = layers.TextVectorization(max_tokens=4, output_sequence_length=2)
    layer.adapt(TEXTS)
    assert layer.get_vocabulary() == ["", "[UNK]", "the", "cat"]
    np.testing.assert_array_equal(layer(["the cat the", "dog"]), [[2, 3], [1, 0]])
    letters = layers.TextVectorization(split="character", standardize=None, vocabulary=["a", "B"])
    np.testing.assert_array_equal(letters(np.array(["aB", "Ab"])), [[2, 3], [1, 1]])
    plain = layers.TextVectorization(standardize=None, vocabulary=["", "[UNK]", "The", "cat."])
    np.testing.assert_array_equal(plain(["The cat.", "the cat"]), [[2, 3], [1, 1]])


def test_every_layer_can_be_made_again_from_its_configuration():
    for layer in (
        layers.Embedding(5, 3, mask_zero=True, embeddings_regularizer="l2", name="words"),
        layers.LSTM(4, num_layers=2, dropout=0.1, kernel_regularizer=0.5),
        layers.LSTM(4, num_layers=2, share_recurrent=True, stateful=True, forget_bias=3),
        layers.LSTM(4, recurrent_trainable=False),
        layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3, unit_forget_bias=False)]),
        layers.Bidirectional(layers.LSTM(2), merge_mode="sum"),
        layers.TimeDistributed(layers.Dense(3, activation="relu")),
        layers.TextVectorization(max_tokens=5, vocabulary=["a"]),
    ):
        from lstmcore._configurable import make

        classes = {name: getattr(layers, name) for name in layers.__all__}
        classes["L2"] = lc.regularizers.L2
        config = layer.get_config()
        assert make(type(layer).__name__, config, classes).get_config() == config


def test_a_layer_takes_resets(rng):
    x = rng.standard_normal((N, T, C))
    layer = layers.LSTM(H, return_sequences=True)
    reset = np.zeros((N, T), bool)
    reset[:, 2] = True
    y = layer(x, reset=reset)
    np.testing.assert_array_equal(y[:, :2], layer(x[:, :2]))
    np.testing.assert_array_equal(y[:, 2:], layer(x[:, 2:]))
    with pytest.raises(ValueError, match="reset"):
        layer(x, reset=reset[:, :2])


def test_both_directions_return_their_states(rng):
    x = rng.standard_normal((N, T, C))
    both = layers.Bidirectional(layers.LSTM(H, return_state=True))
    y, h, c = both(x)
    assert h.shape == c.shape == (2, N, H)
    np.testing.assert_array_equal(np.concatenate([h[0], h[1]], axis=-1), y)
    ahead = layers.LSTM(H, return_state=True)
    ahead(x)
    ahead.set_weights([both.weights[name] for name in ahead.weights])
    np.testing.assert_array_equal(ahead(x)[2], c[0])


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_takes_a_mask(training):
    """With padding on either side, or gaps, results are as if invalid steps were removed."""
    x = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
    mask = np.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 1, 1, 0, 1]], bool)
    layer = lc.layers.Bidirectional(lc.layers.LSTM(4))
    y = layer(x, mask=mask, training=training)
    for row in range(3):
        alone = layer(x[row : row + 1, mask[row]], training=training)
        assert np.array_equal(y[row], alone[0])
    back = lc.layers.LSTM(4, go_backwards=True, return_sequences=True)
    with pytest.raises(ValueError, match="mask: expected None with both go_backwards"):
        back(x, mask=mask)
