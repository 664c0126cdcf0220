"""Without PyTorch, functions that need it raise errors that say what to install."""

import subprocess
import sys

CODE = """
import sys

sys.modules["torch"] = None  # as if it were not installed
try:
    import lstmcore.torch
except ImportError as error:
    sys.exit(0 if 'not installed: pip install torch' in str(error) else str(error))
sys.exit("it was imported")
"""


def test_missing_torch_is_explained():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
