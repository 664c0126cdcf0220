"""The bits of results match the digests in tests/golden/digests.json.

No restructuring of the engine may change a bit of outputs or gradients. One digest covers all
arrays of a call; a failure names the configuration and the call.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import golden_runs

GOLDEN = Path(__file__).parents[2] / "golden" / "digests.json"
DIGESTS = json.loads(GOLDEN.read_text())


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the digests are for x86 processors"
)
@pytest.mark.parametrize("isa", DIGESTS)
def test_results_match_the_stored_digests(isa):
    run = subprocess.run(
        [sys.executable, golden_runs.__file__],
        env={**os.environ, "LSTMCORE_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0 and "LSTMCORE_ISA" in run.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert run.returncode == 0, run.stderr
    digests = json.loads(run.stdout)["digests"]
    assert digests.keys() == DIGESTS[isa].keys()
    changed = [name for name, digest in digests.items() if digest != DIGESTS[isa][name]]
    assert changed == []


def test_every_option_differs_in_some_runs():
    configurations = [golden_runs.Run(number).config for number in range(golden_runs.COUNT)]
    plain = golden_runs.LSTMConfig(1, 1)
    for name in plain.__dataclass_fields__:
        values = {getattr(config, name) for config in configurations}
        assert len(values) > 1, name
