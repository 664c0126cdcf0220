"""Trials of calls: interrupts, lack of memory, forks, many threads, shapes that change."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kit import (
    BATCH,
    EPOCHS,
    MODEL,
    Child,
    allow_interrupts,
    data,
    digest,
    fresh_model,
    in_child,
    leftovers,
    resident,
    train,
    trial,
)

import lstmcore as lc
from lstmcore import callbacks
from lstmcore import functional as F

# ---- interrupts ----------------------------------------------------------------------------------

SOON = 2.0
"""Seconds of the processor, in all threads, that a process may take after Ctrl-C.

Those of the clock also depend on what else the machine does.
"""


@dataclass(frozen=True)
class Instant:
    """When something happened, in seconds of the clock and of a process's processor time."""

    clock: float
    processor: float

    @classmethod
    def now(cls, pid: int | None = None) -> Instant:
        """Return the instant now, of this process or of another one."""
        clock = time.CLOCK_PROCESS_CPUTIME_ID if pid is None else ~pid << 3 | 2  # as Linux has it
        return cls(time.monotonic(), time.clock_gettime(clock))

    def __sub__(self, other: Instant) -> Instant:
        return Instant(self.clock - other.clock, self.processor - other.processor)


def latency_figures(latencies: list[Instant]) -> str:
    """Return the median and the longest time of the clock, and the most processor time."""
    clock = [1000 * one.clock for one in latencies]
    most = 1000 * max(one.processor for one in latencies)
    return (
        f"{np.median(clock):.1f} ms (the longest {max(clock):.0f}; at most {most:.0f} ms of the "
        "processor)"
    )


class Steps(callbacks.Callback):
    """Records the state after every step of the optimizer."""

    def __init__(self, states: list[str]) -> None:
        super().__init__()
        self.states = states

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        """Record it."""
        self.states.append(digest(self.model))


def every_state() -> list[str]:
    """Train to the end; return the state before the first and after every step."""
    model = fresh_model()
    model.optimizer.build(model.parameters)
    states = [digest(model)]
    model.fit(*data(), epochs=EPOCHS, batch_size=BATCH, callbacks=[Steps(states)], verbose=0)
    return states


def interrupted(folder: Path) -> tuple[Instant, str, int, str]:
    """Train until Ctrl-C; return when it was raised, the state then, and what a resume reached."""
    model = None
    try:
        allow_interrupts()
        while True:  # the parent interrupts one of these trainings
            again = fresh_model()
            again.optimizer.build(again.parameters)
            model = again
            train(folder, model)
            (folder / MODEL).unlink()
    except KeyboardInterrupt:
        raised = Instant.now()
    if model is None:  # it came very early
        model = fresh_model()
        model.optimizer.build(model.parameters)
    state, epoch = digest(model), model.epoch
    model.predict(data()[0], verbose=0)
    again = lc.load(folder / MODEL) if (folder / MODEL).exists() else fresh_model()
    return raised, state, epoch, train(folder, again)


def rehearse(folder: Path) -> None:
    """Do all that an interrupted child does."""
    train(folder)
    model = lc.load(folder / MODEL)
    model.predict(data()[0], verbose=0)
    train(folder, model)
    (folder / MODEL).unlink()


@trial("Ctrl-C (SIGINT) during fit with checkpoints", short=30, full=1000)
def interrupts(folder: Path, count: int, random: np.random.Generator) -> str:
    """The state is one between two steps, the checkpoint resumes to the same bits, and soon."""
    # Nothing is to be imported in a child: an import that is interrupted may leave its lock behind.
    rehearse(folder)
    states = in_child(every_state)
    at = {state: step for step, state in enumerate(states)}
    steps_of_epoch = (len(states) - 1) // EPOCHS
    latencies = []
    inside = 0
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        child = Child(interrupted, place)
        time.sleep(random.uniform(0.03, 0.2))
        sent = Instant.now(child.pid)
        child.send(signal.SIGINT)
        raised, state, epoch, end = child.result()
        latencies.append(raised - sent)
        took = latencies[-1].processor
        assert took < SOON, f"interrupt {number}: raised after {took:.2f} s of the processor"
        assert state in at, f"interrupt {number}: a state between two lines of a step"
        assert at[state] >= epoch * steps_of_epoch, f"interrupt {number}: epoch {epoch}"
        inside += at[state] % steps_of_epoch != 0
        assert end == states[-1], f"interrupt {number}: the resumed training differs"
        assert not leftovers(place), leftovers(place)
    return (
        f"{count} interrupted, {inside} in the middle of an epoch; all states between two steps, "
        f"all resumes with the same bits; raised after {latency_figures(latencies)}"
    )


def interrupted_call(kind: str, delay: float) -> tuple[Instant, bool]:
    """Interrupt a call that takes long; return the latency, and if all works after it."""
    lc.set_num_threads(2)  # more of them take more processor time together
    config = lc.LSTMConfig(1, 64)
    packed = F.pack(F.init_weights(config, seed=0), config)
    probe = np.ones((3, 20, 1), np.float32)
    before, _ = F.lstm(probe, packed)
    x = np.broadcast_to(np.float32(0.5), (64, 1_500_000, 1))
    storing: dict[str, Any] = {"training": True, "return_sequences": False, "recompute": "sqrt"}
    _, state, tape = F.lstm(x[:, : 60_000 if kind == "backward" else 10], packed, **storing)
    long_calls = {
        "forward": lambda: F.lstm(x, packed, return_sequences=False),
        "training": lambda: F.lstm(x[:, :300_000], packed, **storing),
        "backward": lambda: F.lstm_backward(tape, None, state),
    }
    allow_interrupts()
    sent: list[Instant] = []

    def interrupt() -> None:
        sent.append(Instant.now())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, interrupt)
    timer.start()
    try:
        long_calls[kind]()
    except KeyboardInterrupt:
        raised = Instant.now()
    else:
        raise AssertionError(f"{kind}: the call ended before it was interrupted")
    after, _ = F.lstm(probe, packed)
    return raised - sent[0], bool(np.array_equal(before, after))


@trial("Ctrl-C during one long call", short=6, full=120)
def long_calls(folder: Path, count: int, random: np.random.Generator) -> str:
    """The call ends soon, and the weights serve later calls with the same bits."""
    latencies = []
    for number in range(count):
        kind = ("forward", "training", "backward")[number % 3]
        latency, same = in_child(interrupted_call, kind, random.uniform(0.05, 0.5))
        assert same, kind
        took = latency.processor
        assert took < SOON, f"{kind}: raised after {took:.2f} s of the processor"
        latencies.append(latency)
    return (
        f"forwards, training forwards and backwards of many seconds end after "
        f"{latency_figures(latencies)}"
    )


# ---- memory --------------------------------------------------------------------------------------


def short_of_memory(room: int, number: int) -> str:
    """Call with little memory left; return what was raised."""
    config = lc.LSTMConfig(32, 64)
    packed = F.pack(F.init_weights(config, seed=0), config)
    x = np.ones((32, 40, 32), np.float32)
    before, _ = F.lstm(x, packed)  # the team and its stacks exist from here on
    model = fresh_model()
    model.fit(*data(), epochs=1, verbose=0)
    state = digest(model)
    long = np.broadcast_to(np.float32(0.5), (64, 8000, 32))
    many = np.broadcast_to(np.float32(0.5), (200_000, 40, 3))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
    calls = (
        lambda: F.lstm(long, packed, return_sequences=False, training=True),
        lambda: F.lstm(long, packed),
        lambda: model.fit(many, many[:, 0, :1], batch_size=200_000, verbose=0),
        lambda: model.predict(many, batch_size=200_000, verbose=0),
    )
    raised = "nothing"
    try:
        calls[number % len(calls)]()
    except MemoryError:
        raised = "MemoryError"
    after, _ = F.lstm(x, packed)  # still works with as little
    assert np.array_equal(before, after)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert digest(model) == state, "the model has changed"
    model.fit(*data(), epochs=2, initial_epoch=1, verbose=0)
    return raised


@trial("memory limited (RLIMIT_AS) in calls, fit and predict", short=8, full=200)
def memory(folder: Path, count: int, random: np.random.Generator) -> str:
    """MemoryError; weights, optimizer and later calls are as if nothing had been tried."""
    raised = [
        in_child(short_of_memory, int(random.integers(4 << 20, 60 << 20)), number)
        for number in range(count)
    ]
    assert set(raised) == {"MemoryError"}, set(raised)
    return f"{count} of {count} raised MemoryError; weights, optimizer and later calls unchanged"


# ---- processes and threads -----------------------------------------------------------------------


class Work:
    """Calls of different kinds, whose results are known."""

    def __init__(self) -> None:
        self.models = []
        for number, hidden in enumerate((8, 33, 64, 130)):
            config = lc.LSTMConfig(8, hidden, num_layers=1 + number % 2)
            weights = F.init_weights(config, seed=number)
            x = np.random.default_rng(number).standard_normal((5 + 6 * number, 20, 8))
            self.models.append((F.pack(weights, config), x.astype(np.float32)))
        self.expected = [self.compute(number) for number in range(len(self.models))]

    def compute(self, number: int) -> bytes:
        """Run a forward and its backward; return the bytes of the results."""
        packed, x = self.models[number]
        y, _, tape = F.lstm(x, packed, training=True)
        gradients = F.lstm_backward(tape, y)
        return y.tobytes() + gradients.x.tobytes() + gradients.weights["weight_ih_l0"].tobytes()

    def check(self, number: int) -> None:
        """Raise AssertionError if the results have other bits."""
        assert self.compute(number) == self.expected[number], f"model {number}: other bits"


def forks(count: int) -> int:
    """Fork so often while threads compute; parent and children compute the same bits."""
    work = Work()
    over = threading.Event()
    wrong: list[BaseException] = []

    def compute(number: int) -> None:
        try:
            while not over.is_set():
                work.check(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for number in range(count):
        child = Child(lambda: [work.check(number) for number in range(4)])
        work.check(number % 4)
        child.result()
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    return count


@trial("fork while three threads compute", short=20, full=1000)
def forking(folder: Path, count: int, random: np.random.Generator) -> str:
    """Parent and children go on computing, with the same bits."""
    in_child(forks, count)
    return f"{count} children and their parent computed the same bits"


def crowd(count: int) -> int:
    """Let 64 threads call one model, and different ones."""
    work = Work()
    wrong: list[BaseException] = []
    start = threading.Barrier(64)

    def compute(thread: int) -> None:
        try:
            start.wait()
            for call in range(count):
                work.check(0 if call % 2 else (thread + call) % 4)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    return 64 * count


@trial("64 threads call one model and different ones", short=3, full=100)
def sixty_four(folder: Path, count: int, random: np.random.Generator) -> str:
    """All calls have the bits that they have alone."""
    calls = in_child(crowd, count)
    return f"{calls} forwards and backwards of 64 threads, all with the bits of a single one"


GROWN = 1.0
"""MiB by which the memory may grow over a third of the calls."""


def changing_shapes(count: int, seed: int) -> list[float]:
    """Call with ever-changing shapes; return the memory in MiB after each third of the calls.

    As long as a third takes `GROWN`, there is another one, up to seven.
    """
    random = np.random.default_rng(seed)
    models = []
    for hidden in (3, 16, 40):
        config = lc.LSTMConfig(4, hidden, bidirectional=hidden == 16)
        models.append(F.pack(F.init_weights(config, seed=hidden), config))
    values = random.standard_normal(16 * 60 * 4).astype(np.float32)
    after: list[float] = []
    while len(after) < 3 or (len(after) < 7 and after[-1] - after[-2] >= GROWN):
        for call in range(count // 3):
            rows, steps = random.integers(1, 17), random.integers(1, 61)
            x = values[: rows * steps * 4].reshape(rows, steps, 4)
            packed = models[call % 3]
            if call % 4 == 0:
                y, _, tape = F.lstm(x, packed, training=True)
                F.lstm_backward(tape, y)
            else:
                F.lstm(x, packed, lengths=random.integers(0, steps + 1, rows))
        after.append(resident())
    return after


@trial("calls with ever-changing shapes, with flat memory", short=45_000, full=100_000)
def shapes(folder: Path, count: int, random: np.random.Generator) -> str:
    """The memory of the process does not grow, once its allocator has seen most shapes.

    What the allocator has not seen yet becomes less from third to third, while a leak goes on: one
    of 100 bytes a call takes more than the last third may, and each that follows.
    """
    after = in_child(changing_shapes, count, int(random.integers(2**32)))
    figures = ", ".join(f"{size:.1f}" for size in after)
    assert after[-1] - after[-2] < GROWN, f"{figures} MiB after each third of the calls"
    return f"{count} calls: {figures} MiB after each third of them"
