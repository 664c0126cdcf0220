"""What windows of time steps, stateful batches and states refuse."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from window_kit import C, H, N, Source, T, U, make_model, refused, some_data


@pytest.fixture
def data(rng):
    return some_data(rng)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_window_has_at_least_one_step(size, data):
    refused(make_model(), (ValueError, TypeError), "tbptt", lambda m: m.fit(*data, tbptt=size))


def test_models_that_windows_do_not_suit(data):
    x, y = data
    walk = layers.LSTM(H, return_sequences=True)
    for network, match in (
        ([layers.LSTM(H), layers.Dense(U)], "'lstm' has one output for a whole sequence"),
        ([walk, layers.GlobalMaxPooling1D(), layers.Dense(U)], "'global_max_pooling1d' has one"),
        ([layers.Bidirectional(layers.LSTM(H, return_sequences=True)), layers.Dense(U)], "'bidir"),
        (
            [layers.LSTM(H, return_sequences=True, go_backwards=True), layers.Dense(U)],
            "from the end",
        ),
        ([layers.Dense(U)], "no recurrent layer"),
    ):
        model = lc.Sequential(network, dtype="float64")
        model.compile("sgd", "mse")
        targets = y if len(network) < 3 and not match.startswith("'lstm") else y[:, 0]
        refused(model, ValueError, f"tbptt: .*{match}", lambda m, t=targets: m.fit(x, t, tbptt=4))


def test_bad_states_and_options(data):
    x, y = data
    model = make_model()
    model.build((None, None, C))
    state = model.initial_state(N)
    h, c = state["lstm"]
    for error, match, wrong in (
        (TypeError, "state: expected a mapping", (h, c)),
        (ValueError, "state: expected entries for lstm, got walk", {"walk": (h, c)}),
        (ValueError, "state: expected entries for lstm, got none", {}),
        (TypeError, r"state\['lstm'\]: expected a pair", {"lstm": h}),
        (TypeError, r"state\['lstm'\].c: expected numbers", {"lstm": (h, c.astype(str))}),
        (ValueError, r"state\['lstm'\].c: expected shape \(2, 4, 5\)", {"lstm": (h, c[:1])}),
        (ValueError, r"state\['lstm'\].h: expected shape", model.initial_state(3)),
    ):
        refused(model, error, match, lambda m, s=wrong: m.predict(x, state=s))
        refused(model, error, match, lambda m, s=wrong: m.train_on_batch(x, y, state=s))
        refused(
            model,
            error,
            match,
            lambda m, s=wrong: m.fit(x, y, batch_size=N, stateful=True, state=s),
        )
    for error, match, options in (
        (ValueError, "state: expected None", {"state": state}),
        (ValueError, "x: expected whole batches of 3", {"stateful": True, "batch_size": 3}),
        (ValueError, "shuffle: expected False", {"stateful": True, "shuffle": True}),
        (TypeError, "stateful: expected True or False", {"stateful": 1}),
        (TypeError, "shuffle: expected True or False", {"shuffle": 0}),
        (TypeError, "reset: expected an array of bool", {"reset": np.zeros((N, T))}),
        (ValueError, "reset: expected 11 time steps", {"reset": np.zeros((N, 3), bool)}),
        (ValueError, "reset: expected 4 entries", {"reset": np.zeros((3, T), bool)}),
        (ValueError, r"reset: expected shape \(N, T\)", {"reset": np.zeros(N, bool)}),
        (
            ValueError,
            "validation_data: expected whole batches of 2",
            {"stateful": True, "batch_size": 2, "validation_data": (x[:3], y[:3])},
        ),
    ):
        refused(model, error, match, lambda m, o=options: m.fit(x, y, verbose=0, **o))
    refused(model, ValueError, "whole batches", lambda m: m.predict(x, 3, stateful=True))
    refused(model, ValueError, "whole batches", lambda m: m.evaluate(x, y, 3, stateful=True))
    both = lc.Sequential([layers.Bidirectional(layers.LSTM(H)), layers.Dense(U)], dtype="float64")
    both.build((None, None, C))
    for name in ("state", "return_state", "stateful"):
        value = {} if name == "state" else True
        refused(
            both,
            ValueError,
            f"{name}: .*from the end",
            lambda m, o={name: value}: m.predict(x, **o),
        )
    refused(both, ValueError, "initial_state: .*from the end", lambda m: m.initial_state(2))
    plain = lc.Sequential([layers.Dense(U)], dtype="float64")
    refused(plain, ValueError, "reset: .*no recurrent", lambda m: m.predict(x, reset=x[..., 0] > 0))
    mixed = lc.Sequential(
        [layers.LSTM(H, return_sequences=True, stateful=True, name="a"), layers.LSTM(H, name="b")],
        dtype="float64",
    )
    refused(mixed, ValueError, "all recurrent layers .* or none.*not b", lambda m: m.predict(x))
    with pytest.raises(ValueError, match="stateful: expected go_backwards=False"):
        layers.LSTM(H, stateful=True, go_backwards=True)


def test_a_layer_that_overrides_forward_has_no_state(data):
    class Doubled(layers.LSTM):
        def forward(self, inputs, lengths, training, seed):
            outputs, lengths, context = super().forward(inputs, lengths, training, seed)
            return 2 * outputs, lengths, context

    x, _ = data
    model = lc.Sequential([Doubled(H, seed=1)], dtype="float64")
    plain = lc.Sequential([layers.LSTM(H, seed=1)], dtype="float64")
    np.testing.assert_array_equal(model.predict(x), 2 * plain.predict(x))
    for options in ({"return_state": True}, {"stateful": True}, {"reset": x[..., 0] > 0}):
        name = next(iter(options))
        match = f"{name}: layer 'doubled' is a Doubled, but has its own forward"
        refused(model, ValueError, match, lambda m, o=options: m.predict(x, **o))


def test_bad_streams_are_refused_before_the_first_step(rng):
    x, y = rng.standard_normal((6, 20, C)).astype("f4"), rng.integers(0, U, (6, 20))
    wrong = y.copy()
    wrong[5, 19] = U

    def model():
        made = lc.Sequential(
            [layers.LSTM(H, return_sequences=True), layers.Dense(U, activation="softmax")]
        )
        made.compile("sgd", "sparse_categorical_crossentropy")
        return made

    for error, match, given, options in (
        (TypeError, "x: expected numbers, got complex", (Source(x.astype("c8")), y), {}),
        (ValueError, r"x: expected shape \(N, T, C\)", (Source(x[..., 0]), y), {}),
        (ValueError, "y: expected labels in 0..1", (Source(x), Source(wrong)), {}),
        (ValueError, "y: expected 6 rows of 20 steps", (Source(x), Source(y[:5])), {}),
        (ValueError, "y: expected 6 rows of 20 steps", (Source(x), y[:, :19]), {}),
        (TypeError, "y: expected something that is sliced", (Source(x), list(y)), {}),
        (ValueError, "y: expected targets, got None", (Source(x), None), {}),
        (ValueError, "y: expected whole numbers", (Source(x), Source(y + 0.5)), {}),
        (ValueError, "numbers of at least 0", (Source(x), y), {"sample_weight": -np.ones(6)}),
        (TypeError, "reset", (Source(x), y), {"reset": Source(y)}),
    ):
        refused(model(), error, match, lambda m, g=given, o=options: m.fit(*g, tbptt=4, **o))
    ids = lc.Sequential(
        [layers.Embedding(9, 3, mask_zero=True), layers.LSTM(H, return_sequences=True)]
    )
    ids.compile("sgd", "mse")
    targets = np.zeros((6, 20, H), "f4")
    refused(ids, ValueError, "mask_zero", lambda m: m.fit(Source(y), targets, tbptt=4, verbose=0))
