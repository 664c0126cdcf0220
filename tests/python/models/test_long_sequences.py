"""Windows of time steps, batches that continue each other, and states as values."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers
from window_kit import C, H, N, Source, T, U, make_model, some_data

LENGTHS = [11, 4, 0, 7]


@pytest.fixture
def data(rng):
    return some_data(rng)


def flat(gradients, model):
    """Concatenate gradients in the order of the model's parameters."""
    return np.concatenate([gradients[name].reshape(-1) for name in model.weights])


def truncated_gradients(model, x, y, size, lengths=None, weights=None):
    """Process windows with plain functions; pass the state on, but no gradients."""
    lengths = np.full(N, T) if lengths is None else np.array(lengths)
    weights = np.ones((N, T)) if weights is None else weights
    layer, cell_weights = model.layers[0], model.layers[0].weights
    kernel, bias = model.weights["dense.kernel"], model.weights["dense.bias"]
    state, found = None, []
    for begin in range(0, lengths.max(), size):
        part = slice(begin, begin + size)
        inside = np.clip(lengths - begin, 0, x[:, part].shape[1])
        h, state, tape = F.lstm(
            x[:, part], cell_weights, layer.config, state=state, lengths=inside, training=True
        )
        valid = np.arange(h.shape[1]) < inside[:, None]
        scale = (2.0 / (U * inside.sum()) * weights[:, part] * valid)[..., None]
        difference = (h @ kernel + bias - y[:, part]) * scale
        of_cell = F.lstm_backward(tape, difference @ kernel.T).weights
        gradients = {f"lstm.{name}": values for name, values in of_cell.items()}
        gradients["dense.kernel"] = np.einsum("nth,ntu->hu", h, difference)
        gradients["dense.bias"] = difference.sum(axis=(0, 1))
        found.append(flat(gradients, model))
    return found


@pytest.mark.parametrize("size", [1, 4, 10])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_gradients_are_cut_at_the_borders_of_windows(size, ragged, data, rng):
    x, y = data
    weights = rng.uniform(0.5, 2, (N, T))
    model = make_model()
    if ragged:
        rows = (
            [part[:length] for part, length in zip(full, LENGTHS, strict=True)] for full in data
        )
        model.fit(*rows, sample_weight=weights, batch_size=N, shuffle=False, tbptt=size, verbose=0)
        expected = truncated_gradients(model, x, y, size, LENGTHS, weights)
    else:
        model.fit(x, y, sample_weight=weights, batch_size=N, shuffle=False, tbptt=size, verbose=0)
        expected = truncated_gradients(model, x, y, size, None, weights)
    assert model.optimizer.iterations == len(expected) == -(-T // size)
    for found, wanted in zip(model.optimizer.seen, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_the_first_window_is_exact_and_later_ones_leave_the_past_out(data):
    """As documented, only the dependence on steps before the window is missing."""
    x, y = data
    model = make_model()
    model.fit(x, y, batch_size=N, shuffle=False, tbptt=6, verbose=0)
    first, second = model.optimizer.seen
    whole = make_model()
    whole.train_on_batch(x[:, :6], y[:, :6])
    np.testing.assert_array_equal(first, whole.optimizer.seen[0])
    # The full gradient of the loss of the second window, through all earlier steps.
    late = np.zeros((N, T))
    late[:, 6:] = T / (T - 6)
    whole.train_on_batch(x, y, sample_weight=late)
    through = whole.optimizer.seen[1]
    assert abs(through - second).max() > 1e-3 * abs(through).max()


@pytest.mark.parametrize("kind", ["array", "ragged", "ids"])
def test_one_window_over_all_steps_has_the_bits_of_plain_fit(kind, rng):
    x, y = (
        rng.standard_normal((20, T, C)).astype("f4"),
        rng.standard_normal((20, T, U)).astype("f4"),
    )
    if kind == "ragged":
        counts = rng.integers(0, T + 1, 20)
        x, y = ([a[:n] for a, n in zip(full, counts, strict=True)] for full in (x, y))
    elif kind == "ids":
        x = rng.integers(1, 9, (20, T))
        x[np.arange(T) >= rng.integers(1, T, 20)[:, None]] = 0
    results = []
    for size in (None, T, T + 5):
        first = []
        if kind == "ids":
            first = [layers.Embedding(9, C, mask_zero=True), layers.Dropout(0.2)]
        walk = layers.LSTM(H, return_sequences=True, num_layers=2, dropout=0.3, zoneout_c=0.1)
        model = lc.Sequential([*first, walk, layers.Dense(U)], seed=5)
        model.compile("adam", "mse")
        history = model.fit(
            x, y, epochs=2, batch_size=8, validation_split=0.3, tbptt=size, verbose=0
        )
        results.append((model.parameters.values, history.history))
    for values, logs in results[1:]:
        np.testing.assert_array_equal(values, results[0][0])
        assert logs == results[0][1]


def test_outputs_and_losses_do_not_depend_on_windows(data):
    x, y = data
    model = make_model()
    logs = [
        model.fit(x, y, epochs=1, batch_size=2, tbptt=size, verbose=0).history
        for size in (None, 1, 3, 8)
    ]
    for other in logs[1:]:  # the same numbers, summed in another order
        assert other["loss"] == pytest.approx(logs[0]["loss"], rel=1e-14)
        assert other["mae"] == pytest.approx(logs[0]["mae"], rel=1e-14)
    whole, state = model.predict(x, return_state=True), None
    chunks = []
    for begin in range(0, T, 4):
        chunk, state = model.predict(x[:, begin : begin + 4], state=state, return_state=True)
        chunks.append(chunk)
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole[0])
    for one, other in zip(state["lstm"], whole[1]["lstm"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_row_that_has_ended_adds_nothing(data):
    x, y = data
    rows = ([part[:length] for part, length in zip(full, LENGTHS, strict=True)] for full in data)
    model = make_model()
    model.fit(*rows, batch_size=N, shuffle=False, tbptt=4, verbose=0)
    alone = make_model()  # after step 8 only the first row is active
    alone.fit(x[:1], y[:1], batch_size=1, tbptt=4, verbose=0)
    np.testing.assert_allclose(
        model.optimizer.seen[2], alone.optimizer.seen[2], rtol=1e-13, atol=1e-16
    )


@pytest.mark.parametrize("kind", ["memmap", "source"])
def test_streams_are_read_window_by_window(kind, rng, tmp_path):
    arrays = (
        rng.standard_normal((12, 40, C)).astype("f4"),
        rng.integers(0, U, (12, 40)),
        rng.uniform(0.5, 2, (12, 40)).astype("f4"),
        rng.random((12, 40)) < 0.1,
    )
    streams = []
    for place, array in enumerate(arrays):
        if kind == "source":
            streams.append(Source(array))
            continue
        file = np.memmap(tmp_path / str(place), array.dtype, "w+", shape=array.shape)
        file[...] = array
        file.flush()
        streams.append(np.memmap(tmp_path / str(place), array.dtype, "r", shape=array.shape))
    results = []
    for x, y, w, reset in (arrays, streams):
        model = lc.Sequential(
            [layers.LSTM(H, return_sequences=True), layers.Dense(U, activation="softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        history = model.fit(
            x,
            y,
            sample_weight=w,
            class_weight={1: 2.0},
            reset=reset,
            epochs=2,
            batch_size=3,
            tbptt=7,
            validation_split=0.25,
            verbose=0,
        )
        results.append((model.parameters.values, history.history))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    if kind == "source":
        assert streams[0].largest == 3 * 7 * C


def test_streams_of_ids_and_mixed_sources(rng):
    x, y = rng.integers(0, 9, (6, 20)), rng.standard_normal((6, 20, U)).astype("f4")
    results = []
    for given in ((x, y), (Source(x), Source(y)), (x, Source(y))):
        model = lc.Sequential(
            [layers.Embedding(9, C), layers.LSTM(H, return_sequences=True), layers.Dense(U)]
        )
        model.compile("sgd", "mse")
        model.fit(*given, batch_size=4, tbptt=6, validation_data=given, verbose=0)
        results.append(model.parameters.values)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


# ---- batches that continue each other ------------------------------------------------------------


def test_stateful_batches_match_windows(data):
    """Batches that continue each other have the results of windows over the whole rows."""
    x, y = data
    chunks = [np.concatenate([a[:, b : b + 4] for b in (0, 4)]) for a in (x, y)]
    windows, batches = make_model("adam"), make_model("adam")
    windows.fit(x[:, :8], y[:, :8], epochs=3, batch_size=N, tbptt=4, shuffle=False, verbose=0)
    batches.fit(*chunks, epochs=3, batch_size=N, stateful=True, verbose=0)
    np.testing.assert_array_equal(windows.parameters.values, batches.parameters.values)

    layer = make_model("adam", stateful=True)  # a layer option with the same effect
    layer.fit(*chunks, epochs=3, batch_size=N, verbose=0)
    np.testing.assert_array_equal(layer.parameters.values, batches.parameters.values)

    by_hand = make_model("adam")
    for _ in range(3):
        state = None
        for begin in (0, 4):
            part = slice(begin, begin + 4)
            _, state = by_hand.train_on_batch(
                x[:, part], y[:, part], state=state, return_state=True
            )
    np.testing.assert_array_equal(by_hand.parameters.values, batches.parameters.values)
    for one, other in zip(state["lstm"], batches.state["lstm"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_stateful_windows_pass_the_state_on_too(data):
    x, y = data
    chunks = [np.concatenate([a[:, :4], a[:, 4:8]]) for a in (x, y)]
    one, other = make_model("adam"), make_model("adam")
    one.fit(*chunks, batch_size=N, stateful=True, tbptt=2, verbose=0)
    other.fit(x[:, :8], y[:, :8], batch_size=N, tbptt=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(one.parameters.values, other.parameters.values)


def test_stateful_prediction_and_evaluation(data):
    x, y = data
    chunks = [np.concatenate([a[:, :4], a[:, 4:8]]) for a in (x, y)]
    model = make_model(stateful=True)
    whole, end = model.predict(x[:, :8], batch_size=N, stateful=False, return_state=True)
    found, state = model.predict(chunks[0], batch_size=N, return_state=True)
    np.testing.assert_array_equal(np.concatenate([found[:N], found[N:]], axis=1), whole)
    np.testing.assert_array_equal(state["lstm"].c, end["lstm"].c)
    expected = model.test_on_batch(x[:, :8], y[:, :8])
    assert model.evaluate(*chunks, batch_size=N, verbose=0) == pytest.approx(expected, rel=1e-14)
    # From a state for each sample, or for each row of the batches.
    _, middle = model.predict(chunks[0][:N], stateful=False, return_state=True)
    late = x[:, 4:8], y[:, 4:8]
    expected_late = model.test_on_batch(*late, state=middle)
    for stateful in (False, True):
        found = model.evaluate(*late, batch_size=N, stateful=stateful, state=middle, verbose=0)
        assert found == pytest.approx(expected_late, rel=1e-14)
    found = model.evaluate(*late, batch_size=2, stateful=False, state=middle, verbose=0)
    assert found == pytest.approx(expected_late, rel=1e-14)
    apart = model.evaluate(*chunks, batch_size=N, stateful=False, verbose=0)
    assert apart[0] != pytest.approx(expected[0], rel=1e-6)


def test_samples_of_a_single_batch_are_stateful_too(data):
    x, y = data
    model, plain = make_model("adam", stateful=True), make_model("adam")
    for one in (model, plain):
        one.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    np.testing.assert_array_equal(model.parameters.values, plain.parameters.values)
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))
    assert model.state["lstm"].h.shape == (2, N, H)
    model.fit(x, y, batch_size=32, state=model.state, verbose=0)


def test_each_row_is_predicted_from_its_own_state(data):
    x, _ = data
    model = make_model()
    _, state = model.predict(x[:, :5], return_state=True)
    whole = model.predict(x[:, 5:], state=state)
    np.testing.assert_array_equal(model.predict(x[:, 5:], batch_size=3, state=state), whole)
    rows = [x[n, 5 : 5 + length] for n, length in enumerate([2, 6, 1, 6])]
    parts, after = model.predict(rows, batch_size=3, state=state, return_state=True)
    for n, part in enumerate(parts):
        np.testing.assert_array_equal(part, whole[n, : len(part)])
    np.testing.assert_array_equal(
        after["lstm"].h[:, 1], model.predict(x, return_state=True)[1]["lstm"].h[:, 1]
    )
    zeros = model.predict(x, state=model.initial_state(N))
    np.testing.assert_array_equal(zeros, model.predict(x))


def test_resets_divide_rows(data):
    x, y = data
    reset = np.zeros((N, T), bool)
    reset[:, 4] = True
    model, separate = make_model(), make_model()
    found = model.predict(x, reset=reset)
    np.testing.assert_array_equal(found[:, :4], separate.predict(x[:, :4]))
    np.testing.assert_array_equal(found[:, 4:], separate.predict(x[:, 4:]))
    # A reset cuts the gradient too: it is that of two separate batches.
    model.fit(x, y, batch_size=N, shuffle=False, reset=reset, verbose=0)
    separate.train_on_batch(x[:, :4], y[:, :4])
    separate.train_on_batch(x[:, 4:], y[:, 4:])
    first, second = separate.optimizer.seen
    expected = (4 * first + (T - 4) * second) / T
    np.testing.assert_allclose(model.optimizer.seen[0], expected, rtol=1e-12, atol=1e-15)
    value = model.evaluate(x, y, reset=reset, verbose=0)
    assert value == pytest.approx(model.test_on_batch(x, y, reset=reset), rel=1e-14)
    rows = [part[:length] for part, length in zip(x, LENGTHS, strict=True)]
    flags = [part[:length] for part, length in zip(reset, LENGTHS, strict=True)]
    for one, other in zip(model.predict(rows, reset=flags), found, strict=True):
        np.testing.assert_array_equal(one, other[: len(one)])


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_stateful_run_equals_the_uninterrupted_one(epoch, data, tmp_path):
    x, y = (part.astype("f4") for part in data)
    chunks = [np.concatenate([a[:, b : b + 3] for b in (0, 3, 6)]) for a in (x, y)]
    options = {"batch_size": N, "tbptt": 2, "validation_data": chunks, "verbose": 0}

    def new():
        return make_model("adam", "float32", stateful=True, dropout=0.3, zoneout_h=0.1)

    uninterrupted = new()
    saver = lc.callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors")
    history = uninterrupted.fit(*chunks, epochs=3, callbacks=[saver], **options).history
    resumed = lc.load(tmp_path / f"{epoch}.safetensors")
    assert resumed.layers[0].stateful
    rest = resumed.fit(*chunks, epochs=3, initial_epoch=epoch, **options).history
    assert rest == {name: values[epoch:] for name, values in history.items()}
    np.testing.assert_array_equal(resumed.parameters.values, uninterrupted.parameters.values)

    # Later calls start where training ended, in a loaded model and in copies too.
    uninterrupted.save(tmp_path / "end.safetensors")
    results = []
    for model in (
        uninterrupted,
        lc.load(tmp_path / "end.safetensors"),
        copy.deepcopy(uninterrupted),
        pickle.loads(pickle.dumps(uninterrupted)),
    ):
        model.fit(
            x[:, 9:],
            y[:, 9:],
            batch_size=N,
            epochs=4,
            initial_epoch=3,
            state=model.state,
            verbose=0,
        )
        results.append((model.parameters.values, model.state["lstm"].c))
    for values, c in results[1:]:
        np.testing.assert_array_equal(values, results[0][0])
        np.testing.assert_array_equal(c, results[0][1])


def test_a_state_can_be_set_and_is_only_a_value(data):
    x, y = data
    model = make_model("sgd")
    state = model.state
    assert state is None
    model.build((None, None, C))
    zeros = model.initial_state(N)
    assert zeros["lstm"].h.shape == zeros["lstm"].c.shape == (2, N, H)
    assert zeros["lstm"].c.dtype == np.float64
    model.state = zeros
    _, after = model.test_on_batch(x, y, state=zeros, return_state=True)
    assert not zeros["lstm"].h.any()
    assert after["lstm"].h.any()
    model.state = None
    projected = make_model(proj_size=2, num_layers=1)
    projected.build((None, None, C))
    assert [part.shape for part in projected.initial_state(3)["lstm"]] == [(1, 3, 2), (1, 3, H)]
