"""Whole ONNX files by `lstmcore.onnx` and by ONNX Runtime, in turn in one process."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bench import report
from bench.controller import available_cores
from bench.statistics import median, quantile
from bench.turns import alternate

Feeds: TypeAlias = Mapping[str, Any]


class _Graph:
    """Nodes and random weights of a model."""

    def __init__(self) -> None:
        self.onnx: Any = import_module("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.random = np.random.default_rng(0)

    def constant(self, values: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, *shape: int) -> str:
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        return self.constant(self.random.uniform(-bound, bound, shape).astype(np.float32))

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        target = f"value{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [target], target, **attributes))
        return target

    def lstm(self, source: str, inputs: int, hidden: int, directions: int) -> str:
        """Add an LSTM from (T, N, C) to (T, N, D H)."""
        weights = [self.weights(directions, 4 * hidden, size) for size in (inputs, hidden)]
        weights.append(self.weights(directions, 8 * hidden))
        direction = "bidirectional" if directions == 2 else "forward"
        y = self.add("LSTM", [source, *weights], hidden_size=hidden, direction=direction)
        y = self.add("Transpose", [y], perm=[0, 2, 1, 3])
        return self.add("Reshape", [y, self.constant(np.array([0, 0, -1], np.int64))])

    def dense(self, source: str, inputs: int, outputs: int) -> str:
        product = self.add("MatMul", [source, self.weights(inputs, outputs)])
        return self.add("Add", [product, self.weights(outputs)])

    def model(self, given: tuple[str, int, list[Any]], result: str) -> bytes:
        helper = self.onnx.helper
        name, element, shape = given
        graph = helper.make_graph(
            self.nodes,
            "file",
            [helper.make_tensor_value_info(name, element, shape)],
            [helper.make_tensor_value_info(result, 1, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return bytes(model.SerializeToString())


def _tagger() -> bytes:
    """Return a tagger: an embedding, two bidirectional LSTMs of 128 units, a dense layer."""
    graph = _Graph()
    x = graph.add("Gather", [graph.weights(5000, 100), "ids"])
    x = graph.add("Transpose", [x], perm=[1, 0, 2])
    x = graph.lstm(graph.lstm(x, 100, 128, 2), 256, 128, 2)
    return graph.model(("ids", 7, ["n", "t"]), graph.dense(x, 256, 20))


def _reader() -> bytes:
    """Return a reader of lines of text: six convolutions, two bidirectional LSTMs of 256 units."""
    graph = _Graph()
    x, width = "image", 1
    for channels, pool in ((32, 2), (48, 2), (64, 1), (64, 2), (96, 1), (96, 4)):
        kernel = [graph.weights(channels, width, 3, 3), graph.weights(channels)]
        x = graph.add("Relu", [graph.add("Conv", [x, *kernel], pads=[1] * 4)])
        if pool > 1:  # height and, at first, width
            window = [pool, 2 if width < 48 else 1]
            x = graph.add("MaxPool", [x], kernel_shape=window, strides=window)
        width = channels
    x = graph.add("Squeeze", [x, graph.constant(np.array([2], np.int64))])
    x = graph.add("Transpose", [x], perm=[2, 0, 1])
    x = graph.lstm(graph.lstm(x, 96, 256, 2), 512, 256, 2)
    x = graph.dense(x, 512, 80)
    return graph.model(("image", 1, ["n", 1, 32, "w"]), graph.add("Softmax", [x]))


def _forecaster() -> bytes:
    """Return two LSTMs of 256 units between dense layers: nearly all its time is theirs."""
    graph = _Graph()
    x = graph.add("Relu", [graph.dense("x", 16, 64)])
    x = graph.lstm(graph.lstm(x, 64, 256, 1), 256, 256, 1)
    return graph.model(("x", 1, ["t", "n", 16]), graph.dense(x, 256, 8))


def _step() -> bytes:
    """Return an LSTM of 64 units between two dense layers."""
    graph = _Graph()
    x = graph.lstm(graph.add("Relu", [graph.dense("x", 40, 64)]), 64, 64, 1)
    return graph.model(("x", 1, ["t", "n", 40]), graph.dense(x, 64, 10))


def _quantized(model: bytes) -> bytes:
    quantization: Any = import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model)
        quantization.quantize_dynamic(source, target)
        return target.read_bytes()


def _silero(name: str) -> bytes:
    found = find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("silero-vad is not installed")
    return (Path(found.submodule_search_locations[0]) / "data" / name).read_bytes()


def _ids(rows: int, steps: int) -> Feeds:
    return {"ids": np.random.default_rng(1).integers(0, 5000, (rows, steps))}


def _numbers(name: str, *shape: int) -> Feeds:
    return {name: np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)}


def _speech(windows: int) -> Feeds:
    sound = {"input": 0.1 * _numbers("input", windows, 512 + 64)["input"]}
    if windows > 1:
        return {**sound, **_zeros("h", "c", shape=(1, 1, 128))}
    return {**sound, **_zeros("state", shape=(2, 1, 128)), "sr": np.array(16000)}


def _zeros(*names: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {name: np.zeros(shape, np.float32) for name in names}


FILES: dict[str, tuple[Callable[[], bytes], Feeds]] = {
    "tagger, 32 rows of 40": (_tagger, _ids(32, 40)),
    "tagger, one row": (_tagger, _ids(1, 40)),
    "tagger, 8 bits, 32 rows": (lambda: _quantized(_tagger()), _ids(32, 40)),
    "tagger, 8 bits, one row": (lambda: _quantized(_tagger()), _ids(1, 40)),
    "reader": (_reader, _numbers("image", 1, 1, 32, 400)),
    "reader, 8 bits": (lambda: _quantized(_reader()), _numbers("image", 1, 1, 32, 400)),
    "forecaster, 32 rows of 100": (_forecaster, _numbers("x", 100, 32, 16)),
    "forecaster, 8 bits": (lambda: _quantized(_forecaster()), _numbers("x", 100, 32, 16)),
    "one step": (_step, _numbers("x", 1, 1, 40)),
    "silero, a minute": (lambda: _silero("silero_vad_16k_sequence.onnx"), _speech(1875)),
    "silero, 32 ms": (lambda: _silero("silero_vad.onnx"), _speech(1)),
}
"""How to make each file, and the inputs of a call."""


def measure(name: str, threads: int, rounds: int, turn: float) -> tuple[float, list[float], float]:
    """Return ONNX Runtime's seconds, its time over ours in each round, and the difference.

    The difference is the largest of an output, absolute.
    """
    from lstmcore import onnx as ours

    package: Any = import_module("onnxruntime")
    package.set_default_logger_severity(4)
    logging.disable()  # of what the tool for quantization advises
    make, feeds = FILES[name]
    data = make()
    options = package.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = package.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    model = ours.load(data)
    names = [entry.name for entry in session.get_outputs()]
    expected = session.run(None, feeds)
    for _ in range(20):  # until the way is chosen
        found = model.run(feeds)
    difference = max(
        float(np.abs(found[key] - array).max())
        for key, array in zip(names, expected, strict=True)
        if array.dtype.kind == "f"
    )
    # The settled time lets idle threads, which spin for some 40 ms, fall asleep.
    table = alternate(
        (lambda: model.run(feeds), lambda: session.run(None, feeds)), rounds, turn, 0.06
    )
    return median([row[1] for row in table]), [row[1] / row[0] for row in table], difference


def _rows(options: argparse.Namespace) -> Iterator[list[str]]:
    """Measure in this process, which was given its processors and its instruction set."""
    import lstmcore

    for name in options.files:
        try:
            seconds, ratios, difference = measure(
                name, options.threads, options.rounds, options.turn
            )
        except FileNotFoundError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        spread = f"{quantile(ratios, 0.25):.2f} to {quantile(ratios, 0.75):.2f}"
        yield [
            name,
            str(options.threads),
            lstmcore.cpu_info().isa,
            report.duration(seconds),
            f"{median(ratios):.2f}",
            spread,
            f"{difference:.1e}",
        ]


HEAD = ["file", "threads", "set", "ONNX Runtime", "its time / ours", "quartiles", "difference"]


def main(arguments: Sequence[str]) -> int:
    """Print, for each file, ONNX Runtime's time, and how many times as fast lstmcore.onnx is.

    ONNX Runtime cannot be held to AVX2: with --isa avx2 only the engine is.
    """
    parser = argparse.ArgumentParser(prog="python -m bench onnx-files", description=main.__doc__)
    add = parser.add_argument
    add("files", nargs="*", help=f"parts of names (default: all of {'; '.join(FILES)})")
    add("--threads", type=int, help="default: all processors")
    add("--isa", help="instruction set to force on lstmcore, such as avx2")
    add("--rounds", type=int, default=9)
    add("--turn", type=float, default=0.05, help="seconds that a turn lasts at least")
    options = parser.parse_args(arguments)
    cores = available_cores()
    threads = options.threads or len(cores)
    if not 1 <= threads <= len(cores):
        parser.error(f"--threads: expected 1 to {len(cores)}, got {threads}")
    options.files = [
        name for name in FILES if not options.files or any(part in name for part in options.files)
    ]
    wanted = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    if options.isa:
        wanted["LSTMCORE_ISA"] = options.isa
    if any(os.environ.get(name) != value for name, value in wanted.items()):  # read at the start
        command = [sys.executable, "-m", "bench", "onnx-files", *arguments]
        return subprocess.run(command, env={**os.environ, **wanted}, check=False).returncode
    os.sched_setaffinity(0, cores[:threads])
    options.threads = threads
    print(report.plain([HEAD, *_rows(options)]), end="")
    return 0
