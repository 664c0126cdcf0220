"""The example that trains PyTorch's tutorial model both ways."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

EXAMPLE = Path(__file__).parents[3] / "examples" / "python" / "pytorch_tutorial.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="examples are only in the source tree")
def test_losses_agree():
    options = ["--steps", "10", "--batch", "4", "--length", "12", "--words", "100"]
    result = subprocess.run(
        [sys.executable, str(EXAMPLE), *options, "--threads", "1"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "times as fast" in result.stdout
    assert result.stderr == ""
