"""Small files take the memory and the time that the documentation promises, or are refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx_constant_kit
from fuzz_kit import FUZZ
from onnx_kit import op
from onnx_part_kit import (
    constant_in_parts,
    constant_of_unknown_size,
    constants_alone,
    functions,
    in_branches,
    long_constants_in_parts,
    packed,
    packed_by_runtime,
    packed_by_runtime_often,
    packed_bytes,
    packed_from_file,
    sessions,
    small_constants_alone,
    small_constants_in_parts,
    stored_in_parts,
)

import rules  # isort: skip

if not sys.platform.startswith("linux"):
    pytest.skip("only Linux says what a process took at most", allow_module_level=True)

CHILD = """
import ctypes, json, pathlib, sys, time
from lstmcore import onnx as lc_onnx
import rules

def largest():
    return rules._status("VmHWM")

for path, arguments in json.loads(sys.argv[1]):
    content = pathlib.Path(path).read_bytes()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier files have left is not there for this one
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, begin, kind = largest(), time.process_time(), ""
    try:
        model = lc_onnx.load(content, **arguments)
    except Exception as error:
        kind, model = f"{type(error).__name__}: {error}", None
    print(json.dumps([kind, largest() - before, time.process_time() - begin]), flush=True)
    del model
"""


FILES = {
    "a constant of unknown size": (constant_of_unknown_size(1_700_000, 1), {}),
    "a constant of unknown size that is allowed": (constant_of_unknown_size(850_000, 1), {}),
    "constants of unknown size": (constant_of_unknown_size(400_000, 3), {}),
    "nothing": (sessions(1), {}),
    "a constant in ten parts": (constant_in_parts(10, 3_000_000), {}),
    "a constant in three parts": (constant_in_parts(3, 1_000_000), {}),
    "a constant in sixty parts": (constant_in_parts(60, 2_900_000), {}),
    "a constant in many parts, with a limit": (
        constant_in_parts(30, 1_900_000),
        {"memory_limit": 8 << 20},
    ),
    "a tensor in many parts": (stored_in_parts(90, 10_000), {}),
    "small constants in many parts": (small_constants_in_parts(100, 800), {}),
    "small constants in some parts": (small_constants_in_parts(15, 400), {}),
    "small constants on the way to others": (small_constants_alone(80, 400), {}),
    "long constants in many parts": (long_constants_in_parts(30, 1250), {}),
    "packed weights": (packed(12, 800), {}),
    "packed weights that are allowed": (packed(1, 600), {}),
    "packed weights once": (packed(1, 800), {}),
    "packed weights of one state": (packed(1, 1, 700_000), {}),
    "packed weights of one state, in many": (packed(30, 1, 50_000), {}),
    "packed weights of the file": (packed_from_file(200, 1500), {}),
    "packed bytes": (packed_bytes(1, 2_900_000), {"same_bits": True}),
    "packed bytes in many": (packed_bytes(30, 10_000), {"same_bits": True}),
    "packed bytes, by whoever is faster": (packed_bytes(10, 2_900_000), {}),
    "a product": (packed_by_runtime([op("MatMul", "xw")], (2_900_000, 1), (1, 2_900_000)), {}),
    "products that share weights": (packed_by_runtime_often(600, 8000), {}),
    "products that are allowed": (packed_by_runtime_often(10, 8000), {}),
    "a product that is allowed": (
        packed_by_runtime([op("MatMul", "xw")], (240_000, 1), (1, 240_000)),
        {},
    ),
    "a square product that is allowed": (
        packed_by_runtime([op("MatMul", "xw")], (1400, 1400), (1, 1400)),
        {},
    ),
    "bytes in a product": (
        packed_by_runtime(
            [op("Cast", ["x"], ["z"], to=2), op("MatMulInteger", "zw")],
            (11_000_000, 1),
            (1, 11_000_000),
            np.uint8,
        ),
        {},
    ),
    "a convolution": (
        packed_by_runtime([op("Conv", "xw")], (1, 1, 1700, 1700), (1, 1, 1800, 1800)),
        {},
    ),
    "a convolution that is allowed": (
        packed_by_runtime([op("Conv", "xw")], (1, 1, 480, 480), (1, 1, 500, 500)),
        {},
    ),
    "a square convolution that is allowed": (
        packed_by_runtime([op("Conv", "xw")], (16, 16, 88, 88), (1, 16, "h", "w")),
        {},
    ),
    "another recurrent operator": (
        packed_by_runtime(
            [op("GRU", ["x", "w", "w"], hidden_size=1)],
            (1, 3, 900_000),
            (1, 1, 900_000),
        ),
        {},
    ),
    "sessions": (sessions(300), {}),
    "sessions that are allowed": (sessions(60), {}),
    "sessions in functions": (functions(3, 10), {}),
    "sessions in more functions": (functions(3, 13), {}),
    "LSTMs in functions": (functions(3, 15, ()), {}),
    "sessions in branches": (in_branches(100), {}),
    "constants computed alone": (constants_alone(1000), {}),
    **{name: (model, {}) for name, model in onnx_constant_kit.FILES.items()},
}
"""A model of each kind that small files could once ask much with, and arguments of `load`."""


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Return what loading each of the files took, in a process that has loaded one before."""
    folder, asked = tmp_path_factory.mktemp("promise"), []
    for number, (model, arguments) in enumerate(FILES.values()):
        path = folder / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        asked.append((str(path), arguments))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([asked[0], *asked])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(FUZZ)])},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == len(FILES), done.stderr
    return dict(zip(FILES, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_small_files_take_little(name, taken):
    error, grown, seconds = taken[name]
    size = FILES[name][0].ByteSize()
    assert size <= onnx_constant_kit.SMALL
    assert not error or error.startswith("ValueError: ")
    assert grown <= rules.most_bytes(size), f"{grown / (1 << 20):.1f} MiB"
    assert seconds <= rules.SECONDS


@pytest.mark.parametrize("name", [name for name in FILES if "allowed" in name or name == "nothing"])
def test_what_is_allowed_loads(name, taken):
    assert taken[name][0] == ""
