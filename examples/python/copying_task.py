"""Train an LSTM to repeat ten symbols after fifty blanks, and count how many are right.

The task of Hochreiter & Schmidhuber (1997) as Arjovsky et al. (2016) pose it: ten random symbols
out of eight, then blanks, the last of which is a mark, then ten steps to repeat the symbols in
order. Guessing gets one in eight. Training begins with few blanks and adds more as the model
improves; the test has all of them. The program ends with status 1 if the share of right symbols on
fresh sequences is below the goal.
"""

import argparse
import sys
import time

import numpy as np

import lstmcore as lc

GOAL = 0.999  # share of right symbols
SYMBOLS, BLANK, MARK = 8, 0, 9
REMEMBERED = 10
FIRST_DELAY = 3
GOOD = 0.9  # share of right symbols at which the delay grows
ROUND = 20  # batches between two tests of progress


def sequences(count: int, delay: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return symbols as one-hot vectors (count, T, 10), and the targets (count, T)."""
    symbols = random.integers(1, SYMBOLS + 1, (count, REMEMBERED))
    shown = np.full((count, delay + 2 * REMEMBERED), BLANK)
    wanted = shown.copy()
    shown[:, :REMEMBERED] = wanted[:, -REMEMBERED:] = symbols
    shown[:, -REMEMBERED - 1] = MARK
    return np.eye(SYMBOLS + 2, dtype=np.float32)[shown], wanted


def right_symbols(
    model: lc.Sequential, count: int, delay: int, random: np.random.Generator
) -> float:
    """Return the share of the symbols in fresh sequences that are repeated correctly."""
    x, wanted = sequences(count, delay, random)
    answers = model.predict(x, batch_size=100, verbose=0).argmax(axis=-1)
    return float((answers == wanted)[:, -REMEMBERED:].mean())


def build_model(units: int, training_steps: int, seed: int) -> lc.Sequential:
    """Return a model of one LSTM layer with an output at every step."""
    model = lc.Sequential(
        [
            lc.layers.Input((None, SYMBOLS + 2)),
            lc.layers.LSTM(units, return_sequences=True),
            lc.layers.Dense(SYMBOLS + 1, activation="softmax"),
        ],
        seed=seed,
    )
    rate = lc.schedules.CosineDecay(0.005, decay_steps=training_steps)
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    return model


def main() -> None:
    """Train on random sequences with growing delays, never on one twice, then test on new ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=int, default=50, help="blanks, including the mark")
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16, help="sequences in a batch")
    parser.add_argument("--training-steps", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads wait for each other in batches this small"
    )
    options = parser.parse_args()
    lc.set_num_threads(options.threads)

    random = np.random.default_rng([options.seed, 0])
    model = build_model(options.units, options.training_steps, options.seed)
    delay = min(FIRST_DELAY, options.delay)
    start = time.perf_counter()
    for number in range(-(-options.training_steps // ROUND)):
        x, wanted = sequences(ROUND * options.batch, delay, random)
        model.fit(
            x, wanted, options.batch, number + 1, initial_epoch=number, shuffle=False, verbose=0
        )
        right = right_symbols(model, 100, delay, random)
        if (number + 1) % 10 == 0:
            print(
                f"{(number + 1) * ROUND:5d} steps  {time.perf_counter() - start:4.0f} s  "
                f"delay {delay:2d}  right {right:.3f}",
                flush=True,
            )
        # What the model has learnt for one delay is nearly right for 1.5 times that delay.
        if right > GOOD:
            delay = min(options.delay, delay + max(1, delay // 2))

    random = np.random.default_rng([options.seed, 1])
    right = right_symbols(model, 10_000, options.delay, random)
    print(
        f"right symbols after {options.delay} blanks in 10000 fresh sequences: {right:.5f} "
        f"(goal: {GOAL})"
    )
    sys.exit(0 if right >= GOAL else 1)


if __name__ == "__main__":
    main()
