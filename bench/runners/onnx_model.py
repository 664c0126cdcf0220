"""The case as an ONNX model with the same weights."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import Weights, cell_names, onnx_weights
from bench.shapes import Case

onnx: Any = import_module("onnx")


def lstm_model(
    case: Case, weights: Weights, all_outputs: bool = False, states: bool = False
) -> Any:
    """Return a model from "x" (T, N, C), and "lengths" (N,) if rows differ in length, to "y".

    y is (T, D, N, H), as the operator returns it: nothing is transposed after the last layer. With
    `all_outputs` each operator also names its last state, which nothing reads. With `states` the
    initial state of each layer is an input, too: "h0_0", "c0_0" and so on (D, N, H).
    """
    shape = case.shape
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    element = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    value = helper.make_tensor_value_info
    names = cell_names(shape)
    d = shape.num_directions
    arguments = [value("x", element, [shape.steps, shape.batch, shape.inputs])]
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    source = "x"
    lengths = "lengths" if shape.shortest else ""
    if lengths:
        arguments.append(value(lengths, onnx.TensorProto.INT32, [shape.batch]))
    for layer in range(shape.layers):
        w, r, b = onnx_weights(weights, names[layer * d : (layer + 1) * d])
        inputs = [
            source,
            constant(f"W{layer}", w),
            constant(f"R{layer}", r),
            constant(f"B{layer}", b),
        ]
        if lengths or states:
            inputs.append(lengths)
        if states:
            inputs += [f"h0_{layer}", f"c0_{layer}"]
            arguments += [value(s, element, [d, shape.batch, shape.hidden]) for s in inputs[-2:]]
        last = layer == shape.layers - 1
        target = "y" if last else f"y{layer}"
        nodes.append(
            helper.make_node(
                "LSTM",
                inputs,
                [target, f"h{layer}", f"c{layer}"] if all_outputs else [target],
                hidden_size=shape.hidden,
                direction="bidirectional" if shape.bidirectional else "forward",
            )
        )
        if not last:
            extents = np.array([shape.steps, shape.batch, d * shape.hidden], np.int64)
            nodes.append(helper.make_node("Transpose", [target], [f"t{layer}"], perm=[0, 2, 1, 3]))
            reshape = [f"t{layer}", constant(f"extents{layer}", extents)]
            source = f"x{layer + 1}"
            nodes.append(helper.make_node("Reshape", reshape, [source]))
    result = value("y", element, [shape.steps, d, shape.batch, shape.hidden])
    graph = helper.make_graph(nodes, "lstm", arguments, [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    return model


def batch_major(y: Any) -> Any:
    """Convert (T, D, N, H) to (N, T, D * H)."""
    steps, directions, batch, hidden = y.shape
    return np.transpose(y, (2, 0, 1, 3)).reshape(batch, steps, directions * hidden)
