"""The modules of tests/fuzz, for tests."""

import sys
from pathlib import Path

FUZZ = Path(__file__).parent.parent / "fuzz"
CORPUS = FUZZ / "corpus"

if str(FUZZ) not in sys.path:
    sys.path.append(str(FUZZ))
