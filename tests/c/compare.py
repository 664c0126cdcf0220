"""Run a program, and compare the numbers that it prints with those of a file.

Usage: compare.py EXPECTED PROGRAM [ARGUMENT...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOLERANCE = (
    1e-6  # an LSTM of few units; Python, which wrote the file, may have had another instruction set
)


def main(expected: str, *command: str) -> int:
    """Return 1 if the program fails, or its numbers are others."""
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    came = [float(word) for word in printed.split()]
    wanted = [float(word) for word in Path(expected).read_text(encoding="utf-8").split()]
    errors = [abs(a - b) for a, b in zip(came, wanted, strict=True)]
    print(f"{len(came)} numbers, largest difference {max(errors):.2g}")
    return 0 if wanted and all(error <= TOLERANCE for error in errors) else 1  # `max` may hide NaN


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
