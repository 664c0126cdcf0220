"""Read strips of handwritten digits: a picture becomes the digits that it shows, as text.

The pictures are scikit-learn's digits, three to five of them side by side without gaps. One model
reads a strip column by column and attends to what it writes about; another gets a whole picture of
three digits as one vector, which sets its first state. All digits of the test are unseen ones.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.plots import attention_map

SIDE = 8  # pixels of a digit, in both directions
TESTED = 400
MEASURES = {"*": ("share of strips without a mistake", "higher")}
WISHED = {"LSTM*": ">= 0.9"}


class Digits:
    """Pictures (N, 8, 8) between 0 and 1, with their labels, divided into two parts."""

    def __init__(self, seed: int) -> None:
        data = load_digits()
        order = np.random.default_rng(seed).permutation(len(data.target))
        self.images = data.images[order].astype(np.float32) / 16
        self.labels = data.target[order]
        self.known = len(order) * 4 // 5  # those before it are for training

    def strips(
        self, count: int, lengths: list[int], unseen: bool, seed: int
    ) -> tuple[list[np.ndarray], list[str]]:
        """Return strips of random digits, (T, 8) with a row for each column, and their texts.

        Those for training have some noise, so that the model cannot learn single pictures by heart.
        """
        rng = np.random.default_rng(seed)
        first, last = (self.known, len(self.labels)) if unseen else (0, self.known)
        strips, texts = [], []
        for _ in range(count):
            chosen = rng.integers(first, last, rng.choice(lengths))
            strip = np.hstack(self.images[chosen]).T
            if not unseen:
                strip = strip + rng.normal(0, 0.1, strip.shape).astype(np.float32)
            strips.append(strip)
            texts.append("".join(map(str, self.labels[chosen])))
        return strips, texts


def exact(said: list[str], texts: list[str]) -> float:
    """Return the share of the texts that are right in every digit."""
    return float(np.mean([one == other for one, other in zip(said, texts, strict=True)]))


def trained(
    model: lc.EncoderDecoder, x: list[np.ndarray] | np.ndarray, y: list[str], epochs: int
) -> lc.EncoderDecoder:
    """Train a model that writes characters."""
    rate = lc.schedules.OneCycle(1e-2, epochs * -(-len(y) // 32))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def draw(strip: np.ndarray, reader: lc.EncoderDecoder, path: Path) -> None:
    """Draw a strip, and below it the columns that each digit was read from."""
    (best,) = reader.decode([strip], return_attention=True)[0]
    if best.attention is None or not best.text:
        return
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4), layout="constrained")
    above.imshow(strip.T, cmap="gray_r", aspect="auto")
    above.set_axis_off()
    columns = [str(place) for place in range(len(strip))]
    attention_map(best.attention, columns, best.text, ax=below, title="where it looked")
    figure.savefig(path)
    plt.close(figure)


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train and test both models; see the module."""
    count, epochs = (12000, 12) if full else (4000, 8)
    digits = Digits(seed)
    x, y = digits.strips(count, [3, 4, 5], False, seed + 1)
    strips, texts = digits.strips(TESTED, [3, 4, 5], True, seed + 2)
    reader = lc.EncoderDecoder(
        source_features=SIDE,
        target=TextVectorization(split="character"),
        embedding_size=16,
        units=48,
        bidirectional=True,
        dropout=0.2,
        seed=seed,
    )
    trained(reader, x, y, epochs)
    # Three digits, as one vector of all pixels.
    x, y = digits.strips(count, [3], False, seed + 3)
    squares, threes = digits.strips(TESTED, [3], True, seed + 4)
    glancer = lc.EncoderDecoder(
        source_vector=3 * SIDE * SIDE,
        target=TextVectorization(split="character"),
        embedding_size=16,
        units=128,
        seed=seed,
    )
    trained(glancer, np.stack(x).reshape(count, -1), y, epochs)
    # The nearest training picture of each digit, told where every digit begins.
    cutter = KNeighborsClassifier(1).fit(
        digits.images[: digits.known].reshape(-1, SIDE * SIDE), digits.labels[: digits.known]
    )
    cut = [strip.reshape(-1, SIDE, SIDE).transpose(0, 2, 1).reshape(-1, 64) for strip in strips]
    nearest = KNeighborsClassifier(1).fit(np.stack(x).reshape(count, -1), y)
    vectors = np.stack(squares).reshape(TESTED, -1)
    if pictures is not None:
        draw(strips[0], reader, Path(pictures) / "captioning.svg")
    return {
        "LSTM, columns": exact(reader.predict(strips, verbose=0), texts),
        "nearest digit, columns cut apart": exact(
            ["".join(map(str, cutter.predict(part))) for part in cut], texts
        ),
        "LSTM, one vector": exact(glancer.predict(vectors, verbose=0), threes),
        "nearest strip, one vector": exact(list(nearest.predict(vectors)), threes),
    }


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more strips, more epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print("share of unseen strips that are read without a mistake")
    for name, value in run(options.full, options.seed, options.pictures).items():
        print(f"  {name:34} {value:.3f}")


if __name__ == "__main__":
    main()
