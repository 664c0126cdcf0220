"""Command line of the benchmark; see bench/README.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import (
    accelerated,
    accuracy,
    claims,
    company,
    controller,
    crowded,
    demo,
    distributed,
    environments,
    grids,
    held,
    instruction_sets,
    keras_epochs,
    meeting,
    native,
    onnx_files,
    pair,
    recipes,
    report,
    results,
    shapes,
    simple_rnn,
)
from bench.settings import Settings

RESULTS = environments.FOLDER / "results"
DOCUMENTATION = environments.ROOT / "docs" / "performance"


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("thread counts start at 1")
    return counts


def _choice(*allowed: str) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = _names(text)
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(allowed)}")
        return names

    return parse


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure lstmcore beside its peers and beside the machine's limits.",
        epilog="Also: report PATH, claims PATH, accuracy, demo, micro [options], install, "
        "pair BEFORE AFTER, crowded, held, onnx-files, accelerated, keras-epochs, simple-rnn, "
        "meeting, distributed, recipes.",
    )
    add = parser.add_argument
    add(
        "--grid",
        default="quick",
        help="quick, full, cells, options, precision, company, or names of shapes (default: quick)",
    )
    add("--peers", type=_names, help="peers beside lstmcore (default: all)")
    add("--threads", type=_counts, help="thread counts (default: all cores; full: 1 and all)")
    add("--dtype", type=_choice(*shapes.DTYPES), help="default: what each shape names")
    add("--direction", type=_choice(*shapes.DIRECTIONS), help="default: both")
    add("--repeats", type=int, help="turns of each peer (default: 5; full: 7)")
    add("--turn", type=float, default=0.1, help="seconds that a turn lasts at least")
    add("--settle", type=float, default=0.1, help="seconds of rest before each turn")
    add("--json", type=Path, help="where the result goes (default: bench/results/GRID.json)")
    add("--isa", help="instruction set to force on lstmcore, such as avx2")
    add(
        "--peers-isa",
        choices=instruction_sets.HELD,
        help="instruction set to hold the peers to; otherwise they choose their own",
    )
    add("--torch-compile", action="store_true", help="also try torch.compile, which is slow")
    add("--install", action="store_true", help="install the peers that are missing first")
    add("--list", action="store_true", help="list the shapes and leave")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure, print and save."""
    parser = _run_parser()
    options = parser.parse_args(arguments)
    names = options.grid.split(",")
    experiments = company.select(names)
    names = [name for name in names if not name.startswith("company-")]
    try:
        chosen = grids.select(",".join(names)) if names else []
        peers = controller.asked_peers(options.peers)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        rows = [[shape.name, shape.describe(), shape.reason] for shape in chosen]
        print(report.plain([["name", "T x N x C x H", "why"], *rows]), end="")
        return 0
    cores = len(controller.available_cores())
    full = "full" in names
    experiments = experiments or company.select(["company"] if full else [])
    threads = options.threads or (sorted({1, cores}) if full else [cores])
    if max(threads) > cores:
        parser.error(f"--threads: there are {cores} processors, got {max(threads)}")
    cases = grids.Choice(threads, options.direction, options.dtype, full).cases(chosen)
    if not cases and not experiments:
        parser.error("nothing to measure: no shape has that direction and dtype")
    if options.install:
        environments.install([name for name in peers if not environments.is_own(name)])
    try:
        native.build()
    except native.NotBuilt as error:
        print(f"the C++ programs are skipped, limits too: {error}", file=sys.stderr)
    settings = Settings(
        repeats=options.repeats or (7 if full else 5),
        turn=options.turn,
        budget=6.0 if full else 15.0,
        settle=options.settle,
        isa=options.isa,
        peers_isa=options.peers_isa,
        torch_compile=options.torch_compile,
    )
    name = options.grid.replace(",", "+")[:80] + (f"-{options.isa}" if options.isa else "")
    path = options.json or RESULTS / f"{name}.json"

    def tell(so_far: results.Run, case: shapes.Case) -> None:
        print(report.case_line(so_far, case), flush=True)
        so_far.save(path)

    begin = time.monotonic()
    measured = controller.measure(cases, peers, settings, tell)
    measured.company = company.measure(experiments, settings, lambda line: print(line, flush=True))
    measured.settings["minutes"] = (time.monotonic() - begin) / 60
    measured.settings["arguments"] = list(arguments)
    measured.save(path)
    print("\n" + report.terminal(measured))
    print(f"saved as {path}")
    return 0


def show(arguments: Sequence[str]) -> int:
    """Write the tables and pictures of a saved run, and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m bench report")
    parser.add_argument("path", type=Path)
    parser.add_argument("--output", type=Path, default=DOCUMENTATION, help="folder for the files")
    options = parser.parse_args(arguments)
    loaded = results.load(options.path)
    print(report.terminal(loaded))
    for written in report.write(loaded, options.output):
        print(f"wrote {written}")
    return 0


def judge(arguments: Sequence[str]) -> int:
    """Print the goals with their verdicts; fail if one falls short."""
    parser = argparse.ArgumentParser(prog="python -m bench claims")
    parser.add_argument("path", type=Path)
    options = parser.parse_args(arguments)
    loaded = results.load(options.path)
    print(report.plain(report.claim_table(loaded)), end="")
    most = max((case.threads for case in loaded.cases()), default=1)
    return int(any(claim.holds is False for claim in claims.claims(loaded, most)))


def install(arguments: Sequence[str]) -> int:
    """Install the peers named, or all."""
    environments.install(arguments or list(environments.REQUIREMENTS))
    return 0


def main() -> int:
    """Carry out one command."""
    commands = {
        "report": show,
        "claims": judge,
        "accelerated": accelerated.main,
        "accuracy": accuracy.main,
        "demo": demo.main,
        "distributed": distributed.main,
        "recipes": recipes.main,
        "micro": native.micro,
        "pair": pair.main,
        "held": held.main,
        "onnx-files": onnx_files.main,
        "crowded": crowded.main,
        "keras-epochs": keras_epochs.main,
        "meeting": meeting.main,
        "simple-rnn": simple_rnn.main,
        "install": install,
    }
    arguments = sys.argv[1:]
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:])
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
