"""Models for which there is too little memory."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("resource", reason="this system limits no memory")

if not sys.platform.startswith("linux"):
    pytest.skip("only Linux counts what a process takes", allow_module_level=True)

BEGIN = """
import re, resource
import numpy as np
from lstmcore import onnx as lc_onnx
from onnx_kit import branches, ints, make_model, op, value

def with_little_memory(what):
    before = int(re.search(r"VmData:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (before + (1 << 30),) * 2)
    try:
        what()
    except MemoryError as error:
        print("MemoryError", error)
"""

RUN = """
nodes = [op("Transpose", ["x"], ["row"]), op("MatMul", ["x", "row"], ["y"])]
model = lc_onnx.load(make_model(nodes, [value("x", ("n", 1))], ["y"]))
column = np.ones((60_000, 1), np.float32)
model.run({"x": column[:1]})
with_little_memory(lambda: model.run({"x": column}))
"""

LOAD = """
graphs = branches([op("Identity", ["x"], ["t"])], [op("Neg", ["x"], ["e"])])
nodes = [
    op("ConstantOfShape", ["n"], ["large"]),
    op("ReduceMax", ["large"], ["most"], keepdims=0),
    op("Cast", ["most"], ["flag"], to=9),
    op("If", ["flag"], ["y"], **graphs),
]
model = make_model(nodes, ["x"], ["y"], [ints("n", 1 << 30)])
with_little_memory(lambda: lc_onnx.load(model, memory_limit=1 << 40))
"""


@pytest.mark.parametrize(
    ("script", "node"), [(RUN, "MatMul)"), (LOAD, "(ConstantOfShape)")], ids=["run", "load"]
)
def test_too_little_memory_is_a_memory_error(script, node):
    path = os.pathsep.join(filter(None, sys.path))
    found = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("MemoryError node"), found.stderr
    assert node in found.stdout
