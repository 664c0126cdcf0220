"""Small ONNX files that ask for much by functions, names and constants."""

import itertools

import numpy as np
import onnx
from onnx import helper

from onnx_kit import branches, ints, make_model, op, tensor, value

SMALL = 1 << 16

ADD = [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
"""Nodes that use one number of a constant `a`."""


def heavy(model, size=SMALL):
    """Return a model with a text that makes its file so large."""
    model.doc_string = "-" * (size - model.ByteSize() - 4)
    return model


# ---- functions and names -------------------------------------------------------------------------


def own_function(name, nodes, attributes=()):
    """Make a function from a to b."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets, attributes)


def chain(first, last, count, kind="Erf", **fields):
    """Make nodes that are applied one after the other."""
    names = [first, *(f"{last}{k}" for k in range(1, count)), last]
    return [op(kind, [old], [new], **fields) for old, new in itertools.pairwise(names)]


def called(nodes, times, attributes=(), **given):
    """Make a model that calls a function of these nodes many times, from another function."""
    each = 60
    functions = [
        own_function("f", nodes, attributes),
        own_function("g", chain("a", "b", each, "f", domain="own", **given)),
    ]
    calls = chain("x", "y", times // each, "g", domain="own")
    return make_model(calls, ["x"], ["y"], domains=["own"], functions=functions)


def referring(count, value="v"):
    """Make nodes that all refer to an attribute of the function they are in."""
    reference = onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR)
    reference.ref_attr_name = value
    nodes = []
    for k in range(count):
        nodes += [op("Constant", [], [f"c{k}"]), op("Max", ["a", f"c{k}"], [f"m{k}"])]
        nodes[-2].attribute.append(reference)
    return [*nodes, op("Max", [f"m{k}" for k in range(count)], ["b"])]


def with_attribute(count, size):
    """Make a model whose call has an attribute of so many numbers, for so many nodes."""
    functions = [own_function("f", referring(count), ["v"])]
    call = op("f", ["x"], ["y"], domain="own", v=tensor("v", np.ones(size)))
    return make_model([call], ["x"], ["y"], domains=["own"], functions=functions)


def with_name(count, length):
    """Make a model whose call has an argument with a long name, for so many nodes."""
    name = "n" * length
    nodes = [op("Erf", ["a"], [f"m{k}"]) for k in range(count)]
    nodes.append(op("Max", [f"m{k}" for k in range(count)], ["b"]))
    calls = [op("Erf", ["x"], [name]), op("f", [name], ["y"], domain="own")]
    return make_model(calls, ["x"], ["y"], domains=["own"], functions=[own_function("f", nodes)])


def long_branch(count, length):
    """Make an If whose condition is known and whose result has a long name."""
    name = "n" * length
    graphs = branches(chain("x", "t", count, "Neg"), [op("Identity", ["x"], ["e"])])
    nodes = [op("If", ["flag"], [name], **graphs), op("Relu", [name], ["y"])]
    return make_model(nodes, ["x"], ["y"], [tensor("flag", True, bool)])


def nested(depth, count):
    """Make branches within branches."""
    nodes = [op("Cast", ["x"], ["f"], to=9)]
    for number in range(count):
        inner = [op("Identity", ["x"], ["t"])]
        for level in range(1, depth + 1):
            graphs = branches(inner, [op("Identity", ["x"], ["e"])])
            inner = [op("If", ["f"], [f"z{number}" if level == depth else "t"], **graphs)]
        nodes += inner
    nodes.append(op("Max", [f"z{number}" for number in range(count)], ["y"]))
    return make_model(nodes, [value("x", ())], ["y"])


def with_constants(model, count):
    """Return a model that also adds constants of so many MiB to its result, one after the other."""
    graph = model.graph
    graph.node.append(op("ConstantOfShape", ["kn"], ["k1"], value=tensor("v", [1.0])))
    graph.node.extend(op("Mul", [f"k{k}", "two"], [f"k{k + 1}"]) for k in range(1, count))
    graph.node.append(op("ReduceMax", [f"k{count}"], ["km"], keepdims=0))
    graph.node.append(op("Add", [graph.output[0].name, "km"], ["with constants"]))
    graph.output[0].name = "with constants"
    graph.initializer.extend([ints("kn", 1 << 18), tensor("two", 2.0)])
    model.doc_string = model.doc_string[1000:]
    return model


# ---- constants -----------------------------------------------------------------------------------


def reading(count, node, times, *names):
    """Make a model in which many constants are computed from the same one."""
    nodes = [op("Range", ["zero", "count", "one"], ["b"])]
    tensors = [tensor("zero", 0.0), tensor("count", float(count)), tensor("one", 1.0)]
    results = [f"a{k}" for k in range(times)]
    for k, result in enumerate(results):
        tensors.append(ints(f"k{k}", k + 1))
        nodes.append(op(node, ["b", f"k{k}"], [result, *(f"{name}{k}" for name in names)]))
    nodes += [op("ReduceMax", [result], [f"r{k}"], keepdims=0) for k, result in enumerate(results)]
    nodes.append(op("Max", [f"r{k}" for k in range(times)], ["a"]))
    return make_model([*nodes, *ADD], ["x"], ["y"], tensors)


def pooled(size, kernel):
    """Make a model with a constant pool of powers."""
    nodes = [
        op("ConstantOfShape", ["n"], ["b"], value=tensor("v", [1.0])),
        op("LpPool", ["b"], ["a"], kernel_shape=[kernel, kernel], p=3),
    ]
    return make_model([*nodes, *ADD], ["x"], ["y"], [ints("n", 1, 1, size, size)])


def computed_again(size, times):
    """Make a model with sizes that follow from numbers, which follow from a product of matrices."""
    nodes = [op("ConstantOfShape", ["n"], ["b"], value=tensor("v", [1.0]))]
    nodes += [op("MatMul", ["b", "b"], ["p"]), op("Slice", ["p", "begin", "end"], ["c"])]
    names = [f"k{k}" for k in range(times)]
    for k, name in enumerate(names):
        nodes += [op("Mul", ["c", name], [f"d{k}"]), op("NonZero", [f"d{k}"], [f"z{k}"])]
        nodes += [op("ReduceMax", [f"z{k}"], [f"r{k}"], keepdims=0)]
    nodes += [op("Max", [f"r{k}" for k in range(times)], ["i"]), op("Cast", ["i"], ["a"], to=1)]
    tensors = [ints("n", size, size), ints("begin", 0), ints("end", 3)]
    tensors += [tensor(name, float(k + 1)) for k, name in enumerate(names)]
    return make_model([*nodes, *ADD], ["x"], ["y"], tensors)


def deciding(nodes, tensors):
    """Make a model with an If whose condition is what the nodes compute, `a`."""
    graphs = branches([op("Identity", ["x"], ["t"])], [op("Neg", ["x"], ["e"])])
    last = [
        op("ReduceMax", ["a"], ["m"], keepdims=0),
        op("Cast", ["m"], ["flag"], to=9),
        op("If", ["flag"], ["y"], **graphs),
    ]
    return make_model([*nodes, *last], ["x"], ["y"], tensors)


def scattered(count, times):
    """Make a model that scatters many numbers, and then resizes, as ONNX Runtime cannot."""
    nodes = [
        op("ConstantOfShape", ["n1"], ["i"], value=tensor("v", [0], np.int64)),
        op("ConstantOfShape", ["n"], ["u"], value=tensor("v", [1.0], np.float64)),
    ]
    names = ["d", *(f"d{k}" for k in range(times))]
    nodes += [
        op("ScatterND", [before, "i", "u"], [after]) for before, after in itertools.pairwise(names)
    ]
    nodes += [
        op("Reshape", [names[-1], "four"], ["b"]),
        op("Resize", ["b", "", "scales"], ["a"], mode="cubic"),
    ]
    tensors = [ints("n1", count, 1), ints("n", count), ints("four", 1, 1, 1, 2)]
    tensors += [tensor("d", [1.0, 2.0], np.float64), tensor("scales", [1.0, 1.0, 1.0, 2.0])]
    return deciding(nodes, tensors)


FILES = {
    "nodes of functions": called(chain("a", "b", 10), 6000),
    "nodes of functions that are allowed": called(chain("a", "b", 10), 300),
    "nodes of functions in a larger file that are allowed": heavy(called(chain("a", "b", 10), 660)),
    "nodes of functions, and constants": with_constants(
        heavy(called(chain("a", "b", 10), 660)), 14
    ),
    "nodes of functions, and constants that are allowed": with_constants(
        heavy(called(chain("a", "b", 10), 400)), 6
    ),
    "branches": nested(20, 25),
    "branches that are allowed": nested(20, 20),
    "branches and constants": with_constants(nested(20, 20), 11),
    "constants of functions": called(
        [
            op("Constant", [], ["c"], value=tensor("v", np.ones(10_000))),
            op("ReduceMax", ["c"], ["m"], keepdims=0),
            op("Add", ["a", "m"], ["b"]),
        ],
        600,
    ),
    "attributes of a call": with_attribute(300, 11_000),
    "attributes of a call that are allowed": with_attribute(30, 6000),
    "names of a call": with_name(1000, 15_000),
    "names of a call that are allowed": with_name(30, 1000),
    "the name of an If, which is allowed": long_branch(1500, 12_000),
    "selections": reading(2_700_000, "TopK", 100, "i"),
    "selections that are allowed": reading(700_000, "TopK", 4, "i"),
    "small selections that are allowed": reading(70_000, "TopK", 40, "i"),
    "places": reading(2_700_000, "Gather", 100),
    "places that are allowed": reading(1_500_000, "Gather", 3),
    "powers": pooled(1000, 40),
    "powers that are allowed": pooled(1000, 16),
    "a product of matrices": computed_again(800, 100),
    "a product of matrices that is allowed": computed_again(800, 3),
    "the reference": scattered(300_000, 6),
    "the reference, which is allowed": scattered(100_000, 4),
}
"""A model of each kind that small files could once ask much with."""
