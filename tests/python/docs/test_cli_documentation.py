"""The commands of docs/command_line.md print what the page shows, apart from numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstmcore as lc

PAGE = Path(__file__).parents[3] / "docs" / "command_line.md"

pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="the page is only in the source tree"),
    pytest.mark.skipif(os.name != "posix", reason="the commands are those of a shell"),
]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def commands():
    """Yield each command of the page with its output."""
    for block in blocks("console"):
        for entry in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = entry.partition("\n")
            yield command, output


def without_numbers(text):
    """Remove what may differ between machines: numbers, and the description of the platform."""
    text = re.sub(r"^(platform|instruction set) .*$", r"\1", text, flags=re.M)
    return re.sub(r"[ \d.,+-]*\d[\d.,+e-]*", " # ", text)


# Takes a few seconds: four short training runs, and a process for each command.
def test_commands_do_what_the_page_shows(tmp_path):
    setup = blocks("python")[0]
    path = os.pathsep.join([str(Path(lc.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", setup], cwd=tmp_path, env=environment, check=True)
    shown = list(commands())
    assert len(shown) > 10
    function = f'lstmcore() {{ "{sys.executable}" -m lstmcore "$@"; }}'
    for command, output in shown:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", f"{function}\n{command}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert without_numbers(done.stdout) == without_numbers(output), command
    # The page's Python code, which uses such a model, works as well.
    code = "\n".join(["import numpy as np", *blocks("py")])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_every_command_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    for name in ("train", "predict", "evaluate", "info", "convert"):
        assert re.search(rf"^(    |\$ )lstmcore {name}\b", text, re.M)
