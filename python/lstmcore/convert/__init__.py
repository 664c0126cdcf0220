"""Convert weights and models from and to other frameworks and file formats.

Values are copied bit for bit, as float32 or float64; whatever has no counterpart is refused with an
error that names it. A framework is imported only to make its objects or to read its own files.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lstmcore._suggest import no_attribute

if TYPE_CHECKING:
    from lstmcore.convert.captures import Capture, CaptureStream, load_capture
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
    # an ONNX node
    "from_onnx",
    "to_onnx",
    # one matrix over [h, x] for each gate
    "from_textbook",
    "to_textbook",
    # captures of amplifiers
    "load_capture",
    "Capture",
    "CaptureStream",
]

_MEMBERS = {
    "Capture": "captures",
    "CaptureStream": "captures",
    "from_keras": "keras",
    "from_onnx": "onnx",
    "from_textbook": "textbook",
    "from_torch": "pytorch",
    "layer_from_torch": "pytorch",
    "load_capture": "captures",
    "load_keras_weights": "keras",
    "load_torch": "pytorch",
    "save_torch": "pytorch",
    "to_keras": "keras",
    "to_onnx": "onnx",
    "to_textbook": "textbook",
    "to_torch": "pytorch",
}


if not TYPE_CHECKING:  # or type checkers would accept any attribute

    def __getattr__(name: str) -> object:
        if name not in _MEMBERS:
            raise no_attribute(f"module {__name__!r}", name, __all__)
        value = getattr(import_module(f"lstmcore.convert.{_MEMBERS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
