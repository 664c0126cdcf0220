"""Type checkers find users' mistakes, and no errors in correct programs."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from lstmcore import _core, _typing
from lstmcore.config import LSTMConfig, StepOptions, WalkOptions
from lstmcore.layers import cell_options, initializers
from lstmcore.layers.keras_words import CONFIG_NAMES
from lstmcore.training import losses, metrics, optimizers

PROGRAMS = Path(__file__).parents[2] / "typing"
MARK = re.compile(r"# error: (.+)$")


@pytest.fixture(scope="module")
def findings():
    """Return the errors of all programs: file, line and message; pyright runs only once."""
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=PROGRAMS,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},  # do not look for newer versions
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] >= 2
    return [
        (Path(entry["file"]).name, entry["range"]["start"]["line"] + 1, entry["message"])
        for entry in report["generalDiagnostics"]
    ]


def test_right_programs_have_no_errors(findings):
    assert [entry for entry in findings if entry[0] == "right_programs.py"] == []


def test_every_intended_error_is_seen_and_no_other(findings):
    name = "intended_errors.py"
    lines = (PROGRAMS / name).read_text(encoding="utf-8").splitlines()
    marks = {number: m[1] for number, text in enumerate(lines, 1) if (m := MARK.search(text))}
    assert len(marks) >= 60
    found: dict[int, str] = {}
    for file, line, message in findings:
        if file == name:
            found[line] = found.get(line, "") + message
    assert {line: lines[line - 1] for line in sorted(set(found) ^ set(marks))} == {}
    for line, word in marks.items():
        assert word in found[line], lines[line - 1]


# ---- names of options are defined once --------------------------------------------------------


def test_typed_names_match_the_engine():
    assert list(get_args(_typing.Precision)) == _core.precision_names()
    for name in get_args(_typing.CellActivation):
        assert LSTMConfig(1, 1, gate_activation=name).gate_activation.name == name
    with pytest.raises(ValueError, match="expected one of") as error:
        _core.LstmConfig(input_size=1, hidden_size=1, gate_activation="none of them")
    listed = str(error.value).partition("expected one of ")[2].partition(", got")[0].split(", ")
    assert set(listed) == set(get_args(_typing.CellActivation))


def test_typed_names_match_the_tables():
    assert set(get_args(_typing.InitializerName)) == set(initializers._INITIALIZERS)
    for alias, table in (
        (_typing.OptimizerName, optimizers._NAMES),
        (_typing.LossName, losses.NAMES),
        (_typing.MetricName, {"accuracy", "acc", *metrics.NAMES}),
    ):
        assert set(get_args(alias)) == set(table)


def test_keywords_of_torch_modules_match_the_configuration():
    fields = {field.name for field in dataclasses.fields(LSTMConfig)}
    of_torch = {"input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional"}
    assert set(WalkOptions.__annotations__) == fields - of_torch - {"proj_size"}
    assert set(WalkOptions.__annotations__) - set(StepOptions.__annotations__) == {"go_backwards"}
    kinds = get_type_hints(LSTMConfig)
    for name, kind in get_type_hints(WalkOptions).items():
        assert kind == kinds[name]


def test_options_of_layers_match_the_configuration():
    fields = {field.name for field in dataclasses.fields(LSTMConfig)}
    of_a_stack = {"input_size", "num_layers", "bidirectional", "go_backwards", "dropout"}
    of_a_cell = {CONFIG_NAMES.get(name, name) for name in ("units", *cell_options.OPTIONS)}
    assert fields - of_a_stack == of_a_cell & fields
    assert of_a_cell.isdisjoint(of_a_stack)
    keywords = get_type_hints(cell_options.CellKeywords)
    kinds = get_type_hints(LSTMConfig)
    for name, kind in get_type_hints(cell_options.CellAttributes).items():
        if not name.endswith(("_regularizer", "_constraint")):  # a name becomes an object
            assert keywords.pop(name) == kind
        option = cell_options.ENGINE_OPTIONS.get(name)
        if option is not None and name != "output_activation":  # None: the same as `activation`
            assert kind == kinds[option.name]
    assert set(keywords) == {
        f"{weights}_{suffix}"
        for weights in ("kernel", "recurrent", "bias")
        for suffix in ("regularizer", "constraint")
    }
