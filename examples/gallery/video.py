"""Video: which way a handwritten digit moves, and which digit it is.

Real digits of 8 x 8 pixels (scikit-learn's `load_digits`, CC BY 4.0) move by a pixel a frame over a
noisy picture of 12 x 12, and leave it on one side to return on the other. One graph of layers
answers both questions: every frame is flattened and becomes features, which the two heads share,
an LSTM reads the frames, and a mean over the frames tells the digit. No convolution in two
dimensions is needed at this size. Beside it: logistic regression on all pixels of all frames. Needs
scikit-learn (the extra `sklearn`).
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore import layers

SIZE, FRAMES = 12, 6
WAYS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
MEASURES = {"*": ("accuracy", "higher")}
WISHED = {"LSTM, way": ">= 0.97"}
NOISE = 0.2  # the deviation of every pixel; a digit's pixels are between 0 and 1


def videos(
    digits: np.ndarray, labels: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return videos (N, T, H, W, 1), with the number of the way and the digit of each."""
    chosen, ways = random.integers(0, len(digits), count), random.integers(0, len(WAYS), count)
    x = NOISE * random.standard_normal((count, FRAMES, SIZE, SIZE, 1)).astype(np.float32)
    whole = np.pad(digits, ((0, 0), (0, SIZE - 8), (0, SIZE - 8)))
    steps = list(WAYS.values())
    for video, digit, way in zip(x, chosen, ways, strict=True):
        place = random.integers(0, SIZE, 2)
        for frame, picture in enumerate(video[..., 0]):
            picture += np.roll(whole[digit], place + frame * np.array(steps[way]), axis=(0, 1))
    return x, {"way": ways, "digit": labels[chosen]}


def network(seed: int) -> lc.Model:
    """Make the graph, which has two outputs."""
    video = lc.Input((None, SIZE, SIZE, 1), name="video")
    pixels = layers.TimeDistributed(layers.Flatten())(video)
    frames = layers.Dense(192, activation="relu", name="frames")(pixels)
    moved = layers.LSTM(64, name="moved")(frames)
    mean = layers.GlobalAveragePooling1D()(layers.Dense(192, activation="relu")(frames))
    answers = {
        "way": layers.Dense(len(WAYS), activation="softmax", name="way")(moved),
        "digit": layers.Dense(10, activation="softmax", name="digit")(mean),
    }
    return lc.Model(video, answers, seed=seed)


def baseline(x: np.ndarray, y: np.ndarray, fresh: np.ndarray, truth: np.ndarray) -> float:
    """Return the accuracy of logistic regression on all pixels of all frames."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.01, max_iter=50, tol=1e-2)
    model.fit(x.reshape(len(x), -1), y)
    return float(model.score(fresh.reshape(len(fresh), -1), truth))


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train, print the table, and return the accuracies on digits that were never seen."""
    from sklearn.datasets import load_digits

    random = np.random.default_rng(seed)
    given: Any = load_digits()
    order = random.permutation(len(given.target))
    digits, labels = given.images[order] / 16, given.target[order]
    count = 24000 if full else 6000
    x, y = videos(digits[:1400], labels[:1400], count, random)
    fresh, truth = videos(digits[1400:], labels[1400:], 1000, random)

    model = network(seed)
    epochs = 12 if full else 8
    rate = lc.schedules.OneCycle(3e-3, epochs * -(-count // 64))
    model.compile(lc.optimizers.Adam(rate), "sparse_categorical_crossentropy", "accuracy")
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    scores = model.evaluate(fresh, truth, return_dict=True, verbose=0)
    figures = {f"LSTM, {name}": scores[f"{name}_accuracy"] for name in truth}
    few = slice(0, 2000)
    for name, values in truth.items():
        figures[f"logistic regression, {name}"] = baseline(x[few], y[name][few], fresh, values)
    print(f"{'':22}{'which way':>12}{'which digit':>13}")
    print(f"{'graph with an LSTM':22}{figures['LSTM, way']:12.3f}{figures['LSTM, digit']:13.3f}")
    shown = figures["logistic regression, way"], figures["logistic regression, digit"]
    print(f"{'logistic regression':22}{shown[0]:12.3f}{shown[1]:13.3f}")
    print(f"{'guessing':22}{1 / len(WAYS):12.3f}{0.1:13.3f}")
    if pictures is not None:
        draw(fresh[:3], model.predict(fresh[:3], verbose=0), Path(pictures))
    return figures


def draw(x: np.ndarray, answers: dict[str, np.ndarray], to: Path) -> None:
    """Write video.svg: three videos, frame by frame, with what the model says."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    grid = figure.subplots(len(x), FRAMES)
    for row, video in enumerate(x):
        for axes, frame in zip(grid[row], video[..., 0], strict=True):
            axes.imshow(frame, cmap="gray_r")
            axes.set(xticks=[], yticks=[])
        way, digit = list(WAYS)[answers["way"][row].argmax()], answers["digit"][row].argmax()
        grid[row, 0].set_ylabel(f"a {digit}, {way}")
    figure.savefig(to / "video.svg")


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="four times as many videos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
