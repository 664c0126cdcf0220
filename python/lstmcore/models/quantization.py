"""Models with weights of 8 bits, for inference, and how their outputs differ."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike, Inputs
from lstmcore.models import int8
from lstmcore.models.stored import Stored
from lstmcore.training import optimizers

__all__ = ["QuantizationReport", "quantization_report", "quantize"]

ModelT = TypeVar("ModelT", bound=Stored)


def quantize(model: ModelT) -> ModelT:
    """Make a model for inference with matrices of 8 bits.

    All weights but vectors (of LSTM, Dense, Conv1D, Attention, Embedding, and of your own layers)
    become integers from -127 to 127 times a scale: one for each gate row of an LSTM, for each
    output of a kernel, for each entry of a vocabulary. The scale is the largest magnitude of its
    numbers divided by 127. Biases, gains, peephole weights and other vectors stay as they are, and
    so do the statistics of a `Normalization`.
    Every LSTM's precision becomes ``"int8"``: its inputs and states are quantized step by step,
    too, on machines with a unit for it (see `cpu_info`), and its products are sums of integers.

    In memory the weights are float32; a file that `save` writes has 8 bits of each, about a quarter
    of the size, and `load` returns a quantized model whose predictions have the same bits.

    Parameters
    ----------
    model : Sequential, Model or EncoderDecoder
        Built, of float32. It is not changed.

    Returns
    -------
    Sequential, Model or EncoderDecoder
        A new model with ``quantized`` True. It predicts and evaluates, with the loss and the
        metrics of `model` if that is compiled, or of ``compile(None, loss, metrics)``. It has no
        optimizer and cannot be trained, and its weights cannot be set. If `model` is quantized
        already, it is a copy.

    Raises
    ------
    TypeError
        If `model` is not a model.
    ValueError
        If it is not built, if it is of float64, which the engine has no integers for, or if a
        weight is not finite, or so large that rounding makes it infinite.

    Examples
    --------
    >>> small = lc.quantize(model)
    >>> print(lc.quantization_report(model, small, x_test))
    >>> small.save("small.safetensors")
    """
    _checks.instance(model, Stored, "model", "a Sequential, Model or EncoderDecoder")
    if model.quantized:
        return copy.deepcopy(model)
    parameters = model.parameters
    if model.dtype != np.float32:
        raise ValueError(
            f"model: expected one of float32, got {model.dtype.name}; copy its weights, as "
            "float32, into a model of float32"
        )
    int8.check_names(parameters.specs)
    values = {
        name: int8.decode(*int8.encode(name, weight, spec.inputs), spec.inputs)
        for name, weight in model.weights.items()
        if int8.is_matrix(spec := parameters.specs[name])
    }
    result = copy.deepcopy(model)
    result._forget_training()
    if result.is_compiled:  # the optimizer is never used
        result._set_compiled(replace(result.compiled, optimizer=optimizers.SGD()))
    result.parameters.assign(values)
    result._become_quantized()
    return result


@dataclass(frozen=True)
class QuantizationReport:
    """How a quantized model differs from the one that it was made from, on some data.

    Attributes
    ----------
    rows : int
        Outputs that were compared: samples, or steps of samples.
    largest_difference, mean_difference : float
        Of the absolute differences of all output values.
    relative_rms : float
        Root mean square of the differences, divided by that of the first model's outputs.
    agreement : float or None
        Share of the rows whose largest output is at the same place; None if they are not classes.
    bytes, quantized_bytes : int
        Of the weights in a model file.
    """

    rows: int
    largest_difference: float
    mean_difference: float
    relative_rms: float
    agreement: float | None
    bytes: int
    quantized_bytes: int

    def __str__(self) -> str:
        lines = [
            f"outputs compared    {self.rows}",
            f"largest difference  {self.largest_difference:.3g}",
            f"mean difference     {self.mean_difference:.3g}",
            f"relative to outputs {self.relative_rms:.3%} (root mean square)",
        ]
        if self.agreement is not None:
            lines.append(f"same class          {self.agreement:.3%} of the outputs")
        share = self.quantized_bytes / self.bytes if self.bytes else 1.0
        sizes = f"{self.quantized_bytes} bytes instead of {self.bytes}"
        lines.append(f"weights in a file   {sizes} ({share:.1%})")
        return "\n".join(lines)


def quantization_report(
    model: Stored,
    quantized: Stored,
    x: Inputs,
    y: Inputs | None = None,
    *,
    classes: bool | None = None,
    batch_size: int = 32,
    mask: ArrayLike | None = None,
) -> QuantizationReport:
    """Compare the outputs of a model and its quantized form for the same inputs.

    Parameters
    ----------
    model, quantized : Sequential, Model or EncoderDecoder
        Any model, and one from `quantize`, or loaded, with outputs of the same shape.
    x : array_like, or list of array_like
        At least one sample, as `predict` takes it.
    y : array_like, or list of array_like, optional
        For an `EncoderDecoder` the targets: the probabilities of their tokens, each given the
        tokens before it, are compared. None for a `Sequential`.
    classes : bool, optional
        Whether outputs are scores of at least two classes along the last axis, so that `agreement`
        compares which is the largest. None: if the model ends in a softmax.
    batch_size, mask
        As in `Sequential.predict`. Masked steps are not compared.

    Returns
    -------
    QuantizationReport

    Raises
    ------
    TypeError
        If one is not a model.
    ValueError
        If `quantized` is not quantized, outputs differ in shape, there are none, or they cannot
        be `classes`.
    """
    for name, one in (("model", model), ("quantized", quantized)):
        _checks.instance(one, Stored, name, "a Sequential, Model or EncoderDecoder")
    if isinstance(model.output_shape, list):
        raise ValueError("model: expected one with a single output, got one with several")
    if not quantized.quantized:
        raise ValueError("quantized: expected a model that quantize made, got another")
    if model.output_shape != quantized.output_shape:
        raise ValueError(
            f"quantized: expected outputs of shape {_checks.show_shape(model.output_shape)} like "
            f"the model's, got {_checks.show_shape(quantized.output_shape)}"
        )
    units = model.output_shape[-1] or 0
    if classes is None:
        classes = model._last_activation == "softmax" and units > 1
    elif _checks.flag(classes, "classes") and units < 2:
        raise ValueError(f"classes: expected False for a single output, got {classes}")
    batch_size = _checks.integer(batch_size, "batch_size", 1)
    before, after = (one._output_rows(x, y, batch_size, mask) for one in (model, quantized))
    if before.size == 0:
        raise ValueError("x: expected at least one sample with an output, got none")
    difference = np.abs(after.astype(np.float64) - before)
    scale, error = _root_mean_square(before), _root_mean_square(difference)
    agreement = None
    if classes:
        agreement = float((before.argmax(axis=-1) == after.argmax(axis=-1)).mean())
    return QuantizationReport(
        rows=len(before),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_rms=error / scale if scale else (0.0 if error == 0 else float("inf")),
        agreement=agreement,
        bytes=_stored_bytes(model),
        quantized_bytes=_stored_bytes(quantized),
    )


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _stored_bytes(model: Stored) -> int:
    """Count the bytes that the weights of a model take in its file."""
    tensors = model.weights
    if model.quantized:
        tensors = int8.pack(tensors, model.parameters.specs)
    return sum(tensor.nbytes for tensor in tensors.values())
