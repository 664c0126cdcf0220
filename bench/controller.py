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
from typing import Any

from bench import environments, native
from bench.environments import OWN, PRECISIONS, is_own, precision_of
from bench.results import Measurement, Run
from bench.shapes import ALL_PEERS, Case


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    repeats : int
        Turns of each peer on each case.
    turn : float
        Shortest duration of a turn in seconds; a single call may last longer.
    budget : float
        Seconds for all turns of a peer on a case together; at least three turns are made.
    settle : float
        Seconds of rest before each turn, so that the threads of the last peer fall asleep.
    warm : float
        Seconds of warming up for each variant of a peer.
    isa : str or None
        Instruction set forced on lstmcore.
    torch_compile : bool
        Whether PyTorch may compile.
    """

    repeats: int = 5
    turn: float = 0.1
    budget: float = 15.0
    settle: float = 0.1
    warm: float = 0.2
    isa: str | None = None
    torch_compile: bool = False


class Peer:
    """The process of one peer, pinned to `cores`. Use it in a ``with`` statement.

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
        self.absent = ""
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        python = environments.interpreter(name)
        if not python.exists():
            self.absent = "not installed"
            return
        command = [str(python), "-m", "bench.worker", "--peer", name.partition("@")[0]]
        command += ["--threads", str(threads), "--cores", ",".join(map(str, cores))]
        variables = environments.variables(name, threads, settings.isa, settings.torch_compile)
        if package is not None:
            variables["PYTHONPATH"] = str(package)
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

    def __enter__(self) -> Peer:
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


LOWER = (("pytorch", "bf16"), ("onnxruntime", "int8"))
"""The precisions that peers have beside float32."""


def peers_of(case: Case, asked: Sequence[str], run_isa: str) -> list[str]:
    """Return those of `asked` that measure `case`, lstmcore first."""
    shape = case.shape
    wanted = shape.peers if shape.peers is not None else ALL_PEERS
    names = [name for name in asked if is_own(name) or name.partition("@")[0] in wanted]
    if shape.precisions:
        whole = case.dtype == "float32"
        names = [name for name in names if "@" not in name or (whole and precision_of(name))]
        return sorted(names, key=lambda name: not is_own(name))
    names = [name for name in names if not precision_of(name)]
    if not shape.share or case.dtype != "float32" or run_isa not in ("", "avx512"):
        names = [name for name in names if "@" not in name]
    return sorted(names, key=lambda name: not is_own(name))


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
    hidden = [str(size) for size in (16, 32, 64, 128)]
    run.stream = native.run_json("stream", ["1", *hidden], settings.isa)
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
                run.measurements += _measure_case(case, taking_part, settings, run.foreign)
                tell(run, case)
    for measurement in run.measurements:
        case = measurement.case
        if (
            case.shape.memory
            and case.training
            and measurement.timed
            and "@" not in measurement.peer
        ):
            with Peer(measurement.peer, case.threads, cores[: case.threads], settings) as peer:
                measurement.memory = peer.ask(do="memory", case=case.to_json()).get("bytes")
    run.limits = native.better(run.limits, native.run_json("limits"))
    return run


def _measure_case(
    case: Case, peers: Sequence[Peer], settings: Settings, foreign: list[float]
) -> list[Measurement]:
    turns: list[tuple[Peer, Measurement, float]] = []
    results: list[Measurement] = []
    for peer in peers:
        result = Measurement(case, peer.name)
        results.append(result)
        if peer.absent:
            result.status, result.why = "absent", peer.absent
            continue
        answer = peer.ask(do="prepare", case=case.to_json())
        if "digest" in answer:
            result.digest, result.facts = answer["digest"], answer["facts"]
            answer = peer.ask(do="warm", seconds=settings.warm)
        if "seconds" not in answer:
            result.status = "unsupported" if "unsupported" in answer else "failed"
            result.why = answer.get("unsupported") or answer.get("error", "")
            continue
        result.variant, result.why = answer["variant"], "; ".join(answer["failures"])
        result.calls = max(1, round(settings.turn / answer["seconds"]))
        turns.append((peer, result, answer["seconds"]))
    for repeat in range(settings.repeats):
        # The order rotates from round to round, so that a different peer begins each time.
        first = repeat % max(1, len(turns))
        for peer, result, estimate in turns[first:] + turns[:first]:
            spent = sum(result.seconds) * result.calls
            if repeat >= 3 and spent > settings.budget:
                continue
            before = 0 if estimate > 0.5 else max(1, round(0.01 / estimate))
            time.sleep(settings.settle)
            busy = Busy(peer.pid)
            answer = peer.ask(do="time", calls=result.calls, before=min(before, 10_000))
            if "seconds" not in answer:
                result.status, result.why = "failed", answer.get("error", "")
                continue
            foreign.append(busy.foreign_share())
            result.seconds.append(answer["seconds"])
    return results


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
    known = (*ALL_PEERS, "keras")
    chosen = known if names is None else [name for name in names if not is_own(name)]
    for name in chosen:
        if name not in known:
            raise ValueError(f"peers: expected some of {', '.join(known)}, got {name!r}")
    lower = [f"{OWN}@{precision}" for precision in PRECISIONS]
    lower += [f"{peer}@{precision}" for peer, precision in LOWER if peer in chosen]
    return [OWN, f"{OWN}@avx2", *chosen, *lower]
