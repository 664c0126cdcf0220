"""Every operator of `lstmcore.onnx` on the cases of the standard's own test suite."""

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
from lstmcore.onnx.operators import OPERATORS  # noqa: E402

# Part of the error message of each group of unsupported cases, and a description of the group.
REFUSED = {
    "a NumPy number type": "strings, bfloat16, and numbers below a byte",
    "nothing is dropped at inference": "Dropout in training mode",
    "nothing is trained here": "BatchNormalization in training mode",
    "expected a tensor, got a": "sequences and optional values",
    "Indices: not supported": "MaxPool that returns the index of the maximum",
    "implemented since": "versions of operators from before 2018",
}


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
        found.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found


@functools.cache
def official_cases():
    """Return the cases that need only lstmcore's operators, by operator."""
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
        names = operators(case.model.graph)
        if names <= set(OPERATORS):
            for name in names:
                cases.setdefault(name, []).append(case)
    return cases


_DONE = {}


def run_case(case):
    """Compare all outputs of a case; return False if it is refused for a known reason."""
    if case.name not in _DONE:
        _DONE[case.name] = compare(case)
    return _DONE[case.name]


def compare(case):
    try:
        prepared = lc_onnx.Backend.prepare(case.model)
    except ValueError as error:
        if any(words in str(error) for words in REFUSED):
            return False
        raise
    for inputs, outputs in data_sets(case):
        try:
            results = prepared.run([array(value) for value in inputs])
        except ValueError as error:
            if any(words in str(error) for words in REFUSED):
                return False
            raise
        for result, expected in zip(results, map(array, outputs), strict=True):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=case.rtol, atol=case.atol)
    return True


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_official_cases(name):
    ran = 0
    for case in official_cases().get(name, []):
        try:
            ran += run_case(case)
        except Exception as error:
            raise AssertionError(f"{case.name}: {error}") from error
    assert ran > 0


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
