"""Train an LSTM on the adding problem, and test how well it adds numbers far apart.

The problem of Hochreiter & Schmidhuber (1997): in a sequence of random numbers two are marked, one
in each half, and the model returns their sum at the end. Always answering 1, the mean, has a mean
squared error of 1/6. The program ends with status 1 if the error on fresh sequences is not below
the goal.
"""

import argparse
import sys
import time

import numpy as np

import lstmcore as lc

GOAL = 0.001  # mean squared error
ROUND = 100  # batches of fresh sequences between two lines of progress


def sequences(count: int, steps: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers with their marks (count, steps, 2), and sums (count, 1)."""
    numbers = random.random((count, steps), dtype=np.float32)
    marks = np.zeros((count, steps), np.float32)
    rows, half = np.arange(count), steps // 2
    first, second = random.integers(0, half, count), random.integers(half, steps, count)
    marks[rows, first] = marks[rows, second] = 1.0
    sums = numbers[rows, first] + numbers[rows, second]
    return np.stack([numbers, marks], axis=-1), sums[:, None]


def build_model(units: int, steps: int, training_steps: int, seed: int) -> lc.Sequential:
    """Return a model whose units begin with memories of all durations up to `length` steps."""
    model = lc.Sequential(
        [lc.layers.Input((None, 2)), lc.layers.LSTM(units), lc.layers.Dense(1)], seed=seed
    )
    # With a constant forget gate f, a memory lasts about 1 / (1 - f) steps. Biases of log(d) for
    # the forget gate and -log(d) for the input gate make it d steps (Tallec & Ollivier 2018).
    durations = np.random.default_rng(seed).uniform(1, steps - 1, units)
    bias = np.zeros((4, units), np.float32)  # gates i, f, g, o
    bias[0], bias[1] = -np.log(durations), np.log(durations)
    model.set_weights({"lstm.bias_l0": bias.reshape(-1)})
    rate = lc.schedules.CosineDecay(0.01, decay_steps=training_steps)
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0), "mse")
    return model


def main() -> None:
    """Train on random sequences, never on one twice, then test on new ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=200, help="steps of a sequence")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64, help="sequences in a batch")
    parser.add_argument("--training-steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    random = np.random.default_rng([options.seed, 0])
    model = build_model(options.units, options.length, options.training_steps, options.seed)
    rounds = -(-options.training_steps // ROUND)
    start = time.perf_counter()
    for number in range(rounds):
        x, y = sequences(ROUND * options.batch, options.length, random)
        history = model.fit(
            x, y, options.batch, number + 1, initial_epoch=number, shuffle=False, verbose=0
        )
        print(
            f"{(number + 1) * ROUND:5d} steps  {time.perf_counter() - start:4.0f} s  "
            f"mean squared error {history.history['loss'][0]:.5f}",
            flush=True,
        )

    x, y = sequences(10_000, options.length, np.random.default_rng([options.seed, 1]))
    error = model.evaluate(x, y, batch_size=250, verbose=0)
    print(f"mean squared error on 10000 fresh sequences: {error:.6f} (goal: below {GOAL})")
    sys.exit(0 if error < GOAL else 1)


if __name__ == "__main__":
    main()
