"""Run a program of examples/c on inputs that are wrong: it must say what, and end with status 1.

Usage: refusals.py GOLDEN PROGRAM [ARGUMENT...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

# Inputs for a model of two features, how many of their steps are right, and what is said then.
CASES = (
    ("1 2\n3\n", 1, "line 2: ", "expected 2 ", ", got 1"),
    ("1 2\n3 x\n", 1, 'line 2: expected finite numbers, got "x"'),
    ("1 2 3\n4 5 6\n", 0, "line 1: ", "expected 2 ", ", got 3"),
    ("1 2\n\n3 4\n", 1, "line 2: ", "expected 2 ", ", got 0"),
    ("1 2\n3 4\n5 6 7 8\n", 2, "line 3: ", "expected 2 ", ", got 4"),
    ("1,5 2\n", 0, 'line 1: expected finite numbers, got "1,5'),
    ("1 2\n1 1e39\n", 1, 'line 2: expected finite numbers, got "1e39"'),
    ("nan 2\n", 0, 'line 1: expected finite numbers, got "nan'),
)


def refused(command: list[str], steps: int, *parts: str) -> bool:
    """Return whether a program writes the outputs of `steps`, then an error with these parts."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    fine = (
        done.returncode == 1 and len(lines) == steps and all(part in done.stderr for part in parts)
    )
    fine = fine and "Traceback" not in done.stderr
    if not fine:
        print(f"expected {steps} lines and an error with {parts}, got {done}")
    return fine


def main(golden: str, *program: str) -> int:
    """Return 1 if something is not refused as it should be."""
    model, tokens = (
        str(Path(golden, f"{name}_model.safetensors")) for name in ("stream", "tokens")
    )
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.txt")
        results = []
        for text, steps, *parts in CASES:
            inputs.write_text(text, encoding="utf-8")
            results.append(refused([*program, model, str(inputs)], steps, "inputs.txt, ", *parts))
        missing = str(Path(folder, "missing"))
        inputs.write_text("1 2\n", encoding="utf-8")
        results += [
            refused([*program, model, missing], 0, "missing"),
            refused([*program, model, folder], 0, folder),
            refused([*program, missing, str(inputs)], 0, "missing: cannot be read"),
            refused([*program, str(inputs), str(inputs)], 0, "inputs.txt: "),
            refused([*program, tokens, str(inputs)], 0, "model"),
        ]
    print(f"{sum(results)} of {len(results)} are refused")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
