"""Fast, trustworthy LSTM training and inference on the CPU.

Layers and models in Keras' words (`Sequential`, `layers`), the same as plain functions
(`functional`), and one step at a time (`LSTMStream`). Arrays are NumPy's, batch first: (N, T, C).
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("lstmcore._core") is None:
    raise ImportError(
        "lstmcore's compiled engine is missing. Install the package (pip install . in its source "
        "tree, or pip install of a wheel for this Python that make wheel left in dist/) and import "
        "it from outside the source tree."
    )

if TYPE_CHECKING:
    from lstmcore import constraints, convert, datasets, functional, layers, plots, regularizers
    from lstmcore import onnx as onnx
    from lstmcore import sklearn as sklearn
    from lstmcore import torch as torch
    from lstmcore._core import __version__
    from lstmcore.config import Activation, LSTMConfig
    from lstmcore.cpu import cpu_info, get_num_threads, set_num_threads
    from lstmcore.encoder_decoder import EncoderDecoder
    from lstmcore.memory import memory_needed
    from lstmcore.model import load
    from lstmcore.precision import get_precision, set_precision
    from lstmcore.quantization import QuantizationReport, quantization_report, quantize
    from lstmcore.sequential import Sequential
    from lstmcore.stream import LSTMStream
    from lstmcore.training import callbacks, losses, metrics, optimizers, schedules

__all__ = [
    "__version__",
    # models
    "Sequential",
    "EncoderDecoder",
    "load",
    "quantize",
    "quantization_report",
    "QuantizationReport",
    "layers",
    "constraints",
    "regularizers",
    # training
    "callbacks",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    # the engine
    "Activation",
    "LSTMConfig",
    "LSTMStream",
    "functional",
    "cpu_info",
    "get_num_threads",
    "get_precision",
    "memory_needed",
    "set_num_threads",
    "set_precision",
    # data
    "datasets",
    "plots",
    # other frameworks; onnx, sklearn and torch are there, too, but need what they lead to,
    # which `from lstmcore import *` should not
    "convert",
]

# Imported when first used, so that `import lstmcore` costs little and cannot fail for a reason that
# the command line should report in one line, such as an unknown LSTMCORE_ISA.
_MODULES = {
    "callbacks": "training.callbacks",
    "constraints": "constraints",
    "convert": "convert",
    "datasets": "datasets",
    "functional": "functional",
    "layers": "layers",
    "losses": "training.losses",
    "metrics": "training.metrics",
    "onnx": "onnx",
    "optimizers": "training.optimizers",
    "plots": "plots",
    "regularizers": "regularizers",
    "schedules": "training.schedules",
    "sklearn": "sklearn",
    "torch": "torch",
    "_core": "_core",
}
_MEMBERS = {
    "Activation": "config",
    "EncoderDecoder": "encoder_decoder",
    "LSTMConfig": "config",
    "LSTMStream": "stream",
    "QuantizationReport": "quantization",
    "Sequential": "sequential",
    "__version__": "_core",
    "cpu_info": "cpu",
    "get_num_threads": "cpu",
    "get_precision": "precision",
    "load": "model",
    "memory_needed": "memory",
    "quantization_report": "quantization",
    "quantize": "quantization",
    "set_num_threads": "cpu",
    "set_precision": "precision",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"lstmcore.{_MODULES[name]}")
    elif name in _MEMBERS:
        value = getattr(import_module(f"lstmcore.{_MEMBERS[name]}"), name)
    else:
        raise AttributeError(f"module 'lstmcore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
