"""The goals, and whether a run reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import lstmcore as lc
from bench import company
from bench.environments import OWN
from bench.grids import OPTIONS, SHAPES
from bench.results import Measurement, Run, disagreements
from bench.shapes import DIRECTIONS, KERAS, Case
from bench.statistics import geometric_mean

AVX2 = f"{OWN}@avx2"

CELLS = {
    "avx2": {"inference": (1.1, 1.8), "training": (1.15, 2.3)},
    "avx512": {"inference": (1.05, 1.5), "training": (1.05, 2.2)},
}
"""By instruction set: what every cell must reach as a multiple of the best peer's speed, and what
the geometric mean must reach."""

SHARES = {
    "avx2": {
        "inference": {"100x32x128x128": 0.65, "100x64x256x512": 0.85, "50x128x1024x1024": 0.85},
        "training": {"100x32x128x128": 0.60, "100x64x256x512": 0.80, "50x128x1024x1024": 0.80},
    },
    "avx512": {
        "inference": {"100x32x128x128": 0.65, "100x64x256x512": 0.72, "50x128x1024x1024": 0.72},
        "training": {"100x32x128x128": 0.60, "100x64x256x512": 0.68, "50x128x1024x1024": 0.70},
    },
}
"""Share of the FMA limit that a shape must reach, by instruction set."""

STREAM = {16: 0.07, 32: 0.12, 64: 0.45}
"""Microseconds per step, by hidden size, on a core whose FMA limit is `STREAM_LIMIT`."""

STREAM_LIMIT = 229.0

_SHAPES = {shape.name: shape for shape in SHAPES}


@dataclass(frozen=True)
class Claim:
    """A goal and what was measured.

    Attributes
    ----------
    goal : str
        A sentence with its figure.
    measured : str
        The figure that decides, with an explanation.
    holds : bool or None
        None if the run did not measure it.
    """

    goal: str
    measured: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """The result in a word or two."""
        return {True: "holds", False: "FALLS SHORT", None: "not measured"}[self.holds]


PRECISION_GOALS = {
    ("inference", "100x64x256x512"): {"bf16x3": 1.6, "bf16x2": 2.6, "bf16": 1.25, "int8": 1.3},
    ("inference", "50x128x1024x1024"): {"bf16x3": 1.5, "bf16x2": 2.7, "bf16": 1.2, "int8": 1.3},
    ("inference", "100x32x128x128"): {"bf16x3": 1.3, "bf16x2": 2.0, "bf16": 1.8, "int8": 1.4},
    ("training", "100x64x256x512"): {"bf16x3": 1.7, "bf16x2": 2.6, "bf16": 1.5},
    ("training", "50x128x1024x1024"): {"bf16x3": 1.4, "bf16x2": 2.3, "bf16": 1.4},
    ("training", "100x32x128x128"): {"bf16x3": 1.6, "bf16x2": 2.2, "bf16": 1.3},
}
"""Speed that a precision must reach, as a multiple of `PRECISION_PEERS`. The first two are for
machines with a matrix unit."""

PRECISION_PEERS = {
    "bf16x3": "the best peer in float32",
    "bf16x2": "the best peer in float32",
    "bf16": "pytorch@bf16",
    "int8": "onnxruntime@int8",
}


def claims(run: Run, threads: int = 2) -> list[Claim]:
    """Return every goal with its verdict, for results on `threads` threads."""
    makers: tuple[Callable[[Run, int], Iterator[Claim]], ...] = (
        _cells,
        _shares,
        _training_step,
        _ragged,
        _float64,
        _cell_steps,
        _stream,
        _small_models,
        _memory,
        _overhead,
        _options,
        _precisions,
        _company,
        _agreement,
    )
    return [claim for maker in makers for claim in maker(run, threads)]


def _at_least(goal: str, value: float | None, least: float, note: str = "") -> Claim:
    if value is None:
        return Claim(goal, "", None)
    return Claim(goal, f"{value:.2f}{note}", value >= least)


def _speed(run: Run, threads: int, name: str, peer: str, **what: str) -> float | None:
    """Return lstmcore's speed as a multiple of that of `peer`."""
    direction, dtype = what.get("direction", "training"), what.get("dtype", "float32")
    own = run.find(OWN, name, direction, dtype, threads)
    other = run.find(peer, name, direction, dtype, threads)
    return other.median / own.median if own and other else None


def _cells(run: Run, threads: int) -> Iterator[Claim]:
    """Yield a claim for every cell of the grid, and one for their geometric mean."""
    goals = CELLS.get(run.isa(), {})
    for direction, (cell_goal, mean_goal) in goals.items():
        for count in sorted({threads, 1}, reverse=True):
            where = f"{direction}, {count} thread{'s' * (count > 1)}"
            ratios: dict[str, float] = {}
            for case in run.cases():
                cell = case.shape.cell and (case.direction, case.dtype) == (direction, "float32")
                ratio = run.ratio(case) if cell and case.threads == count else None
                if ratio is not None:
                    ratios[case.shape.name] = ratio
            all_cells = [shape.name for shape in SHAPES if shape.cell]
            missing = len(all_cells) - len(ratios)
            part = f", {missing} of {len(all_cells)} cells not measured" if missing else ""
            goal = f"{where}: every cell at least {cell_goal} times the best peer"
            if not ratios or not _fair(run):
                yield Claim(goal, "", None)
                yield Claim(f"{where}: geometric mean {mean_goal}", "", None)
                continue
            worst = min(ratios, key=ratios.__getitem__)
            below = sum(ratio < cell_goal for ratio in ratios.values())
            note = f" at {worst}, {below} below {cell_goal}{part}"
            mean = geometric_mean(ratios.values())
            mean_claim = f"{where}: geometric mean {mean_goal}"
            if not missing:
                yield _at_least(goal, ratios[worst], cell_goal, note)
                yield _at_least(mean_claim, mean, mean_goal)
                continue
            # A part of the grid can show that a cell falls short, but not that all cells hold.
            yield Claim(goal, f"{ratios[worst]:.2f}{note}", False if below else None)
            yield Claim(mean_claim, f"{mean:.2f}{part}", None)


def _fair(run: Run) -> bool:
    """Whether peers had the same instruction sets as lstmcore."""
    forced = run.settings.get("isa")
    return forced is None or forced == run.settings.get("peers_isa")


def _shares(run: Run, threads: int) -> Iterator[Claim]:
    """Yield claims on the share of the FMA limit, also as AVX2 code."""
    for peer in (OWN,) if run.isa() == "avx2" else (OWN, AVX2):
        isa = run.isa(peer) or ("avx2" if peer == AVX2 else "")
        for direction in DIRECTIONS:
            for name, least in SHARES.get(isa, {}).get(direction, {}).items():
                found = run.find(peer, name, direction, "float32", threads)
                share = run.share(found) if found else None
                alone = run.find(peer, name, direction, "float32", 1)
                alone_share = run.share(alone) if alone else None
                note = f" ({alone_share:.2f} on one thread)" if alone_share and threads > 1 else ""
                goal = f"{direction} {name}, {isa}: {least:.2f} of the FMA limit"
                yield _at_least(goal, share, least, note)


def _options(run: Run, threads: int) -> Iterator[Claim]:
    for shape in OPTIONS:
        for direction in DIRECTIONS:
            own = run.find(OWN, shape.name, direction, "float32", threads)
            factor = own.facts.get("times plain") if own else None
            if factor is None:
                continue
            goal = (
                f"{shape.name}, {direction}: at most {shape.cost:.3g} times the plain cell's time"
            )
            yield Claim(goal, f"{factor:.2f}", factor <= shape.cost)


def _training_step(run: Run, threads: int) -> Iterator[Claim]:
    for peer, least in (("pytorch", 2.0), *((name, 4.0) for name in KERAS)):
        speed = _speed(run, threads, "training-step", peer)
        yield _at_least(f"whole training step: {least:.0f} times {peer}", speed, least)


def _ragged(run: Run, threads: int) -> Iterator[Claim]:
    pairs = (("ragged-400x64", "padded-400x64"), ("ragged-100x32", "100x32x128x128"))
    for ragged, padded in pairs:
        shape = _SHAPES[ragged]
        data = shape.total_steps / (shape.steps * shape.batch)
        for direction in DIRECTIONS:
            goal = f"{ragged}, {direction}: at most 1.2 x {data:.3f} x the padded time"
            own = run.find(OWN, ragged, direction, "float32", threads)
            full = run.find(OWN, padded, direction, "float32", threads)
            if own is None or full is None:
                yield Claim(goal, "", None)
                continue
            factor = own.median / full.median / data
            yield Claim(goal, f"{factor:.2f} x", factor <= 1.2)
    speed = _speed(run, threads, "ragged-400x64", "pytorch")
    yield _at_least("ragged-400x64, training: 20 times PyTorch's packed sequence", speed, 20.0)


def _float64(run: Run, threads: int) -> Iterator[Claim]:
    for direction in DIRECTIONS:
        what = {"direction": direction, "dtype": "float64"}
        speed = _speed(run, threads, "100x32x128x128", "pytorch", **what)
        yield _at_least(f"float64 {direction}: 2.5 times PyTorch", speed, 2.5)


def _cell_steps(run: Run, threads: int) -> Iterator[Claim]:
    speed = _speed(run, threads, "cell-steps", "pytorch")
    whole = run.find(OWN, "100x32x128x128", "training", "float32", threads)
    other = run.find("pytorch", "cell-steps", "training", "float32", threads)
    note = f" ({other.median / whole.median:.2f} with RNN(LSTMCell))" if whole and other else ""
    yield _at_least("stepping with training: 5 times PyTorch's LSTMCell loop", speed, 5.0, note)


def stream_goal(hidden: int, limit: float) -> float:
    """Return the microseconds allowed for a step on a core whose FMA limit is `limit` GF/s."""
    return STREAM[hidden] * STREAM_LIMIT / limit


def _stream(run: Run, threads: int) -> Iterator[Claim]:
    del threads
    limit = run.limit(run.stream.get("isa", ""), "float32", 1)
    steps = {
        entry["hidden"]: entry
        for entry in run.stream.get("steps", [])
        if (entry["dtype"], entry["inputs"], entry.get("layers", 1)) == ("float32", 1, 1)
    }
    for hidden, at_reference in STREAM.items():
        goal = f"stream in C++, H {hidden}: {at_reference} us a step at {STREAM_LIMIT:.0f} GF/s"
        if limit is None or hidden not in steps:
            yield Claim(goal, "", None)
            continue
        allowed, median = stream_goal(hidden, limit), steps[hidden]["median"]
        text = f"{median:.3f} us, allowed {allowed:.3f} at {limit:.0f} GF/s"
        yield Claim(goal, text, median <= allowed)


def _precisions(run: Run, threads: int) -> Iterator[Claim]:
    """Yield claims on layers in lower precision, against a peer in the same or in float32."""
    for (direction, shape), goals in PRECISION_GOALS.items():
        name = f"precision-{shape}"
        for precision, least in goals.items():
            own = run.find(f"{OWN}@{precision}", name, direction, "float32", threads)
            goal = f"{precision}, {direction} {shape}: {least} times {PRECISION_PEERS[precision]}"
            if own is None:
                yield Claim(goal, "", None)
                continue
            other = run.best_peer(own.case)
            if "@" in PRECISION_PEERS[precision]:
                peer = PRECISION_PEERS[precision]
                other = run.find(peer, name, direction, "float32", threads)
            unit = run.versions.get(own.peer, {}).get(f"unit of {precision}", "")
            speed = other.median / own.median if other else None
            if unit.endswith("fp32") and speed is not None:
                yield Claim(goal, f"{speed:.2f}; no matrix unit here, computed by {unit}", None)
                continue
            yield _at_least(goal, speed, least, f", computed by {unit}" if unit else "")


def _small_models(run: Run, threads: int) -> Iterator[Claim]:
    del threads
    for direction in DIRECTIONS:
        one = run.find(OWN, "small-models-1", direction)
        two = run.find(OWN, "small-models-2", direction)
        speed = one.median / two.median if one and two else None
        goal = f"small models, {direction}: 1.7 times the speed from 2 Python threads"
        yield _at_least(goal, speed, 1.7)


def expected_memory(run: Run, case: Case) -> int:
    """Return the bytes that lstmcore's formula expects for a training step."""
    shape = case.shape
    config = lc.LSTMConfig(
        shape.inputs,
        shape.hidden,
        num_layers=shape.layers,
        bidirectional=shape.bidirectional,
        proj_size=shape.projection,
        **dict(shape.variant),
    )
    return lc.memory_needed(
        config,
        shape.batch,
        shape.steps,
        total_steps=shape.total_steps,
        dtype=case.dtype,
        isa=run.isa() or "baseline",
        num_threads=case.threads,
    )


def _memory(run: Run, threads: int) -> Iterator[Claim]:
    for shape in (shape for shape in SHAPES if shape.memory):
        own = run.find(OWN, shape.name, "training", "float32", threads)
        other = run.find("pytorch", shape.name, "training", "float32", threads)
        goals = (
            f"memory of training {shape.name}: the formula within 10 %",
            f"memory of training {shape.name}: below PyTorch's",
        )
        if own is None or not own.memory:
            yield from (Claim(goal, "", None) for goal in goals)
            continue
        expected = expected_memory(run, own.case)
        text = f"{own.memory / 1e6:.1f} MB, formula {expected / 1e6:.1f} MB"
        yield Claim(goals[0], text, abs(own.memory - expected) <= 0.1 * expected)
        if other is None or not other.memory:
            yield Claim(goals[1], "", None)
            continue
        text = f"{own.memory / 1e6:.1f} MB, PyTorch {other.memory / 1e6:.1f} MB"
        yield Claim(goals[1], text, own.memory < other.memory)


def _overhead(run: Run, threads: int) -> Iterator[Claim]:
    call = run.find(OWN, "call-overhead", "inference")
    goals = (("F.lstm on next to no work: under 10 us", call, 10.0),)
    step = run.find(OWN, "stream-16", "inference")
    for goal, found, most in (*goals, ("stream.step from Python: under 3 us", step, 3.0)):
        micro = found.median * 1e6 if found else None
        holds = micro < most if micro is not None else None
        yield Claim(goal, f"{micro:.2f} us" if micro is not None else "", holds)
    model = run.find(OWN, "training-step", "training", "float32", threads)
    share = model.facts.get("engine share") if model else None
    yield _at_least("training loop: 0.90 of a step's time inside the engine", share, 0.9)


def _company(run: Run, threads: int) -> Iterator[Claim]:
    """Yield claims on lstmcore beside other work."""
    del threads
    found = {entry["name"]: entry for entry in run.company}
    for goal in company.GOALS:
        entry = found.get(goal.name, {})
        ratio = entry.get("ratio")
        how = "at most" if goal.most else "at least"
        text = f"{goal.text}: {how} {goal.bound:.3g}"
        if ratio is None:
            yield Claim(text, entry.get("why", ""), None)
            continue
        note = f"{ratio:.2f} ({entry['low']:.2f} to {entry['high']:.2f})"
        yield Claim(text, note, goal.holds(ratio))


def _agreement(run: Run, threads: int) -> Iterator[Claim]:
    del threads
    compared = 0
    wrong: list[str] = []
    for case in run.cases():
        found = [m for m in run.of_case(case.key) if _digested(m)]
        compared += max(0, len(found) - 1)
        wrong += [f"{name} at {case.key}" for name in disagreements(found)]
    goal = "all peers computed the same"
    if not compared:
        yield Claim(goal, "", None)
    else:
        yield Claim(goal, "; ".join(wrong) or f"{compared} results compared", not wrong)


def _digested(measurement: Measurement) -> bool:
    return measurement.timed and bool(measurement.digest)
