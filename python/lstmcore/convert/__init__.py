"""Weights and models from and to other frameworks and file formats.

Values are copied bit for bit, float32 or float64 as they are; what has no counterpart is refused by
its name. Nothing here imports a framework unless it makes one of its objects or reads one of its
own files.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lstmcore._suggest import no_attribute

if TYPE_CHECKING:
    from lstmcore.convert.keras import from_keras, load_keras_weights, to_keras
    from lstmcore.convert.onnx import from_onnx, to_onnx
    from lstmcore.convert.pytorch import (
        from_torch,
        layer_from_torch,
        load_torch,
        save_torch,
        to_torch,
    )
    from lstmcore.convert.textbook import from_textbook, to_textbook

__all__ = [
    # PyTorch
    "from_torch",
    "layer_from_torch",
    "load_torch",
    "save_torch",
    "to_torch",
    # Keras
    "from_keras",
    "load_keras_weights",
    "to_keras",
    # one node of ONNX
    "from_onnx",
    "to_onnx",
    # one matrix over [h, x] for each gate
    "from_textbook",
    "to_textbook",
]

_MEMBERS = {
    "from_keras": "keras",
    "from_onnx": "onnx",
    "from_textbook": "textbook",
    "from_torch": "pytorch",
    "layer_from_torch": "pytorch",
    "load_keras_weights": "keras",
    "load_torch": "pytorch",
    "save_torch": "pytorch",
    "to_keras": "keras",
    "to_onnx": "onnx",
    "to_textbook": "textbook",
    "to_torch": "pytorch",
}


if not TYPE_CHECKING:  # which would take it for a module with any name

    def __getattr__(name: str) -> object:
        if name not in _MEMBERS:
            raise no_attribute(f"module {__name__!r}", name, __all__)
        value = getattr(import_module(f"lstmcore.convert.{_MEMBERS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
