"""The command line: every command with its own options, found in its parser, and damaged tables."""

import argparse
import contextlib
import gzip
import io
import os
import shutil
import sys
from functools import cached_property
from importlib import import_module
from pathlib import Path

from mutators import plain

from targets.base import CORPUS, Target, work_folder

COLUMNS = ("walk", "step", "end", "when", "text", "nothing", "", "step,end", "é", "\udc80")
VALUES = (
    *("0", "1", "2", "3", "-1", "0.5", "1e9", "1e999", "nan", "inf", "-inf", "", "a", "auto", "4"),
    *("99999999999999999999", "1,2", "2 3", "-", "--", "x" * 500, "\u0000", "../x", "/", ".", "é"),
)
MUCH = 1000.0
"""Whoever passes numbers above this asks for much himself."""


class CommandLine(Target):
    """`lstmcore.cli.main`: an exit status, and a message of one line, whatever it is passed."""

    name = "command_line"

    def __init__(self):
        self._tables = [path.read_bytes() for path in sorted((CORPUS / "tables").iterdir())]
        self._models = sorted((CORPUS / "model_files").iterdir())
        self._folder = None

    def prepare(self):
        from lstmcore import cli

        self.main = cli.main
        self._folder = work_folder()
        os.chdir(self._folder)
        shutil.copy(CORPUS / "tables" / "walks.csv", self._folder)
        train = ["train", "walks.csv", "--target", "end", "--key", "walk", "--out"]
        options = ["--drop", "when", "text", "--units", "2", "--epochs", "1", "--quiet"]
        status, _, error = self._call([*train, "trained.safetensors", *options])
        if status != 0:
            raise RuntimeError(f"the first model was not trained: {error}")
        for name in ("new.keras", "new.onnx"):  # frameworks take seconds to import
            self._call(["convert", "trained.safetensors", name])

    @cached_property
    def _actions(self):
        """The options of every command."""
        import_module("lstmcore.cli")
        parser = sys.modules["lstmcore.cli.main"]._parser()  # cli.main is the function
        (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        return {name: sub._actions for name, sub in commands.choices.items()}

    # ---- inputs ----

    def make(self, seed, number):
        """Return the arguments, and the bytes of the table that some of them name."""
        random = self.random(seed, number)
        table = random.choice(self._tables)
        if random.random() < 0.6:
            table = plain.mutate(random, table, random.choice(self._tables))
        if random.random() < 0.1:
            table = gzip.compress(table)
            table = plain.mutate(random, table) if random.random() < 0.5 else table
        return self._arguments(random), table

    def _arguments(self, random):
        if random.random() < 0.03:
            return [random.choice((*VALUES, "--help", "--version", "train")) for _ in range(3)]
        name = random.choice(sorted(self._actions))
        found = [name]
        for action in self._actions[name]:
            wanted = action.required or not action.option_strings
            if isinstance(action, argparse._HelpAction) or random.random() > (
                0.97 if wanted else 0.2
            ):
                continue
            if action.option_strings:
                found.append(random.choice(action.option_strings))
            if action.nargs != 0:
                count = 1 if action.nargs is None else random.randrange(3)
                found += [self._value(random, action) for _ in range(count)]
        if name == "train" and "--epochs" not in found:
            found += ["--epochs", "1"]
        return [text for text in found if "\0" not in text or random.random() < 0.2]

    def _value(self, random, action):
        name = (action.dest + str(action.metavar)).lower()
        if random.random() < 0.12:
            return random.choice(VALUES)
        if action.choices:
            return str(random.choice(sorted(map(str, action.choices))))
        if "column" in name or action.dest in ("features", "static"):
            return random.choice(COLUMNS)
        if action.type in (int, float) or "number" in name:
            return random.choice(VALUES[:9])
        if action.dest == "out" or action.dest == "target":
            return random.choice(("new.safetensors", "new.keras", "new.csv", "new.onnx", "new.npz"))
        if "model" in name or action.dest == "source":
            return random.choice(("trained.safetensors", "input.csv", *map(str, self._models)))
        if "data" in name or "input" in name or "table" in name:
            return random.choice(
                ("input.csv", "input.tsv", "input.csv.gz", "walks.csv", "none.csv")
            )
        return random.choice((*VALUES, *COLUMNS))

    # ---- the rules ----

    def run(self, made):
        arguments, table = made
        for name in ("input.csv", "input.tsv", "input.csv.gz"):
            (self._folder / name).write_bytes(table)
        status, _, error = self._call(arguments, table)
        lines = [line for line in error.splitlines() if line.strip()]
        if status not in (0, 1, 2):
            return f"exit status {status!r}", f"{arguments}: {error}"
        if status != 0 and (not lines or "error:" not in lines[-1] or "Traceback" in error):
            return "message", f"{arguments}: {error}"
        return None

    def _call(self, arguments, table=b""):
        out, error = io.StringIO(), io.StringIO()
        stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(table))
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
                try:
                    status = self.main(list(arguments))
                except SystemExit as exit_:
                    status = exit_.code or 0
        finally:
            sys.stdin = stdin
        return status, out.getvalue(), error.getvalue()

    def size(self, made):
        return len(made[1]) + sum(map(len, made[0]))

    def asks_for_much(self, made):
        return any(_number(text) > MUCH for text in made[0])

    def tidy(self):
        for path in self._folder.iterdir():
            if path.name.startswith("new"):
                path.unlink()

    def save(self, made, path):
        Path(f"{path}.txt").write_text(repr(made[0]))
        Path(f"{path}.csv").write_bytes(made[1])


def _number(text):
    try:
        return abs(float(text))
    except ValueError:
        return 0.0


TARGETS = {CommandLine.name: CommandLine}
