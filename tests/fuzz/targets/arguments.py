"""Arguments of all public functions, classes and methods, of wrong types, shapes and sizes."""

import contextlib
import dataclasses
import gc
import inspect
import io
import os
import re
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from targets import public_names, values
from targets.base import Target, deadly_inputs, work_folder

ROUND = 512
"""Calls after which everything that earlier ones have left is forgotten."""

KEPT = 4
"""Objects of each class that earlier calls returned, to call methods of and to pass on."""

LARGEST = 1 << 20
"""Bytes that the arguments of a call count for at least; models may be among them."""

SHARE = 0.25
"""Share of the arguments that are hostile in two of three calls; in the third, none is."""


class Call:
    """One call, made of a target and arguments: `text` is how to write it."""

    def __init__(self, name, function, positional, named):
        self.name, self.function = name, function
        self.positional, self.named = positional, named

    @property
    def values(self):
        return [*self.positional, *self.named.values()]

    def __str__(self):
        with np.printoptions(threshold=20):
            parts = [_shown(value) for value in self.positional]
            parts += [f"{name}={_shown(value)}" for name, value in self.named.items()]
        return f"{self.name}({', '.join(parts)})"


def _shown(value):
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) < 300 else f"{text[:300]}..."


def _is_record(kind):
    """Return whether a class only holds results, or is a base for classes of users."""
    if not isinstance(kind, type):
        return False
    abstract = kind.__name__ in public_names.PROTOCOLS
    return abstract or issubclass(kind, tuple) or dataclasses.is_dataclass(kind)


class Arguments(Target):
    """Functions and classes that need no other framework.

    A call may take objects that earlier calls of its round have returned, and files that these have
    written. `make` therefore returns a number, from which `run` makes the call, and `begins` says
    where its round begins.
    """

    name = "arguments"

    def modules(self):
        return ["lstmcore"]

    def prepare(self):
        warnings.simplefilter("ignore")
        import lstmcore

        self.package = lstmcore
        self.deadly = deadly_inputs()
        self.threads = lstmcore.get_num_threads()
        self.folder = work_folder()
        os.chdir(self.folder)
        self.found = public_names.callables(self.modules())
        self.names = sorted(self.found)
        self.pool = {}
        self.worked, self.tried = set(), set()
        self.last = None
        folder = os.environ.get("LSTMCORE_FUZZ_FOLDER")
        self.diary = Path(folder) / "call" if folder else None  # read if this process dies

    def begins(self, number):
        return number - number % ROUND

    def _begin_round(self):
        """Undo what calls leave: objects, files, and the settings of the process."""
        self.pool.clear()
        os.chdir(self.folder)
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.package.set_num_threads(self.threads)
        self.package.set_precision("fp32")

    def make(self, seed, number):
        return self.name, seed, number

    def size(self, made):
        return LARGEST

    def asks_for_much(self, made):
        return self.last is None or any(map(values.has_huge, self.last.values))

    def documented(self, made):
        """Return the exceptions that the section Raises names, and that for what is missing."""
        text = inspect.getdoc(self.last.function) or "" if self.last else ""
        own = re.findall(r"\b\w*(?:Error|Iteration)\b", text.partition("Raises\n---")[2])
        return (*own, "ImportError")

    def told(self, made):
        return str(self.last)

    # ---- calls ----

    def run(self, made):
        if self.begins(made[2]) == made[2]:
            self._begin_round()
        if made[2] in self.deadly:
            return None
        random = self.random(made[1], made[2])
        self.last = call = self._call(random)
        if call is None:
            return None
        self.tried.add(call.name)
        if self.diary is not None:
            self.diary.write_text(f"called: {call}", errors="replace")
        stdin, sys.stdin = sys.stdin, io.StringIO("")
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                result = call.function(*call.positional, **call.named)
        except (Exception, SystemExit) as error:
            error.add_note(f"called: {call}") if hasattr(error, "add_note") else None
            if isinstance(error, SystemExit):
                return "SystemExit", str(call)
            raise
        finally:
            sys.stdin = stdin
        self.worked.add(call.name)
        if not _is_record(call.function):  # their fields are not checked
            self._keep(result)
        return None

    def _call(self, random):
        shown = random.choice(self.names)
        function = self.found[shown]
        if random.random() < 0.6 and self.pool:
            kind = random.choice(sorted(self.pool))
            entry = random.choice(self.pool[kind])
            names = public_names.methods(type(entry))
            if names:
                name = random.choice(names)
                shown, function = f"{kind}.{name}", getattr(entry, name)
        calm = random.random() < 0.34
        positional, named = [], {}
        for parameter in public_names.parameters(function):
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            optional = parameter.default is not inspect.Parameter.empty
            several = parameter.kind is inspect.Parameter.VAR_POSITIONAL
            if (optional and random.random() < 0.75) or (several and random.random() < 0.5):
                continue
            if not calm and random.random() < SHARE:
                value = values.hostile(random)
            else:
                value = values.plausible(random, parameter, self.pool)
            if parameter.kind in (
                inspect.Parameter.POSITIONAL_ONLY,
                inspect.Parameter.VAR_POSITIONAL,
            ) or (not optional and not named):
                positional.append(value)
            else:
                named[parameter.name] = value
        return Call(shown, function, positional, named)

    def _keep(self, result):
        for value in result if isinstance(result, tuple) else (result,):
            kind = type(value)
            if not kind.__module__.startswith(public_names.PACKAGE):
                continue
            kept = self.pool.setdefault(kind.__name__, [])
            kept.append(value)
            del kept[:-KEPT]

    def tidy(self):
        plot = sys.modules.get("matplotlib.pyplot")
        if plot is not None:
            plot.close("all")
        gc.collect()

    def save(self, made, path):
        _, seed, number = made
        again = f"python tests/fuzz {self.name} --seed {seed} --first {number} --inputs 1\n"
        Path(f"{path}.txt").write_text(again)


class ArgumentsOfBridges(Arguments):
    """The same for the modules that need another framework, as far as they are installed."""

    name = "arguments_of_bridges"

    def modules(self):
        return [f"lstmcore.{name}" for name in self._installed()]

    def _installed(self):
        return [name for name in public_names.bridges() if find_spec(name) is not None]

    def missing(self):
        return [] if self._installed() else ["torch"]


TARGETS = {target.name: target for target in (Arguments, ArgumentsOfBridges)}
