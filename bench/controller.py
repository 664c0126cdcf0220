"""Runs the cases: every peer has its own process, and the peers take turns, one at a time."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bench import environments, native
from bench.environments import OWN, PRECISIONS, is_own, precision_of
from bench.instruction_sets import Watch
from bench.results import Measurement, Run
from bench.settings import Settings
from bench.shapes import ALL_PEERS, KERAS, KERAS_BACKENDS, Case

P = TypeVar("P", bound="Process")


class Process:
    """A process that answers requests, one JSON object per line. Use it in a ``with`` statement.

    Its answer to the first, ``{"do": "hello"}``, names the versions, or why it is `absent`.
    """

    def __init__(self, command: Sequence[str], variables: dict[str, str]) -> None:
        self.absent = ""
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        if not Path(command[0]).exists():
            self.absent = "not installed"
            return
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=environments.ROOT,
            env=variables,
        )
        answer = self.ask(do="hello")
        self.versions = answer.get("versions", {})
        self.absent = answer.get("absent") or answer.get("error", "")

    def __enter__(self: P) -> P:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        try:
            self._process.communicate(json.dumps({"do": "quit"}) + "\n", timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        assert self._process is not None
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer; if the process has died, return an error."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(request), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self.absent = "its process died"
            return {"error": self.absent}
        answer: dict[str, Any] = json.loads(line)
        return answer


class Peer(Process):
    """The process of one peer, pinned to `cores`.

    `package` is the folder to import lstmcore from, if not the running Python's.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        cores: Sequence[int],
        settings: Settings,
        package: Path | None = None,
    ) -> None:
        self.name = name
        command = [str(environments.interpreter(name)), "-m", "bench.worker"]
        command += ["--peer", name.partition("@")[0]]
        command += ["--threads", str(threads), "--cores", ",".join(map(str, cores))]
        variables = environments.variables(
            name, threads, settings.isa, settings.torch_compile, settings.peers_isa
        )
        if package is not None:
            variables["PYTHONPATH"] = str(package)
        super().__init__(command, variables)


LOWER = (("pytorch", "bf16"), ("onnxruntime", "int8"))
"""The precisions that peers have beside float32."""


def peers_of(case: Case, asked: Sequence[str], run_isa: str) -> list[str]:
    """Return those of `asked` that measure `case`, lstmcore first."""
    shape = case.shape
    wanted = shape.peers if shape.peers is not None else ALL_PEERS
    if shape.keras:
        wanted = (*wanted, *KERAS_BACKENDS)
    names = [name for name in asked if is_own(name) or name.partition("@")[0] in wanted]
    if shape.precisions:
        whole = case.dtype == "float32"
        names = [name for name in names if "@" not in name or (whole and precision_of(name))]
        return sorted(names, key=lambda name: not is_own(name))
    names = [name for name in names if not precision_of(name)]
    if not shape.share or case.dtype != "float32" or run_isa not in ("", "avx512"):
        names = [name for name in names if "@" not in name]
    return sorted(names, key=lambda name: not is_own(name))


STREAM_HIDDEN = (8, 12, 16, 20, 24, 32, 40, 64, 128)
"""Sizes of the stream that is stepped from C++."""


def measure(
    cases: Sequence[Case],
    asked: Sequence[str],
    settings: Settings,
    tell: Callable[[Run, Case], None],
) -> Run:
    """Measure `cases` with the peers `asked`; call `tell` after each."""
    cores = available_cores()
    run = Run(machine=machine(cores))
    run.settings = {"peers": list(asked), **settings.__dict__}
    run.limits = native.run_json("limits")
    if cases:
        run.stream = native.run_json("stream", ["1", *map(str, STREAM_HIDDEN)], settings.isa)
    for threads in sorted({case.threads for case in cases}):
        with ExitStack() as stack:
            peers: dict[tuple[str, int], Peer] = {}
            for case in [case for case in cases if case.threads == threads]:
                width = max(threads, case.shape.python_threads)
                taking_part = []
                for name in peers_of(case, asked, settings.isa or ""):
                    if (name, width) not in peers:
                        peer = Peer(name, threads, cores[:width], settings)
                        peers[name, width] = stack.enter_context(peer)
                        run.versions[name] = peer.versions
                    taking_part.append(peers[name, width])
                run.measurements += _measure_case(case, taking_part, settings, run)
                _raise_limits(run, case)
                tell(run, case)
    _measure_memory(run, settings)
    run.limits = native.better(run.limits, native.run_json("limits"))
    return run


def _raise_limits(run: Run, case: Case) -> None:
    """Measure the limits that `case` is compared with once more; the largest counts.

    A processor's clock changes in the course of a run, and so does the share that neighbours leave.
    """
    own = [m.peer for m in run.of_case(case.key) if m.timed and is_own(m.peer)]
    for isa in {run.isa(peer) for peer in own} - {""}:
        limit = native.fma_limit(isa, case.dtype, case.threads)
        run.limits = native.better(run.limits, limit)


def _measure_memory(run: Run, settings: Settings) -> None:
    """Add the memory of a training step on most threads, each in a fresh process."""
    cores = available_cores()
    most = max((case.threads for case in run.cases()), default=1)
    for measurement in run.measurements:
        case = measurement.case
        wanted = case.shape.memory and case.training and case.threads == most
        if wanted and measurement.timed and "@" not in measurement.peer:
            with Peer(measurement.peer, case.threads, cores[: case.threads], settings) as peer:
                measurement.memory = peer.ask(do="memory", case=case.to_json()).get("bytes")


@dataclass
class _Turns:
    """One peer's turns on one case."""

    peer: Peer
    result: Measurement
    estimate: float
    """Seconds of a call."""

    def over(self, fastest: float, repeat: int, settings: Settings) -> bool:
        """Whether it gets no more turns; `fastest` are the seconds of the fastest peer's call."""
        if self.result.status != "ok":
            return True
        if repeat < 3:
            return False
        spent = sum(self.result.seconds) * self.result.calls
        slow = not is_own(self.peer.name) and self.estimate > settings.contend * fastest
        return slow or spent > settings.budget

    def take(self, settings: Settings, run: Run) -> None:
        """Time one turn."""
        before = 0 if self.estimate > 0.5 else max(1, round(0.01 / self.estimate))
        time.sleep(settings.settle)
        busy, watch = Busy(self.peer.pid), Watch.start(self.peer.pid)
        calls = self.result.calls
        answer = self.peer.ask(do="time", calls=calls, before=min(before, 10_000))
        if "seconds" not in answer:
            self.result.status, self.result.why = "failed", answer.get("error", "")
            return
        run.foreign.append(busy.foreign_share())
        self.result.seconds.append(answer["seconds"])
        _check_held(self.result, watch, settings, run)


def _check_held(result: Measurement, watch: Watch, settings: Settings, run: Run) -> None:
    """Note whether the peer kept to its instruction set; if it did not, its times do not count."""
    if settings.peers_isa is None:
        return
    saw = watch.saw_avx512()
    counts = run.held.setdefault(result.peer, {"turns": 0, "avx512": 0, "unknown": 0})
    counts["turns"] += 1
    counts["unknown"] += saw is None
    if saw:
        counts["avx512"] += 1
        result.status = "unsupported"
        result.why = f"used AVX-512, although held to {settings.peers_isa}"


def _measure_case(
    case: Case, peers: Sequence[Peer], settings: Settings, run: Run
) -> list[Measurement]:
    turns: list[_Turns] = []
    results: list[Measurement] = []
    for peer in peers:
        result = Measurement(case, peer.name)
        results.append(result)
        estimate = _warm(case, peer, result, settings, run)
        if estimate is not None:
            turns.append(_Turns(peer, result, estimate))
    fastest = min((each.estimate for each in turns), default=0.0)
    for repeat in range(settings.repeats):
        # The order rotates from round to round, so that a different peer begins each time.
        first = repeat % max(1, len(turns))
        for each in turns[first:] + turns[:first]:
            if not each.over(fastest, repeat, settings):
                each.take(settings, run)
    return results


def _warm(
    case: Case, peer: Peer, result: Measurement, settings: Settings, run: Run
) -> float | None:
    """Prepare a case, note its results and return the seconds of a call; None if that fails."""
    if peer.absent:
        result.status, result.why = "absent", peer.absent
        return None
    answer = peer.ask(do="prepare", case=case.to_json())
    watch = None
    if "digest" in answer:
        result.digest, result.facts = answer["digest"], answer["facts"]
        watch = Watch.start(peer.pid)
        answer = peer.ask(do="warm", seconds=settings.warm)
    if watch is None or "seconds" not in answer:
        result.status = "unsupported" if "unsupported" in answer else "failed"
        result.why = answer.get("unsupported") or answer.get("error", "")
        return None
    result.variant, result.why = answer["variant"], "; ".join(answer["failures"])
    seconds = float(answer["seconds"])
    result.calls = max(1, round(settings.turn / seconds))
    _check_held(result, watch, settings, run)
    return seconds if result.status == "ok" else None


class Busy:
    """Measures the processor time that other processes use, from its construction on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = time.monotonic()
        self._before = self._others()

    def _others(self) -> float:
        """Return the seconds that others have used on all processors so far."""
        try:
            total = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
            own = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        user, nice, system, _, _, irq, softirq, steal = (int(part) for part in total[:8])
        busy = user + nice + system + irq + softirq + steal - int(own[11]) - int(own[12])
        return busy / os.sysconf("SC_CLK_TCK")

    def foreign_share(self) -> float:
        """Return the time that others used, as a share of one processor's time."""
        elapsed = max(time.monotonic() - self._start, 1e-3)
        return max(0.0, self._others() - self._before) / elapsed


def available_cores() -> list[int]:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def machine(cores: Sequence[int]) -> dict[str, Any]:
    """Describe the machine."""
    model = platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "processor": model,
        "cores": len(cores),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def asked_peers(names: Sequence[str] | None) -> list[str]:
    """Return the peers to run: the named ones, or all; lstmcore is always first."""
    known = (*ALL_PEERS, *KERAS)
    chosen = known if names is None else [name for name in names if not is_own(name)]
    for name in chosen:
        if name not in known:
            raise ValueError(f"peers: expected some of {', '.join(known)}, got {name!r}")
    lower = [f"{OWN}@{precision}" for precision in PRECISIONS]
    lower += [f"{peer}@{precision}" for peer, precision in LOWER if peer in chosen]
    return [OWN, f"{OWN}@avx2", *chosen, *lower]
