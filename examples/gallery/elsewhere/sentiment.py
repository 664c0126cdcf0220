"""The demo: it tells whether a sentence of a film review is praise."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = ("Sentiment", "../demo.md")
MEASURES = {"*": ("accuracy", "higher")}
WISHED = {
    "bidirectional LSTM": "> naive Bayes on word counts; >= 0.82",
    "LSTM and naive Bayes together": ">= 0.82",
}
PROGRAM = Path(__file__).resolve().parents[2] / "python" / "train_sentiment.py"


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Return the accuracies that the demo prints; means over three seeds with `full`."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, str(PROGRAM), "--seeds", "3" if full else "1"]
        call += ["--seed", str(seed), "--output", folder]
        printed = subprocess.run(call, check=True, capture_output=True, text=True).stdout
        if pictures is not None:
            shutil.copyfile(Path(folder) / "learning_curve.svg", Path(pictures) / "sentiment.svg")
    table = printed.split("accuracy on the test sentences")[1]
    found = re.findall(r"^  (\S.*?) +(0\.\d+) ", table, re.MULTILINE)
    return {name: float(value) for name, value in found}
