"""Summarize docstrings: names, arguments and text become the first line that the author wrote.

The docstrings are those of installed packages. A vocabulary of a few hundred words lacks most of
their names, so one model may copy words of its source (a pointer-generator network), and the other,
for comparison, may not. What beats nothing is the lead: the beginning of the text.
"""

import argparse
import ast
import importlib.util
import os
from pathlib import Path

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.plots import attention_map

MEASURES = {"*": ("ROUGE-L, F1", "higher")}
WISHED = {"ROUGE-L, copying": "> ROUGE-L, lead"}
PACKAGES = ("numpy", "sklearn", "pandas", "scipy", "matplotlib")
split = TextVectorization().tokens  # into words of lower case, without punctuation


def summaries(tree: ast.AST) -> dict[str, list[str]]:
    """Return what the docstrings of a module say after their first line, by that line."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
        names = [node.name.replace("_", " ")]
        if isinstance(node, ast.FunctionDef):
            names += [argument.arg for argument in node.args.args if argument.arg != "self"]
        if rest and 3 <= len(split(first)) <= 14:
            found[" ".join(split(first))] = [*split(" ".join(names)), ":", *split(rest)]
    return found


def docstrings(most: int, seed: int) -> tuple[list[list[str]], list[str]]:
    """Return texts of at most 40 tokens and their first lines, each line once."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or len(found) >= most:
            continue
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            if "test" not in str(path.relative_to(folder)):
                found = {**summaries(ast.parse(path.read_text(encoding="utf-8"))), **found}
    lines = np.random.default_rng(seed).permutation(sorted(found))[:most].tolist()
    return [found[line][:40] for line in lines], lines


def rouge(said: list[str], right: list[str]) -> float:
    """Return the mean ROUGE-L (F1)."""
    score = RougeScorer(["rougeL"]).score
    pairs = zip(said, right, strict=True)
    return float(np.mean([score(other, one)["rougeL"].fmeasure for one, other in pairs]))


def learn(
    x: list[list[str]], y: list[str], copying: bool, epochs: int, seed: int
) -> lc.EncoderDecoder:
    """Train a model that writes first lines."""
    model = lc.EncoderDecoder(
        source=TextVectorization(3000),
        target=TextVectorization(1500),
        embedding_size=64,
        units=96,
        bidirectional=True,
        copying=copying,
        dropout=0.3,
        seed=seed,
    )
    rate = lc.schedules.OneCycle(5e-3, epochs * -(-len(y) // 32))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit(x, y, epochs=epochs, verbose=0)
    return model


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train and test both models; see the module."""
    x, y = docstrings(20_000 if full else 2600, seed)
    cut = len(x) * 9 // 10
    figures = {}
    for name, copying in {"ROUGE-L, copying": True, "ROUGE-L, no copying": False}.items():
        model = learn(x[:cut], y[:cut], copying, 10 if full else 6, seed)
        how = {"beam_width": 3, "min_length": 3, "max_length": 14}
        found = model.decode(x[cut:], **how, return_attention=True)
        figures[name] = rouge([row[0].text or "" for row in found], y[cut:])
        if copying and pictures is not None:
            place = int(np.argmax([row[0].score for row in found]))
            best = found[place][0]
            words, file = str(best.text).split(), Path(pictures) / "summarization.svg"
            if best.attention is not None:
                attention_map(best.attention, x[cut + place], words, file, title=y[cut + place])
    lead = [" ".join(row[row.index(":") + 1 :][:10]) for row in x[cut:]]
    figures["ROUGE-L, lead"] = rouge(lead, y[cut:])
    return figures


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all docstrings that are found")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print("first lines of docstrings that training has not seen")
    for name, value in run(options.full, options.seed, options.pictures).items():
        print(f"  {name:20} {value:.3f}")


if __name__ == "__main__":
    main()
