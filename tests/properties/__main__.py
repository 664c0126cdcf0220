"""Random calls against a reference: ``python tests/properties --draws 100000``.

Every instruction set of the machine gets that many draws (``tests/python/draws.py``), each of which
is a function of its number; ``--first`` repeats them from another number. Products of lower
precision are computed by any unit that can, even where float32 would be faster.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))


def campaign(first: int, count: int) -> int:
    """Check draws with the instruction set in use; print the figures; return the exit code."""
    import lstmcore as lc
    from draws import BOUNDS, PAIRS, Errors, check, draw

    began = time.monotonic()
    draws = dict.fromkeys(BOUNDS, 0)
    worst = {precision: [0.0, 0.0] for precision in BOUNDS}
    all_errors = {precision: Errors(precision) for precision in BOUNDS}
    pairs: collections.Counter[tuple[str, str, str]] = collections.Counter()
    failures = []
    for number in range(first, first + count):
        one = draw(number)
        try:
            errors = check(one)
        except AssertionError as error:
            failures.append(str(error))
            continue
        draws[one.precision] += 1
        all_errors[one.precision].add(one, errors)
        most = worst[one.precision]
        worst[one.precision] = [max(pair) for pair in zip(most, errors, strict=True)]
        pairs.update((*pair, one.precision) for pair in combinations(one.names, 2))
    for of_precision in all_errors.values():
        try:
            of_precision.check()
        except AssertionError as error:
            failures.append(str(error))
    took = time.monotonic() - began
    print(f"{lc.cpu_info().isa}: {count} draws in {took:.0f} s, {len(failures)} failed")
    units = lc.cpu_info().product_units
    for precision, (values, gradients) in worst.items():
        seen = [pairs[(*pair, precision)] for pair in PAIRS]
        unit = units.get(precision, "float64")
        print(
            f"  {precision:8} {draws[precision]:7} draws on {unit:16} "
            f"{sum(map(bool, seen))} of {len(PAIRS)} pairs of options, each {min(seen)} to "
            f"{max(seen)} times; largest error of values {values:.1e}, of gradients {gradients:.1e}"
        )
        for kind, (median, ninth) in all_errors[precision].usual().items():
            print(f"{'':11}{kind}: median {median:.1e}, 90th percentile {ninth:.1e}")
    for failure in failures[:20]:
        print(f"  FAILED {failure}")
    return bool(failures)


def main() -> int:
    """Run a campaign for each instruction set in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--isa", help="one instruction set instead of all that the machine has")
    parser.add_argument("--here", action="store_true", help="in this process, with its own")
    options = parser.parse_args()
    if options.here:
        return campaign(options.first, options.draws)
    from lstmcore import _core

    sets = [options.isa] if options.isa else _core.supported_isas()
    failed = 0
    for isa in sets:
        environment = {**os.environ, "LSTMCORE_ISA": isa, "LSTMCORE_UNITS": "any"}
        command = [sys.executable, __file__, "--here", f"--draws={options.draws}"]
        command.append(f"--first={options.first}")
        failed += subprocess.run(command, env=environment, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
