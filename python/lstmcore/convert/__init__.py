"""Weights to and from the layouts of other frameworks, in NumPy alone."""

from lstmcore.convert.onnx import from_onnx, to_onnx

__all__ = ["from_onnx", "to_onnx"]
