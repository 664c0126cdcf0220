"""How far a quantized model is from the model: the report."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from quantization_kit import PAIRS, features_model, text_model, translator


def test_a_report_matches_numpy(rng):
    model, x = features_model(), rng.standard_normal((6, 9, 4)).astype(np.float32)
    small = lc.quantize(model)
    report = lc.quantization_report(model, small, x, batch_size=4)
    a, b = (one.predict(x, verbose=0).astype(np.float64) for one in (model, small))
    assert report.rows == 6
    assert report.largest_difference == np.abs(b - a).max() > 0
    np.testing.assert_allclose(report.mean_difference, np.abs(b - a).mean(), rtol=1e-12)
    rms = np.sqrt(((b - a) ** 2).sum() / (a**2).sum())
    np.testing.assert_allclose(report.relative_rms, rms, rtol=1e-12)
    assert report.agreement == (a.argmax(1) == b.argmax(1)).mean()
    text = str(report)
    for part in ("compared    6\n", f"{report.agreement:.3%}", f"{report.quantized_bytes} bytes"):
        assert part in text


def test_only_valid_steps_are_compared(rng):
    model = lc.Sequential([layers.LSTM(4, return_sequences=True), layers.Dense(2)])
    model.build((None, None, 3))
    small = lc.quantize(model)
    x = rng.standard_normal((3, 5, 3)).astype(np.float32)
    valid = rng.random((3, 5)) < 0.6
    masked = lc.quantization_report(model, small, x, mask=valid)
    ragged = lc.quantization_report(model, small, [row[m] for row, m in zip(x, valid, strict=True)])
    assert masked == ragged
    assert masked.rows == valid.sum()
    assert masked.agreement is None
    assert "same class" not in str(masked)
    assert lc.quantization_report(model, small, x, classes=True).agreement is not None
    assert lc.quantization_report(model, small, x).rows == 15
    padded = lc.quantization_report(text_model(), lc.quantize(text_model()), ["a b c", "c"])
    assert padded.rows == 4


def test_padding_ids_are_not_compared():
    model = lc.Sequential(
        [layers.Embedding(5, 3, mask_zero=True), layers.LSTM(4, return_sequences=True)]
    )
    model.build((None, None))
    small = lc.quantize(model)
    padded = lc.quantization_report(model, small, np.array([[1, 2, 0, 0], [3, 4, 1, 0]]))
    assert padded.rows == 5
    assert padded == lc.quantization_report(model, small, [[1, 2], [3, 4, 1]])


def test_a_report_of_batches_that_continue_each_other(rng):
    model = lc.Sequential([layers.LSTM(4, stateful=True), layers.Dense(2)])
    model.build((None, None, 3))
    small = lc.quantize(model)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    report = lc.quantization_report(model, small, x, batch_size=2)
    a, b = (one.predict(x, 2, 0) for one in (model, small))
    assert report.largest_difference == np.abs(b.astype(np.float64) - a).max()
    with pytest.raises(ValueError, match="x: expected"):
        lc.quantization_report(model, small, x, batch_size=4)


def test_a_report_of_an_encoder_decoder():
    model = translator()
    small = lc.quantize(model)
    report = lc.quantization_report(model, small, *PAIRS)
    assert report.rows == 2 + 4 + 3  # including the end tokens
    a, b = (one(*PAIRS).astype(np.float64) for one in (model, small))
    valid = np.arange(a.shape[1]) < np.array([[3], [5], [1]])
    assert report.largest_difference == np.abs(b - a)[valid].max() > 0
    assert report.agreement == (a.argmax(2) == b.argmax(2))[valid].mean()
    with pytest.raises(ValueError, match="y: expected targets, got None"):
        lc.quantization_report(model, small, PAIRS[0])
    with pytest.raises(ValueError, match="mask: expected None for EncoderDecoder"):
        lc.quantization_report(model, small, *PAIRS, mask=[[True]])


def test_models_that_do_not_differ():
    model = lc.Sequential([layers.Input((3,)), layers.Dense(2)])
    small = lc.quantize(model)
    x = np.zeros((2, 3), np.float32)
    assert lc.quantization_report(small, small, x).relative_rms == 0
    assert lc.quantization_report(small, small, x).largest_difference == 0


def test_models_and_data_that_cannot_be_compared(rng):
    model = lc.Sequential([layers.Input((3,)), layers.Dense(1)])
    small, x = lc.quantize(model), np.zeros((2, 3), np.float32)
    wider = lc.quantize(lc.Sequential([layers.Input((3,)), layers.Dense(2)]))
    for arguments, options, kind, message in (
        ((model, model, x), {}, ValueError, "quantized: expected a model that quantize made"),
        ((model, wider, x), {}, ValueError, "quantized: expected outputs of shape .*1.*, got .*2"),
        ((5, small, x), {}, TypeError, "model: expected a Sequential, Model or EncoderDecoder"),
        (
            (model, None, x),
            {},
            TypeError,
            "quantized: expected a Sequential, Model or EncoderDecoder",
        ),
        ((model, small, x[:0]), {}, ValueError, "x: expected at least one sample"),
        ((model, small, x, x), {}, ValueError, "y: expected None for a Sequential"),
        ((model, small, x), {"classes": True}, ValueError, "classes: expected False for a single"),
        ((model, small, x), {"classes": 1}, TypeError, "classes: expected True or False"),
        ((model, small, x), {"batch_size": 0}, ValueError, "batch_size"),
        ((model, small, x[:, :2]), {}, ValueError, "expected"),
    ):
        with pytest.raises(kind, match=message):
            lc.quantization_report(*arguments, **options)
