"""Tagging: what each name in Python code is, from the tokens around it.

The code is that of Python's standard library, which every Python has (PSF licence): `tokenize`
makes the tokens of each logical line, and `ast` says which of them are calls (of dotted names, such
as os.path.join), definitions, parameters, keywords, imports and assigned names. Bidirectional LSTMs
with a softmax and with a conditional random field learn to tell them apart from the tokens alone;
the test has files that were never seen. Beside them: the most frequent tag of each token.
"""

import argparse
import ast
import io
import os
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lstmcore as lc

KINDS = ("CALL", "DEF", "IMPORT", "KEYWORD", "PARAM", "STORE")
TAGS = ["O", *(f"{letter}-{kind}" for kind in KINDS for letter in "BI")]
VOCABULARY, LONGEST = 1500, 60  # tokens that are known; tokens of a line, at most
LEFT_OUT = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
LIBRARY = Path(os.__file__).parent
PLAIN = {tokenize.NUMBER: "NUMBER", tokenize.STRING: "STRING"}
MEASURES = {"*F1": ("F1 of spans", "higher"), "*": ("share of tokens", "higher")}
WISHED = {"softmax, accuracy": ">= 0.99", "CRF, accuracy": ">= 0.99"}
Row = list[str]


def marked(tree: ast.AST) -> Iterator[tuple[tuple[int, int], int, str]]:
    """Yield what the names of a file are: line and column, number of characters, kind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "(" not in (name := ast.unparse(node.func)):
            yield (node.lineno, node.col_offset), len(name), "CALL"
        elif isinstance(node, (ast.arg, ast.keyword, ast.alias)):
            name = node.name if isinstance(node, ast.alias) else node.arg or ""
            kind = {ast.arg: "PARAM", ast.keyword: "KEYWORD", ast.alias: "IMPORT"}[type(node)]
            yield (node.lineno, node.col_offset), len(name), kind
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield (node.lineno, node.col_offset), len(node.id), "STORE"


def tagged(path: Path) -> list[tuple[Row, Row]]:
    """Return the tokens and tags of each logical line of a file."""
    text = path.read_text("utf-8").encode("ascii", "replace").decode()  # since ast counts bytes
    inside = {start: (length, kind) for start, length, kind in marked(ast.parse(text)) if length}
    lines: list[tuple[Row, Row]] = []
    words, tags, kind, stop = Row(), Row(), "", (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            lines += [(words, tags)] * (1 < len(words) <= LONGEST)
            words, tags = [], []
        elif token.type not in LEFT_OUT:
            tag = "O"
            if token.start < stop:
                tag = f"I-{kind}"
            elif token.start in inside:
                length, kind = inside[token.start]
                stop, tag = (token.start[0], token.start[1] + length), f"B-{kind}"
            elif words[-1:] in (["def"], ["class"]):
                tag = "B-DEF"
            words.append(PLAIN.get(token.type, token.string))
            tags.append(tag)
    return lines


def code(count: int, seed: int) -> list[list[tuple[Row, Row]]]:
    """Return `count` lines of code to train on, and a third as many of other files to test."""
    files = iter(np.random.default_rng(seed).permutation(sorted(LIBRARY.glob("[a-z]*.py"))))
    parts: list[list[tuple[Row, Row]]] = [[], []]
    for part, wanted in zip(parts, (count, count // 3), strict=True):
        while len(part) < wanted:
            part += tagged(next(files))
        del part[wanted:]
    return parts


def tagger(crf: bool, seed: int) -> lc.Sequential:
    """Make a model that ends with a conditional random field, or with a softmax."""
    lstm = lc.layers.Bidirectional(lc.layers.LSTM(48, return_sequences=True))
    dense = lc.layers.Dense(len(TAGS), activation=None if crf else "softmax")
    model = lc.Sequential([lc.layers.Embedding(VOCABULARY, 32), lstm, dense], seed=seed)
    if crf:
        model.add(lc.layers.CRF(len(TAGS), lc.metrics.forbidden_transitions(TAGS, "BIO")))
    model.compile(lc.optimizers.Adam(2e-3), "crf" if crf else "sparse_categorical_crossentropy")
    return model


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train, print the table, and return accuracies and spans' F1 on files never seen."""
    train, test = code(30000 if full else 5000, seed)
    known = Counter(word for words, _ in train for word in words).most_common(VOCABULARY - 1)
    numbers = {word: place for place, (word, _) in enumerate(known, 1)}  # 0: unknown
    x, fresh = ([[numbers.get(word, 0) for word in words] for words, _ in p] for p in (train, test))
    y, truth = [[*map(TAGS.index, tags)] for _, tags in train], [tags for _, tags in test]

    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)  # "": a token that is not known
    for word, tag in (pair for row in train for pair in zip(*row, strict=True)):
        seen[word][tag] += 1
        seen[""][tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    answers = {"usual tag": [[usual.get(w, usual[""]) for w in words] for words, _ in test]}
    for name in ("softmax", "CRF"):
        model = tagger(name == "CRF", seed)
        model.fit(x, y, epochs=8, verbose=0)
        found = [row if name == "CRF" else row.argmax(axis=1) for row in model.predict(fresh)]
        answers[name] = [[TAGS[number] for number in row] for row in found]

    figures = {}
    print(f"{len(train)} lines of code, {len(test)} to test\n{'':12}{'accuracy':>9}{'F1':>8}")
    for name, rows in answers.items():
        figures[f"{name}, accuracy"] = float((np.hstack(rows) == np.hstack(truth)).mean())
        figures[f"{name}, F1"] = lc.metrics.span_f1(truth, rows, scheme="BIO")
        print(f"{name:12}{figures[f'{name}, accuracy']:9.4f}{figures[f'{name}, F1']:8.4f}")
    if pictures is not None:
        draw(truth, answers, Path(pictures) / "tagging.svg")
    return figures


def draw(truth: list[Row], answers: dict[str, list[Row]], to: Path) -> None:
    """Draw the F1 of each kind of span."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 3))).subplots()
    for place, (name, rows) in enumerate(answers.items()):
        scores = lc.metrics.span_scores(truth, rows, scheme="BIO")
        places = np.arange(len(KINDS)) + 0.27 * place
        axes.bar(places, [scores[kind].f1 for kind in KINDS], 0.25, label=name)
    axes.set_xticks(np.arange(len(KINDS)) + 0.27, KINDS)
    axes.legend(title="F1 of spans", loc="lower right")
    figure.savefig(to)


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="six times as much code")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
