"""``python -m lstmcore`` is the console script ``lstmcore``."""

from lstmcore.cli import main

raise SystemExit(main())
