"""Captures of guitar amplifiers and pedals: read their files, play them, take their weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core, layers
from lstmcore._files import check_source
from lstmcore._typing import Exporter
from lstmcore.functional import LSTMState
from lstmcore.models import Sequential

__all__ = ["Capture", "CaptureStream", "load_capture"]

Samples = npt.NDArray[np.float32]


def load_capture(path: str | os.PathLike[str]) -> Capture:
    """Read the capture of an amplifier or a pedal.

    One function reads all formats, because their files share endings and say themselves what they
    are: Neural Amp Modeler's LSTMs (``.nam``), RTNeural's and AIDA-X' LSTM and dense layers
    (``.json``, ``.aidax``), and the state dicts of GuitarML's trainers (``.json``).

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    Capture

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is none of these formats, if its sizes contradict each other, if it has layers other
        than LSTM and dense ones, such as GRU, WaveNet or convolutions, or a gain or a weight that
        cannot be played (the error names what it is), or if it has more than 16 MiB: captures have
        less than one. Notes without which it sounds the same, such as its rate, never are an error.

    Notes
    -----
    The formats are those that the players of these projects read. A Neural Amp Modeler file stores
    the state that a capture begins with; the others begin with zeros.
    """
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path: expected a path, got {_checks.describe(path)}") from None
    check_source(file)
    with file.open("rb") as stream:
        contents = stream.read(_core.most_capture_bytes + 1)  # more, and it is refused
    try:
        return Capture(_core.Capture(contents))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


class Capture:
    """A capture as its file describes it; `load_capture` makes it.

    Sample n of its output is ``output_gain * (network(x', controls) + skip * x')`` with
    ``x' = input_gain * x[n]``.
    """

    __slots__ = ("_capture",)

    def __init__(self, capture: _core.Capture) -> None:
        _checks.instance(capture, _core.Capture, "capture", "what load_capture read")
        self._capture = capture

    @property
    def format(self) -> str:
        """The format of the file: "nam", "rtneural" or "state_dict"."""
        return self._capture.format

    @property
    def name(self) -> str:
        """Name of the device, as its author wrote it; "" if the file has none."""
        return self._capture.name

    @property
    def sample_rate(self) -> float | None:
        """Samples a second that it was trained with; None if the file does not say."""
        return self._capture.sample_rate or None

    @property
    def controls(self) -> int:
        """Number of knobs that the network takes besides the sample."""
        return self._capture.input_size - 1

    @property
    def skip(self) -> bool:
        """Whether the sample is added to the network's output."""
        return self._capture.skip

    @property
    def input_gain(self) -> float:
        """Factor of every sample before the network; 1.0 if the file has none."""
        return self._capture.input_gain

    @property
    def output_gain(self) -> float:
        """Factor of the output."""
        return self._capture.output_gain

    @property
    def loudness(self) -> float | None:
        """Loudness in dB of a standard signal that was played through it (Neural Amp Modeler)."""
        return self._capture.levels[0]

    @property
    def input_level(self) -> float | None:
        """Level in dBu of a sine whose samples reach 1 at the input (Neural Amp Modeler)."""
        return self._capture.levels[1]

    @property
    def output_level(self) -> float | None:
        """Level in dBu of such a sine at the output (Neural Amp Modeler)."""
        return self._capture.levels[2]

    def states(self) -> list[LSTMState]:
        """Return h and c, (1, 1, H) each, that each LSTM layer begins with, for an `LSTMStream`."""
        arrays = [arrays for kind, arrays in self._capture.layers if kind == "lstm"]
        return [LSTMState(found["h"], found["c"]) for found in arrays]

    def model(self) -> Sequential:
        """Make a model of the network's layers, to train it further or to save it.

        Returns
        -------
        Sequential
            Built, with x (N, T, 1 + controls) and y (N, T, 1): an `LSTM` or a `Dense` for each
            layer, within a `Residual` if the sample is added to the output. Gains are not part of
            it, and a model begins with a state of zeros; for `LSTM.__call__`, see `states`.

        Raises
        ------
        ValueError
            If the sample is added to the output of a network with controls, which no layer does.
        """
        if self.skip and self.controls:
            raise ValueError(
                "capture: expected one without controls to make a model that adds the sample to "
                f"its output, got {self.controls} controls; stream() and play() can do that"
            )
        chain: list[layers.Layer] = []
        weights: list[npt.NDArray[np.float32]] = []
        for kind, arrays in self._capture.layers:
            if kind == "lstm":
                units = arrays["weight_hh_l0"].shape[1]
                chain.append(layers.LSTM(units, return_sequences=True))
                weights += [arrays[name] for name in ("weight_ih_l0", "weight_hh_l0", "bias_l0")]
            else:
                units = arrays["bias"].shape[0]
                chain.append(layers.Dense(units, activation=kind))  # type: ignore[arg-type]
                weights += [arrays["kernel"], arrays["bias"]]
        body: list[layers.Layer] = [layers.Residual(chain)] if self.skip else chain
        model = Sequential([layers.Input((None, 1 + self.controls)), *body])
        model.set_weights(weights)
        return model

    def stream(self) -> CaptureStream:
        """Return a stream that plays the capture block by block."""
        return CaptureStream(self)

    def play(self, x: Samples | Exporter, *controls: float) -> Samples:
        """Play a whole signal from the first state.

        Parameters
        ----------
        x : ndarray of float32, shape (T,)
            Samples, at `sample_rate`.
        *controls : float
            A value for each knob.

        Returns
        -------
        ndarray of float32, shape (T,)

        Raises
        ------
        TypeError
            If `x` is not an array of float32.
        ValueError
            If `x` does not have one axis, or the number of controls is wrong.
        """
        if len(controls) != self.controls:
            raise ValueError(
                f"controls: expected {self.controls} values, one for each knob, got {len(controls)}"
            )
        stream = self.stream()
        for index, value in enumerate(controls):
            stream.set_control(index, value)
        return stream.process(x)

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"lstm({arrays['h'].shape[2]})" if kind == "lstm" else f"dense({arrays['bias'].size})"
            for kind, arrays in self._capture.layers
        )
        return f"Capture({self.name!r}, {self.format}, {sizes}, sample_rate={self.sample_rate})"


class CaptureStream:
    """Plays a capture, with the same bits however the samples are divided into blocks.

    Only one thread may use it at a time.

    Parameters
    ----------
    capture : Capture
    """

    __slots__ = ("_stream",)

    def __init__(self, capture: Capture) -> None:
        _checks.instance(capture, Capture, "capture", "a Capture")
        self._stream = _core.CaptureStream(capture._capture)

    def process(self, x: Samples | Exporter) -> Samples:
        """Play the next samples.

        Parameters
        ----------
        x : ndarray of float32, shape (T,)

        Returns
        -------
        ndarray of float32, shape (T,)

        Raises
        ------
        TypeError
            If `x` is not an array of float32.
        ValueError
            If `x` does not have one axis.
        RuntimeError
            If another thread is using the stream.

        Notes
        -----
        Ctrl-C, or another signal whose handler raises, ends a long call. The stream is then as it
        was before the call.
        """
        return self._stream.process(x)

    def set_control(self, index: int, value: float) -> None:
        """Turn a knob, from the next sample on.

        Parameters
        ----------
        index : int
            From 0 to ``capture.controls - 1``.
        value : float
            In the range that the capture was trained with, usually 0 to 1. Initially 0.
        """
        self._stream.set_control(index, value)

    def reset(self) -> None:
        """Return to the capture's first state. Knobs stay as they are."""
        self._stream.reset()

    def settle(self, count: int) -> None:
        """Play silence, so that the state comes to rest before the first sound.

        Parameters
        ----------
        count : int
            Number of samples: half a second in Neural Amp Modeler's player, 2048 in AIDA-X.
        """
        self._stream.settle(count)
