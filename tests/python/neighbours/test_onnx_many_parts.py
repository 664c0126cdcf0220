"""Models with many parts: what counts for each of them, and errors that say what helps."""

import re

import numpy as np
import pytest

import lstmcore as lc

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from lstmcore import onnx as lc_onnx
from lstmcore.onnx.limits import limits_of
from lstmcore.onnx.parts import opened_session
from onnx_kit import make_model, op, runtime, tensor, weighty
from onnx_part_kit import (
    constant_in_parts,
    functions,
    in_branches,
    packed,
    packed_by_runtime,
    sessions,
)

X = {"x": np.full((1, 1, 1), 0.5, np.float32)}

REFUSED = {
    "parts": (sessions(75), r"node.* to 'e7.' \(Erf\): expected at most \d+ parts between"),
    "parts in branches": (
        in_branches(40),
        r"\(Erf\): expected at most \d+ parts between recurrent",
    ),
    "constants": (constant_in_parts(4, 1_000_000), r"\(Range\): expected constants of at most"),
    "weights": (packed(4, 500), r"'y2' \(LSTM\): expected constants of at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_advice_of_an_error_works(name):
    model, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as found:
        lc_onnx.load(model, same_bits=True)
    advised = int(re.search(r"memory_limit=(\d+) of lstmcore.onnx.load", str(found.value))[1])
    assert advised == 1 << 30
    loaded = lc_onnx.load(model, same_bits=True, memory_limit=advised)
    (result,) = loaded.run(X).values()
    assert np.isfinite(result).all()


def test_a_larger_file_may_have_more_parts():
    model = weighty(sessions(75), 6000)
    found, expected = lc_onnx.load(model, same_bits=True).run(X), runtime(model, X)
    np.testing.assert_allclose(found["s74"], expected["s74"], atol=1e-5)
    sizes = (0, 1 << 16, 1 << 30)
    assert [limits_of(size, None, 1).parts for size in sizes] == [64, 128, 64 + (1 << 20)]
    assert limits_of(0, 1 << 29, 1).parts == 64


def test_functions_allow_no_more_than_the_file():
    """What they stand for does not count as bytes of the model."""
    with pytest.raises(ValueError, match="expected at most 65 parts"):
        lc_onnx.load(functions(3, 5))


def test_weights_of_the_file_are_free_once():
    """A small file may have an LSTM of many inputs; each further one with its weights counts."""
    weights = {"W": np.ones((1, 4, 60_000)), "R": np.ones((1, 4, 1))}
    inputs = [tensor(name, values) for name, values in weights.items()]

    def model(count):
        nodes = [op("LSTM", "xWR", ["", f"h{k}"], hidden_size=1) for k in range(count)]
        nodes.append(op("Sum", [f"h{k}" for k in range(count)], ["y"]))
        return make_model(nodes, ["x"], ["y"], inputs)

    lc_onnx.load(model(4))
    with pytest.raises(ValueError, match=r"'h\d' \(LSTM\): expected constants of at most"):
        lc_onnx.load(model(6))


def test_products_of_the_file_are_packed_once():
    """Weights of one column take 16 times their bytes."""
    few, many = (
        packed_by_runtime([op("MatMul", "xw")], (rows, 1), (1, rows)) for rows in (1000, 200_000)
    )
    lc_onnx.load(few)
    with pytest.raises(ValueError, match=r"\(MatMul\): expected constants of at most"):
        lc_onnx.load(many, memory_limit=8 << 20)


def test_few_threads_of_many_parts_spin(monkeypatch):
    """Those that spin take some 40 ms each as they start."""
    opened = []

    def noted(*arguments):
        opened.append(opened_session(*arguments))
        return opened[-1]

    monkeypatch.setattr("lstmcore.onnx.parts.opened_session", noted)
    lc.set_num_threads(6)
    lc_onnx.load(sessions(20), same_bits=True)
    options = [session.get_session_options() for session in opened]
    assert [entry.intra_op_num_threads for entry in options] == [6] * 16 + [4] * 4
    spin = []
    for entry in options:
        try:
            spin.append(entry.get_session_config_entry("session.intra_op.allow_spinning") != "0")
        except RuntimeError:  # there is no such entry
            spin.append(True)
    assert spin == [True] * 6 + [False] * 14
