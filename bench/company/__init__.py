"""lstmcore beside other work: in one process with other libraries, among processes, in loops.

Every figure is a ratio of two times that were measured in turn.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import environments
from bench.settings import Settings
from bench.shapes import DIRECTIONS
from bench.statistics import quantile


@dataclass(frozen=True)
class Goal:
    """What a ratio must reach.

    Attributes
    ----------
    name : str
        Of the ratio.
    experiment : str
        Where it is measured: a name in `EXPERIMENTS`.
    text : str
        What is compared with what.
    bound : float
    most : bool
        Whether `bound` is the largest value allowed, for a ratio of times; otherwise it is the
        smallest, for a ratio of speeds.
    """

    name: str
    experiment: str
    text: str
    bound: float
    most: bool = True

    def holds(self, ratio: float) -> bool:
        """Whether `ratio` reaches the goal."""
        return ratio <= self.bound if self.most else ratio >= self.bound


EXPERIMENTS = {
    "torch-training": "pytorch",
    "torch-mm": "pytorch",
    "torch-cell": "pytorch",
    "session": "onnxruntime",
    "processes": environments.OWN,
    "crowded": environments.OWN,
    "subnormal": environments.OWN,
}
"""Each experiment runs in a process of its own, in the environment of a peer."""

_BESIDE = "time when alternating over time alone"

WAYS = (*DIRECTIONS, "recomputation")
"""Ways to call a layer. Recomputation is training that stores the state of few steps only; threads
then meet for each of its time segments, too."""

_ONE_ROW = "1 x 500 x 128 x 128"

GOALS = (
    Goal(
        "torch-training",
        "torch-training",
        "lstmcore.torch.LSTM in PyTorch's own training loop: speed over torch.nn.LSTM",
        1.5,
        most=False,
    ),
    Goal("lstm-beside-mm", "torch-mm", f"F.lstm and torch.mm of 800: F.lstm, {_BESIDE}", 1.15),
    Goal("mm-beside-lstm", "torch-mm", f"F.lstm and torch.mm of 800: torch.mm, {_BESIDE}", 1.15),
    Goal("lstm-beside-session", "session", f"F.lstm and ONNX Runtime: F.lstm, {_BESIDE}", 1.15),
    Goal("session-beside-lstm", "session", f"F.lstm and ONNX Runtime: session, {_BESIDE}", 1.15),
    *(
        Goal(
            f"{count}-processes-{what}",
            "processes",
            f"{count} processes at once, {what}: time over one alone",
            1.1 * count,
        )
        for count in (2, 8)
        for what in DIRECTIONS
    ),
    *(
        Goal(
            f"crowded-{busy}-{what}-{figure}",
            "crowded",
            f"{_ONE_ROW} beside {busy} busy loop{'s' * (busy > 1)}, {what}: "
            f"{figure} time of all threads over one thread's",
            bound,
        )
        for what in WAYS
        for busy, figure, bound in ((1, "wall", 1.1), (2, "wall", 1.2), (2, "processor", 1.3))
    ),
    *(
        Goal(
            f"torch-cell-{what}",
            "torch-cell",
            f"loop over lstmcore.torch.LSTMCell at one row, {what}: speed over torch.nn.LSTMCell",
            1.2,
            most=False,
        )
        for what in DIRECTIONS
    ),
    Goal("subnormal-dy", "subnormal", "F.lstm_backward: time with dy 1e-39 over dy 1", 1.1),
    Goal("stream-silence", "subnormal", "stream: time of a step in silence over sound", 1.1),
)


@dataclass
class Result:
    """A measured ratio: median and quartiles over the rounds; or why there is none."""

    name: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @staticmethod
    def of(name: str, ratios: Sequence[float]) -> Result:
        """Return the result of several rounds."""
        low, middle, high = (quantile(ratios, share) for share in (0.25, 0.5, 0.75))
        return Result(name, middle, low, high)


def select(names: Iterable[str]) -> list[str]:
    """Return the experiments among the names of a grid: company for all, company-NAME for one."""
    chosen = []
    for name in names:
        if name == "company":
            chosen += list(EXPERIMENTS)
        elif name.removeprefix("company-") in EXPERIMENTS and name.startswith("company-"):
            chosen.append(name.removeprefix("company-"))
    return list(dict.fromkeys(chosen))


def measure(
    experiments: Sequence[str], settings: Settings, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run the experiments; return a `Result` for each goal, as plain data; call `tell` on each."""
    results: list[Result] = []
    for experiment in experiments:
        found, why = _run(experiment, settings)
        for goal in (goal for goal in GOALS if goal.experiment == experiment):
            ratios = found.get(goal.name, [])
            result = Result.of(goal.name, ratios) if ratios else Result(goal.name, why=why)
            results.append(result)
            tell(f"{goal.name}: " + (f"{result.ratio:.2f}" if result.ratio else f"FAILED: {why}"))
    return [asdict(result) for result in results]


def _run(experiment: str, settings: Settings) -> tuple[dict[str, list[float]], str]:
    """Return the ratios of each name; or none, and why."""
    peer = EXPERIMENTS[experiment]
    python = environments.interpreter(peer)
    if not python.exists():
        return {}, f"{peer} is not installed"
    command = [str(python), "-m", "bench.company.experiments", experiment]
    command += [str(settings.repeats), str(settings.turn)]
    done = subprocess.run(
        command,
        cwd=environments.ROOT,
        env=environments.in_company(peer, settings.isa, settings.peers_isa),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {}, lines[-1] if lines else f"exit code {done.returncode}"
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found, ""
