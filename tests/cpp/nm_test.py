"""Check that the objects of one instruction set define no symbols that others might use.

Usage: nm_test.py NM ISA OBJECT...

Templates compiled for one instruction set must never be merged by the linker with another's or with
a host program's. So a weak or global symbol may be defined only inside ``lstmcore::ISA`` or the
renamed Eigen, ``lstmcore_eigen_ISA``; the strong symbols of all objects together are the functions
that return the tables, ``lstmcore::ISA::kernel_table()`` and others, and those that fill them,
``lstmcore::ISA::put_*``, each defined once; and nothing may run before ``main`` (no
``.init_array``), as it would on machines that lack the instruction set.
"""

from __future__ import annotations

import re
import subprocess
import sys

WEAK = "VvWwu"
TABLES = ("kernel_table", "kernels_f32", "kernels_f64", "training_f32", "training_f64")


def defined_symbols(nm: str, path: str) -> list[tuple[str, str]]:
    """Return the kind and demangled name of every symbol that the object exports."""
    output = subprocess.run(
        [nm, "--demangle", "--defined-only", "--extern-only", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    symbols = []
    for line in output.splitlines():
        fields = line.split(maxsplit=2)
        if len(fields) == 3:
            symbols.append((fields[1], fields[2]))
    return symbols


def runs_before_main(path: str) -> bool:
    """Return whether the object has a section of constructors; the file would contain its name."""
    with open(path, "rb") as file:
        content = file.read()
    return b".init_array" in content or b".ctors" in content


def is_inside(name: str, isa: str) -> bool:
    """Return whether a demangled name belongs to one of the two namespaces."""
    # The name of a function template follows its return type, and that of a vtable follows words:
    # take the last word before any bracket.
    qualified = re.split(r"[<(]", name)[0].split()[-1]
    return qualified.startswith((f"lstmcore::{isa}::", f"lstmcore_eigen_{isa}::"))


def problems_of_object(nm: str, isa: str, path: str) -> list[str]:
    """Return the problems of a single object."""
    found = [
        f"a symbol ({kind}) outside the two namespaces: {name}"
        for kind, name in defined_symbols(nm, path)
        if kind in WEAK and not is_inside(name, isa)
    ]
    if runs_before_main(path):
        found.append("has code that runs before main")
    return [f"{path}: {problem}" for problem in found]


def problems_of_exports(strong: list[str], isa: str) -> list[str]:
    """Return the problems of the strong symbols of all objects together."""
    tables = [f"lstmcore::{isa}::{name}()" for name in TABLES]
    part = re.compile(
        rf"lstmcore::{isa}::put_\w+\(lstmcore::kernels::(KernelTable|\w+<(float|double)>)&\)"
    )
    found = [
        f"a strong symbol that neither returns a table nor fills one: {name}"
        for name in strong
        if name not in tables and not part.fullmatch(name)
    ]
    found += [f"{table} is not defined" for table in tables if table not in strong]
    if len(set(strong)) < len(strong):
        found.append(f"strong symbols that are defined twice: {sorted(strong)}")
    return found


def main(nm: str, isa: str, *paths: str) -> int:
    """Print the problems; return 1 if there are any, or no objects."""
    strong = [
        name for path in paths for kind, name in defined_symbols(nm, path) if kind not in WEAK
    ]
    failures = [problem for path in paths for problem in problems_of_object(nm, isa, path)]
    failures += problems_of_exports(strong, isa)
    for failure in failures:
        print(failure)
    print(f"{len(paths)} objects, {len(failures)} problems")
    return 1 if failures or not paths else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
