"""``lstmcore train``: train a model on a table, and evaluate it on held-out samples."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstmcore._checks import listed
from lstmcore._files import OWN, check_ending, check_target
from lstmcore.cli.advice import advised
from lstmcore.cli.answers import Answers
from lstmcore.cli.layout import METADATA_NAME, Layout, choose_layout
from lstmcore.cli.options import (
    above,
    add_command,
    add_json,
    check_not_source,
    if_interrupted,
    share,
)
from lstmcore.cli.order import doubts_about_order
from lstmcore.cli.recipe import POOLING, build_model, train_model
from lstmcore.cli.report import counted, describe_scores, note
from lstmcore.cli.samples import Samples, score
from lstmcore.cli.split import split
from lstmcore.cli.tables import Table, as_number, read_table
from lstmcore.models import Sequential
from lstmcore.training.callbacks import Callback, Logs

__all__ = ["add_parser"]

EXAMPLE = """  lstmcore train reviews.csv --target label --out reviews.safetensors
  lstmcore train gestures.csv --key id --target gesture --out gestures.safetensors
  lstmcore train sales.csv --target sales --horizon 12 --out sales.safetensors"""


COUNT = above(1, int, equal=True)
NUMBER = above(0, int, equal=True)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train",
        _run,
        "Train a model on a table. A row is a text with a label or an amount; or, with --key, one "
        "step of a sequence; or, with --horizon, one step of a series that is to be forecast.",
        EXAMPLE,
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help="CSV or TSV with a header, optionally .gz; - is the standard input",
    )
    parser.add_argument("--target", metavar="COLUMN", required=True, help="column to predict")
    parser.add_argument("--out", metavar="FILE", required=True, help="model file (.safetensors)")
    _add_columns(parser.add_argument_group("columns"))
    _add_task(parser.add_argument_group("task"))
    _add_model(parser.add_argument_group("model"))
    _add_training(parser.add_argument_group("training"))
    parser.add_argument("--quiet", action="store_true", help="do not write a line for each epoch")
    add_json(parser, "a line for each epoch, and one at the end,")


def _add_columns(group: Any) -> None:
    add = group.add_argument
    add("--text", metavar="COLUMN", help="texts (default: the only other column)")
    add("--key", metavar="COLUMN", help="rows with the same key are the steps of one sequence")
    add("--time", metavar="COLUMN", help="sorts the steps (default: the order of the file)")
    add(
        "--features",
        metavar="COLUMN",
        nargs="+",
        help="inputs of a step (default: all other columns; for a series, none)",
    )
    add("--drop", metavar="COLUMN", nargs="+", help="columns to leave out")


def _add_task(group: Any) -> None:
    add = group.add_argument
    add(
        "--task",
        choices=("classify", "regress"),
        help="whether the target is a class or an amount (default: an amount if it is a number "
        "with a fraction or with more than 20 values)",
    )
    add(
        "--per",
        choices=("sequence", "step"),
        help="what has a target (default: the step, if targets change within a sequence)",
    )
    add(
        "--horizon",
        metavar="STEPS",
        type=COUNT,
        help="next values of the target to forecast",
    )
    add(
        "--window",
        metavar="STEPS",
        type=COUNT,
        help="past steps that a forecast uses (default: twice the horizon, at least 24)",
    )


def _add_model(group: Any) -> None:
    add = group.add_argument
    add("--units", metavar="H", type=COUNT, default=64, help="width of the LSTM (default: 64)")
    add("--layers", metavar="L", type=COUNT, default=1, help="stacked LSTMs (default: 1)")
    add("--bidirectional", action="store_true", help="read from both ends")
    add(
        "--pooling",
        choices=tuple(POOLING),
        help="how to turn the steps of a text or sequence into one answer: the greatest value "
        "of each feature, the mean, or only the last step (default: max for texts, last for "
        "sequences; Keras cannot express max for texts)",
    )


def _add_training(group: Any) -> None:
    add = group.add_argument
    add(
        "--epochs",
        metavar="N",
        type=COUNT,
        help="maximum (default: enough for 3000 optimizer steps, from 10 to 200)",
    )
    add("--batch-size", metavar="N", type=COUNT, help="default: 32, less for few samples")
    add(
        "--learning-rate",
        metavar="RATE",
        type=above(0, float),
        help="default: 0.001 for texts, else 0.003",
    )
    add(
        "--patience",
        metavar="N",
        type=COUNT,
        help="stop after N epochs without improvement (default: a tenth of --epochs, at least 5)",
    )
    add(
        "--validation",
        metavar="SHARE",
        type=share,
        default=0.1,
        help="share of samples to choose the best epoch (default: 0.1; 0: take the last epoch)",
    )
    add(
        "--test",
        metavar="SHARE",
        type=share,
        default=0.1,
        help="share of samples held out for the figures at the end (default: 0.1)",
    )
    add(
        "--seed",
        metavar="N",
        type=NUMBER,
        default=0,
        help="seed of all random numbers (default: 0)",
    )


def _run(options: argparse.Namespace) -> int:
    out = Path(options.out)
    check_ending(out, OWN, "--out")
    check_not_source(options.out, options.data, "--out")
    if not out.parent.is_dir() or out.is_dir():
        raise ValueError(f"--out: expected a file in an existing folder, got {out}")
    check_target(out, "--out")
    with if_interrupted(f"nothing was written to {out}"):
        model, layout, parts, report = _train(options)
        model.save(out)
    with if_interrupted(f"the model is in {out}"):
        _report(options, model, layout, parts, {"file": str(out), **report})
    return 0


def _train(
    options: argparse.Namespace,
) -> tuple[Sequential, Layout, dict[str, Samples], dict[str, Any]]:
    """Return the model, its layout, the parts of the table, and the report of the training."""
    table = read_table(options.data)
    with advised(options, options.target, series=options.horizon is not None):
        layout = choose_layout(table, options)
        classes = _classes(table, layout) if layout.classes else None
        layout, parts = split(
            table, layout, classes, options.validation, options.test, options.seed
        )
    for doubt in doubts_about_order(table, layout, options.drop or ()):
        note(doubt)
    model = build_model(parts["train"], layout, classes, options)
    if not options.json:
        _introduce(table, layout, classes, parts)
    reporters = [] if options.quiet and not options.json else [_Lines(options.json)]
    began = time.perf_counter()
    best = train_model(model, parts, options, reporters)
    seconds = time.perf_counter() - began
    model.class_names = classes
    model.metadata = {METADATA_NAME: layout.to_json()}
    return model, layout, parts, {"epochs": model.epoch, "best_epoch": best, "seconds": seconds}


def _report(
    options: argparse.Namespace,
    model: Sequential,
    layout: Layout,
    parts: dict[str, Samples],
    report: dict[str, Any],
) -> None:
    """Print the report of the training, with the scores on the held-out samples."""
    held_out = next((name for name in ("test", "validation") if name in parts), None)
    figures = {}
    if held_out is not None:
        figures = score(model, Answers.of(model, layout), parts[held_out])
    if options.json:
        print(json.dumps({**report, "held_out": held_out, **figures}, ensure_ascii=False))
        return
    best = report["best_epoch"]
    which = f", the best was epoch {best}" if best else ""
    print(f"{counted(report['epochs'], 'epoch')} in {report['seconds']:.1f} s{which}")
    if held_out is not None:
        choice = "" if held_out == "test" else ", which also chose the epoch"
        print(f"{parts[held_out].count()} held out{choice}: {describe_scores(figures)}")
    print(f"wrote {report['file']}")


def _classes(table: Table, layout: Layout) -> list[str]:
    """Return the names of the classes: numbers in order of size, others alphabetically."""
    names = sorted(set(table.filled(layout.target, "a class")))
    if all(as_number(name) is not None for name in names):
        names.sort(key=float)
    if len(names) < 2:
        raise ValueError(
            f"{table.source}: expected at least two classes in column {layout.target!r}, got only "
            f"{names[0]!r}"
        )
    return names


def _introduce(
    table: Table, layout: Layout, classes: Sequence[str] | None, parts: dict[str, Samples]
) -> None:
    """Print the data and the model before training."""
    what = f"one of {len(classes)} classes" if classes is not None else "an amount"
    where = " at each step" if layout.per_step else ""
    if layout.kind == "series":
        ahead = "value" if layout.horizon == 1 else f"{layout.horizon} values"
        what, where = f"its next {ahead}", f" from the last {layout.window}"
    print(f"{table.source}: {counted(len(table), 'row')}; {layout.target!r} is {what}{where}")
    used = {layout.target, *layout.columns()}
    if unused := [name for name in table.names if name not in used]:
        print(f"not used: {listed(unused)}")
    print(", ".join(f"{samples.count()} for {name}" for name, samples in parts.items()))


class _Lines(Callback):
    """Writes a line for each epoch: JSON to the output, or text to the error stream."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the line of an epoch."""
        if self.as_json:
            print(json.dumps({"epoch": epoch + 1, **logs}), flush=True)
            return
        figures = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        print(f"epoch {epoch + 1}/{self.params['epochs']}  {figures}", file=sys.stderr, flush=True)
