"""What the gates of an LSTM are for: the same two experiments with a simple RNN and an LSTM.

First, how large the gradient with respect to an input still is that many steps later, in networks
as they are initialized. Second, the adding problem (Hochreiter & Schmidhuber 1997): two of a
sequence of random numbers are marked, and the sum of these two is wanted at the end. All data is
drawn. Each network has the best of three learning rates, and always answering 1, the mean of the
sums, is the baseline.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore import layers

RATES = (0.003, 0.01, 0.02)
MEASURES = {"gradient*": ("norm", "1"), "*": ("share of sums known to within 0.1", "higher")}
SHOWN = (0, 10, 50, 100, 150)  # distances
DISTANCE = SHOWN[-1]  # steps between an input and the output that the gradient starts from


def sums(count: int, steps: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers with their marks (count, steps, 2), and sums (count, 1)."""
    numbers = random.random((count, steps), dtype=np.float32)
    marks = np.zeros_like(numbers)
    rows, half = np.arange(count), steps // 2
    first, second = random.integers(0, half, count), random.integers(half, steps, count)
    marks[rows, first] = marks[rows, second] = 1.0
    wanted = numbers[rows, first] + numbers[rows, second]
    return np.stack([numbers, marks], axis=-1), wanted[:, None]


def gradient_by_distance(layer: Any, seed: int) -> np.ndarray:
    """Return the norm of d(a direction of h) / dx, by the steps between them, mean of 32 rows."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((32, DISTANCE + 1, 8))  # float64: no gradient underflows
    layer(x[:1])
    _, _, context = layer.forward(x, None, True, 0)
    direction = random.standard_normal((32, layer.units))
    dx = layer.backward(context, direction / np.linalg.norm(direction, axis=1, keepdims=True))
    return np.asarray(np.linalg.norm(dx, axis=2).mean(axis=0)[::-1])


def with_memories(model: lc.Sequential, units: int, steps: int, seed: int) -> None:
    """Give the units of an LSTM memories of all durations up to `steps` (Tallec & Ollivier 2018).

    With a forget gate f, a memory lasts about 1 / (1 - f) steps: biases of log(d) make it d steps.
    """
    durations = np.log(np.random.default_rng(seed).uniform(1, steps - 1, units))
    bias = np.stack([-durations, durations, 0 * durations, 0 * durations])  # gates i, f, g, o
    model.set_weights({"lstm.bias_l0": bias.reshape(-1)})


NETWORKS: dict[str, Callable[[int], layers.Layer]] = {
    "tanh RNN": layers.SimpleRNN,
    "ReLU RNN": lambda units: layers.SimpleRNN(units, activation="relu"),
    "LSTM": layers.LSTM,
    "LSTM, durations": layers.LSTM,
}


def train(name: str, steps: int, batches: int, rate: float, seed: int) -> lc.Sequential:
    """Train a network on sequences none of which comes twice."""
    units, random = 32, np.random.default_rng([seed, steps])
    model = lc.Sequential([NETWORKS[name](units), layers.Dense(1)], seed=seed)
    model.build((None, None, 2))
    if name.endswith("durations"):
        with_memories(model, units, steps, seed)
    schedule = lc.schedules.CosineDecay(rate, decay_steps=batches)
    model.compile(lc.optimizers.Adam(schedule, global_clipnorm=1.0), "mse")
    model.fit(*sums(64 * batches, steps, random), batch_size=64, shuffle=False, verbose=0)
    return model


def right(model: lc.Sequential, steps: int, seed: int) -> float:
    """Return the share of fresh sequences whose sum the model knows to within 0.1."""
    x, y = sums(2000, steps, np.random.default_rng(seed))
    return float((abs(model.predict(x, verbose=0) - y) < 0.1).mean())


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Do both experiments, print their tables and return the figures."""
    fresh = {
        "tanh RNN": layers.SimpleRNN(64, seed=seed),
        "ReLU RNN": layers.SimpleRNN(64, activation="relu", seed=seed),
        "LSTM, forget bias 1": layers.LSTM(64, seed=seed),
        "LSTM, forget bias 5": layers.LSTM(64, forget_bias=5.0, seed=seed),
    }
    norms = {name: gradient_by_distance(layer, seed) for name, layer in fresh.items()}
    print("norm of the gradient, by distance", *(f"{step:>8}" for step in SHOWN))
    for name, norm in norms.items():
        print(f"{name:33}", *(f"{norm[step]:8.0e}" for step in SHOWN))
    figures = {f"gradient, {name}": float(norm[DISTANCE]) for name, norm in norms.items()}

    lengths = (10, 40, 100) if full else (10, 40)
    batches = 1500 if full else 500
    print("\nsums known to within 0.1, by length", *(f"{steps:>6}" for steps in lengths))
    for name in NETWORKS:
        for steps in lengths:
            models = [train(name, steps, batches, rate, seed) for rate in RATES]
            best = max(models, key=lambda model: right(model, steps, seed + 1))
            figures[f"{steps} steps, {name}"] = right(best, steps, seed + 2)
        print(f"{name:35}", *(f"{figures[f'{steps} steps, {name}']:6.2f}" for steps in lengths))
    _, y = sums(2000, 10, np.random.default_rng(seed + 2))
    figures["always 1"] = float((abs(1.0 - y) < 0.1).mean())
    print(f"{'always 1':35}", *(f"{figures['always 1']:6.2f}" for _ in lengths))
    if pictures is not None:
        draw(norms, figures, lengths, Path(pictures))
    return figures


def draw(
    norms: dict[str, np.ndarray], figures: dict[str, float], lengths: tuple[int, ...], to: Path
) -> None:
    """Write the picture of both experiments, lstm_against_rnn.svg."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, other = figure.subplots(1, 2)
    for name, norm in norms.items():
        left.semilogy(norm, label=name)
    left.set(xlabel="steps between input and output", ylabel="norm of the gradient")
    for name in NETWORKS:
        shares = [figures[f"{steps} steps, {name}"] for steps in lengths]
        other.plot([str(steps) for steps in lengths], shares, "o-", label=name)
    other.axhline(figures["always 1"], color="gray", linestyle=":", label="always 1")
    other.set(xlabel="length of the sequence", ylabel="sums known to within 0.1", ylim=(0, 1.05))
    left.legend(fontsize="small")
    other.legend(fontsize="small")
    figure.savefig(to / "lstm_against_rnn.svg")


def main() -> None:
    """Run the experiments from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer sequences and training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
