"""Without JAX, importing lstmcore.jax says how to install it."""

import subprocess
import sys

from lstmcore._extras import how_to_install

PROGRAM = """
import sys
sys.modules["jax"] = None
try:
    import lstmcore.jax
except ImportError as error:
    print(error)
"""


def test_the_error_says_how_to_install_jax():
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip().endswith(how_to_install("jax"))
    assert output.startswith("lstmcore.jax needs JAX")
