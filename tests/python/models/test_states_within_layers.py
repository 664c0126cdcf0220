"""States of layers within layers, and layers that read several steps."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from window_kit import C, H, N, Recorder, Source, T, U, refused, some_data


@pytest.fixture
def data(rng):
    return some_data(rng)


def residual_model(kind):
    """Make a model with recurrent layers at the top level, in a `Residual`, and in a nested one."""
    walks = [layers.LSTM(C, return_sequences=True, seed=seed) for seed in (1, 2)]
    rest = layers.Residual([layers.LayerNormalization(), walks[0], layers.Dropout(0.0)])
    inner = {"flat": [rest, walks[1]], "nested": [layers.Residual([rest, walks[1]])]}[kind]
    model = lc.Sequential([*inner, layers.Dense(U)], dtype="float64", seed=5)
    model.compile(Recorder(), "mse")
    return model


STATES = {"flat": ["residual.1", "lstm"], "nested": ["residual.0.1", "residual.1"]}


@pytest.mark.parametrize("kind", STATES)
def test_state_passes_through_residual_layers(data, kind, tmp_path):
    x, _ = data
    model = residual_model(kind)
    whole = model.predict(x)
    first, state = model.predict(x[:, :4], return_state=True)
    assert list(state) == STATES[kind] == list(model.initial_state(N))
    rest, end = model.predict(x[:, 4:], state=state, return_state=True)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)
    for name, pair in model.predict(x, return_state=True)[1].items():
        for one, other in zip(pair, end[name], strict=True):
            np.testing.assert_array_equal(one, other)
    reset = np.zeros((N, T), bool)
    reset[:, 4] = True
    begun = model.predict(x[:, 4:])
    np.testing.assert_array_equal(model.predict(x, reset=reset)[:, 4:], begun)

    chunks = [np.concatenate([part[:, :4], part[:, 4:8]]) for part in data]
    model.compile("sgd", "mse")
    model.fit(*chunks, batch_size=N, stateful=True, verbose=0)
    assert list(model.state) == STATES[kind]
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    for name, pair in model.state.items():
        for one, other in zip(pair, again.state[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", STATES)
def test_windows_with_residual_layers_are_calls_with_states(data, kind):
    x, y = data
    model, by_hand = residual_model(kind), residual_model(kind)
    model.fit(x, y, batch_size=N, tbptt=4, shuffle=False, verbose=0)
    state = None
    for begin in range(0, T, 4):
        part = slice(begin, begin + 4)
        _, state = by_hand.train_on_batch(x[:, part], y[:, part], state=state, return_state=True)
    seen = model.optimizer.seen, by_hand.optimizer.seen
    assert len(seen[0]) == len(seen[1]) == 3
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)
    fresh = residual_model(kind)
    fresh.train_on_batch(x[:, 4:8], y[:, 4:8])
    assert not np.array_equal(fresh.optimizer.seen[0], seen[0][1])


def test_layers_within_say_whether_they_are_stateful(data):
    x, _ = data
    within = layers.Residual(layers.LSTM(C, return_sequences=True, stateful=True))
    model = lc.Sequential([within], dtype="float64")
    chunks = np.concatenate([x[:, :4], x[:, 4:8]])
    whole = np.concatenate(
        model.predict(x[:, :8], stateful=False).reshape(N, 2, 4, C).swapaxes(0, 1)
    )
    np.testing.assert_array_equal(model.predict(chunks, batch_size=N), whole)
    within = layers.Residual(layers.LSTM(C, return_sequences=True, stateful=True))
    mixed = lc.Sequential([within, layers.LSTM(H)], dtype="float64")
    refused(mixed, ValueError, "some but not lstm", lambda m: m.predict(chunks, batch_size=N))
    with pytest.raises(ValueError, match=r"^layer: expected stateful=False"):
        layers.TimeDistributed(layers.LSTM(H, stateful=True))


def test_bidirectional_layers_within_are_refused(data):
    x, y = data
    both = layers.Residual(layers.Bidirectional(layers.LSTM(C, return_sequences=True), "sum"))
    model = lc.Sequential([both, layers.Dense(U)], dtype="float64")
    model.compile("sgd", "mse")
    match = "tbptt: layer 'residual.0' walks from the end"
    refused(model, ValueError, match, lambda m: m.fit(x, y, tbptt=4, verbose=0))


def test_sequences_within_a_step_start_anew(rng):
    """Layers in a `TimeDistributed` have no state that passes from window to window."""
    x = rng.standard_normal((N, T, 2, C))
    model = lc.Sequential(
        [layers.TimeDistributed(layers.LSTM(H)), layers.LSTM(U, return_sequences=True)],
        dtype="float64",
    )
    first, state = model.predict(x[:, :4], return_state=True)
    assert list(state) == ["lstm"]
    both = np.concatenate([first, model.predict(x[:, 4:], state=state)], axis=1)
    np.testing.assert_array_equal(both, model.predict(x))


MIXING = {
    "conv1d": lambda: layers.Conv1D(C, 2),
    "causal": lambda: layers.Conv1D(C, 2, padding="causal", name="causal"),
    "strided": lambda: layers.Conv1D(C, 1, 2, name="strided"),
    "max_pooling1d": lambda: layers.MaxPooling1D(),
    "average_pooling1d": lambda: layers.AveragePooling1D(),
    "permute": lambda: layers.Permute((2, 1)),
    "reshape": lambda: layers.Reshape((-1, C)),
    "residual": lambda: layers.Residual(layers.Conv1D(C, 3, padding="same")),
}


@pytest.mark.parametrize("name", MIXING)
def test_layers_that_read_several_steps_need_whole_sequences(data, name):
    x, y = data

    def model():
        made = lc.Sequential(
            [MIXING[name](), layers.LSTM(H, return_sequences=True), layers.Dense(U)],
            dtype="float64",
        )
        made.compile("sgd", "mse")
        return made

    steps = model().predict(x).shape[1]
    for options in ({"tbptt": 4}, {"stateful": True}, {"reset": x[..., 0] > 0}):
        match = f"^{next(iter(options))}: layer '{name}' needs several time steps for one output"
        call = lambda m, o=options: m.fit(x, y[:, :steps], verbose=0, **o)  # noqa: E731
        refused(model(), ValueError, match, call)
    streams = Source(x), Source(y)
    match = f"^tbptt: layer '{name}'"
    refused(model(), ValueError, match, lambda m: m.fit(*streams, tbptt=4, verbose=0))
    for options in ({"stateful": True}, {"reset": x[..., 0] > 0}, {"return_state": True}):
        match = f"^{next(iter(options))}: layer '{name}'"
        refused(model(), ValueError, match, lambda m, o=options: m.predict(x, **o))


def test_layers_that_read_one_step_at_a_time_allow_windows(data):
    x, y = data
    model = lc.Sequential(
        [layers.Conv1D(C, 1), layers.MaxPooling1D(1), layers.LSTM(U, return_sequences=True)],
        dtype="float64",
    )
    model.compile(Recorder(), "mse")
    model.fit(x, y, batch_size=N, tbptt=4, verbose=0)
    assert len(model.optimizer.seen) == 3


@pytest.mark.parametrize("where", ["holder", "residual"])
def test_a_layer_that_holds_another_has_no_state(where, data):
    class Holder(layers.Residual):
        def forward(self, inputs, lengths, training, seed):
            outputs, lengths, context = super().forward(inputs, lengths, training, seed)
            return 2 * outputs, lengths, context

    def model(**options):
        holder = Holder(layers.LSTM(C, return_sequences=True, **options))
        made = lc.Sequential(
            [layers.Residual(holder) if where == "residual" else holder], dtype="float64"
        )
        made.compile("sgd", "mse")
        return made

    x, _ = data
    for options in ({"return_state": True}, {"stateful": True}, {"reset": x[..., 0] > 0}):
        match = f"{next(iter(options))}: layer '{where}' holds one of class LSTM, but has its own"
        refused(model(), ValueError, match, lambda m, o=options: m.predict(x, **o))
    refused(model(), ValueError, "^tbptt: layer", lambda m: m.fit(x, x, tbptt=4, verbose=0))
    refused(model(stateful=True), ValueError, "expected stateful=False", lambda m: m.predict(x))
