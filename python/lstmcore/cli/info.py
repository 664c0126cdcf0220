"""``lstmcore info``: describe the installation or a model file."""

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore.cli.options import add_command, add_json

__all__ = ["add_parser"]

EXAMPLE = "  lstmcore info model.safetensors"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "info",
        _run,
        "Describe the installation, or a model file.",
        EXAMPLE,
    )
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="file of a model; without it, the installation"
    )
    add_json(parser, "one line")


def _run(options: argparse.Namespace) -> int:
    if options.model is None:
        about, lines = _installation(), list[str]()
    else:
        about, lines = _model(options.model)
    if options.json:
        names = {name: name.replace(" ", "_").lower() for name in about}
        print(json.dumps({names[name]: value for name, value in about.items()}, ensure_ascii=False))
        return 0
    for name, value in about.items():
        if name != "layers":
            print(f"{name:<17}{_shown(value)}")
    if lines:
        print()
    for line in lines:
        print(line)
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _installation() -> dict[str, Any]:
    from lstmcore import cpu_info

    cpu = cpu_info()
    return {
        "lstmcore": cpu.version,
        "instruction set": f"{cpu.isa} (supported: {', '.join(cpu.supported_isas)})",
        "threads": cpu.num_threads,
        "threads run on": cpu.thread_provider,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
    }


def _model(path: str) -> tuple[dict[str, Any], list[str]]:
    """Describe a model, and return the table of its layers."""
    from lstmcore import load
    from lstmcore.cli.answers import read_layout
    from lstmcore.models import Model, Sequential

    model = load(path)
    about: dict[str, Any] = {
        "file": path,
        "bytes": Path(path).stat().st_size,
        "model": type(model).__name__,
        "parameters": model.count_params(),
        "dtype": model.dtype.name,
        "quantized": model.quantized,
        "epochs": model.epoch,
    }
    if model.is_compiled:
        about["loss"] = ", ".join(type(head.loss).__name__ for head in model.compiled.heads)
        if not model.quantized:
            about["optimizer"] = type(model.optimizer).__name__
            about["steps"] = model.optimizer.iterations
    lines: list[str] = []
    model.summary(lines.append)
    about["layers"] = [
        {"name": layer.name, "class": type(layer).__name__} for layer in model.layers
    ]
    if isinstance(model, Sequential):
        about["input shape"] = _shape(model.input_shape)
        about["output shape"] = _shape(model.output_shape)
        if model.vectorizer is not None:
            about["vocabulary"] = model.vectorizer.vocabulary_size()
        if model.class_names is not None:
            about["classes"] = model.class_names
        layout = read_layout(model, path)
        if layout is not None:
            about["table"] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(layout).items()
                if value not in (None, (), 0) or value is True
            }
    elif isinstance(model, Model):
        structure = model._structure
        shapes = model._output_shapes.items()
        about["inputs"] = {entry.name: _shape(entry.shape) for entry in structure.inputs}
        about["outputs"] = {name: _shape(shape) for name, shape in shapes}
    return about, lines


def _shape(shape: tuple[int | None, ...]) -> str:
    from lstmcore._checks import show_shape

    return show_shape(shape)
