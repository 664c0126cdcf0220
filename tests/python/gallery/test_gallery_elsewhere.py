"""The gallery's table has the figures that programs of other folders print."""

import runpy

import pytest

from gallery_kit import PROGRAMS

pytestmark = pytest.mark.skipif(
    not PROGRAMS.exists(), reason="the examples are only in the source tree"
)

# What the programs print is tested in docs/test_examples; here a shorter one takes their place.
DEMO = """
import sys
from pathlib import Path

folder = Path(sys.argv[sys.argv.index("--output") + 1])
(folder / "learning_curve.svg").write_text(" ".join(sys.argv[1:]))
print("seed 0: 8454 sentences to train\\n\\n1 models in 3.0 s")
print("\\naccuracy on the test sentences: mean, and for each seed")
print(f"  {'naive Bayes on word counts':32} 0.799     0.802  0.793")
print(f"  {'bidirectional LSTM':32} 0.810     0.811  0.802")
print("\\nwrote a file\\n\\nnegative  0.98  The plot is a tedious mess.")
"""
WALKS = """
import sys

print(f"accuracy on 1,000 new walks: 0.9{sys.argv[sys.argv.index('--seed') + 1]}")
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a program of `elsewhere` around another one."""

    def call(name, text, **options):
        found = runpy.run_path(str(PROGRAMS / "elsewhere" / f"{name}.py"))["run"]
        assert found.__globals__["PROGRAM"].exists()
        found.__globals__["PROGRAM"] = tmp_path / "program.py"
        (tmp_path / "program.py").write_text(text, encoding="utf-8")
        return found(**options)

    return call


@pytest.mark.parametrize(("full", "seeds"), [(False, 1), (True, 3)])
def test_the_demo(run, tmp_path, full, seeds):
    figures = run("sentiment", DEMO, full=full, seed=4, pictures=tmp_path)
    assert figures == {"naive Bayes on word counts": 0.799, "bidirectional LSTM": 0.81}
    picture = (tmp_path / "sentiment.svg").read_text(encoding="utf-8")
    assert picture.startswith(f"--seeds {seeds} --seed 4 ")


def test_the_first_program(run, tmp_path):
    assert run("walks", WALKS, seed=4, pictures=tmp_path) == {"accuracy": 0.94}
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]
