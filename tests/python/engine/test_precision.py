"""Products of lower precision: how to request them, their accuracy, and their promises.

Machines differ in the unit that computes a precision, and so in the bits. The tests hold on all
machines, including those that use float32 multiply-adds instead.
"""

import copy
import itertools
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers
from lstmcore.models import int8
from precision_kit import CONFIG, PRECISIONS, drawn, inputs, same

TRAINED = tuple(name for name in PRECISIONS if name != "int8")
UNITS = (
    "amx",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "neon_bf16",
    "neon_dot",
    "avx512",
    "avx2",
    "baseline",
)

# Largest error of an output of the problem below, whose outputs are at most 1: about ten times the
# measured errors.
BOUNDS = {
    "fp32": 2e-6,
    "bf16x3": 2e-6,
    "bf16x2": 2e-5,
    "bf16": 8e-3,
    "int8": 2e-2,
    "auto": 2e-6,
}
BIDIRECTIONAL = lc.LSTMConfig(20, 100, bidirectional=True)
VARIANTS = {
    "two layers": CONFIG,
    "bidirectional": BIDIRECTIONAL,
    "projection": lc.LSTMConfig(20, 100, proj_size=37, peephole=True),
    "layer norm": lc.LSTMConfig(20, 100, layer_norm=True),
    "narrow": lc.LSTMConfig(1, 3, bias=False),
}


def weights_of(config, dtype="float32"):
    return {name: array.astype(dtype) for name, array in drawn(config).items()}


# ---- requesting a precision --------------------------------------------------------------------


def test_cpu_info_names_a_unit_for_each_precision():
    units = lc.cpu_info().product_units
    assert tuple(units) == PRECISIONS
    for name, unit in units.items():
        kind, _, plain = unit.partition(" ")
        assert kind in UNITS, name
        assert plain in ("", "fp32"), name
        if plain:
            assert kind == lc.cpu_info().isa
    assert units["fp32"].endswith(" fp32")
    assert not units["int8"].endswith(" fp32")


def test_packed_weights_know_their_precision():
    weights = weights_of(CONFIG)
    for precision in PRECISIONS:
        packed = F.pack(weights, CONFIG, precision)
        assert packed.precision == precision
        assert (f"precision='{precision}'" in repr(packed)) == (precision != "fp32")
        assert copy.deepcopy(packed) is packed
        with pytest.raises(TypeError, match="PackedWeights cannot be pickled"):
            pickle.dumps(packed)
    assert F.pack(weights, CONFIG).precision == "fp32"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_mapping_has_the_results_of_packed_weights(precision, rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    packed = F.pack(weights, CONFIG, precision)
    y, state = F.lstm(x, packed)
    again, after = F.lstm(x, weights, CONFIG, precision=precision)
    same((y, *state), (again, *after))
    same((y,), F.lstm(x, packed, precision=precision)[:1])
    lc.set_precision(precision)
    same((y,), F.lstm(x, weights, CONFIG)[:1])


def test_the_scope_of_set_precision(rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    assert lc.get_precision() == "fp32"
    before = F.pack(weights, CONFIG)
    y = F.lstm(x, before)[0]
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    y_wide = F.lstm(x.astype(np.float64), wide, CONFIG)[0]
    for precision in PRECISIONS:
        lc.set_precision(precision)
        assert lc.get_precision() == precision
        assert F.pack(weights, CONFIG).precision == precision
        assert F.pack(weights, CONFIG, "bf16x2").precision == "bf16x2"
        assert before.precision == "fp32"
        same((y,), F.lstm(x, before)[:1])
        assert F.pack(wide, CONFIG).precision == "fp32"
        same((y_wide,), F.lstm(x.astype(np.float64), wide, CONFIG)[:1])
        model = lc.Sequential([layers.Input((None, 2)), layers.LSTM(3)], dtype="float64")
        assert model.layers[0]._precision_in_force == "fp32"
    for wrong in ("fp16", None):
        with pytest.raises(ValueError, match="precision: expected one of 'fp32', "):
            lc.set_precision(wrong)
    assert lc.get_precision() == PRECISIONS[-1]


@pytest.mark.parametrize("wrong", ["fp16", "BF16", "", "int8 ", b"bf16", 8, True, np.float32])
def test_unknown_precisions(wrong, rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    for call in (
        lambda: F.pack(weights, CONFIG, wrong),
        lambda: F.lstm(x, weights, CONFIG, precision=wrong),
        lambda: F.lstm_begin(weights, CONFIG, precision=wrong),
        lambda: F.lstm_jvp(x, weights, CONFIG, precision=wrong),
        lambda: lc.LSTMStream(weights, CONFIG, precision=wrong),
        lambda: layers.LSTM(3, precision=wrong),
        lambda: layers.LSTMCell(3, precision=wrong),
        lambda: lc.EncoderDecoder(5, 5, precision=wrong),
    ):
        with pytest.raises(ValueError, match="precision: expected one of 'fp32', "):
            call()


def test_packed_weights_with_another_precision(rng):
    packed = F.pack(weights_of(CONFIG), CONFIG, "bf16")
    x = inputs(CONFIG, rng)
    for call in (
        lambda: F.lstm(x, packed, precision="fp32"),
        lambda: F.lstm_begin(packed, precision="fp32"),
        lambda: F.lstm_jvp(x, packed, precision="fp32"),
        lambda: lc.LSTMStream(packed, precision="fp32"),
    ):
        with pytest.raises(ValueError, match="precision: expected that of the packed weights"):
            call()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_float64_allows_only_fp32_and_auto(precision, rng):
    weights = weights_of(CONFIG, "float64")
    x = rng.standard_normal((2, 3, 20))
    if precision in ("fp32", "auto"):
        same(F.lstm(x, weights, CONFIG)[:1], F.lstm(x, weights, CONFIG, precision=precision)[:1])
        return
    cell = layers.LSTMCell(4, precision=precision)
    for call in (
        lambda: F.pack(weights, CONFIG, precision),
        lambda: layers.LSTM(4, precision=precision)(x),
        lambda: cell(x[:, 0]),
        lambda: layers.Bidirectional(layers.LSTM(4, precision=precision))(x),
        lambda: lc.Sequential(
            [layers.Input((None, 20)), layers.LSTM(4, precision=precision)], dtype="float64"
        ),
        lambda: lc.EncoderDecoder(5, 5, precision=precision, dtype="float64"),
    ):
        with pytest.raises(ValueError, match=r"precision: .*\"fp32\" or \"auto\""):
            call()
    model = lc.Sequential([layers.LSTM(4, precision=precision)], dtype="float64")
    with pytest.raises(ValueError, match="precision"):
        model.predict(x)
    assert not model.built


def test_int8_is_only_for_inference(rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    packed = F.pack(weights, CONFIG, "int8")
    for call in (
        lambda: F.lstm(x, packed, training=True),
        lambda: F.lstm_begin(packed),
        lambda: F.lstm_begin(weights, CONFIG, precision="int8"),
        lambda: F.lstm_jvp(x, packed),
        lambda: F.lstm_jvp(x, weights, CONFIG, precision="int8"),
    ):
        with pytest.raises(ValueError, match="precision: expected one that supports training"):
            call()


# ---- accuracy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs_against_float64(precision, variant, rng):
    config = VARIANTS[variant]
    weights, x = weights_of(config), inputs(config, rng)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    expected = F.lstm(x.astype(np.float64), wide, config)[0]
    y, state = F.lstm(x, weights, config, precision=precision)
    assert y.dtype == state.h.dtype == state.c.dtype == np.float32
    limit = BOUNDS[precision] * (5 if config.layer_norm else 1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", TRAINED)
def test_gradients_against_float64(precision, variant, rng):
    config = VARIANTS[variant]
    weights, x = weights_of(config), inputs(config, rng, 20)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    lengths = rng.integers(1, 8, 20)
    y, _, tape = F.lstm(x.astype(np.float64), wide, config, lengths=lengths, training=True)
    dy = rng.standard_normal(y.shape)
    expected = F.lstm_backward(tape, dy)
    _, _, tape = F.lstm(x, weights, config, lengths=lengths, training=True, precision=precision)
    got = F.lstm_backward(tape, dy.astype(np.float32))
    limit = {"bf16": 1e-2, "bf16x2": 1e-4}.get(precision, 5e-6) * (2 if config.layer_norm else 1)
    assert relative(got.x, expected.x) < limit
    assert relative(got.state.h, expected.state.h) < limit
    assert relative(got.state.c, expected.state.c) < limit
    for name, gradient in expected.weights.items():
        assert relative(got.weights[name], gradient) < limit, name


@pytest.mark.parametrize("precision", TRAINED)
def test_gradients_of_few_rows(precision, rng):
    """Gradients over up to four valid steps are summed by separate code."""
    weights = weights_of(CONFIG)
    for rows, steps in ((1, 1), (1, 3), (1, 4), (3, 1), (2, 2), (1, 5)):
        x, state = inputs(CONFIG, rng, rows, steps), rng.random((2, 2, rows, 130), "float32")
        y, _, tape = F.lstm(x, weights, CONFIG, state=state, training=True)
        expected = F.lstm_backward(tape, y)
        _, _, tape = F.lstm(x, weights, CONFIG, state=state, training=True, precision=precision)
        got = F.lstm_backward(tape, y)
        for name, gradient in expected.weights.items():
            assert relative(got.weights[name], gradient) < 2e-2, (rows, steps, name)


def relative(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def test_a_directional_derivative_has_the_bits_of_its_precision(rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    direction = {name: rng.standard_normal(a.shape, "float32") for name, a in weights.items()}
    for precision in ("bf16", "bf16x3"):
        y, state, tape = F.lstm(x, weights, CONFIG, training=True, precision=precision)
        dy = np.ones_like(y)
        gradients = F.lstm_backward(tape, dy)
        outputs, tangents, dual = F.lstm_jvp(
            x, weights, CONFIG, weights_tangent=direction, precision=precision
        )
        same((y, *state), (outputs[0], *outputs[1]))
        second, _ = F.lstm_jvp_backward(dual, dy)
        same((gradients.x, *gradients.state), (second.x, *second.state))
        same(gradients.weights.values(), second.weights.values())
        plain = F.lstm_jvp(x, weights, CONFIG, weights_tangent=direction)[1]
        assert relative(tangents[0], plain[0]) < 2e-2


# ---- the same bits -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_rows_lengths_and_threads(precision, variant, rng):
    config = VARIANTS[variant]
    packed = F.pack(weights_of(config), config, precision)
    x = inputs(config, rng, 37)
    lengths = rng.integers(0, 8, 37)
    lc.set_num_threads(1)
    y, state = F.lstm(x, packed, lengths=lengths)
    for threads in (2, 3):
        lc.set_num_threads(threads)
        again, after = F.lstm(x, packed, lengths=lengths)
        same((y, *state), (again, *after))
    for row in range(0, 37, 5):
        alone, end = F.lstm(x[row : row + 1, : lengths[row]], packed)
        np.testing.assert_array_equal(alone[0], y[row, : lengths[row]])
        same((end.h[:, 0], end.c[:, 0]), (state.h[:, row], state.c[:, row]))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "bidirectional"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stream_and_the_whole_sequence(precision, variant, rng):
    config = VARIANTS[variant]
    packed = F.pack(weights_of(config), config, precision)
    for rows in (1, 5):
        x = inputs(config, rng, rows)
        y, state = F.lstm(x, packed)
        stream = lc.LSTMStream(packed, batch_size=rows)
        steps = [stream.step(np.ascontiguousarray(x[:, t])) for t in range(x.shape[1])]
        np.testing.assert_array_equal(np.stack(steps, 1), y)
        same(stream.state, state)
        head, between = F.lstm(x[:, :3], packed)
        tail, end = F.lstm(x[:, 3:], packed, state=between)
        np.testing.assert_array_equal(np.concatenate([head, tail], 1), y)
        same(end, state)
    named = lc.LSTMStream(weights_of(config), config, batch_size=5, precision=precision)
    np.testing.assert_array_equal(named.step(np.ascontiguousarray(x[:, 0])), y[:, 0])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", TRAINED)
def test_training_with_any_number_of_threads(precision, variant, rng):
    config = VARIANTS[variant]
    packed = F.pack(weights_of(config), config, precision)
    for rows in (1, 40):
        x = inputs(config, rng, rows, 12)
        options = {"lengths": rng.integers(1, 13, rows), "reset": rng.random((rows, 12)) < 0.2}
        dy = rng.standard_normal((rows, 12, config.output_size)).astype(np.float32)
        results = []
        for threads, recompute in itertools.product((1, 2, 3), (None, "sqrt")):
            lc.set_num_threads(threads)
            y, state, tape = F.lstm(x, packed, **options, training=True, recompute=recompute)
            got = F.lstm_backward(tape, dy)
            results.append((y, *state, got.x, *got.state, *got.weights.values()))
        for other in results[1:]:
            same(results[0], other)
        same(results[0][:1], F.lstm(x, packed, **options)[:1])


@pytest.mark.parametrize("precision", TRAINED)
def test_a_tape_recorded_step_by_step(precision, rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    y, _, whole = F.lstm(x, weights, CONFIG, training=True, precision=precision)
    tape = F.lstm_begin(weights, CONFIG, batch_size=len(x), precision=precision)
    np.testing.assert_array_equal(
        np.stack([F.lstm_step(tape, x_t) for x_t in x.swapaxes(0, 1)], 1), y
    )
    one, other = F.lstm_backward(whole, y), F.lstm_backward(tape, y)
    same((one.x, *one.weights.values()), (other.x, *other.weights.values()))


# ---- special values ----------------------------------------------------------------------------


def rounded(weights):
    """Return the weights that int8 computes with."""
    return {
        name: int8.decode(*int8.encode(name, a, 1), 1) if a.ndim == 2 else a
        for name, a in weights.items()
    }


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-40])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_extreme_inputs(precision, value, rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    spoilt = x.copy()
    spoilt[4, 2, 5] = value
    packed = F.pack(weights, CONFIG, precision)
    y, _ = F.lstm(spoilt, packed)
    clean, _ = F.lstm(x, packed)
    others = np.arange(9) != 4
    np.testing.assert_array_equal(y[others], clean[others])
    np.testing.assert_array_equal(y[4, :2], clean[4, :2])
    if precision == "int8":  # unsplit rows are multiplied by the rounded weights
        weights = rounded(weights)
    plain = F.lstm(spoilt, weights, CONFIG, precision="fp32")[0]
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(plain))
    alone, _ = F.lstm(spoilt[4:5], packed)
    np.testing.assert_array_equal(alone[0], y[4])


@pytest.mark.parametrize("value", [np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_extreme_weights(precision, value, rng):
    weights, x = weights_of(CONFIG), inputs(CONFIG, rng)
    weights["weight_hh_l1"][7, 5] = value
    y = F.lstm(x, weights, CONFIG, precision=precision)[0]
    plain = F.lstm(x, weights, CONFIG, precision="fp32")[0]
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(plain))


def test_int8_with_rows_of_zeros(rng):
    weights = weights_of(CONFIG)
    weights["weight_ih_l0"][3] = 0
    x = np.zeros((2, 3, 20), np.float32)
    y = F.lstm(x, weights, CONFIG, precision="int8")[0]
    expected = F.lstm(x, weights, CONFIG, precision="fp32")[0]
    np.testing.assert_allclose(y, expected, rtol=0, atol=BOUNDS["int8"])


def test_int8_sums_do_not_overflow():
    config = lc.LSTMConfig(140_000, 1)  # 127 * 127 * 140000 has more than 31 bits
    weights = {n: np.full_like(a, 1e-6) for n, a in weights_of(config).items()}
    x = np.ones((1, 1, 140_000), np.float32)
    y = F.lstm(x, weights, config, precision="int8")[0]
    expected = F.lstm(x, weights, config, precision="fp32")[0]
    np.testing.assert_allclose(y, expected, rtol=1e-2)
