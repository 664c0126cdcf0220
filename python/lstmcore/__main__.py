"""``python -m lstmcore`` runs the command line program ``lstmcore``."""

from lstmcore.cli import main

raise SystemExit(main())
