"""LiteRT (formerly TensorFlow Lite). The model is written directly: once with its fused operator,
and once unrolled into dense and element-wise operators, which it passes on to XNNPACK; whichever is
faster. Time first; NumPy in and out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any

import numpy as np

from bench.problem import Array, Weights, digest, make_problem, time_major
from bench.runners import Prepared, Unsupported
from bench.shapes import Case, Shape

schema: Any = import_module("ai_edge_litert.schema_py_generated")
interpreter: Any = import_module("ai_edge_litert.interpreter")
flatbuffers: Any = import_module("flatbuffers")

MOST_STEPS = 100
"""Steps up to which a model is unrolled; a step takes a dozen operators."""


def load(threads: int) -> LiteRtRunner:
    """Remember the number of threads for the interpreters."""
    return LiteRtRunner(threads)


class Graph:
    """A model under construction; tensors are float32 unless they hold integers."""

    def __init__(self) -> None:
        self.graph: Any = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model: Any = schema.ModelT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self._codes: dict[str, int] = {}

    def tensor(self, shape: Sequence[int], data: Any = None, variable: bool = False) -> int:
        """Add a tensor, a constant if it has `data`; return its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self.graph.tensors)}", list(shape)
        tensor.type, tensor.isVariable, tensor.buffer = 0, variable, 0
        if data is not None:
            array = np.ascontiguousarray(data)
            whole = array.dtype == np.int32
            tensor.type = schema.TensorType.INT32 if whole else schema.TensorType.FLOAT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(array.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, data: Any) -> int:
        """Add a constant; return its index."""
        return self.tensor(np.shape(data), data)

    def add(
        self, operator: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any
    ) -> None:
        """Add an operator by the name of its options, such as FullyConnected."""
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", operator).upper()
        if name not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = getattr(schema.BuiltinOperator, name)
            entry.deprecatedBuiltinCode, entry.version = entry.builtinCode, 1
            self._codes[name] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._codes[name], list(inputs), list(outputs)
        described = getattr(schema, f"{operator}OptionsT", None)
        if described is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{operator}Options")
            made.builtinOptions = described()
            for option, value in options.items():
                setattr(made.builtinOptions, option, value)
        self.graph.operators.append(made)

    def result(self, shape: Sequence[int], operator: str, *inputs: int, **options: Any) -> int:
        """Add an operator with one output of that shape; return the output's index."""
        output = self.tensor(shape)
        self.add(operator, inputs, [output], **options)
        return output

    def finish(self, x: int, y: int) -> bytes:
        """Return the model's file."""
        self.graph.inputs, self.graph.outputs = [x], [y]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def fused(shape: Shape, weights: Weights) -> bytes:
    """Return a model with one fused operator for each layer; gates are i, f, g, o."""
    graph = Graph()
    source = x = graph.tensor((shape.steps, shape.batch, shape.inputs))
    state = (shape.batch, shape.hidden)
    for layer in range(shape.layers):
        parts = {
            name: [graph.constant(part) for part in np.split(weights[f"{name}_l{layer}"], 4)]
            for name in ("weight_ih", "weight_hh", "bias")
        }
        inputs = [source, *parts["weight_ih"], *parts["weight_hh"], -1, -1, -1, *parts["bias"]]
        inputs += [-1, -1, graph.tensor(state, variable=True), graph.tensor(state, variable=True)]
        source = graph.result(
            (shape.steps, *state),
            "UnidirectionalSequenceLSTM",
            *inputs,
            *[-1] * 4,
            timeMajor=True,
            fusedActivationFunction=schema.ActivationFunctionType.TANH,
        )
    return graph.finish(x, source)


def unrolled(shape: Shape, weights: Weights) -> bytes:
    """Return a model of one layer with the input part as one product, then step after step."""
    graph = Graph()
    steps, rows, hidden = shape.steps, shape.batch, shape.hidden
    one, all_gates = (rows, hidden), (rows, 4 * hidden)
    x = graph.tensor((steps, rows, shape.inputs))
    flat = graph.constant(np.array([steps * rows, shape.inputs], np.int32))
    source = graph.result((steps * rows, shape.inputs), "Reshape", x, flat)
    w, r, b = (graph.constant(weights[f"{n}_l0"]) for n in ("weight_ih", "weight_hh", "bias"))
    parts = graph.result((steps * rows, 4 * hidden), "FullyConnected", source, w, b)
    axis = graph.constant(np.array(1, np.int32))
    # Without the first step's product with a state of zeros it would do less work than others.
    h = c = graph.constant(np.zeros(one, np.float32))
    ys = []
    for t in range(steps):
        begin, size = ([t * rows, 0], list(all_gates))
        ends = [graph.constant(np.array(end, np.int32)) for end in (begin, size)]
        total = graph.result(all_gates, "Slice", parts, *ends)
        recurrent = graph.result(all_gates, "FullyConnected", h, r, -1)
        total = graph.result(all_gates, "Add", total, recurrent)
        gates = [graph.tensor(one) for _ in range(4)]
        graph.add("Split", [axis, total], gates, numSplits=4)
        i, f, o = (graph.result(one, "Logistic", gates[k]) for k in (0, 1, 3))
        new = graph.result(one, "Mul", i, graph.result(one, "Tanh", gates[2]))
        c = graph.result(one, "Add", graph.result(one, "Mul", f, c), new)
        h = graph.result(one, "Mul", o, graph.result(one, "Tanh", c))
        ys.append(h)
    joined = graph.result((steps * rows, hidden), "Concatenation", *ys, axis=0)
    whole = graph.constant(np.array([steps, rows, hidden], np.int32))
    return graph.finish(x, graph.result((steps, rows, hidden), "Reshape", joined, whole))


class LiteRtRunner:
    """See `bench.runners.Runner`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        return {"litert": metadata.version("ai-edge-litert"), "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if case.training:
            raise Unsupported("not written for training")
        plain = not (shape.projection or shape.int8 or shape.shortest or shape.bidirectional)
        if case.dtype != "float32" or not plain:
            raise Unsupported("float32 in one direction, without projection or lengths, only")
        problem = make_problem(case)
        x = time_major(problem.x)
        variants = {"fused operator": self._call(fused(shape, problem.weights), x)}
        if shape.layers == 1 and shape.steps <= MOST_STEPS:
            variants["unrolled"] = self._call(unrolled(shape, problem.weights), x)

        def sums() -> dict[str, float]:
            results = [digest(shape, call().swapaxes(0, 1)) for call in variants.values()]
            return results[-1]

        return Prepared(variants, sums)

    def _call(self, model: bytes, x: Array) -> Callable[[], Any]:
        loaded = interpreter.Interpreter(model_content=model, num_threads=self.threads)
        loaded.allocate_tensors()
        source = loaded.get_input_details()[0]["index"]
        result = loaded.get_output_details()[0]["index"]

        def call() -> Any:
            loaded.reset_all_variables()
            loaded.set_tensor(source, x)
            loaded.invoke()
            return loaded.get_tensor(result)

        return call
