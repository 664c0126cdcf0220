"""Features of sound for a model's steps: log mel spectra."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import public
from lstmcore._typing import Array, ArrayLike

__all__ = ["log_mel"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)


def log_mel(
    signal: ArrayLike,
    rate: float,
    *,
    bands: int = 40,
    window: float = 0.025,
    step: float = 0.010,
    low: float = 20.0,
    high: float | None = None,
    floor: float = 1e-6,
) -> Array:
    """Compute the log mel spectrum of a sound, one row for each short window of it.

    Each window is multiplied by a Hann window, and the powers of its Fourier transform are summed
    by triangles that overlap by half and are equally wide on the mel scale,
    ``2595 log10(1 + f / 700)`` (O'Shaughnessy 1987; Davis & Mermelstein 1980). Before training,
    standardize the bands: subtract the mean over all training steps and divide by their deviation.

    Parameters
    ----------
    signal : array_like, shape (samples,)
        One channel: floats in -1 .. 1, or signed integers, as in a WAV file, which are divided by
        the greatest number of their type.
    rate : float
        Samples of a second.
    bands : int, default 40
        C, the number of triangles.
    window, step : float, default 0.025 and 0.010
        Length of a window, and the time from one window to the next, in seconds.
    low, high : float
        Where the first triangle begins and the last one ends, in hertz. None: at 8000 or, if that
        is less, half of `rate`, above which there is nothing.
    floor : float, default 1e-6
        Added to each sum before the logarithm, so that silence stays finite.

    Returns
    -------
    ndarray of float32, shape (T, C)
        T is the number of whole windows, 0 if the signal is shorter than one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a triangle is so narrow that no frequency of the transform
        lies in it.
    """
    rate = _checks.real(rate, "rate", 0.0, low_open=True)
    high = min(8000.0, rate / 2) if high is None else _checks.real(high, "high", 0.0)
    low = _checks.real(low, "low", 0.0)
    if not low < high <= rate / 2:
        raise ValueError(
            f"high: expected more than low={low:g} and at most half the rate, {rate / 2:g}, got "
            f"{high:g}"
        )
    size = _samples(window, rate, "window")
    jump = _samples(step, rate, "step")
    floor = _checks.real(floor, "floor", 0.0, low_open=True)
    weights = _triangles(_checks.integer(bands, "bands", 1), size, rate, low, high)
    sound = _waves(signal)
    if len(sound) < size:
        return np.zeros((0, bands), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::jump]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    powers = np.abs(np.fft.rfft(frames * hann, _transform(size))) ** 2
    return np.log(powers @ weights + floor).astype(np.float32)


def _waves(signal: ArrayLike) -> Array:
    given = Intake(switch=False).numbers(signal, "signal")
    if given.ndim != 1:
        raise ValueError(
            f"signal: expected one channel, shape (samples,), got {given.shape}; of several "
            "channels pass one, or their mean"
        )
    if given.dtype.kind in "ub":
        raise TypeError(
            f"signal: expected floats or signed integers, got {given.dtype}, whose zero is not "
            "silence; pass (signal - 128.0) / 128 for bytes of a WAV file"
        )
    scale = float(np.iinfo(given.dtype).max) if given.dtype.kind == "i" else 1.0
    return Intake(switch=False).floats(given, "signal", np.dtype(np.float64)) / scale


def _samples(seconds: float, rate: float, name: str) -> int:
    samples = round(_checks.real(seconds, name, 0.0, low_open=True) * rate)
    if samples < 1:
        raise ValueError(f"{name}: expected at least a sample, {1 / rate:g} seconds, got {seconds}")
    return samples


def _transform(size: int) -> int:
    """Return the points of the transform: the next power of two."""
    return 1 << (size - 1).bit_length()


@lru_cache(maxsize=8)
def _triangles(bands: int, size: int, rate: float, low: float, high: float) -> Array:
    """Return the weight of each frequency of the transform in each band."""
    frequencies = np.fft.rfftfreq(_transform(size), 1 / rate)[:, None]
    ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
    corners = 700 * (10 ** (np.linspace(ends[0], ends[1], bands + 2) / 2595) - 1)
    rising = (frequencies - corners[:-2]) / np.diff(corners[:-1])
    falling = (corners[2:] - frequencies) / np.diff(corners[1:])
    weights: Array = np.maximum(0, np.minimum(rising, falling))
    if not weights.any(axis=0).all():
        raise ValueError(
            f"bands: expected few enough that each has a frequency of the window of {size} samples "
            f"at {rate:g} a second, got {bands}; take fewer, a longer window, or a higher low"
        )
    return weights
