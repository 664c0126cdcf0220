"""Runs a target in child processes, which may die or hang, and saves what they find."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import rules
import targets
from child import Progress

FOLDER = Path(__file__).resolve().parent
TICK = 0.2
"""Seconds between two looks at a child."""

SLOW_START = 180
"""Seconds that a child may take to import frameworks."""


@dataclass
class Report:
    """What a campaign did.

    Attributes
    ----------
    target : str
    inputs : int
        How many were run.
    seconds : float
    finds : dict of str to list of int
        Numbers of the inputs that broke a rule, by the rule and where.
    texts : dict of str to str
        What the first of them said.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    finds: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)

    def add(self, rule, number, text):
        self.finds.setdefault(rule, []).append(number)
        self.texts.setdefault(rule, text)

    def line(self):
        rate = self.inputs / max(self.seconds, 1e-9)
        kinds = "none" if not self.finds else f"{len(self.finds)} kinds"
        return (
            f"{self.target}: {self.inputs} inputs in {self.seconds:.0f} s ({rate:.0f} a second), "
            f"finds: {kinds}"
        )


class Child:
    """One process, and what it says."""

    def __init__(self, name, seed, first, deadly, folder):
        self.path = Path(folder) / "progress"
        self.path.write_bytes(bytes(64))
        self.progress = Progress(self.path)
        self.progress.note(-1)
        environment = {
            **os.environ,
            "PROGRESS": str(self.path),
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
            "LSTMCORE_FUZZ_FOLDER": str(folder),
            "LSTMCORE_FUZZ_DEADLY": " ".join(map(str, sorted(deadly))),
        }
        with open(Path(folder) / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(FOLDER / "child.py"), name, str(seed), str(first)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def lines(self, seconds):
        """Return what the child has said within so many seconds."""
        self._selector.select(seconds)
        content = self.process.stdout.read()
        if content:
            self._rest += content
        *whole, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in whole]

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._selector.close()
        self.process.stdout.close()


def run(name, seconds=None, inputs=None, seed=0, first=0, artifacts=None, log=print):
    """Run a target until `seconds` are over or `inputs` were run; return a `Report`.

    Inputs that break a rule are saved in the folder `artifacts`, one for each kind of find.
    """
    target = targets.by_name(name)
    walk = _Walk(target, seed, first, seconds, inputs)
    with tempfile.TemporaryDirectory(prefix="lstmcore-fuzz-") as folder:
        while not walk.over:
            child = walk.child(folder)
            try:
                walk.follow(child)
            finally:
                child.kill()
    report = walk.report
    report.inputs = walk.number - first
    report.seconds = time.monotonic() - walk.begun if walk.begun else 0.0
    for rule, numbers in report.finds.items():
        log(f"  {rule}: {len(numbers)} inputs, the first is number {numbers[0]} of seed {seed}")
        log("    " + report.texts[rule].strip().replace("\n", "\n    "))
        if artifacts is not None:
            _save(target, seed, numbers[0], rule, report.texts[rule], Path(artifacts))
    return report


class _Walk:
    """The way through the inputs of a target, in as many children as it takes.

    Attributes
    ----------
    number : int
        The next input.
    begun : float or None
        When the first input was run.
    over : bool
    report : Report
    """

    def __init__(self, target, seed, first, seconds, inputs):
        self.target, self.seed, self.first = target, seed, first
        self.seconds, self.inputs = seconds, inputs
        self.number, self.begun, self.over = first, None, False
        self.report = Report(target.name)
        self._deadly = set()  # a child that repeats earlier inputs leaves these out

    def child(self, folder):
        """Start a child that gets to the next input, after those that it depends on."""
        begin = self.target.begins(self.number)
        return Child(self.target.name, self.seed, begin, self._deadly, folder)

    def follow(self, child):
        """Watch a child until it, or the campaign, ends."""
        started = seen = time.monotonic()
        ready = False
        waited, waits_for = 0.0, -1
        while True:
            for line in child.lines(TICK):
                if "ready" in line:
                    ready = True
                    self.begun = self.begun or time.monotonic()
                elif self._is_due(line["number"]):
                    self.report.add(line["rule"], line["number"], line["text"])
            at = child.progress.read()
            now = time.monotonic()
            # Not by the clock: both processes may be stopped for a while, or wait for others.
            waited = waited + min(now - seen, TICK) if at == waits_for else 0.0
            waits_for, seen = at, now
            done = max(at, self.number)
            late = self.begun and self.seconds is not None and now - self.begun > self.seconds
            if late or (self.inputs is not None and done - self.first >= self.inputs):
                self.number = done if late else self.first + self.inputs
                self.over = True
                return
            dead = child.process.poll() is not None
            if dead and at < 0:
                raise RuntimeError(f"the target does not start: {_last_words(child)}")
            if dead:
                code = child.process.returncode
                how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
                self._lose(at, f"death by {how}", _last_words(child))
                return
            if ready and at >= 0 and waited > rules.HANGS * rules.SECONDS:
                os.kill(child.process.pid, signal.SIGUSR1)  # it says where it is
                time.sleep(1)
                self._lose(
                    at, "hang", f"over {rules.HANGS * rules.SECONDS} s: {_last_words(child)}"
                )
                return
            if not ready and now - started > SLOW_START:
                raise RuntimeError("the target does not start in time")

    def _is_due(self, number):
        """Return whether an input is no repetition, and not beyond the last: children run ahead."""
        within = self.inputs is None or number < self.first + self.inputs
        return self.number <= number and within

    def _lose(self, at, rule, text):
        """Note the input that a child has not survived."""
        self.report.add(rule, at, text)
        self._deadly.add(at)
        self.number = max(at + 1, self.number)


def _last_words(child):
    names = ("call", "stderr")
    paths = [child.path.parent / name for name in names]
    texts = [path.read_bytes()[-1500:] for path in paths if path.exists()]
    return b"\n".join(texts).decode("utf-8", "replace")


def _save(target, seed, number, rule, text, folder):
    folder.mkdir(parents=True, exist_ok=True)
    plain = "".join(letter if letter.isalnum() else "-" for letter in rule)[:60].strip("-")
    path = folder / f"{target.name}-{plain}-{seed}-{number}"
    target.save(target.make(seed, number), path)
    Path(f"{path}.said").write_text(text)
