"""Small files take the memory and the time that the documentation promises, or are refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import helper

from fuzz_kit import FUZZ
from onnx_kit import INT64, ints, make_model, op, tensor, value

import rules  # isort: skip

if not sys.platform.startswith("linux"):
    pytest.skip("only Linux says what a process took at most", allow_module_level=True)

SMALL = 1 << 16
"""Bytes of a file for which the promise is made."""

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


def lstm(name, x, hidden=1, weights=("w", "r")):
    """Make an LSTM, and a node that takes the axis of directions from its output `name`."""
    return [
        op("LSTM", [x, *weights], [f"{name} of all"], hidden_size=hidden),
        op("Squeeze", [f"{name} of all", "one"], [name]),
    ]


WEIGHTS = (tensor("w", np.ones((1, 4, 1))), tensor("r", np.ones((1, 4, 1))), ints("one", 1))

SEQUENCE = [value("x", (1, 1, 1))]


def constant_in_parts(count, length, operator="Erf"):
    """A computed constant that each part between two LSTMs needs."""
    nodes = [op("Range", ["zero", "length", "step"], ["table"])]
    last = "x"
    for k in range(count):
        nodes += [
            op("Cast", [last], [f"place{k}"], to=INT64),
            op("Gather", ["table", f"place{k}"], [f"row{k}"]),
            op(operator, [f"row{k}"], [f"e{k}"]),
            *lstm(f"s{k}", f"e{k}"),
        ]
        last = f"s{k}"
    numbers = [tensor("zero", 0.0), tensor("length", float(length)), tensor("step", 1.0)]
    return make_model(nodes, SEQUENCE, [last], [*WEIGHTS, *numbers])


def stored_in_parts(count, length):
    """A tensor of the file that each part between two LSTMs needs."""
    model = constant_in_parts(count, 1)
    model.graph.node[0].CopyFrom(op("Identity", ["stored"], ["table"]))
    model.graph.initializer.append(tensor("stored", np.ones(length, np.float32)))
    return model


def small_constants_in_parts(count, nodes):
    """Many constants that nodes compute one from the other, in each part between two LSTMs."""
    model = constant_in_parts(count, 1)
    chain = [op("Erf", [f"c{k}" if k else "zeros"], [f"c{k + 1}"]) for k in range(nodes)]
    model.graph.node[0].CopyFrom(op("Identity", [f"c{nodes}"], ["table"]))
    kept = [*chain, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.append(tensor("zeros", [0.0]))
    return model


def long_constants_in_parts(count, size):
    """A constant that takes much work, in each part between two LSTMs."""
    model = constant_in_parts(count, 1)
    nodes = [op("ConstantOfShape", ["shape"], ["a"]), op("MatMul", ["a", "a"], ["b"])]
    model.graph.node[0].CopyFrom(op("ReduceMax", ["b"], ["table"], axes=[0], keepdims=0))
    kept = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.append(ints("shape", size, size))
    return model


def packed(count, hidden, inputs=1):
    """LSTMs that share weights which are computed."""
    nodes = [op("ConstantOfShape", ["of w"], ["w"]), op("ConstantOfShape", ["of r"], ["r"])]
    last = "x"
    for k in range(count):
        nodes += [
            op("LSTM", [last, "w", "r"], [f"y{k}", f"h{k}"], hidden_size=hidden),
            op("Expand" if inputs > 1 else "ReduceMax", [f"h{k}", *["shape"] * (inputs > 1)]),
        ]
        last = nodes[-1].output[0] = f"m{k}"
    shapes = [ints("of w", 1, 4 * hidden, inputs), ints("of r", 1, 4 * hidden, hidden)]
    shapes += [ints("shape", 1, 1, inputs)] * (inputs > 1)
    return make_model(nodes, [value("x", (1, 1, inputs))], [last], shapes)


def packed_from_file(count, inputs):
    """LSTMs that share weights of the file."""
    nodes, last = [], "x"
    for k in range(count):
        nodes.append(op("LSTM", [last, "w", "r"], [f"y{k}", f"h{k}"], hidden_size=1))
        nodes.append(op("Expand", [f"h{k}", "shape"], [last := f"m{k}"]))
    weights = [tensor("w", np.ones((1, 4, inputs))), WEIGHTS[1], ints("shape", 1, 1, inputs)]
    return make_model(nodes, [value("x", (1, 1, inputs))], [last], weights)


def packed_bytes(count, inputs):
    """LSTMs with 8-bit weights that are computed."""
    one, other = (tensor("", [k], np.uint8) for k in (1, 2))
    nodes = [op("ConstantOfShape", ["of w"], ["w"], value=one)]
    nodes.append(op("ConstantOfShape", ["of r"], ["r"], value=other))
    last, rest = "x", ["", "", "", "", "", "scale", "zero", "scale", "zero"]
    for k in range(count):
        given = [last, "w", "r", *rest]
        nodes.append(
            op("DynamicQuantizeLSTM", given, ["", f"h{k}"], hidden_size=1, domain="com.microsoft")
        )
        nodes.append(op("Expand", [f"h{k}", "shape"], [last := f"m{k}"]))
    weights = [ints("of w", 1, inputs, 4), ints("of r", 1, 1, 4), ints("shape", 1, 1, inputs)]
    weights += [tensor("scale", [0.01]), tensor("zero", [0], np.uint8)]
    begin = [value("x", (1, 1, inputs))]
    return make_model(nodes, begin, [last], weights, domains=["com.microsoft"])


def sessions(count):
    """As many parts between LSTMs."""
    nodes, last = [], "x"
    for k in range(count):
        nodes += [op("Erf", [last], [f"e{k}"]), *lstm(f"s{k}", f"e{k}")]
        last = f"s{k}"
    return make_model(nodes, SEQUENCE, [last], WEIGHTS)


def functions(levels, each, between=("Erf",)):
    """Functions that stand for each ** levels LSTMs with parts between them."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    names, found = ["a", "w", "r", "one"], []
    for level in range(levels):
        nodes, last = [], "a"
        for k in range(each):
            if level:
                call = [last, *names[1:]]
                nodes.append(op(f"f{level - 1}", call, [f"b{k}"], domain="own"))
            else:
                for number, operator in enumerate(between):
                    nodes.append(op(operator, [last], [last := f"e{k}.{number}"]))
                nodes += lstm(f"b{k}", last)
            last = f"b{k}"
        found.append(helper.make_function("own", f"f{level}", names, [last], nodes, imports))
    call = op(f"f{levels - 1}", ["x", *names[1:]], ["y"], domain="own")
    return make_model([call], SEQUENCE, ["y"], WEIGHTS, domains=["own"], functions=found)


def in_branches(count):
    """Branches with a part and an LSTM in each."""
    nodes, last = [op("Cast", ["x"], ["all flags"], to=9), op("ReduceMax", ["x"], ["m"])], "x"
    nodes.append(op("Cast", ["m"], ["flag"], to=9))
    for k in range(count):
        graphs = [
            helper.make_graph(
                [op("Erf", [last], ["e"]), *lstm(f"s{k}", "e")], "g", [], [value(f"s{k}")]
            )
            for _ in range(2)
        ]
        nodes.append(op("If", ["flag"], [f"b{k}"], then_branch=graphs[0], else_branch=graphs[1]))
        last = f"b{k}"
    return make_model(nodes, SEQUENCE, [last], WEIGHTS)


def constants_alone(count):
    """Constants whose sizes nobody knows before they are computed."""
    nodes = [op("NonZero", ["numbers"], [f"z{k}"]) for k in range(count)]
    nodes += [op("Sum", [f"z{k}" for k in range(count)], ["s"]), op("Cast", ["s"], ["t"], to=1)]
    nodes.append(op("Add", ["x", "t"]))
    return make_model(nodes, SEQUENCE, ["y"], [tensor("numbers", [1.0])])


def constant_of_unknown_size(length, parts):
    """A constant that is computed alone, and that parts between LSTMs need."""
    model = constant_in_parts(parts, 1)
    nodes = [op("ConstantOfShape", ["shape"], ["a"], value=tensor("", [True], bool))]
    model.graph.node[0].CopyFrom(op("NonZero", ["a"], ["table"]))
    for k in range(parts):
        model.graph.node[5 * k + 3].CopyFrom(op("Cast", [f"row{k}"], [f"e{k}"], to=1))
    kept = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.append(ints("shape", length))
    model.doc_string = "." * 60_000
    return model


FILES = {
    "a constant of unknown size": (constant_of_unknown_size(1_700_000, 1), {}),
    "a constant of unknown size, small": (constant_of_unknown_size(600_000, 1), {}),
    "constants of unknown size": (constant_of_unknown_size(600_000, 3), {}),
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
    "long constants in many parts": (long_constants_in_parts(30, 1250), {}),
    "packed weights": (packed(12, 800), {}),
    "packed weights that are allowed": (packed(1, 600), {}),
    "packed weights once": (packed(1, 800), {}),
    "packed weights of one state": (packed(1, 1, 700_000), {}),
    "packed weights of one state, in many": (packed(30, 1, 50_000), {}),
    "packed weights of the file": (packed_from_file(200, 1500), {}),
    "packed bytes": (packed_bytes(1, 2_900_000), {"same_bits": True}),
    "packed bytes in many": (packed_bytes(30, 10_000), {"same_bits": True}),
    "packed bytes in ONNX Runtime": (packed_bytes(10, 2_900_000), {}),
    "sessions": (sessions(300), {}),
    "sessions that are allowed": (sessions(60), {}),
    "sessions in functions": (functions(3, 10), {}),
    "sessions in more functions": (functions(3, 13), {}),
    "LSTMs in functions": (functions(3, 15, ()), {}),
    "sessions in branches": (in_branches(100), {}),
    "constants computed alone": (constants_alone(1000), {}),
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
    assert size <= SMALL
    assert not error or error.startswith("ValueError: ")
    assert grown <= rules.most_bytes(size), f"{grown / (1 << 20):.1f} MiB"
    assert seconds <= rules.SECONDS


@pytest.mark.parametrize("name", [name for name in FILES if "allowed" in name or name == "nothing"])
def test_what_is_allowed_loads(name, taken):
    assert taken[name][0] == ""
