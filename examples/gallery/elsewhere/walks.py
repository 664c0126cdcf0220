"""The first program of README and quick start: it tells which walks end above their start."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = ("Random walks", "../quickstart.md")
MEASURES = {"accuracy": ("share of new walks", "higher")}
WISHED = {"accuracy": ">= 0.93"}
PROGRAM = Path(__file__).resolve().parents[2] / "python" / "random_walks.py"


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Return the accuracy that the program prints; it has one mode."""
    with tempfile.TemporaryDirectory() as folder:  # its picture belongs to another page
        call = [sys.executable, str(PROGRAM), "--seed", str(seed), "--output", folder]
        printed = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    return {"accuracy": float(re.findall(r"new walks: ([\d.]+)", printed)[0])}
