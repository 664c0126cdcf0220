"""CTC against PyTorch's and Keras', and error rates against those of jiwer."""

import os

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import losses

BATCH, STEPS, UNITS = 6, 40, 12
LENGTHS = np.array([40, 31, 25, 40, 3, 12])
COUNTS = np.array([9, 15, 0, 1, 2, 7])  # the last two do not fit if two neighbours are equal


def draw(rng, blank, fits=True):
    """Draw logits and targets with many equal neighbours."""
    logits = 3 * rng.standard_normal((BATCH, STEPS, UNITS))
    labels = rng.integers(1, 4, (BATCH, 15))
    labels[4, :2], labels[5, :7] = (1, 2 if fits else 1), (1, 2, 3, 1, 2, 3, 1)
    return logits, (labels + blank) % UNITS


@pytest.mark.parametrize("blank", [0, 5, UNITS - 1])
@pytest.mark.parametrize("fits", [True, False], ids=["all fit", "some do not"])
def test_values_and_gradients_are_those_of_pytorch(blank, fits, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits, labels = draw(rng, blank, fits)
    lengths = LENGTHS if fits else np.array([40, 31, 25, 40, 2, 12])
    loss = losses.CTC(blank, infeasible="error" if fits else "zero", from_logits=True)
    weights = rng.uniform(0.5, 2, BATCH)
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 3e-5)):
        p = torch.tensor(logits.astype(dtype), requires_grad=True)
        each = torch.nn.functional.ctc_loss(
            torch.log_softmax(p, dim=2).transpose(0, 1),
            torch.tensor(labels),
            torch.tensor(lengths),
            torch.tensor(COUNTS),
            blank,
            reduction="none",
            zero_infinity=not fits,
        )
        expected = (each * torch.tensor(weights.astype(dtype))).mean()
        expected.backward()
        value, gradient = loss.value_and_gradient(
            labels, logits.astype(dtype), weights, lengths=lengths, target_lengths=COUNTS
        )
        assert value == pytest.approx(expected.item(), rel=tolerance)
        np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=0, atol=tolerance)
        if not fits:
            assert not gradient[4].any()


# Keras warns about its own use of NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_values_are_those_of_keras(rng):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    logits, labels = draw(rng, 0)
    padded = np.where(np.arange(15) < COUNTS[:, None], labels, 0)[[0, 3]]  # Keras: 0 is padding
    outputs = logits[[0, 3]].astype(np.float32)
    expected = keras.losses.CTC(reduction=None)(padded, outputs)
    expected = keras.ops.convert_to_numpy(expected)
    loss = losses.CTC(padding=0, from_logits=True)
    assert loss(padded, outputs) == pytest.approx(expected.mean(), rel=1e-5)


SPOKEN = ["the cat sat on the mat", "one two  two three", "yes", "a long way home"]
HEARD = ["the cat sat on mat", "one two three tree three", "", "along way home"]


def test_error_rates_are_those_of_jiwer():
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    for spoken, heard in ((SPOKEN, HEARD), (SPOKEN, SPOKEN), (SPOKEN[:1], HEARD[3:])):
        words = lc.metrics.word_error_rate(spoken, heard)
        assert words == pytest.approx(jiwer.wer(spoken, heard), rel=1e-15)
        characters = lc.metrics.character_error_rate(spoken, heard)
        assert characters == pytest.approx(jiwer.cer(spoken, heard), rel=1e-15)
    assert lc.metrics.word_error_rate(SPOKEN, HEARD) == 6 / 15
