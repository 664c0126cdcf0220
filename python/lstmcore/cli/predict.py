"""``lstmcore predict``: predictions for texts, or for the rows of a table."""

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from lstmcore._checks import listed
from lstmcore.cli.advice import advised
from lstmcore.cli.answers import Answers, entries, load_model, read_layout
from lstmcore.cli.layout import Layout
from lstmcore.cli.options import add_command, add_json, add_model_columns
from lstmcore.cli.order import doubts_about_order
from lstmcore.cli.report import counted, note
from lstmcore.cli.samples import ROWS
from lstmcore.cli.sequences import features_of, groups_of, windows_of
from lstmcore.cli.table_models import as_inputs, layout_for
from lstmcore.cli.tables import Table, decode, read_table
from lstmcore.cli.times import times_after
from lstmcore.models import Sequential

__all__ = ["add_parser"]

EXAMPLE = """  lstmcore predict reviews.safetensors "a funny film"
  lstmcore predict reviews.safetensors < sentences.txt
  lstmcore predict gestures.safetensors new_gestures.csv"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "predict",
        _run,
        "Predict classes or amounts. For texts, each line of the output corresponds to a line of "
        "the input: class and probability, or amounts, then the text, separated by tabs; for a "
        "model that answers for each token, all answers, separated by spaces. For a table, the "
        "output is a table with a header: a line for each sequence, for each row if every step has "
        "an answer, or for each step of a forecast.",
        EXAMPLE,
    )
    parser.add_argument("model", metavar="MODEL", help="file of a model")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="texts, for a model of texts; otherwise the file of a table. By default, lines of the "
        "standard input",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="file of a table, which may be of texts; - is the standard input",
    )
    add_model_columns(parser)
    add_json(parser, "a line for each answer")


def _run(options: argparse.Namespace) -> int:
    model = load_model(options.model)
    if model.vectorizer is not None and options.data is None:
        lines = [options.inputs] if options.inputs else _lines_of_stdin()
        if len(options.inputs) == 1 and Path(options.inputs[0]).is_file():
            file = options.inputs[0]
            hint = f"< {file} reads its lines, --data {file} reads it as a table"
            note(f"{file!r} is treated as a text; {hint}")
        _predict_texts(model, options, lines)
        return 0
    if len(options.inputs) + (options.data is not None) > 1:
        raise ValueError(
            f"INPUT: expected one table, got {counted(len(options.inputs), 'argument')}"
            f"{' and --data' if options.data is not None else ''}"
        )
    table = read_table(options.data or (options.inputs or ["-"])[0])
    layout = layout_for(model, options, table, targets=False)
    answers = Answers.of(model, layout)
    forecasts = layout.kind == "series"
    answer = {"text": _text_table, "sequences": _sequences, "series": _forecasts}[layout.kind]
    columns = [layout.text] if layout.kind == "text" else [layout.key] if layout.key else []
    header = answers.columns(model.output_shape[-1] or 1, layout.target, one_each=forecasts)
    place = ["step", *([layout.time] if layout.time else [])] if forecasts else []
    with advised(options, layout.target, series=forecasts):
        answered = answer(model, answers, layout, table, options.json)
        first = next(answered)  # reports errors in the table before anything is printed
    for doubt in doubts_about_order(table, layout):
        note(doubt)
    if not options.json:
        _print([[*header, *columns] if layout.kind == "text" else [*columns, *place, *header]])
    for part in chain([first], answered):
        (_dump if options.json else _print)(part)
    return 0


# ---- texts ---------------------------------------------------------------------------------------


def _predict_texts(
    model: Sequential, options: argparse.Namespace, sources: Iterable[list[str]]
) -> None:
    answers = Answers.of(model, read_layout(model, options.model))
    for available in sources:
        for begin in range(0, len(available), ROWS):
            texts = available[begin : begin + ROWS]
            outputs = model.predict(texts, ROWS, verbose=0)
            if options.json:
                _dump(_objects(model, answers, texts, outputs))
                continue
            for text, answer in zip(texts, _texts(answers, outputs), strict=True):
                print("\t".join([*answer, re.sub(r"\r?\n", " ", text)]))  # one line for each text
        sys.stdout.flush()


def _lines_of_stdin() -> Iterator[list[str]]:
    """Yield lines as soon as they arrive, including blank ones."""
    rest, first = b"", 1
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    while chunk := stream.read1(1 << 16):  # returns as soon as any input is available
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            yield _decoded(whole, first)
            first += len(whole)
    if rest:
        yield _decoded([rest], first)


def _decoded(lines: Sequence[bytes], first: int) -> list[str]:
    text = decode(b"\n".join(lines), "standard input", first)
    return [line.removesuffix("\r") for line in text.split("\n")]


def _texts(answers: Answers, outputs: Any) -> list[list[str]]:
    """Return the fields of the answer for each text; answers for tokens share one field."""
    if not answers.per_step:
        return answers.texts(outputs)
    used = 1 if answers.classes is not None else None  # among classes, leave out the probabilities
    return [
        [" ".join(",".join(fields[:used]) for fields in answers.texts(rows))] for rows in outputs
    ]


def _objects(
    model: Sequential, answers: Answers, texts: Sequence[str], outputs: Any
) -> list[dict[str, Any]]:
    """Return each text with its answers, in a form for JSON."""
    if not answers.per_step:
        found = answers.objects(outputs)
        return [{"text": text, **answer} for text, answer in zip(texts, found, strict=True)]
    assert model.vectorizer is not None
    objects = []
    for text, rows in zip(texts, outputs, strict=True):
        tokens = model.vectorizer.tokens(text)[: len(rows)]
        answered = zip(tokens, answers.objects(rows), strict=True)
        objects.append(
            {"text": text, "tokens": [{"token": token, **answer} for token, answer in answered]}
        )
    return objects


# ---- tables --------------------------------------------------------------------------------------
# Each function yields lists of lines: objects for JSON, else fields.


def _text_table(
    model: Sequential, answers: Answers, layout: Layout, table: Table, as_json: bool
) -> Iterator[Iterable[Any]]:
    assert layout.text is not None
    texts = table.texts(layout.text)
    for begin in range(0, len(texts), ROWS):
        part = texts[begin : begin + ROWS]
        outputs = model.predict(part, ROWS, verbose=0)
        if as_json:
            yield _objects(model, answers, part, outputs)
        else:
            answered = zip(_texts(answers, outputs), part, strict=True)
            yield [[*answer, text] for answer, text in answered]


def _sequences(
    model: Sequential, answers: Answers, layout: Layout, table: Table, as_json: bool
) -> Iterator[Iterable[Any]]:
    groups = groups_of(table, layout)
    x = as_inputs(model, features_of(table, layout, groups))
    keys = [group.key for group in groups]
    outputs: Any = model.predict(x, ROWS, verbose=0)
    if answers.per_step:
        # In the order of the table's rows, so that lines correspond to rows.
        if any(len(rows) != len(group.rows) for rows, group in zip(outputs, groups, strict=True)):
            raise ValueError(
                "MODEL: expected an answer for each row, got a model that changes the number of "
                "steps; use it in Python"
            )
        order = np.argsort(np.concatenate([group.rows for group in groups]))
        outputs = np.concatenate([np.asarray(rows) for rows in outputs])[order]
        keys = table.texts(layout.key) if layout.key else [""] * len(table)
    if as_json:
        objects = zip(keys, answers.objects(outputs), strict=True)
        yield [{**({"key": key} if layout.key else {}), **answer} for key, answer in objects]
        return
    lines = zip(keys, answers.texts(outputs), strict=True)
    yield [[*([key] if layout.key else []), *answer] for key, answer in lines]


def _forecasts(
    model: Sequential, answers: Answers, layout: Layout, table: Table, as_json: bool
) -> Iterator[Iterable[Any]]:
    groups = groups_of(table, layout)
    windows = windows_of(table, layout, groups, 0)
    fields = None if layout.time is None else table.texts(layout.time)
    uneven = []
    for group, window in zip(groups, windows, strict=True):
        changes = model.predict(window.inputs, verbose=0)[0]
        following = replace(answers, mean=answers.mean + float(window.last[0])).estimates(changes)
        times = None
        if fields is not None:
            seen = [fields[row] for row in group.rows[-layout.window :]]
            times = times_after(seen, layout.horizon)
            if times is None:
                uneven.append(group.key)
        if as_json:
            key = {"key": group.key} if layout.key else {}
            told = {"times": times} if times else {}
            yield [{**key, **told, **entries(following, steps=True)}]
            continue
        own = [group.key] if layout.key else []
        yield [
            [
                *own,
                str(step),
                *([] if fields is None else [times[step - 1] if times else ""]),
                *(f"{value:.6g}" for value in values),
            ]
            for step, values in enumerate(zip(*following.values(), strict=True), 1)
        ]
    if uneven:
        of = f" of {layout.key} {listed(map(repr, uneven))}" if layout.key else ""
        note(
            f"the last {layout.window} times{of} in column {layout.time!r} are not evenly spaced, "
            "so the forecast has no times"
        )


def _print(rows: Iterable[Sequence[str | None]]) -> None:
    csv.writer(sys.stdout, delimiter="\t", lineterminator="\n").writerows(rows)


def _dump(objects: Iterable[dict[str, Any]]) -> None:
    for entry in objects:
        print(json.dumps(entry, ensure_ascii=False))
