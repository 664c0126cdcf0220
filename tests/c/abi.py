"""Compare the functions that the shared library exports with the header and with a stored list.

Usage: abi.py NM LIBRARY HEADER SYMBOLS

If a function was added, add it to the list. If one was removed, or the meaning of one has changed,
programs that are built already would break: that needs a new LSTMCORE_ABI_VERSION.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def exported(nm: str, library: str) -> list[str]:
    """List the symbols that the library defines for others, whatever their kind."""
    command = [nm, "--dynamic", "--defined-only", "--extern-only", library]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1].split("@")[0] for line in output.splitlines())
    # The version of the symbols themselves is an absolute symbol without code.
    return sorted(name for name in names if not name.startswith("LSTMCORE_"))


def declared(header: str) -> list[str]:
    """List the functions that the header declares."""
    text = re.sub(r"/\*.*?\*/", "", Path(header).read_text(encoding="utf-8"), flags=re.DOTALL)
    return sorted(re.findall(r"LSTMCORE_API [^;()]*?\b(lstmcore_\w+)\(", text))


def listed(symbols: str) -> list[str]:
    """List the functions of the committed list, which is in order."""
    return Path(symbols).read_text(encoding="utf-8").split()


def main(nm: str, library: str, header: str, symbols: str) -> int:
    """Print the differences; return 1 if there are any."""
    expected = listed(symbols)
    failures = [] if expected == sorted(set(expected)) else [f"{symbols} is not in order"]
    for what, found in (("exported", exported(nm, library)), ("declared", declared(header))):
        failures += [f"{name} is {what}, but not listed" for name in sorted({*found} - {*expected})]
        failures += [f"{name} is listed, but not {what}" for name in sorted({*expected} - {*found})]
    for failure in failures:
        print(failure)
    print(f"{len(expected)} functions, {len(failures)} differences")
    return 1 if failures or not expected else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
