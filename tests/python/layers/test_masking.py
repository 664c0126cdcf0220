"""Masking: padding on either side and gaps, found by values."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import C, N, T, check_file
from lstmcore import layers

VALUE = -7.0


def masked(rng, mask):
    """Make inputs whose steps outside `mask` are VALUE; others may have it in some features."""
    x = rng.standard_normal((*mask.shape, C)).astype(np.float32)
    x[:, :, 0] = VALUE
    x[~mask] = VALUE
    return x


RIGHT = np.arange(T) < np.array([5, 2, 0])[:, None]
LEFT = np.arange(T) >= np.array([0, 3, 4])[:, None]
GAPS = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
MASKS = {"right": RIGHT, "left": LEFT, "gaps": GAPS}

STACKS = {
    "last": lambda: [layers.LSTM(3, seed=1), layers.Dense(1, seed=2)],
    "steps": lambda: [
        layers.Bidirectional(layers.LSTM(3, return_sequences=True, seed=1)),
        layers.Dense(1, seed=2),
    ],
    "pooled": lambda: [
        layers.Conv1D(3, 2, padding="same", seed=1),
        layers.BatchNormalization(),
        layers.GlobalMaxPooling1D(),
        layers.Dense(1, seed=2),
    ],
    "repeated": lambda: [
        layers.LSTM(3, seed=1),
        layers.RepeatVector(4),
        layers.LSTM(2, return_sequences=True, seed=2),
        layers.Dense(1, seed=3),
    ],
}


def compiled(*stack):
    model = lc.Sequential(stack)
    model.compile(lc.optimizers.Adam(0.01), "mse")
    return model


@pytest.mark.parametrize("which", MASKS)
@pytest.mark.parametrize("name", ["last", "steps", "pooled"])
def test_it_does_what_a_mask_does(name, which, rng):
    mask = MASKS[which]
    x = masked(rng, mask)
    y = rng.standard_normal((N, T, 1) if name == "steps" else (N, 1)).astype("f")
    with_layer = compiled(layers.Masking(VALUE), *STACKS[name]())
    with_mask = compiled(*STACKS[name]())
    np.testing.assert_array_equal(
        with_layer.predict(x)[mask] if name == "steps" else with_layer.predict(x),
        with_mask.predict(x, mask=mask)[mask]
        if name == "steps"
        else with_mask.predict(x, mask=mask),
    )
    histories = [
        model.fit(x, y, epochs=3, verbose=0, **options).history["loss"]
        for model, options in ((with_layer, {}), (with_mask, {"mask": mask}))
    ]
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)
    for one, other in zip(with_layer.get_weights(), with_mask.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", MASKS)
def test_rows_are_as_if_their_masked_steps_were_removed(which, rng):
    mask = MASKS[which]
    x = masked(rng, mask)
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    y = model.predict(x)
    rows = [x[row, mask[row]] for row in range(N)]
    np.testing.assert_array_equal(y, model.predict(rows))


def test_rows_may_end_with_masked_steps(rng):
    x = masked(rng, RIGHT)
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    rows = [row[:length] for row, length in zip(x, (5, 4, 1), strict=True)]
    np.testing.assert_array_equal(model.predict(rows), model.predict(x))


@pytest.mark.parametrize("which", MASKS)
def test_outputs_of_a_sequence_of_its_own_are_all_valid(which, rng):
    """After a RepeatVector, steps of the outputs are not those of x."""
    mask = MASKS[which]
    x, y = masked(rng, mask), rng.standard_normal((N, 4, 1)).astype("f")
    model = compiled(layers.Masking(VALUE), *STACKS["repeated"]())
    outputs = model.predict(x)
    assert outputs.shape == (N, 4, 1)
    rows = [x[row, mask[row]] for row in range(N)]
    np.testing.assert_array_equal(model.predict(rows), outputs)
    loss = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(np.mean((outputs - y) ** 2), rel=1e-5)
    model.fit(x, y, epochs=2, verbose=0)


def test_a_mask_of_the_call_counts_as_well(rng):
    x = masked(rng, GAPS)
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    both = model.predict(x, mask=LEFT)
    np.testing.assert_array_equal(
        both, model.predict([x[row, (LEFT & GAPS)[row]] for row in range(N)])
    )


def test_resets_in_gaps_act_on_the_next_valid_step(rng):
    x, reset = masked(rng, GAPS), np.zeros((N, T), bool)
    reset[0, 1] = True
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    moved = np.zeros((N, T), bool)
    moved[0, 2] = True
    np.testing.assert_array_equal(model.predict(x, reset=reset), model.predict(x, reset=moved))


def test_alone_it_zeroes_masked_steps(rng):
    x = masked(rng, GAPS)
    layer = layers.Masking(VALUE)
    y = layer(x)
    assert not y[~GAPS].any()
    np.testing.assert_array_equal(y[GAPS], x[GAPS])
    y = layer(x, lengths=[3, 3, 3])
    assert not y[:, 3:].any()


def test_gradients_pass_where_steps_count(rng):
    x = masked(rng, RIGHT)
    layer = layers.Masking(VALUE)
    layer(x)
    _, lengths, context = layer.forward(x, None, True, 0)
    np.testing.assert_array_equal(lengths, RIGHT.sum(axis=1))
    dy = rng.standard_normal(x.shape).astype("f")
    np.testing.assert_array_equal(layer.backward(context, dy), dy * RIGHT[..., None])


def test_the_value_is_compared_in_the_type_of_the_model(rng):
    x = rng.standard_normal((N, T, C))
    x[:, 3:] = 0.1  # which is another number in float32
    model = compiled(layers.Masking(0.1), *STACKS["last"]())
    np.testing.assert_array_equal(model.predict(x), model.predict([row[:3] for row in x]))


def test_files(tmp_path, rng):
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    check_file(model, masked(rng, GAPS), tmp_path / "model.safetensors")


def test_what_is_refused(rng):
    x = masked(rng, GAPS)
    with pytest.raises(ValueError, match="layer 'masking': Masking must come first"):
        compiled(layers.Dense(2), layers.Masking(), layers.LSTM(2)).predict(x)
    with pytest.raises(ValueError, match="layer 'residual': Masking must come first"):
        compiled(layers.Residual(layers.Masking())).predict(x)
    model = compiled(layers.Masking(VALUE), *STACKS["last"]())
    with pytest.raises(ValueError, match="mask_value, may only be at the end of a row here; row 1"):
        model.predict([x[2], x[1]])
    with pytest.raises(ValueError, match="mask_value, may only be at the end of a row here; row 0"):
        model.layers[0].forward(x, None, False, 0)
    with pytest.raises(ValueError, match="expected inputs of shape"):
        compiled(layers.Masking(), layers.Dense(2)).predict(x[:, 0])
    for value, kind in (("0", TypeError), (np.nan, ValueError)):
        with pytest.raises(kind, match="mask_value: expected a (finite )?number"):
            layers.Masking(value)


def test_windows_from_disk_are_refused():
    class Source:
        def __init__(self, values):
            self.values, self.shape, self.dtype = values, values.shape, values.dtype

        def __getitem__(self, key):
            return self.values[key]

    model = compiled(layers.Masking(), layers.LSTM(1, return_sequences=True))
    x = np.ones((4, 6, 2), np.float32)
    with pytest.raises(ValueError, match="layer 'masking': Masking finds lengths from all of x"):
        model.fit(Source(x), Source(x[..., :1]), tbptt=3, verbose=0)
