"""Bidirectional with two outputs, and with states that carry over."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, H, N, T, built, check_gradients
from lstmcore import layers


def both(mode, **options):
    return layers.Bidirectional(layers.LSTM(H, seed=1, **options), merge_mode=mode)


@pytest.mark.parametrize("sequences", [False, True])
def test_two_outputs_are_the_halves_of_concat(sequences, rng):
    x = rng.standard_normal((N, T, C))
    joined = both("concat", return_sequences=sequences)(x, lengths=LENGTHS)
    ahead, back = both(None, return_sequences=sequences)(x, lengths=LENGTHS)
    np.testing.assert_array_equal(ahead, joined[..., :H])
    np.testing.assert_array_equal(back, joined[..., H:])


def test_two_outputs_and_the_states(rng):
    x = rng.standard_normal((N, T, C))
    ahead, back, h, c = both(None, return_state=True)(x)
    joined, h_joined, c_joined = both("concat", return_state=True)(x)
    np.testing.assert_array_equal(np.concatenate([ahead, back], axis=-1), joined)
    np.testing.assert_array_equal(h, h_joined)
    np.testing.assert_array_equal(c, c_joined)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("sequences", [False, True])
def test_gradients_of_two_outputs(sequences, lengths, rng):
    layer = both(None, return_sequences=sequences)
    layer(np.zeros((N, T, C)))
    check_gradients(layer, rng.standard_normal((N, T, C)), lengths, rng)


def test_two_outputs_have_no_place_in_a_model():
    config = both(None).get_config()
    assert config["merge_mode"] is None
    with pytest.raises(ValueError, match="layer 'bidirectional': merge_mode=None.*on its own"):
        lc.Sequential([layers.Input((None, C)), both(None)])
    for wrap in (layers.Residual, layers.TimeDistributed):
        with pytest.raises(ValueError, match="expected a merge_mode.*got None"):
            wrap(both(None, return_sequences=True))
    with pytest.raises(ValueError, match="merge_mode: expected one of"):
        both("none")


def stateful(**options):
    return lc.Sequential(
        [both("concat", stateful=True, return_sequences=True), layers.Dense(1, seed=2)],
        dtype="float64",
        **options,
    )


def test_each_direction_begins_where_it_ended_in_the_batch_before(rng):
    x = rng.standard_normal((2 * N, T, C))
    model = stateful()
    outputs = model.predict(x, batch_size=N)
    layer = built(both("concat", return_sequences=True, return_state=True), (N, T, C))
    first, h, c = layer(x[:N])
    second, _, _ = layer(x[N:], initial_state=(h, c))
    dense = model.layers[1]
    np.testing.assert_allclose(outputs, dense(np.concatenate([first, second])), rtol=1e-13)
    assert (outputs[N:] != model.predict(x[N:], batch_size=N)).any()  # which begins with zeros
    _, state = model.predict(x[:N], return_state=True)
    assert state["bidirectional"].h.shape == (2, N, H)
    np.testing.assert_array_equal(model.predict(x[N:], batch_size=N, state=state), outputs[N:])


def test_stateful_training(tmp_path, rng):
    x, y = rng.standard_normal((3 * N, T, C)), rng.standard_normal((3 * N, T, 1))
    model = stateful()
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=N, epochs=2, verbose=0)
    assert model.state["bidirectional"].h.shape == (2, N, H)
    by_hand, state = stateful(), None
    by_hand.compile("sgd", "mse")
    for _ in range(2):
        state = None
        for at in range(0, 3 * N, N):
            part = slice(at, at + N)
            _, state = by_hand.train_on_batch(x[part], y[part], state=state, return_state=True)
    for one, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    assert again.layers[0].stateful
    np.testing.assert_array_equal(again.state["bidirectional"].h, model.state["bidirectional"].h)


def test_windows_of_one_sequence_are_still_refused(rng):
    x, y = rng.standard_normal((N, 6, C)), rng.standard_normal((N, 6, 1))
    model = stateful()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="tbptt: layer 'bidirectional' walks from the end"):
        model.fit(x, y, tbptt=3, verbose=0)
    plain = lc.Sequential([both("concat"), layers.Dense(1)])
    with pytest.raises(ValueError, match="stateful: layer 'bidirectional' walks from the end"):
        plain.predict(x, stateful=True)
