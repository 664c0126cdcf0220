"""Find speech in a recording with Silero's voice activity detector, and draw where it is.

The weights are those of the package `silero-vad` (pip install silero-vad), 309 thousand numbers;
the model is built from lstmcore's layers and functions, and processes a recording at once or as it
arrives, 32 milliseconds at a time. Without a recording, the program synthesizes a minute of sound
like speech: vowels of a voice that rises and falls, hissing consonants, pauses, crashes and noise.
"""

import argparse
import time
import wave
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import plots

Signal = npt.NDArray[np.float32]

RATE = 16_000  # samples per second
CHUNK, CONTEXT = 512, 64  # new samples per chunk; earlier samples that are heard again
WEIGHTS = "silero_vad_16k.safetensors"


# ---- the model -----------------------------------------------------------------------------------


class VoiceActivity:
    """Computes the probability of speech in chunks of sound.

    Each chunk, with the end of the previous one, is cut into four frames; the magnitudes of their
    spectra go through four convolutions, which return one vector per chunk. An LSTM runs from chunk
    to chunk, and a dense layer returns the probability.
    """

    def __init__(self, weights: dict[str, Signal]) -> None:
        self.spectrum = convolution(weights["stft_conv.weight"], None, strides=128)
        self.encoder = [
            convolution(weights[f"conv{k}.weight"], weights[f"conv{k}.bias"], strides, "relu")
            for k, strides in ((1, 1), (2, 2), (3, 2), (4, 1))
        ]
        cell = {
            "weight_ih_l0": weights["lstm_cell.weight_ih"],
            "weight_hh_l0": weights["lstm_cell.weight_hh"],
            "bias_l0": weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"],
        }
        self.cell = F.pack(cell, lc.LSTMConfig(128, 128))
        self.head = convolution(
            weights["final_conv.weight"], weights["final_conv.bias"], 1, "sigmoid"
        )

    def encode(self, chunks: Signal) -> Signal:
        """Return a vector for each chunk: (N, 64 + 512) samples to (N, 128)."""
        mirrored = np.concatenate([chunks, chunks[:, -2 : -CONTEXT - 2 : -1]], axis=1)
        waves = self.spectrum(mirrored[:, :, None])  # cosines, then sines
        half = waves.shape[2] // 2
        x = np.sqrt(waves[:, :, :half] ** 2 + waves[:, :, half:] ** 2)
        for layer in self.encoder:
            # One zero on either side; windows two steps apart do not reach the last one.
            x = layer(np.pad(x, ((0, 0), (1, 1), (0, 0))))
        return np.asarray(x[:, 0])

    def __call__(self, recording: Signal) -> Signal:
        """Return the probability for each chunk of a whole recording."""
        x = self.encode(chunks_of(recording))
        y, _ = F.lstm(x[None], self.cell)
        return np.asarray(self.head(np.maximum(y, 0))[0, :, 0])


class Listener:
    """Does the same for sound as it arrives."""

    def __init__(self, model: VoiceActivity) -> None:
        self.model = model
        self.stream = lc.LSTMStream(model.cell)
        self.context = np.zeros(CONTEXT, np.float32)

    def hear(self, chunk: Signal) -> float:
        """Return the probability of speech in the next 512 samples."""
        heard = np.concatenate([self.context, chunk])
        self.context = heard[-CONTEXT:].copy()  # the caller may fill the same array again
        h = self.stream.step(self.model.encode(heard[None])[0])
        return float(self.model.head(np.maximum(h, 0)[None, None])[0, 0, 0])


def convolution(
    kernel: Signal,
    bias: Signal | None,
    strides: int,
    activation: Literal["linear", "relu", "sigmoid"] = "linear",
) -> lc.layers.Conv1D:
    """Return a layer with these weights; PyTorch's kernels are (F, C, K), ours (K, C, F)."""
    filters, width, size = kernel.shape
    layer = lc.layers.Conv1D(
        filters, size, strides, activation=activation, use_bias=bias is not None
    )
    layer(np.zeros((1, size, width), np.float32))  # builds it
    layer.set_weights([kernel.transpose(2, 1, 0), *([] if bias is None else [bias])])
    return layer


def chunks_of(recording: Signal) -> Signal:
    """Cut into overlapping chunks (N, 64 + 512), with silence before and after the sound."""
    count = -(-len(recording) // CHUNK)
    padded = np.zeros(CONTEXT + count * CHUNK, np.float32)
    padded[CONTEXT : CONTEXT + len(recording)] = recording
    view = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + CHUNK)
    return np.ascontiguousarray(view[::CHUNK])


def weights_folder() -> Path:
    """Return the folder of the package's files, without importing it: that needs PyTorch."""
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        raise SystemExit("The weights are in the package silero-vad: pip install silero-vad")
    return Path(found.origin).parent / "data"


# ---- sound ---------------------------------------------------------------------------------------


def read_recording(path: Path) -> Signal:
    """Read a WAV file of 16 bits and 16 kHz; average its channels."""
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE or file.getsampwidth() != 2:
            raise SystemExit(
                f"{path}: expected 16 bits at {RATE} Hz, got {8 * file.getsampwidth()} bits at "
                f"{file.getframerate()} Hz"
            )
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        channels = samples.reshape(-1, file.getnchannels()).astype(np.float32)
    return np.asarray(channels.mean(axis=1) / 32768, np.float32)


# Resonances of the vocal tract in Hz, for a, e, i, o, u.
VOWELS = [
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
]


def vowel(samples: int, pitch: float, start: int, end: int) -> npt.NDArray[np.float64]:
    """Return a voice that glides between vowels: harmonics, loud near the resonances."""
    at = np.linspace(0, 1, samples)
    frequency = pitch * (1 + 0.12 * np.sin(np.pi * at) - 0.1 * at)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    sound = np.zeros(samples)
    for harmonic in range(1, int(4000 / pitch)):
        height = harmonic * frequency
        loudness = np.zeros(samples)
        for place, (low, high) in enumerate(zip(VOWELS[start], VOWELS[end], strict=True)):
            centre, width = low + (high - low) * at, 60 + 40 * place
            loudness += 0.6**place / (1 + ((height - centre) / width) ** 2)
        sound += loudness / harmonic**0.3 * np.sin(harmonic * phase)
    return sound * np.sin(np.pi * at) ** 0.4


def make_recording(seconds: float, seed: int) -> Signal:
    """Return sentences of syllables with pauses, occasional crashes, and noise throughout."""
    random = np.random.default_rng(seed)
    recording = random.normal(0, 0.003, int(seconds * RATE))
    place = RATE
    while place < len(recording):
        pitch, loudness = random.uniform(95, 210), random.uniform(0.08, 0.3)
        for _ in range(random.integers(5, 14)):
            if random.random() < 0.5:  # a consonant: noise without low frequencies
                hiss = np.diff(random.normal(0, 0.03, int(random.uniform(0.03, 0.08) * RATE)))
                sound = hiss * np.hanning(len(hiss))
                place = mix(recording, place, sound)
            start, end = random.integers(0, len(VOWELS), 2)
            samples = int(random.uniform(0.09, 0.22) * RATE)
            sound = vowel(samples, pitch * random.uniform(0.9, 1.1), start, end)
            place = mix(recording, place, sound * loudness / np.abs(sound).max())
            place += int(random.uniform(0.0, 0.05) * RATE)
        place += int(random.uniform(0.7, 2.5) * RATE)
        if random.random() < 0.4:  # something falls
            crash = random.normal(0, 0.12, RATE // 2) * np.exp(-np.arange(RATE // 2) / 1500)
            place = mix(recording, place, crash) + RATE // 2
    return np.asarray(np.clip(recording, -1, 1), np.float32)


def mix(recording: npt.NDArray[np.float64], place: int, sound: npt.NDArray[np.float64]) -> int:
    """Add as much of a sound as fits; return where it ends."""
    room = recording[place : place + len(sound)]
    room += sound[: len(room)]
    return place + len(sound)


# ---- the picture ---------------------------------------------------------------------------------

SPEECH, SOUND, PROBABILITY = "#fbd9c5", "#374151", "#2563eb"
COLUMNS = 1000  # ranges from minimum to maximum that show the sound; more are not visible


def draw(recording: Signal, probability: Signal, path: Path) -> None:
    """Draw the waveform with its speech marked, and below it the probability."""
    seconds = len(recording) / RATE
    figure = plots.new_figure(11.0, 4.2)
    figure.suptitle("Where somebody speaks", x=0.015, ha="left", fontweight="bold")
    above, below = plots.new_axes(figure, rows=2)
    above.sharex(below)

    parts = np.array_split(recording, min(COLUMNS, len(recording)))
    at = np.linspace(0, seconds, len(parts), endpoint=False)
    lowest, highest = [part.min() for part in parts], [part.max() for part in parts]
    above.fill_between(at, lowest, highest, color=SOUND, linewidth=0.4)
    speech = np.diff(np.concatenate([[0], probability > 0.5, [0]]).astype(int))
    for begin, end in zip(np.flatnonzero(speech > 0), np.flatnonzero(speech < 0), strict=True):
        left, right = (min(k * CHUNK / RATE, seconds) for k in (begin, end))
        above.axvspan(left, right, color=SPEECH, linewidth=0, zorder=0)
    middles = (np.arange(len(probability)) + 0.5) * CHUNK / RATE
    below.plot(middles, probability, color=PROBABILITY, linewidth=1.2)

    for ax, text in ((above, "sound; shaded: speech"), (below, "probability of speech")):
        plots.tidy(ax)
        ax.set_title(text, loc="left", fontsize=10)
    above.set_yticks([])
    above.spines["bottom"].set_visible(False)
    above.tick_params(labelbottom=False, length=0)
    below.set_yticks([0.0, 0.5, 1.0])
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds", fontsize=9)
    plots.save(figure, path)


def main() -> None:
    """Find speech, at once and chunk by chunk, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path, nargs="?", help="a WAV file, 16 bits, 16 kHz")
    parser.add_argument("--picture", type=Path, default=Path("voice_activity.svg"))
    parser.add_argument("--seconds", type=float, default=60.0, help="length of synthesized sound")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    if options.recording is None:
        recording = make_recording(options.seconds, options.seed)
    else:
        recording = read_recording(options.recording)
    if len(recording) == 0:
        raise SystemExit("There is no sound in the recording.")
    model = VoiceActivity(load_file(weights_folder() / WEIGHTS))

    start = time.perf_counter()
    probability = model(recording)
    at_once = time.perf_counter() - start
    listener = Listener(model)
    start = time.perf_counter()
    heard = np.array([listener.hear(chunk[CONTEXT:]) for chunk in chunks_of(recording)])
    as_it_comes = time.perf_counter() - start

    seconds = len(recording) / RATE
    print(f"{seconds:.1f} s of sound, speech in {100 * np.mean(probability > 0.5):.0f} % of it")
    print(
        f"at once: {1e3 * at_once:.0f} ms, {seconds / at_once:.0f} times as fast as it was spoken"
    )
    print(f"as it arrives: {1e6 * as_it_comes / len(heard):.0f} microseconds for each 32 ms")
    print(f"the two differ by at most {np.abs(heard - probability).max():.1e}")
    draw(recording, probability, options.picture)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
