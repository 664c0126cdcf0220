"""Trials of faults: ``python tests/faults`` prints a table of them, and fails if one fails.

``--form short`` takes about a minute, ``full`` half an hour. Every instant is drawn from
``--seed``, though what a process is doing then depends on the machine. ``--only TEXT`` picks trials
by name.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import calls  # noqa: F401 - registers its trials
import files  # noqa: F401 - registers its trials
import numpy as np
from kit import TRIALS, Skipped, Trial


def result_of(one: Trial, folder: Path, often: int, seed: int) -> tuple[str, str]:
    """Run a trial; return how it ended, and its figures."""
    folder.mkdir(mode=0o755)
    try:
        return "ok", one.run(folder, often, np.random.default_rng(seed))
    except Skipped as reason:
        return "skipped", str(reason)
    except Exception:
        return "FAILED", traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the trials and print their table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=("short", "full"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="trials with this text in their names")
    parser.add_argument("--often", type=int, help="how often, instead of what the form says")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="lstmcore-faults-"))
    base.chmod(0o755)  # one trial writes as another user
    failed = ran = 0
    try:
        for number, one in enumerate(TRIALS):
            if options.only not in one.name:
                continue
            often = options.often or one.often[options.form]
            began = time.monotonic()
            outcome, figures = result_of(one, base / str(number), often, options.seed)
            took = time.monotonic() - began
            print(f"{outcome:8}{often:7} x  {one.name} ({took:.1f} s)")
            print(f"{'':19}{figures}", flush=True)
            failed += outcome == "FAILED"
            ran += outcome == "ok"
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print(f"{ran} trials passed, {failed} failed (seed {options.seed})")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
