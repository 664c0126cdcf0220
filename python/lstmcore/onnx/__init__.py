"""ONNX models with recurrent layers, run on the engine, and models of our own as ONNX files.

Needs the package ``onnx``: ``pip install "lstmcore[onnx]"``.
"""

from importlib.util import find_spec

if find_spec("onnx") is None:
    raise ImportError(
        'lstmcore.onnx needs the package onnx, which is missing: pip install "lstmcore[onnx]"'
    )

from lstmcore.onnx.backend import Backend, BackendRep
from lstmcore.onnx.exporter import export
from lstmcore.onnx.graph import Argument
from lstmcore.onnx.model import Model, load

__all__ = ["Argument", "Backend", "BackendRep", "Model", "export", "load"]
