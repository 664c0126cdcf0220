"""The results of a run: measurements, the machine and its limits; to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.environments import OWN, is_own
from bench.shapes import Case
from bench.statistics import quantile

FORMAT = 1


@dataclass
class Measurement:
    """One peer on one case.

    Attributes
    ----------
    case : Case
    peer : str
    status : str
        "ok", "absent", "unsupported" or "failed".
    why : str
        Reason, if not ok; otherwise the variants that failed.
    variant : str
        The fastest way.
    seconds : list of float
        Per call, one entry for each turn.
    calls : int
        Calls in a turn.
    digest, facts : dict of str to float
        See `bench.runners.Prepared`.
    memory : float or None
        Bytes that one call adds at its peak.
    """

    case: Case
    peer: str
    status: str = "ok"
    why: str = ""
    variant: str = ""
    seconds: list[float] = field(default_factory=list)
    calls: int = 0
    digest: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    memory: float | None = None

    @property
    def timed(self) -> bool:
        """Whether a time was measured."""
        return self.status == "ok" and bool(self.seconds)

    @property
    def median(self) -> float:
        """Seconds per call."""
        return quantile(self.seconds, 0.5)

    @property
    def spread(self) -> float:
        """Distance of the quartiles, as a share of the median."""
        return (quantile(self.seconds, 0.75) - quantile(self.seconds, 0.25)) / self.median

    @property
    def gflops(self) -> float:
        """Operations of the products per nanosecond."""
        return self.case.flops / self.median * 1e-9


@dataclass
class Run:
    """Everything that one run measured.

    Attributes
    ----------
    machine, settings, versions, limits, stream : dict
        The machine, how it was measured, what was loaded, `native`'s programs.
    foreign : list of float
        Processor time of other processes in each turn, as a share of one processor.
    held : dict
        For each peer, in a run that holds peers to an instruction set: turns, and those in which
        AVX-512 was seen, or could not be seen.
    company : list of dict
        See `bench.company.Result`.
    measurements : list of Measurement
    """

    machine: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    limits: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=dict)
    foreign: list[float] = field(default_factory=list)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    company: list[dict[str, Any]] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)

    def find(
        self, peer: str, shape: str, direction: str, dtype: str = "float32", threads: int = 1
    ) -> Measurement | None:
        """Return the timed measurement of a case, or None."""
        key = f"{shape}/{direction}/{dtype}/{threads}"
        for measurement in self.measurements:
            if measurement.peer == peer and measurement.case.key == key and measurement.timed:
                return measurement
        return None

    def of_case(self, key: str) -> list[Measurement]:
        """Return every peer's measurement of a case."""
        return [m for m in self.measurements if m.case.key == key]

    def cases(self) -> list[Case]:
        """Return every case, in the order of the run."""
        return list({m.case.key: m.case for m in self.measurements}.values())

    def peers(self) -> list[str]:
        """Return every peer, lstmcore first."""
        names = dict.fromkeys(m.peer for m in self.measurements)
        return sorted(names, key=lambda name: not is_own(name))

    def isa(self, peer: str = OWN) -> str:
        """Instruction set that lstmcore ran on."""
        return self.versions.get(peer, {}).get("isa", "")

    def limit(self, isa: str, dtype: str, threads: int) -> float | None:
        """Return the limit of multiply-adds in GF/s, or None if it was not measured."""
        for entry in self.limits.get("fma", []):
            if (entry["isa"], entry["dtype"], entry["threads"]) == (isa, dtype, threads):
                return float(entry["gflops"])
        return None

    def share(self, measurement: Measurement) -> float | None:
        """Return the share of the limit; for lstmcore, that of its own instruction set."""
        peer = measurement.peer if is_own(measurement.peer) else OWN
        case = measurement.case
        limit = self.limit(self.isa(peer), case.dtype, case.threads)
        return None if limit is None else measurement.gflops / limit

    def best_peer(self, case: Case) -> Measurement | None:
        """Return the fastest measurement that is not lstmcore's, or None."""
        others = [m for m in self.of_case(case.key) if m.timed and not is_own(m.peer)]
        others = [m for m in others if "@" not in m.peer]
        return min(others, key=lambda m: m.median, default=None)

    def ratio(self, case: Case) -> float | None:
        """Return lstmcore's speed as a multiple of the best peer's, or None."""
        own = [m for m in self.of_case(case.key) if m.timed and m.peer == OWN]
        best = self.best_peer(case)
        return best.median / own[0].median if own and best else None

    def shortest(self, case: Case) -> float | None:
        """Return the seconds of a call at the machine's limits, or None if they were not measured.

        This is the larger of two times: that of the multiply-adds at their limit, and that of
        reading a step's weights, divided among the threads, from the cache that holds them.
        """
        peak = self.limit(self.isa(), case.dtype, case.threads)
        reads = [e for e in self.limits.get("read", []) if e["threads"] == case.threads]
        if peak is None or not reads or case.shape.kind != "lstm":
            return None
        share = case.step_weight_bytes / case.threads
        # The bandwidths are measured with data of two thirds of a cache.
        holds = [entry for entry in reads if 1.5 * entry["bytes"] >= share]
        bandwidth = float((holds or reads[-1:])[0]["gigabytes"])
        passes = 2 if case.training else 1
        reading = passes * case.shape.steps * case.step_weight_bytes / bandwidth
        return max(case.flops / peak, reading) * 1e-9

    def save(self, path: Path) -> None:
        """Write JSON."""
        data = {"format": FORMAT} | asdict(self)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n")


def load(path: Path) -> Run:
    """Read what `Run.save` wrote.

    Raises
    ------
    ValueError
        If the file is of another format.
    """
    data = json.loads(path.read_text())
    if data.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: expected a benchmark's result of format {FORMAT}")
    measurements = [
        Measurement(**(entry | {"case": Case.from_json(entry["case"])}))
        for entry in data.pop("measurements")
    ]
    return Run(**data, measurements=measurements)


def disagreements(measurements: Iterable[Measurement]) -> list[str]:
    """Name the peers whose results of one case differ from lstmcore's by more than rounding."""
    timed = [m for m in measurements if m.timed and m.digest]
    own = next((m for m in timed if m.peer == OWN), None)
    if own is None:
        return []
    tolerance = 1e-3 if own.case.dtype == "float32" else 1e-9
    wrong = []
    for other in timed:
        for name, value in own.digest.items():
            size = abs(own.digest[name.removesuffix(" by place")])
            if abs(other.digest.get(name, value) - value) > tolerance * max(size, 1e-30):
                wrong.append(f"{other.peer} ({name})")
                break
    return wrong
