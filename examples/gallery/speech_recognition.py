"""Speech recognition: which digits were spoken, although no target says when.

Strings of digits in twelve synthetic voices, in loud noise: log mel spectra, a bidirectional LSTM
and CTC; a thirteenth voice is only in the test. Beside it, single digits of the twelve voices as
templates (one-stage dynamic time warping, Ney 1984). The voices are those of the program espeak-ng
(a package of Debian and Homebrew); jiwer computes the error rate as well.
"""

import argparse
import os
import subprocess
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from jiwer import wer

import lstmcore as lc

Array: TypeAlias = npt.NDArray[Any]
Labels: TypeAlias = Sequence[int] | Array
Random: TypeAlias = np.random.Generator
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
VOICES = ["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f5"]
HELD_OUT = "f4"
MEASURES = {"*strings": ("share exactly right", "higher"), "*errors*": ("share of words", "lower")}
WISHED = {"LSTM, strings": ">= 0.95"}
NEEDS = ("espeak-ng",)  # a program
RATE = 22050  # samples a second
NOISE = 0.12  # the deviation of the noise; that of the speech is 0.1


def say(text: str, voice: str, rng: Random) -> Array:
    """Return what eSpeak NG says, at a speed and a pitch of its own, as samples in -1 .. 1."""
    speed, pitch = rng.integers(130, 200), rng.integers(30, 70)  # words a minute; 0 to 99
    command = ["espeak-ng", "-v", f"en-us+{voice}", "-s", str(speed), "-p", str(pitch), "--stdout"]
    wav = subprocess.run([*command, text], check=True, capture_output=True).stdout
    sound = np.frombuffer(wav[44:], "<i2") / 2**15  # after the header
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[loud[0] : loud[-1] + 1]  # without the silence at both ends


def recordings(voices: list[str], texts: Sequence[Labels], rng: Random) -> list[Array]:
    """Return the noisy log mel spectrum (T, 40) of each text, by each voice in turn."""
    found = []
    for number, digits in enumerate(texts):
        text = " ".join(WORDS[digit] for digit in digits)
        sound = say(text, voices[number % len(voices)], rng)
        found.append(lc.features.log_mel(sound + NOISE * rng.standard_normal(len(sound)), RATE))
    return found


def by_templates(row: Array, templates: list[Array], penalty: float) -> list[int]:
    """Read a recording as the nearest chain of templates, which are of digits 0 to 9 in turn."""
    frames = np.concatenate(templates)
    ends = np.cumsum([len(template) for template in templates]) - 1
    starts = np.append(0, ends[:-1] + 1)
    apart = (row**2).sum(1)[:, None] + (frames**2).sum(1) - 2 * row @ frames.T
    cost, began = np.full(len(frames), inf), np.zeros(len(frames), int)
    best, words = [0.0], []  # after each frame: cost, last word and its start of the best chain
    for time, distances in enumerate(apart / frames.shape[1]):
        moves = np.stack([cost, np.roll(cost, 1), np.roll(cost, 2)])  # stay, go on, skip a frame
        moves[1, starts], moves[2, starts], moves[2, starts + 1] = best[-1] + penalty, inf, inf
        choice = moves.argmin(axis=0)
        began = began[np.arange(len(frames)) - choice]
        began[starts[choice[starts] == 1]] = time
        cost = moves.min(axis=0) + distances
        last = cost[ends].argmin()
        best.append(cost[ends[last]])
        words.append((last % 10, began[ends[last]]))
    time, chain = len(row), []
    while time > 0:
        word, time = words[time - 1]
        chain.append(word)
    return chain[::-1]


def figures(name: str, spoken: Sequence[Labels], heard: Sequence[Labels]) -> dict[str, float]:
    """Return the share of strings without any error, and the word error rate."""
    exact = np.mean([list(a) == list(b) for a, b in zip(spoken, heard, strict=True)])
    errors = lc.metrics.word_error_rate(spoken, heard)
    return {f"{name}, strings": float(exact), f"{name}, word errors": errors}


def run(
    full: bool = False, seed: int = 0, pictures: "str | os.PathLike[str] | None" = None
) -> dict[str, float]:
    """Train, recognize the voice that was held out, and return the figures by name."""
    rng = np.random.default_rng(seed)
    count, tests, epochs = (1800, 300, 20) if full else (360, 60, 15)
    spoken = [rng.integers(0, 10, rng.integers(3, 7)) for _ in range(count + tests)]
    x = recordings(VOICES, spoken[:count], rng)
    unheard, truth = recordings([HELD_OUT], spoken[count:], rng), spoken[count:]
    single = recordings(sorted(VOICES * 10), [[d] for _ in VOICES for d in range(10)], rng)
    mean, deviation = np.concatenate(x).mean(axis=0), np.concatenate(x).std(axis=0)
    x, unheard, single = ([(row - mean) / deviation for row in q] for q in (x, unheard, single))
    model = lc.Sequential(seed=seed)
    model.add(lc.layers.Conv1D(64, 5, strides=3, activation="relu"))
    model.add(lc.layers.Bidirectional(lc.layers.LSTM(64, return_sequences=True)))
    model.add(lc.layers.Dropout(0.3))
    model.add(lc.layers.Dense(11, activation="softmax"))  # ten digits and, at 10, the blank
    schedule = lc.schedules.OneCycle(0.006, epochs * -(-count // 16))
    model.compile(lc.optimizers.Adam(schedule, global_clipnorm=1.0), lc.losses.CTC(blank=10))
    model.fit(x, spoken[:count], batch_size=16, epochs=epochs, verbose=0)
    outputs = model.predict(unheard, verbose=0)
    heard = [best[0].labels for best in lc.decoding.ctc_beam_search(outputs, blank=10)]
    known = {p: [by_templates(row, single, p) for row in x[:12]] for p in (2, 5, 10, 20)}
    penalty = min(known, key=lambda p: lc.metrics.word_error_rate(spoken[:12], known[p]))
    matched = [by_templates(row, single, penalty) for row in unheard]
    result = figures("LSTM", truth, heard) | figures("templates", truth, matched)
    texts = ([" ".join(map(str, row)) for row in rows] for rows in (truth, heard))
    result["LSTM, word errors by jiwer"] = wer(*texts)
    if pictures is not None:
        draw(unheard[0], outputs[0], truth[0], Path(pictures) / "speech_recognition.svg")
    return result


def draw(sound: Array, outputs: Array, digits: Labels, path: Path) -> None:
    """Draw a recording and, below it, what the model says at each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.pcolormesh(0.01 * np.arange(len(sound)), np.arange(40), sound.T, rasterized=True)
    above.set(ylabel="mel band", title=" ".join(WORDS[digit] for digit in digits))
    for digit in sorted({*digits, 10}):
        time = 0.02 + 0.03 * np.arange(len(outputs))
        below.plot(time, outputs[:, digit], label=[*WORDS, "blank"][digit])
    below.set(xlabel="seconds", ylabel="probability")
    below.legend()
    figure.savefig(path)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="five times as many recordings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="folder for a picture")
    result = run(**vars(parser.parse_args()))
    print(f"{'':22}exact strings  word error rate")
    for name in ("LSTM", "templates"):
        print(f"{name:22}{result[name + ', strings']:13.3f} {result[name + ', word errors']:16.4f}")


if __name__ == "__main__":
    main()
