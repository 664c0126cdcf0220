"""Learn to write docstrings, character by character, from those of the standard library.

A character language model reads the docstrings of Python's own modules and is measured, in bits a
character, on packages that it has not seen, beside an n-gram model with back-off and beside gzip
and lzma. Then it writes docstrings at several temperatures.
"""

import argparse
import ast
import gzip
import lzma
import math
import os
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path

import lstmcore as lc

ORDER = 5  # characters of the n-gram model, the one that is predicted included
MEASURES = {"*": ("bits a character", "lower")}
TEMPERATURES = (0.3, 0.7, 1.0)
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "encodings", "idlelib", "lib2to3"}


def docstrings() -> list[str]:
    """Return the docstrings of each module or package of the standard library, each only once."""
    root, known = Path(sysconfig.get_path("stdlib")), set()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if LEFT_OUT.intersection(parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # programs that show errors
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = (node for node in ast.walk(tree) if isinstance(node, kinds))
        texts = dict.fromkeys(ast.get_docstring(node) or "" for node in nodes)
        new = [text for text in texts if text and text not in known]
        known.update(new)
        found[parts[0]] += new
    return ["\n\n".join(texts) for texts in found.values() if texts]


class NGrams:
    """Counts of characters after up to ORDER - 1 others, interpolated (Witten & Bell 1991)."""

    def __init__(self, texts: list[str], size: int) -> None:
        self.size = size
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for end, character in enumerate(text):
                for begin in range(max(0, end - ORDER + 1), end + 1):
                    self.counts[text[begin:end]][character] += 1

    def probability(self, before: str, character: str) -> float:
        """Return the probability of a character after `before`."""
        shorter = self.probability(before[1:], character) if before else 1 / self.size
        followers = self.counts.get(before)
        if followers is None:
            return shorter
        kinds = len(followers)
        return (followers[character] + kinds * shorter) / (followers.total() + kinds)

    def bits_per_character(self, texts: list[str]) -> float:
        """Return the mean of -log2 p over all characters."""
        bits = sum(
            -math.log2(self.probability(text[max(0, end - ORDER + 1) : end], character))
            for text in texts
            for end, character in enumerate(text)
        )
        return bits / sum(map(len, texts))


def compressed_bits(compress: object, train: list[str], test: list[str]) -> float:
    """Return the bits a character that `test` adds to a compressed file of `train`."""
    assert callable(compress)
    before, after = "".join(train), "".join(test)
    added = len(compress((before + after).encode())) - len(compress(before.encode()))
    return 8 * added / len(after)


def draw(figures: dict[str, float], folder: str | os.PathLike[str]) -> None:
    """Write a picture of the figures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    names = list(figures)[::-1]
    bars = axes.barh(names, [figures[name] for name in names], color="#2563eb")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlabel("bits a character on packages not seen (fewer is better)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(folder) / "character_model.svg")


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train and measure; return bits a character by model."""
    packages = docstrings()
    test = packages[::10] if full else packages[::20]
    train = [text for number, text in enumerate(packages) if number % 10]
    if not full:
        train = train[::2]
    characters = lc.layers.TextVectorization(split="raw_character", standardize=None)
    characters.adapt(train)
    layers = [lc.layers.LSTM(512 if full else 256, return_sequences=True)]
    model = lc.LanguageModel(characters, layers, embedding=64, tie_weights=False, seed=seed)
    text, rows, window, epochs = "\n\n\n".join(train), 16, 32, 4 if full else 2
    rate = lc.schedules.CosineDecay(5e-3, decay_steps=epochs * len(text) // (rows * window))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit_text(text, epochs=epochs, batch_size=rows, window=window, verbose=2)
    figures = {
        "LSTM": model.bits_per_character(test),
        f"{ORDER}-gram with back-off": NGrams(
            train, characters.vocabulary_size()
        ).bits_per_character(test),
        "lzma": compressed_bits(lzma.compress, train, test),
        "gzip": compressed_bits(gzip.compress, train, test),
    }
    for temperature in TEMPERATURES:
        print(f"--- temperature {temperature}")
        print(model.generate("Return ", 240, temperature=temperature, seed=seed))
    if pictures is not None:
        draw(figures, pictures)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="512 units, all modules, four passes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", metavar="FOLDER")
    options = parser.parse_args()
    figures = run(options.full, options.seed, options.pictures)
    print("\nbits a character on packages that were not seen")
    for name, figure in figures.items():
        print(f"  {name:24} {figure:.3f}")


if __name__ == "__main__":
    main()
