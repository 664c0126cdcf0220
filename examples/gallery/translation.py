"""Translate English into French: dates, and numbers in words that training has not seen.

The dates are in the long form of Unicode's locale data (babel); the numbers are spelled by
num2words. Strings go in and strings come out. Beside the model stands the simplest translation
memory: the translation of the most similar sentence of the training data.
"""

import argparse
import datetime
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sacrebleu
from babel.dates import format_date
from num2words import num2words

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.plots import attention_map

TESTED = 400
MEASURES = {
    "*exact*": ("share of sentences without a mistake", "higher"),
    "*BLEU*": ("BLEU, 0 to 1", "higher"),
}
WISHED = {"*, exact": ">= 0.99"}
Pairs = tuple[list[str], list[str]]


def dates(count: int, rng: np.random.Generator) -> Pairs:
    """Return different days from 1950 to 2049, as "Monday, March 3, 2021"."""
    first = datetime.date(1950, 1, 1).toordinal()
    chosen = first + rng.choice(36524, count, replace=False)
    days = [datetime.date.fromordinal(int(day)) for day in chosen]
    english = [format_date(day, "full", locale="en") for day in days]
    return english, [format_date(day, "full", locale="fr") for day in days]


def numbers(count: int, rng: np.random.Generator) -> Pairs:
    """Return different numbers below 100 000, as "eleven thousand, eight hundred and six"."""
    chosen = [int(number) for number in rng.choice(100_000, count, replace=False)]
    english = [num2words(number, lang="en") for number in chosen]
    return english, [num2words(number, lang="fr") for number in chosen]


def nearest(x: list[str], y: list[str], tested: list[str]) -> list[str]:
    """Return the translations of the sentences with the largest share of common words."""
    known = [frozenset(text.split()) for text in x]

    def place(text: str) -> int:
        words = frozenset(text.split())
        shares = [len(words & other) / len(words | other) for other in known]
        return int(np.argmax(shares))

    return [y[place(text)] for text in tested]


def exact(said: list[str], right: list[str]) -> float:
    """Return the share of the sentences that are right in every character."""
    return float(np.mean([one == other for one, other in zip(said, right, strict=True)]))


def bleu(said: list[str], right: list[str]) -> float:
    """Return BLEU from 0 to 1."""
    return float(sacrebleu.corpus_bleu(said, [right]).score) / 100


def learn(x: list[str], y: list[str], epochs: int, seed: int) -> lc.EncoderDecoder:
    """Train a model on pairs of sentences, from which it also learns its vocabularies."""
    model = lc.EncoderDecoder(
        source=TextVectorization(),
        target=TextVectorization(standardize=None),  # capitals and accents come back
        embedding_size=32,
        units=64,
        bidirectional=True,
        seed=seed,
    )
    rate = lc.schedules.OneCycle(6e-3, epochs * -(-len(x) // 32))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train and test a model for each kind of sentences; see the module."""
    kinds: dict[str, tuple[Callable[[int, np.random.Generator], Pairs], int]] = {
        "dates": (dates, 20_000 if full else 4000),
        "numbers": (numbers, 30_000 if full else 6000),
    }
    figures: dict[str, float] = {}
    for name, (make, count) in kinds.items():
        x, y = make(count + TESTED, np.random.default_rng(seed))
        model = learn(x[:count], y[:count], 10, seed)
        tested, right = x[count:], y[count:]
        said = model.predict(tested, verbose=0)
        other = nearest(x[:count], y[:count], tested)
        figures[f"{name}, exact"] = exact(said, right)
        figures[f"{name}, BLEU"] = bleu(said, right)
        figures[f"{name}, exact, nearest sentence"] = exact(other, right)
        figures[f"{name}, BLEU, nearest sentence"] = bleu(other, right)
        if pictures is not None:
            best = model.decode(tested[:1], return_attention=True)[0][0]
            if best.attention is not None and len(best.tokens):
                words, file = str(best.text), Path(pictures) / f"translation_{name}.svg"
                attention_map(best.attention, tested[0].split(), words.split(), file, title=words)
    return figures


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="many more sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print(f"of {TESTED} sentences that training has not seen")
    for name, value in run(options.full, options.seed, options.pictures).items():
        print(f"  {name:32} {value:8.3f}")


if __name__ == "__main__":
    main()
