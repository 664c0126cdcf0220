"""What all targets share."""

import contextlib
import os
import random
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "corpus"


def work_folder():
    """Return a folder that goes when the campaign ends."""
    parent = os.environ.get("LSTMCORE_FUZZ_FOLDER")
    return Path(tempfile.mkdtemp(prefix="work-", dir=parent))


def deadly_inputs():
    """Return the numbers of inputs that have ended a child of this campaign."""
    return set(map(int, os.environ.get("LSTMCORE_FUZZ_DEADLY", "").split()))


class Target:
    """The rules' view of a target; an input is whatever `make` returns.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Packages.
    """

    name = ""
    needs = ()

    def missing(self):
        return [package for package in self.needs if find_spec(package) is None]

    def prepare(self):
        """Import what is needed, in the child, before memory is measured."""

    def random(self, seed, number):
        return random.Random(f"{self.name} {seed} {number}")

    def make(self, seed, number):
        """Return an input, always the same for the same numbers."""
        raise NotImplementedError

    def begins(self, number):
        """Return the first of the inputs on which this one depends.

        A target whose inputs depend on others leaves those out that `deadly_inputs` returns.
        """
        return number

    def run(self, made):
        """Run an input; return None, or a rule that it broke and a text."""
        raise NotImplementedError

    def size(self, made):
        """Return the bytes of an input."""
        return len(made)

    def asks_for_much(self, made):
        """Return whether the caller himself asks for a lot of memory or time."""
        return False

    def documented(self, made):
        """Return the names of further exceptions that are documented."""
        return ()

    def told(self, made):
        """Return what an input is, for people."""
        return ""

    def tidy(self):
        """Drop what inputs have left, now and then."""

    def save(self, made, path):
        Path(path).write_bytes(made)


class FileTarget(Target):
    """Inputs are changed files of a corpus.

    Attributes
    ----------
    folders : tuple of str
        In the corpus.
    rehearsed : int
        How many files of the corpus are run before memory is measured.
    """

    folders = ()
    rehearsed = 5

    def __init__(self):
        paths = sorted(path for folder in self.folders for path in (CORPUS / folder).iterdir())
        self.seeds = [(path.suffix, path.read_bytes()) for path in paths]
        self._folder = None

    def rehearse(self):
        """Run some files of the corpus, so that all that is loaded late has been loaded."""
        for made in self.seeds[: self.rehearsed]:
            with contextlib.suppress(ValueError):  # some are damaged
                self.run(made)

    def change(self, random, suffix, data, other):
        raise NotImplementedError

    def make(self, seed, number):
        """Return a suffix and the bytes of a file; the first are those of the corpus itself."""
        if number < len(self.seeds):
            return self.seeds[number]
        rng = self.random(seed, number)
        suffix, data = rng.choice(self.seeds)
        other = rng.choice(self.seeds)[1]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            data = self.change(rng, suffix, data, other)
        return suffix, data

    def path(self, made):
        """Write an input to a file; return its path."""
        if self._folder is None:
            self._folder = work_folder()
        path = self._folder / f"input{made[0]}"
        path.write_bytes(made[1])
        return path

    def size(self, made):
        return len(made[1])

    def save(self, made, path):
        Path(f"{path}{made[0]}").write_bytes(made[1])

    def tidy(self):
        if self._folder is not None:
            for entry in self._folder.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
