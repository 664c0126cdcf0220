"""Small ONNX models of each kind that files could once ask much with."""

import numpy as np
from onnx import helper

from onnx_kit import INT64, ints, make_model, op, tensor, value


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


def packed_by_runtime(nodes, shape, of_x, kind=np.float32):
    """Nodes that ONNX Runtime packs computed weights for."""
    weights = op("ConstantOfShape", ["shape"], ["w"], value=tensor("", [1], kind))
    model = make_model([weights, *nodes], [value("x", of_x)], ["y"], [ints("shape", *shape)])
    model.doc_string = "." * 60_000
    return model


def packed_by_runtime_often(count, rows):
    """Products that share weights of the file with one column."""
    nodes = [op("Identity", ["x"], ["x0"])]
    for k in range(count):
        nodes.append(op("MatMul", [f"x{k}", "w"], [f"y{k}"]))
        nodes.append(op("Add", ["x", f"y{k}"], [f"x{k + 1}"]))
    nodes[-1].output[0] = "y"
    return make_model(nodes, [value("x", (1, rows))], ["y"], [tensor("w", np.ones((rows, 1)))])


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
        model.graph.node[5 * k + 3].input[0] = f"float{k}"
        nodes.append(op("Cast", [f"row{k}"], [f"float{k}"], to=1))
    order = [nodes[0]]
    for node in model.graph.node:
        order += [cast for cast in nodes[1:] if cast.output[0] in node.input]
        order.append(node)
    del model.graph.node[:]
    model.graph.node.extend(order)
    model.graph.initializer.append(ints("shape", length))
    model.doc_string = "." * 60_000
    return model


def small_constants_alone(count, nodes):
    """Constants of unknown sizes, each computed by all nodes of a long chain."""
    chain = [op("Erf", [f"c{k}"], [f"c{k + 1}"]) for k in range(nodes)]
    chain += [op("Compress", [f"c{nodes}", "all"], [f"z{k}"]) for k in range(count)]
    chain += [op("Concat", [f"z{k}" for k in range(count)], ["z"], axis=0), op("Add", "xz")]
    return make_model(chain, ["x"], ["y"], [tensor("c0", [0.5]), tensor("all", [True], bool)])
