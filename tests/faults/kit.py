"""What the trials of faults share: their list, child processes, and a tiny training."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore import callbacks, layers

EPOCHS, BATCH = 6, 2
MODEL = "model.safetensors"


# ---- trials --------------------------------------------------------------------------------------


@dataclass
class Trial:
    """A kind of fault.

    Attributes
    ----------
    name : str
    run : callable
        Takes a folder, how often, and a generator of random numbers; returns its figures as text,
        or raises AssertionError or `Skipped`.
    often : dict of str to int
        How often in the ``short`` and in the ``full`` form.
    """

    name: str
    run: Callable[[Path, int, np.random.Generator], str]
    often: dict[str, int] = field(default_factory=dict)


class Skipped(Exception):
    """The machine cannot do it; the message says why."""


TRIALS: list[Trial] = []


def trial(name: str, short: int, full: int) -> Callable[[Any], Any]:
    """Register a function as a trial that is run so often."""

    def register(function: Any) -> Any:
        TRIALS.append(Trial(name, function, {"short": short, "full": full}))
        return function

    return register


# ---- child processes -----------------------------------------------------------------------------


class Child:
    """A forked process that runs a function, after the imports that its parent has made.

    Its result, or the traceback of what it raised, comes back through a pipe.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._reading, writing = os.pipe()
        # Python forgets signals that reach a child at once; see `allow_interrupts`.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            self._run(writing, function, arguments)
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    @staticmethod
    def _run(writing: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            faulthandler.register(signal.SIGUSR2, all_threads=True)  # for `result`
            result: Any = (True, function(*arguments))
            code = 0
        except BaseException:
            result = (False, traceback.format_exc())
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(result, pipe)
            sys.stderr.flush()
        finally:
            os._exit(code)

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        os.kill(self.pid, number)  # a child that has ended is a zombie until `result`

    def result(self, patience: float = 900.0) -> Any:
        """Wait for its end and return what the function returned; None if it was killed.

        Raises
        ------
        AssertionError
            If the function raised, or the child does not end.
        """
        parts = []
        os.set_blocking(self._reading, False)
        deadline = time.monotonic() + patience
        while True:
            try:
                part = os.read(self._reading, 1 << 20)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGUSR2)  # prints where it is
                    time.sleep(1)
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    os.close(self._reading)
                    raise AssertionError(f"the child did not end within {patience:g} s") from None
                time.sleep(0.0005)
                continue
            if not part:
                break
            parts.append(part)
        os.close(self._reading)
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status) and not parts:
            return None
        fine, value = pickle.loads(b"".join(parts))
        assert fine, f"in the child:\n{value}"
        return value


def allow_interrupts() -> None:
    """Let SIGINT through, also one that came earlier: at first, it waits in a child."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a child and return its result."""
    return Child(function, *arguments).result()


# ---- a tiny training -----------------------------------------------------------------------------


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return 24 sequences and their targets."""
    random = np.random.default_rng(7)
    x = random.standard_normal((24, 5, 3)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


def fresh_model() -> lc.Sequential:
    """Return a model whose training uses everything that a checkpoint must restore."""
    model = lc.Sequential(
        [
            layers.Input((None, 3)),
            layers.Dropout(0.2),
            layers.LSTM(6, recurrent_dropout=0.1),
            layers.BatchNormalization(),
            layers.Dense(1),
        ],
        seed=4,
    )
    model.compile("adam", "mse")
    return model


def train(folder: Path, model: lc.Sequential | None = None, epochs: int = EPOCHS) -> str:
    """Train with a checkpoint each epoch, from the start or on from `model`; return the digest."""
    model = fresh_model() if model is None else model
    saver = callbacks.ModelCheckpoint(folder / MODEL)
    model.fit(
        *data(),
        epochs=epochs,
        batch_size=BATCH,
        initial_epoch=model.epoch,
        callbacks=[saver],
        verbose=0,
    )
    return digest(model)


def digest(model: lc.Sequential) -> str:
    """Return all that training has changed, as text that two equal models share."""
    slots = {name: slot.tobytes().hex() for name, slot in sorted(model.optimizer.slots.items())}
    values = model.parameters.values.tobytes().hex()
    return f"{model.optimizer.iterations} {values} {slots}"


def leftovers(folder: Path) -> list[str]:
    """List the files in a folder that are no models."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".safetensors")


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
