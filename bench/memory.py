"""Memory of one training step: what it takes, and what it should take."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

from bench.shapes import Case

_LANES = {"avx512": 64, "avx2": 32, "baseline": 16}


def padded(count: int, isa: str, itemsize: int) -> int:
    """Hp: `count` rounded up to whole vectors."""
    lanes = _LANES[isa] // itemsize
    return -(-count // lanes) * lanes


def tape_bytes(case: Case, isa: str) -> int:
    """Bytes that lstmcore's tape keeps: the formula of ARCHITECTURE.md, "Memory".

    Per layer and direction S (4 Hp + Hp) of gates and c and N (H + Hp) of initial state; per layer
    S D H of h; once S C of x. S is the sum of all lengths.
    """
    shape = case.shape
    hp = padded(shape.hidden, isa, case.itemsize)
    total = shape.total_steps
    cells = shape.layers * shape.num_directions
    elements = cells * (total * 5 * hp + shape.batch * (shape.hidden + hp))
    elements += shape.layers * total * shape.num_directions * shape.hidden
    elements += total * shape.inputs
    return elements * case.itemsize


def backward_bytes(case: Case, isa: str) -> int:
    """Bytes that the backward of a layer adds: the formula of ARCHITECTURE.md, "Memory".

    Per direction 4 Hp for each row of a range of steps, and per thread a copy of some of that; with
    groups of rows, a range for each thread, and the sums of the groups beyond the first.
    """
    shape = case.shape
    hp = padded(shape.hidden, isa, case.itemsize)
    state = shape.num_directions * shape.hidden
    inputs = max(shape.inputs, state if shape.layers > 1 else 0)
    weights = 4 * hp * (inputs + shape.hidden)
    groups = max(n for n in (1, 2, 4) if n == 1 or (8 * n <= shape.batch and n * weights <= 2**18))
    sets = case.threads if shape.num_directions == 1 and groups % case.threads == 0 else 1
    batch = shape.batch // sets
    rows = max(384, 2**20 // ((6 * hp + inputs) * case.itemsize))
    rows = min(max(rows // batch, 1) * batch * sets, shape.total_steps)
    panels = min(384 * 4 * hp * case.itemsize, 384 * 2**10)
    sums = (groups - 1) * weights * shape.num_directions
    return (shape.num_directions * rows * 4 * hp + sums) * case.itemsize + case.threads * panels


def step_bytes(case: Case, isa: str) -> int:
    """Bytes that one training step adds at its peak.

    The tape; what the backward adds; y and the gradient of x, (N, T, D H) and (N, T, C); and per
    weight its two packed forms, its gradient as it is summed up, and the gradient itself.
    """
    shape = case.shape
    hp = padded(shape.hidden, isa, case.itemsize)
    rows = shape.steps * shape.batch
    elements = rows * (shape.num_directions * shape.hidden + shape.inputs)
    for layer in range(shape.layers):
        inputs = shape.inputs if layer == 0 else shape.num_directions * shape.hidden
        columns = inputs + shape.hidden
        elements += shape.num_directions * columns * 4 * (3 * hp + shape.hidden)
    return tape_bytes(case, isa) + backward_bytes(case, isa) + elements * case.itemsize


def peak_growth(call: Callable[[], object]) -> int:
    """Bytes by which the resident memory grows at its peak during `call`."""
    try:
        # Forgets an earlier peak, such as that of an import.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        result = call()
        after = _status("VmHWM")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        result = call()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del result
    return after - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")
