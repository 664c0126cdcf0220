"""Fuzz lstmcore: `python tests/fuzz [TARGET ...] --seconds 60`; see docs/reliability.md."""

import argparse
import sys
from pathlib import Path

import campaign
import targets


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="python tests/fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(targets.NAMES))
    parser.add_argument(
        "--seconds", type=float, help="for each target; default 60 without --inputs"
    )
    parser.add_argument("--inputs", type=int, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--artifacts", type=Path, default=Path("build/fuzz/finds"))
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(targets.NAMES))
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}: expected {', '.join(targets.NAMES)}")
    seconds = options.seconds if options.seconds or options.inputs else 60
    found = False
    for name in options.targets or targets.NAMES:
        missing = targets.by_name(name).missing()
        if missing:
            print(f"{name}: skipped, {', '.join(missing)} not installed", flush=True)
            continue
        report = campaign.run(
            name, seconds, options.inputs, options.seed, options.first, options.artifacts
        )
        print(report.line(), flush=True)
        found = found or bool(report.finds)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
