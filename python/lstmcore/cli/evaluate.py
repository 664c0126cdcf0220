"""``lstmcore evaluate``: compute the figures of a model on a table."""

import argparse
import json
from typing import Any

from lstmcore.cli.advice import advised
from lstmcore.cli.answers import Answers, load_model
from lstmcore.cli.options import add_command, add_json, add_model_columns
from lstmcore.cli.order import doubts_about_order
from lstmcore.cli.report import class_lines, describe_scores, note
from lstmcore.cli.samples import read_samples, score
from lstmcore.cli.table_models import layout_for, ready_to_evaluate
from lstmcore.cli.tables import read_table

__all__ = ["add_parser"]

EXAMPLE = "  lstmcore evaluate reviews.safetensors new_reviews.csv"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        _run,
        "Compute the loss and other figures of a model on a table with targets, and, for "
        "comparison, of a guess: the most frequent class, the mean, or a series' last value.",
        EXAMPLE,
    )
    parser.add_argument("model", metavar="MODEL", help="file of a model")
    parser.add_argument("data", metavar="DATA", help="table with the columns trained on, or -")
    parser.add_argument("--target", metavar="COLUMN", help="the targets (default: as trained on)")
    add_model_columns(parser)
    add_json(parser, "one line")


def _run(options: argparse.Namespace) -> int:
    model = load_model(options.model)
    table = read_table(options.data)
    layout = layout_for(model, options, table, targets=True)
    answers = Answers.of(model, layout)
    with advised(options, layout.target, series=layout.kind == "series"):
        found = read_samples(table, layout, answers.classes)
    for doubt in doubts_about_order(table, layout):
        note(doubt)
    samples = ready_to_evaluate(model, answers, found)
    figures = score(model, answers, samples, by_class=True)
    if options.json:
        print(json.dumps({"count": len(samples), **figures}, ensure_ascii=False))
        return 0
    print(f"{samples.count()}: {describe_scores(figures)}")
    if "classes" in figures:
        print()
        for line in class_lines(figures["classes"]):
            print(line)
    return 0
