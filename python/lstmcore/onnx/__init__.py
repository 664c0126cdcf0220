"""Run ONNX models with recurrent layers on the engine, and export lstmcore's models to ONNX.

Requires the package ``onnx``: ``pip install onnx``.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

if find_spec("onnx") is None:
    raise ImportError(
        f"lstmcore.onnx needs the package onnx, which is not installed: {how_to_install('onnx')}"
    )

from lstmcore._suggest import public
from lstmcore.onnx.backend import Backend, BackendRep
from lstmcore.onnx.exporter import export
from lstmcore.onnx.graph import Argument
from lstmcore.onnx.model import Model, load

__all__ = ["Argument", "Backend", "BackendRep", "Model", "export", "load"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)
