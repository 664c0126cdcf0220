"""Write a capture of each format, a sound, and what a slow loop makes of the sound with the first.

Usage: make_capture.py FOLDER

Only the standard library is used, so that the C++ tests need nothing else.
"""

import json
import math
import random
import struct
import sys
import wave
from pathlib import Path

UNITS, RATE, SAMPLES = 8, 8000, 1000
SKIP = 1


def sigmoid(value: float) -> float:
    """Return the logistic function."""
    return 1 / (1 + math.exp(-value))


class Network:
    """An LSTM and a linear output with random weights."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)

        def matrix(rows: int, columns: int) -> list[list[float]]:
            return [[draw.uniform(-0.7, 0.7) for _ in range(columns)] for _ in range(rows)]

        self.w, self.u = matrix(4 * UNITS, 1), matrix(4 * UNITS, UNITS)
        self.b, self.h, self.c, self.head = (matrix(1, n)[0] for n in (4 * UNITS, *3 * [UNITS]))
        self.head_bias = draw.uniform(-0.7, 0.7)

    def play(self, x: list[float], skip: int, stored_state: bool) -> list[float]:
        """Play `x` by the equations."""
        h = list(self.h) if stored_state else [0.0] * UNITS
        c = list(self.c) if stored_state else [0.0] * UNITS
        y = []
        for sample in x:
            sums = [
                self.b[row] + self.w[row][0] * sample + sum(map(float.__mul__, self.u[row], h))
                for row in range(4 * UNITS)
            ]
            for k in range(UNITS):
                i, f, g, o = sums[k::UNITS]
                c[k] = sigmoid(f) * c[k] + sigmoid(i) * math.tanh(g)
                h[k] = sigmoid(o) * math.tanh(c[k])
            y.append(sum(map(float.__mul__, self.head, h)) + self.head_bias + skip * sample)
        return y

    def nam(self) -> dict[str, object]:
        """Return a Neural Amp Modeler file."""
        rows = [value for w, u in zip(self.w, self.u, strict=True) for value in (*w, *u)]
        weights = [*rows, *self.b, *self.h, *self.c, *self.head, self.head_bias]
        config = {"input_size": 1, "hidden_size": UNITS, "num_layers": 1}
        return {
            "version": "0.5.4",
            "architecture": "LSTM",
            "config": config,
            "weights": weights,
            "sample_rate": RATE,
        }

    def state_dict(self) -> dict[str, object]:
        """Return a GuitarML file, whose output is added to the sample."""
        sizes = {"input_size": 1, "hidden_size": UNITS, "num_layers": 1, "output_size": 1}
        return {
            "model_data": {"model": "SimpleRNN", "unit_type": "LSTM", "skip": SKIP, **sizes},
            "state_dict": {
                "rec.weight_ih_l0": self.w,
                "rec.weight_hh_l0": self.u,
                "rec.bias_ih_l0": self.b,
                "rec.bias_hh_l0": [0.0] * 4 * UNITS,
                "lin.weight": [self.head],
                "lin.bias": [self.head_bias],
            },
        }


def main(folder: str) -> None:
    """Write the files."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    network = Network(0)
    draw = random.Random(1)
    levels = [draw.randint(-30000, 30000) for _ in range(SAMPLES)]
    with wave.open(str(place / "guitar.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f"<{SAMPLES}h", *levels))
    whole = (place / "guitar.wav").read_bytes()
    (place / "part.wav").write_bytes(whole[:30])
    (place / "rate.wav").write_bytes(whole[:24] + bytes(4) + whole[28:])
    (place / "bits.wav").write_bytes(whole[:34] + b"\x08\0" + whole[36:])
    x = [level / 32768 for level in levels]
    for name, content, skip, stored in (
        ("capture.nam", network.nam(), 0, True),
        ("capture.json", network.state_dict(), SKIP, False),
    ):
        (place / name).write_text(json.dumps(content), encoding="utf-8")
        expected = network.play(x, skip, stored)
        (place / f"{name}.expected").write_text("\n".join(map(repr, expected)), encoding="utf-8")


def check(played: str, expected: str) -> None:
    """Compare a WAV file of floats with the samples that are expected."""
    data = Path(played).read_bytes()
    found = struct.unpack(f"<{SAMPLES}f", data[-4 * SAMPLES :])
    right = [float(line) for line in Path(expected).read_text(encoding="utf-8").split()]
    errors = [abs(a - b) for a, b in zip(found, right, strict=True)]
    print(f"largest error {max(errors):.1e} of values up to {max(map(abs, right)):.2f}")
    if not all(error < 1e-5 for error in errors):  # `max` may pass over NaN
        sys.exit("the sound is not the one that the equations say")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        check(*sys.argv[1:])
