"""Builds and runs the benchmark's C++ programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.environments import FOLDER, ROOT

BUILD = FOLDER / "cpp"


class NotBuilt(Exception):
    """Raised when a program cannot be built; the message says why."""


def _tool(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def build() -> None:
    """Configure and build the programs in build/bench/cpp; quick if nothing has changed.

    Raises
    ------
    NotBuilt
        If that fails; the message is the end of the output.
    """
    cmake = _tool("cmake")
    if cmake is None:
        raise NotBuilt("cmake was not found")
    configure = [cmake, "-S", str(ROOT / "bench"), "-B", str(BUILD)]
    configure.append(f"-DPython_EXECUTABLE={sys.executable}")
    ninja = _tool("ninja")
    if ninja is not None and not (BUILD / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for command in (configure, [cmake, "--build", str(BUILD), "--parallel"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotBuilt("\n".join((done.stdout + done.stderr).splitlines()[-20:]))


def program(name: str) -> Path | None:
    """Return the built program ``lstmcore_bench_<name>``, or None if it was not built."""
    path = BUILD / "bin" / f"lstmcore_bench_{name}"
    return path if path.exists() else None


def run_json(name: str, arguments: Sequence[str] = (), isa: str | None = None) -> dict[str, Any]:
    """Run a program and return its JSON output; empty if it was not built or fails."""
    path = program(name)
    if path is None:
        return {}
    environment = dict(os.environ)
    if isa:
        environment["LSTMCORE_ISA"] = isa
    command = [str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"{path.name} failed: {done.stderr.strip()}", file=sys.stderr)
        return {}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def fma_limit(isa: str, dtype: str, threads: int) -> dict[str, Any]:
    """Measure one limit of multiply-adds, in about 0.1 s; empty if that is not possible."""
    return run_json("limits", [isa, dtype, str(threads)])


def better(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merge two measurements of the limits; of what both measured, return the larger value."""
    result: dict[str, Any] = {}
    for kind, figure in (("fma", "gflops"), ("read", "gigabytes")):
        best: dict[object, dict[str, Any]] = {}
        for entry in (*first.get(kind, []), *second.get(kind, [])):
            what = tuple(entry.get(name) for name in ("isa", "dtype", "level", "threads"))
            if what not in best or entry[figure] > best[what][figure]:
                best[what] = entry
        if best:
            result[kind] = list(best.values())
    return result


def micro(arguments: Sequence[str]) -> int:
    """Build and run the micro-benchmarks with Google Benchmark's own options."""
    build()
    path = program("micro")
    if path is None:
        print("micro: skipped, Google Benchmark was not found (Debian: libbenchmark-dev)")
        return 0
    return subprocess.run([str(path), *arguments]).returncode
