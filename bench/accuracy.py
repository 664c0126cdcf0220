"""Errors of outputs and of every gradient in each precision of products, against float64.

A layer's weights are uniform in +-1 / sqrt(H), as PyTorch initializes them; its inputs and the
gradient with respect to its outputs are normal. The same numbers go through lstmcore in float64,
which serves as the exact result, through PyTorch in float32 and in bfloat16, and through lstmcore
in each precision: on this machine's own unit, if that is faster than float32 multiply-adds, and on
x86's matrix unit, emulated bit for bit (``emulated.cpp``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import native, pictures
from bench.environments import ROOT, interpreter
from bench.problem import Array, Problem, make_problem
from bench.report import Rows, markdown, plain
from bench.shapes import Case, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPES = (
    Shape("short and narrow", "little is summed up", 10, 32, 64, 64),
    Shape("narrow, 1000 steps", "errors through time", 1000, 16, 64, 64),
    Shape("the demo's", "embedding 64, 128 units", 100, 32, 64, 128),
    Shape("medium, 1000 steps", "errors through time", 1000, 16, 128, 128),
    Shape("K 512, 1000 steps", "long and wide", 1000, 16, 256, 256),
    Shape("K 1024", "medium", 100, 16, 512, 512),
    Shape("K 2048", "large", 50, 16, 1024, 1024),
    Shape("K 4096", "the longest sums of a product", 10, 16, 2048, 2048),
)
"""K is the number of inputs plus the number of hidden units: the products in a gate's sum."""

OUTPUTS = ("y",)
GRADIENTS = ("dx", "dh0", "dc0", "dweight_ih", "dweight_hh", "dbias")
PIECES = ("bf16x3", "bf16x2", "bf16")

PEER = "PyTorch float32"
"""What the others are compared with."""

Results = dict[str, Array]
Entry = dict[str, Any]


def _own(problem: Problem, shape: Shape, precision: str, dtype: str = "float32") -> Results:
    """Run lstmcore forward and backward in this process."""
    lc: Any = import_module("lstmcore")
    config = lc.LSTMConfig(shape.inputs, shape.hidden)

    def cast(array: Array) -> Array:
        return array.astype(dtype)

    packed = lc.functional.pack(
        {name: cast(weight) for name, weight in problem.weights.items()}, config, precision
    )
    x, state = cast(problem.x), (cast(problem.h0), cast(problem.c0))
    if precision == "int8":
        return {"y": lc.functional.lstm(x, packed, state=state)[0]}
    y, _, tape = lc.functional.lstm(x, packed, state=state, training=True)
    gradients = lc.functional.lstm_backward(tape, cast(problem.dy))
    results = {"y": y, "dx": gradients.x, "dh0": gradients.state.h, "dc0": gradients.state.c}
    return results | {f"d{name[:-3]}": array for name, array in gradients.weights.items()}


def _emulated(problem: Problem, shape: Shape, precision: str) -> Results:
    """Run the emulated matrix unit; return nothing if the program was not built."""
    path = native.program("emulated")
    if path is None:
        return {}
    weights = [problem.weights[name + "_l0"] for name in ("weight_ih", "weight_hh", "bias")]
    inputs = [*weights, problem.x, problem.h0, problem.c0, problem.dy]
    extents = [shape.steps, shape.batch, shape.inputs, shape.hidden]
    done = subprocess.run(
        [str(path), precision, *map(str, extents)],
        input=b"".join(np.ascontiguousarray(array, np.float32).tobytes() for array in inputs),
        capture_output=True,
        check=True,
    )
    numbers = np.frombuffer(done.stdout, np.float32)
    like = [problem.dy, problem.x, problem.h0, problem.c0, *weights]
    results = {}
    begin = 0
    for name, array in zip((*OUTPUTS, *GRADIENTS), like, strict=True):
        if begin < numbers.size:
            results[name] = numbers[begin : begin + array.size].reshape(array.shape)
            begin += array.size
    return results


def _pytorch(problem: Problem, dtype: str) -> Results:
    """Run PyTorch in its own environment; return nothing if it is not installed."""
    python = interpreter("pytorch")
    if not python.exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        arrays: dict[str, Any] = {name: getattr(problem, name) for name in ("x", "h0", "c0", "dy")}
        np.savez(path, **(arrays | problem.weights))
        command = [str(python), "-m", "bench.accuracy", "pytorch", str(path), dtype]
        subprocess.run(command, check=True, cwd=ROOT)
        with np.load(path) as found:
            return {name: found[name] for name in (*OUTPUTS, *GRADIENTS)}


def _as_pytorch(path: str, dtype: str) -> int:
    """Do the work of `_pytorch`: replace the arrays in a file with the results."""
    torch: Any = import_module("torch")
    with np.load(path) as found:
        arrays = {name: torch.from_numpy(found[name]) for name in found.files}
    kind = getattr(torch, dtype)
    hidden, inputs = arrays["weight_hh_l0"].shape[1], arrays["weight_ih_l0"].shape[1]
    module = torch.nn.LSTM(inputs, hidden, batch_first=True)
    with torch.no_grad():
        module.weight_ih_l0.copy_(arrays["weight_ih_l0"])
        module.weight_hh_l0.copy_(arrays["weight_hh_l0"])
        module.bias_ih_l0.copy_(arrays["bias_l0"])
        module.bias_hh_l0.zero_()
    module = module.to(kind)
    x, h0, c0 = (arrays[name].to(kind).requires_grad_() for name in ("x", "h0", "c0"))
    y = module(x, (h0, c0))[0]
    wanted = [x, h0, c0, module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0]
    gradients = torch.autograd.grad(y, wanted, arrays["dy"].to(kind))
    results = zip((*OUTPUTS, *GRADIENTS), (y.detach(), *gradients), strict=True)
    np.savez(path, **{name: tensor.float().numpy() for name, tensor in results})
    return 0


def _errors(results: Results, exact: Results) -> dict[str, dict[str, float]]:
    """Return mean errors relative to the exact root mean square, largest ones to the maximum."""
    errors = {}
    for name, values in results.items():
        true = exact[name]
        difference = np.abs(values - true)
        errors[name] = {
            "mean": float(difference.mean() / np.sqrt(np.square(true).mean())),
            "largest": float(difference.max() / np.abs(true).max()),
        }
    return errors


def _ways(problem: Problem, shape: Shape) -> Iterator[tuple[str, Results]]:
    """Yield the results of each way to compute the problem."""
    lc: Any = import_module("lstmcore")
    units = lc.cpu_info().product_units
    yield PEER, _pytorch(problem, "float32")
    yield "fp32", _own(problem, shape, "fp32")
    for precision in (*PIECES, "int8"):
        yield f"{precision}, matrix unit", _emulated(problem, shape, precision)
        if "fp32" not in units[precision]:
            yield f"{precision}, {units[precision]}", _own(problem, shape, precision)
    yield "PyTorch bfloat16", _pytorch(problem, "bfloat16")


def measure(shapes: Iterable[Shape]) -> list[Entry]:
    """Return an entry for each shape and each way to compute it that this machine has."""
    entries: list[Entry] = []
    for shape in shapes:
        problem = make_problem(Case(shape, "training", "float32", 1))
        exact = _own(problem, shape, "fp32", "float64")
        size = {"T": shape.steps, "N": shape.batch, "C": shape.inputs, "H": shape.hidden}
        for name, results in _ways(problem, shape):
            if results:
                print(f"{shape.describe()} {name}", flush=True)
                entries.append(size | {"who": name, "errors": _errors(results, exact)})
    return entries


def _worst(entry: Entry, names: Sequence[str], kind: str) -> float | None:
    found = [entry["errors"][name][kind] for name in names if name in entry["errors"]]
    return max(found) if found else None


def _most_times(entry: Entry, peer: Entry | None, kind: str) -> float | None:
    """Return the largest ratio of an array's error to the same array's error in `peer`."""
    if peer is None or entry is peer:
        return None
    errors = entry["errors"]
    return max(float(errors[name][kind] / peer["errors"][name][kind]) for name in errors)


def table(entries: Sequence[Entry]) -> Rows:
    """Return errors as a table: one row for each shape and way to compute it."""
    head = ["T x N x C x H", "products", "outputs, mean", "largest", "gradients, mean", "largest"]
    rows: Rows = [[*head, "relative to PyTorch's float32: mean", "largest"]]
    for entry in entries:
        size = " x ".join(str(entry[letter]) for letter in "TNCH")
        peer = _find(entries, entry, PEER)
        figures = [
            _worst(entry, names, kind)
            for names in (OUTPUTS, GRADIENTS)
            for kind in ("mean", "largest")
        ]
        ratios = [_most_times(entry, peer, kind) for kind in ("mean", "largest")]
        row = [size, entry["who"], *("" if f is None else f"{f:.1e}" for f in figures)]
        rows.append([*row, *("" if r is None else f"{r:.2g}" for r in ratios)])
    return rows


def _find(entries: Sequence[Entry], like: Entry, who: str) -> Entry | None:
    for entry in entries:
        if entry["who"] == who and all(entry[letter] == like[letter] for letter in "TNCH"):
            return entry
    return None


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write JSON, table and picture."""
    parser = argparse.ArgumentParser(prog="python -m bench accuracy", description=__doc__)
    results = ROOT / "bench" / "results" / "accuracy.json"
    parser.add_argument("--json", type=Path, default=results, help="where the errors go")
    parser.add_argument("--load", action="store_true", help="load them from there")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first ones")
    options = parser.parse_args(arguments)
    if options.load:
        entries = json.loads(options.json.read_text())
    else:
        try:
            native.build()
        except native.NotBuilt as error:
            print(f"the matrix unit's emulation is skipped: {error}", file=sys.stderr)
        entries = measure(SHAPES[: options.shapes])
        options.json.write_text(json.dumps(entries, indent=1) + "\n")
    print(plain(table(entries)), end="")
    text = "# Errors against float64\n\n[Accuracy](../accuracy.md) explains the columns.\n\n"
    (options.output / "accuracy.md").write_text(text + markdown(table(entries)))
    pictures.save(draw(entries), options.output / "accuracy.svg")
    return 0


def draw(entries: Sequence[Entry]) -> Figure:
    """Return a picture of the mean errors of outputs, a dot for each shape."""
    dots = [(entry["who"], entry["errors"]["y"]["mean"]) for entry in entries]
    names = list(dict.fromkeys(name for name, _ in dots))
    return pictures.dots(
        "Mean error of outputs compared with float64, a dot for each shape", names, dots
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["pytorch"]:
        sys.exit(_as_pytorch(sys.argv[2], sys.argv[3]))
    sys.exit(main(sys.argv[1:]))
