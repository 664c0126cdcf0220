"""Models to ONNX files.

Needs the package ``onnx``: ``pip install "lstmcore[onnx]"``.
"""

from importlib.util import find_spec

if find_spec("onnx") is None:
    raise ImportError(
        'lstmcore.onnx needs the package onnx, which is missing: pip install "lstmcore[onnx]"'
    )

from lstmcore.onnx.exporter import export

__all__ = ["export"]
