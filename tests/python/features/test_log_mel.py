"""Log mel spectra against plain sums."""

import math

import numpy as np
import pytest

from lstmcore.features import log_mel

RATE = 1000


def mel(frequency):
    return 2595 * math.log10(1 + frequency / 700)


def plain(signal, rate, bands, size, jump, low, high, floor):
    """Compute the spectrum by the sums that define it."""
    points = 2 ** math.ceil(math.log2(size))
    width = (mel(high) - mel(low)) / (bands + 1)
    corners = [700 * (10 ** ((mel(low) + k * width) / 2595) - 1) for k in range(bands + 2)]
    found = []
    for begin in range(0, len(signal) - size + 1, jump):
        row = [floor] * bands
        for k in range(points // 2 + 1):
            angles = [2 * math.pi * k * j / points for j in range(size)]
            window = [0.5 - 0.5 * math.cos(2 * math.pi * j / size) for j in range(size)]
            parts = [signal[begin + j] * window[j] for j in range(size)]
            waves = list(zip(parts, angles, strict=True))
            real = sum(part * math.cos(angle) for part, angle in waves)
            imaginary = sum(part * math.sin(angle) for part, angle in waves)
            frequency = k * rate / points
            for band in range(bands):
                left, middle, right = corners[band : band + 3]
                if left < frequency <= middle:
                    share = (frequency - left) / (middle - left)
                elif middle < frequency < right:
                    share = (right - frequency) / (right - middle)
                else:
                    continue
                row[band] += share * (real**2 + imaginary**2)
        found.append([math.log(value) for value in row])
    return np.array(found)


def test_the_spectrum_is_that_of_its_definition(rng):
    signal = rng.uniform(-1, 1, 230)
    found = log_mel(signal, RATE, bands=5, window=0.05, step=0.03, low=60, high=400, floor=1e-3)
    expected = plain(signal, RATE, 5, 50, 30, 60, 400, 1e-3)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (7, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_tone_is_in_its_band():
    time = np.arange(16000) / 16000
    for frequency in (300, 1000, 4000):
        rows = log_mel(np.sin(2 * np.pi * frequency * time), 16000)
        assert rows.shape == (98, 40)
        width = (mel(8000) - mel(20)) / 41
        nearest = round((mel(frequency) - mel(20)) / width) - 1
        assert (rows.argmax(axis=1) == nearest).all()


def test_integers_are_read_as_in_wav_files(rng):
    signal = rng.integers(-(2**15) + 1, 2**15, 800).astype(np.int16)
    rows = log_mel(signal, 8000, bands=20)
    assert np.array_equal(rows, log_mel(signal / (2**15 - 1), 8000, bands=20))
    assert log_mel(signal[:100], 8000, bands=20).shape == (0, 20)
    silent = log_mel(np.zeros(800), 8000, bands=20)
    assert silent == pytest.approx(math.log(1e-6))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"signal": np.zeros((2, 100))}, r"signal: expected one channel, .* got \(2, 100\)"),
        ({"signal": np.zeros(100, np.uint8)}, "signal: expected floats or signed integers, got ui"),
        ({"signal": [0.0, np.nan]}, "signal"),
        ({"rate": 0}, "rate: expected"),
        ({"high": 600}, "high: expected more than low=20 and at most half the rate, 500, got 600"),
        ({"low": 500}, "high: expected more than low=500"),
        ({"window": 1e-9}, "window: expected at least a sample"),
        ({"step": 0}, "step: expected"),
        ({"bands": 0}, "bands: expected"),
        ({"bands": 60}, "bands: expected few enough .* window of 25 samples"),
        ({"floor": 0}, "floor: expected"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    given = {"signal": np.zeros(100), "rate": RATE, "bands": 4, **options}
    with pytest.raises((TypeError, ValueError), match=match):
        log_mel(given.pop("signal"), given.pop("rate"), **given)
