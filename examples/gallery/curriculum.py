"""Is the number of ones in a sequence odd? Parity, from short sequences to long ones.

The answer depends on every bit, so that long sequences alone teach an LSTM nothing. All data is
drawn. The same network is trained on sequences of the greatest length; on sequences of all lengths
in a random order; and on the same ones from short to long, with `Curriculum`. A training ends when
the network is right about 300 sequences of the greatest length that it never saw, or after as many
steps as each may take. Always giving one answer, the baseline, is right half of the time.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import lstmcore as lc

COUNT = 6400  # sequences to learn from
WAYS = ("longest alone", "all lengths", "short to long")
MEASURES = {"*, steps": ("steps of training", "lower"), "*": ("accuracy", "higher")}
WISHED = {"short to long, steps": "< all lengths, steps"}
Bits = tuple[list[np.ndarray], np.ndarray]


def bits(lengths: np.ndarray, random: np.random.Generator) -> Bits:
    """Return sequences (T, 1) of -1 and 1, and whether each has an odd number of ones."""
    x = [random.choice([-1.0, 1.0], (length, 1)).astype(np.float32) for length in lengths]
    return x, np.array([(row > 0).sum() % 2 for row in x])


def train(
    way: str, longest: int, budget: int, seed: int
) -> tuple[lc.Sequential, list[tuple[int, float]]]:
    """Train in one way; return the model, and its accuracy after some of the steps."""
    random = np.random.default_rng([seed, longest])
    lengths = random.integers(1, longest + 1, COUNT)
    x, y = bits(np.full(COUNT, longest) if way == "longest alone" else lengths, random)
    fresh_x, fresh_y = bits(np.full(300, longest), random)
    model = lc.Sequential([lc.layers.LSTM(32), lc.layers.Dense(1, activation="sigmoid")], seed=seed)
    model.compile(lc.optimizers.Adam(0.01, global_clipnorm=1.0), "binary_crossentropy", "accuracy")
    pace = lc.Curriculum(lambda x, y: lengths, "linear", start=4 / longest, steps=budget // 4)
    curve = [(0, 0.5)]

    def look(batch: int, logs: dict[str, float]) -> None:
        taken = model.optimizer.iterations
        if taken % 20 == 0:
            curve.append((taken, model.evaluate(fresh_x, fresh_y, verbose=0)[1]))
            model.stop_training = taken >= budget or curve[-1][1] == 1.0

    model.fit(
        *(x, y),
        epochs=budget,  # at least a step each
        curriculum=pace if way == "short to long" else None,
        callbacks=lc.callbacks.LambdaCallback(on_train_batch_end=look),
        verbose=0,
    )
    return model, curve


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train in all ways, print the table, and return accuracies and steps."""
    longest, budget = (200, 8000) if full else (60, 2000)
    figures: dict[str, float] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    longer_x, longer_y = bits(np.full(300, 10 * longest), np.random.default_rng(seed + 1))
    head = f"sequences of {longest}"
    print(f"{head:25}{'accuracy':>9}{'steps':>7}{'ten times as long':>19}")
    for way in WAYS:
        model, curves[way] = train(way, longest, budget, seed)
        steps, accuracy = curves[way][-1]
        longer = model.evaluate(longer_x, longer_y, verbose=0)[1]
        figures |= {way: accuracy, f"{way}, steps": steps, f"{way}, ten times as long": longer}
        print(f"{way:25}{accuracy:9.3f}{steps:7}{longer:19.3f}")
    figures["one answer"] = float(max(longer_y.mean(), 1 - longer_y.mean()))
    print(f"{'one answer':25}{0.5:9.3f}{'':7}{figures['one answer']:19.3f}")
    if pictures is not None:
        draw(curves, longest, Path(pictures))
    return figures


def draw(curves: dict[str, list[tuple[int, float]]], longest: int, to: Path) -> None:
    """Write the picture of accuracies by steps, curriculum.svg."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for way, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=way)
        axes.plot(*curve[-1], "o", color=axes.lines[-1].get_color())
    axes.set(xlabel="steps", ylabel=f"accuracy at length {longest}", ylim=(0.4, 1.03))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center right")
    to.mkdir(parents=True, exist_ok=True)
    figure.savefig(to / "curriculum.svg")


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer sequences, more steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
