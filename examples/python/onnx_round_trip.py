"""Train a model on sequences of different lengths, export it as ONNX, and run the file.

Noisy waves of 10 to 60 steps rise or fall in pitch; a convolution and an LSTM learn to tell which.
The exported model has an input for lengths. ONNX Runtime, if it is installed, and lstmcore's own
reader of ONNX files run it. The program ends with status 1 if an output differs by more than 1e-5.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore import onnx as bridge

TOLERANCE = 1e-5
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def waves(count: int, random: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Return rows (T_i, 1), and 1 for those that rise in pitch."""
    rising = random.integers(0, 2, count)
    rows = []
    for up in rising:
        steps = int(random.integers(10, 61))
        pitch = np.linspace(0.3, 1.2, steps) if up else np.linspace(1.2, 0.3, steps)
        wave = np.sin(np.cumsum(pitch) + random.uniform(0, 2 * np.pi))
        noise = random.normal(scale=0.2, size=steps)
        rows.append((wave + noise).astype(np.float32)[:, None])
    return rows, rising


def build_model(units: int, seed: int) -> lc.Sequential:
    """Return a convolution, a bidirectional LSTM, and the probability of a rising pitch."""
    model = lc.Sequential(
        [
            lc.layers.Input((None, 1)),
            lc.layers.Conv1D(16, 5, padding="same", activation="relu"),
            lc.layers.Bidirectional(lc.layers.LSTM(units)),
            lc.layers.Dropout(0.2),
            lc.layers.Dense(1, activation="sigmoid"),
        ],
        seed=seed,
    )
    model.compile(lc.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows as an array (N, T, 1), and their lengths."""
    lengths = np.array([len(row) for row in rows], np.int32)
    x = np.zeros((len(rows), lengths.max(), 1), np.float32)
    for place, row in enumerate(rows):
        x[place, : len(row)] = row
    return x, lengths


def runners(path: Path) -> dict[str, Run]:
    """Return the runtimes that can run the file, by name."""
    found: dict[str, Run] = {}
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_outputs()]
        found["ONNX Runtime"] = lambda inputs: dict(
            zip(names, session.run(None, dict(inputs)), strict=True)
        )
    found["lstmcore.onnx"] = bridge.load(path).run
    return found


def main() -> None:
    """Train, export, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the ONNX file to write")
    options = parser.parse_args()

    random = np.random.default_rng(options.seed)
    model = build_model(options.units, options.seed)
    model.fit(*waves(2000, random), 32, options.epochs, verbose=2)
    rows, rising = waves(500, random)
    expected = model.predict(rows, verbose=0)
    print(f"right on fresh waves: {np.mean((expected[:, 0] > 0.5) == rising):.1%}")

    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = options.output or Path(folder) / "waves.onnx"
        bridge.export(model, path, lengths=True)
        print(f"{path.name}: {path.stat().st_size} bytes")
        x, lengths = padded(rows)
        for name, run in runners(path).items():
            y = run({"x": x, "lengths": lengths})["y"]
            difference = float(np.abs(y - expected).max())
            print(f"{name}: largest difference {difference:.1e}")
            worst = max(worst, difference)
    sys.exit(0 if worst <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
