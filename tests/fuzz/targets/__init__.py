"""What is fuzzed: each target makes its inputs from a seed and a number, and runs them."""

from importlib import import_module

_MODULES = {
    "model_files": "files",
    "onnx_files": "onnx_files",
    "keras_files": "files",
    "arguments": "arguments",
    "arguments_of_bridges": "arguments",
    "command_line": "command_line",
}

NAMES = tuple(_MODULES)

_MODULES_OF_TESTS = {"misbehaving": "misbehaving", "remembering": "misbehaving"}


def by_name(name):
    """Return a target."""
    module = import_module(f"targets.{ {**_MODULES, **_MODULES_OF_TESTS}[name] }")
    return module.TARGETS[name]()
