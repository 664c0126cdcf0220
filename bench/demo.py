"""Test accuracy of the demo, trained in each precision of products with several seeds.

Terms are multiplied by whatever unit this machine has for them, even if float32 multiply-adds would
be faster. ``int8`` is the model trained in float32 after `lstmcore.quantize`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from bench.environments import ROOT
from bench.report import Rows, markdown, plain

EXAMPLE = ROOT / "examples" / "python" / "train_sentiment.py"
TRAINED = ("fp32", "bf16x3", "bf16x2", "bf16")


def _example() -> Any:
    spec = spec_from_file_location("train_sentiment", EXAMPLE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(seeds: int, epochs: int) -> dict[str, Any]:
    """Return the units and, for each precision, the test accuracy of each seed."""
    os.environ["LSTMCORE_UNITS"] = "any"
    lc: Any = import_module("lstmcore")
    demo = _example()
    accuracies: dict[str, list[float]] = {name: [] for name in (*TRAINED, "int8")}
    for seed in range(seeds):
        train, validation, test = demo.movie_snippets(seed)

        def tell(precision: str, model: Any, seed: int = seed, test: Any = test) -> None:
            accuracy = float(model.evaluate(test.sentences, test.labels, verbose=0)[1])
            accuracies[precision].append(accuracy)
            print(f"seed {seed}  {precision:7}  {accuracy:.4f}", flush=True)

        for precision in TRAINED:
            lc.set_precision(precision)
            model = demo.build_model(train.sentences, seed)
            demo.train_model(model, train, validation, epochs)
            tell(precision, model)
            if precision == "fp32":
                tell("int8", lc.quantize(model))
    return {"units": dict(lc.cpu_info().product_units), "accuracy": accuracies}


def table(result: dict[str, Any]) -> Rows:
    """Return the accuracies: one row for each precision."""
    rows: Rows = [["precision", "computed by", "mean", "lowest", "highest", "standard deviation"]]
    for name, found in result["accuracy"].items():
        figures = [np.mean(found), min(found), max(found), np.std(found, ddof=1)]
        rows.append([name, result["units"][name], *(f"{figure:.4f}" for figure in figures)])
    return rows


def main(arguments: Sequence[str]) -> int:
    """Train, print, and write JSON and the table."""
    parser = argparse.ArgumentParser(prog="python -m bench demo", description=__doc__)
    results = ROOT / "bench" / "results" / "demo.json"
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 (default: 5)")
    parser.add_argument("--epochs", type=int, default=5, help="of each (default: 5)")
    parser.add_argument("--json", type=Path, default=results, help="where the accuracies go")
    output = ROOT / "docs" / "performance" / "demo_precisions.md"
    parser.add_argument("--output", type=Path, default=output, help="where the table goes")
    options = parser.parse_args(arguments)
    result = measure(options.seeds, options.epochs)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(plain(table(result)), end="")
    head = "# The demo in each precision\n\n"
    options.output.write_text(head + markdown(table(result)))
    return 0
