"""Fast, trustworthy LSTM training and inference on the CPU.

It offers layers and models with Keras' names (`Sequential`, `layers`), the same operations as plain
functions (`functional`), and inference one step at a time (`LSTMStream`). Arrays are NumPy's, batch
first: (N, T, C).
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if find_spec("lstmcore._core") is None:
    raise ImportError(
        "lstmcore's compiled engine is missing. Install the package (pip install . in its source "
        "tree, or pip install of a wheel for this Python that make wheel left in dist/) and import "
        "it from outside the source tree."
    )

import_module("lstmcore._thread_limits").register()

if TYPE_CHECKING:
    from lstmcore import aeon as aeon
    from lstmcore import (
        callbacks,
        constraints,
        convert,
        datasets,
        decoding,
        distributed,
        features,
        functional,
        layers,
        losses,
        metrics,
        optimizers,
        plots,
        regularizers,
        sampling,
        schedules,
    )
    from lstmcore import jax as jax
    from lstmcore import keras as keras
    from lstmcore import onnx as onnx
    from lstmcore import sklearn as sklearn
    from lstmcore import sktime as sktime
    from lstmcore import torch as torch
    from lstmcore._core import __version__
    from lstmcore.config import Activation, LSTMConfig
    from lstmcore.cpu import cpu_info, get_num_threads, set_num_threads
    from lstmcore.layers import Input as Input  # listed in lstmcore.layers
    from lstmcore.memory import memory_needed
    from lstmcore.models import (
        EncoderDecoder,
        LanguageModel,
        Model,
        QuantizationReport,
        Sequential,
        load,
        quantization_report,
        quantize,
    )
    from lstmcore.precision import get_precision, set_precision
    from lstmcore.stream import LSTMStream
    from lstmcore.training.curriculum import Curriculum

__all__ = [
    "__version__",
    # models
    "Sequential",
    "Model",
    "EncoderDecoder",
    "LanguageModel",
    "load",
    "quantize",
    "quantization_report",
    "QuantizationReport",
    "layers",
    "constraints",
    "regularizers",
    # training
    "Curriculum",
    "callbacks",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    "distributed",
    "decoding",
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
    # data and pictures
    "datasets",
    "explain",
    "features",
    "plots",
    "sampling",
    # other frameworks; the modules aeon, jax, keras, onnx, sklearn, sktime and torch exist too, but
    # import packages that `from lstmcore import *` should not require
    "convert",
]

# Imported on first use, so that `import lstmcore` is fast, and errors such as an unknown
# LSTMCORE_ISA occur where the command line can report them in one line.
_MODULES = {
    "aeon",
    "callbacks",
    "constraints",
    "convert",
    "datasets",
    "decoding",
    "distributed",
    "explain",
    "features",
    "functional",
    "jax",
    "keras",
    "layers",
    "losses",
    "metrics",
    "onnx",
    "optimizers",
    "plots",
    "regularizers",
    "sampling",
    "schedules",
    "sklearn",
    "sktime",
    "torch",
    "_core",
}
_MEMBERS = {
    "Activation": "config",
    "Curriculum": "training.curriculum",
    "EncoderDecoder": "models",
    "LSTMConfig": "config",
    "Input": "layers",
    "LanguageModel": "models",
    "LSTMStream": "stream",
    "Model": "models",
    "QuantizationReport": "models",
    "Sequential": "models",
    "__version__": "_core",
    "cpu_info": "cpu",
    "get_num_threads": "cpu",
    "get_precision": "precision",
    "load": "models",
    "memory_needed": "memory",
    "quantization_report": "models",
    "quantize": "models",
    "set_num_threads": "cpu",
    "set_precision": "precision",
}

if not TYPE_CHECKING:  # or type checkers would accept any attribute

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value = import_module(f"lstmcore.{name}")
        elif name in _MEMBERS:
            value = getattr(import_module(f"lstmcore.{_MEMBERS[name]}"), name)
        else:
            from lstmcore._suggest import no_attribute

            raise no_attribute("module 'lstmcore'", name, __dir__())
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*_MODULES, *_MEMBERS} - {"_core", "Input"})  # which layers list
