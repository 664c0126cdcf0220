"""The operators that `lstmcore.onnx` runs itself on the cases of the standard's own test suite."""

import functools
import unittest
import warnings
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import numpy_helper  # noqa: E402
from onnx.backend.test import BackendTest  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx import collect  # noqa: E402
from lstmcore.onnx.graph import graphs_of, label_of  # noqa: E402
from lstmcore.onnx.operators import OPERATORS  # noqa: E402
from onnx_kit import without_runtime  # noqa: E402

# Part of the error message of each group of unsupported cases, and a description of the group.
REFUSED = {
    "a NumPy number type": "strings, bfloat16, and numbers below a byte",
    "expected a tensor, got a": "sequences and optional values",
}
CONTROL = sorted(label for label, entry in OPERATORS.items() if entry.kind == "control")
OTHERS = sorted(
    label for label, entry in OPERATORS.items() if entry.kind != "control" and "." not in label
)


def tensors(folder, kind):
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda file: int(file.stem.split("_")[-1]))
    return [onnx.load_tensor(file) for file in files]


def data_sets(case):
    if case.data_sets is not None:
        return case.data_sets
    folders = sorted(Path(case.model_dir).glob("test_data_set_*"))
    return [(tensors(folder, "input"), tensors(folder, "output")) for folder in folders]


def array(value):
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


def operators(graph):
    found = set()
    for node in graph.node:
        found.add(label_of(node))
        for inner in graphs_of(node):
            found |= operators(inner)
    return found


@functools.cache
def official_cases():
    """Return all cases, by operator."""
    cases = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the suite's own computations
        found = [
            case
            for kind in ("node", "simple", "pytorch-operator", "pytorch-converted")
            for case in load_model_tests(kind=kind)
        ]
    for case in found:
        if case.model is None:
            case.model = onnx.load(Path(case.model_dir) / "model.onnx")
        for name in operators(case.model.graph):
            cases.setdefault(name, []).append(case)
    return cases


def compare(case):
    """Compare all outputs of a case; return False if it is refused for a known reason."""
    try:
        prepared = lc_onnx.Backend.prepare(case.model)
    except ValueError as error:
        if any(words in str(error) for words in REFUSED):
            return False
        raise
    for inputs, outputs in data_sets(case):
        results = prepared.run([array(value) for value in inputs])
        for result, expected in zip(results, map(array, outputs), strict=True):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=case.rtol, atol=case.atol)
    return True


def run_cases(cases):
    """Return how many cases ran."""
    ran = 0
    for case in cases:
        try:
            ran += compare(case)
        except Exception as error:
            raise AssertionError(f"{case.name}: {error}") from error
    return ran


@pytest.mark.parametrize("name", OTHERS)
def test_official_cases(name):
    """Of models that need nothing but the operators here, so that no part is run elsewhere."""
    own = [c for c in official_cases()[name] if operators(c.model.graph) <= set(OTHERS)]
    assert run_cases(own) > 0


@pytest.mark.parametrize("name", CONTROL)
def test_official_cases_of_loops_and_branches(name, monkeypatch):
    """Open all of them, although nothing in them is recurrent."""
    monkeypatch.setattr(collect, "_is_recurrent", lambda graph: True)
    without_runtime(monkeypatch)  # it may not know the newest version of the standard yet
    since = OPERATORS[name].since
    known = [c for c in official_cases()[name] if c.model.opset_import[0].version >= since]
    assert run_cases(known) > 0


def test_the_page_lists_every_operator():
    page = Path(__file__).parents[3] / "docs" / "onnx.md"
    if not page.exists():
        pytest.skip("the pages are only in the source tree")
    text = page.read_text(encoding="utf-8")
    assert not [name for name in OPERATORS if f"`{name}`" not in text]


def test_lstm_cases_in_the_suites_own_runner():
    suite = BackendTest(lc_onnx.Backend, __name__)
    suite.include(r"^test_lstm_.*_cpu$")
    tests = unittest.TestSuite(
        unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in suite.test_cases.values()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = unittest.TestResult()
        tests.run(outcome)
    assert not outcome.errors
    assert not outcome.failures
    ran = outcome.testsRun - len(outcome.skipped)
    assert ran == len(official_cases()["LSTM"])
