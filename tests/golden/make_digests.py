"""Write digests.json: digests of two hundred random configurations, for each instruction set.

Run it when results change on purpose, on a processor that has them all, and say in the commit why
they changed: ``python tests/golden/make_digests.py``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from lstmcore import _core

HERE = Path(__file__).parent
RUNS = HERE.parent / "python" / "golden_runs.py"

digests = {}
for isa in _core.known_isas():
    environment = {**os.environ, "LSTMCORE_ISA": isa}
    written = subprocess.run([sys.executable, str(RUNS)], env=environment, check=True, stdout=-1)
    result = json.loads(written.stdout)
    assert result["isa"] == isa
    digests[isa] = result["digests"]
(HERE / "digests.json").write_text(json.dumps(digests, indent=0) + "\n")
