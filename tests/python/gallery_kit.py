"""Runs the programs of the gallery for tests."""

import runpy
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[2] / "examples" / "gallery"


def run_program(name, pictures, **options):
    """Return the figures of a program's quick run, which draws into a folder."""
    pytest.importorskip("matplotlib")
    path = PROGRAMS / f"{name}.py"
    if not path.exists():
        pytest.skip("the examples are only in the source tree")
    return runpy.run_path(str(path))["run"](pictures=pictures, **options)
