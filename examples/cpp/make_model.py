"""Train a small model for realtime.cpp: it predicts the next value of the first of two signals.

Usage: python make_model.py MODEL.safetensors
"""

import sys

import numpy as np

import lstmcore as lc


def main(path: str) -> None:
    """Train on sines of changing frequency and phase, and save."""
    random = np.random.default_rng(0)
    steps = np.arange(41)
    frequency = random.uniform(0.05, 0.2, (512, 1, 1)) * [1.0, 1.37]
    phase = random.uniform(0, 2 * np.pi, (512, 1, 1))
    signals = np.sin(frequency * steps[None, :, None] + phase).astype(np.float32)
    model = lc.Sequential(
        [
            lc.layers.LSTM(32, return_sequences=True),
            lc.layers.LSTM(32),
            lc.layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    model.fit(signals[:, :-1], signals[:, -1:, 0], epochs=10, batch_size=32)
    model.save(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
