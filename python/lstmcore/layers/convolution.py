"""Convolution over time."""

from typing import NamedTuple

import numpy as np

from lstmcore import _checks, _core, constraints, regularizers
from lstmcore._typing import Array, InitializerName, LayerActivation, Padding, Shape, choices
from lstmcore.layers import functions
from lstmcore.layers.kernel import KernelLayer
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.pooling import windows_of

__all__ = ["Conv1D"]


class _Context(NamedTuple):
    inputs: Array
    lengths: Array | None
    values: Array
    """What the engine returned: outputs, or what the rest of the activation is applied to."""
    activation: str


class Conv1D(KernelLayer):
    """``activation(windows over time * kernel + bias)``: (N, T, C) to (N, T', F).

    Parameters
    ----------
    filters : int
        F, the width of the output.
    kernel_size : int
        K, the steps of a window.
    strides : int, default 1
        Steps from one window to the next.
    padding : {"valid", "same", "causal"}, default "valid"
        With ``span = (kernel_size - 1) * dilation_rate + 1``: "valid": T' is
        ``(T - span) // strides + 1``, windows that lie within the sequence. "same": T' is
        T / strides, rounded up; the sequence is padded with zeros, half of them, rounded down,
        before it. "causal": T' as with "same", ``span - 1`` zeros before the sequence, so that no
        window looks ahead.
    dilation_rate : int, default 1
        Steps from one element of a window to the next.
    activation : str, optional
        A name that `Activation` takes; None is "linear".
    use_bias : bool, default True
        Whether a bias is added.
    kernel_initializer, bias_initializer : str
        Names of the initial values.
    kernel_regularizer, bias_regularizer : L1, L2, L1L2, float or str, optional
        Penalties on the weights.
    kernel_constraint, bias_constraint : MaxNorm or "max_norm", optional
        Restored after each step of the optimizer; a norm is that of all K C weights of a filter.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``kernel`` (K, C, F), the shape that it has in Keras; in PyTorch it is (F, C, K), so
    ``weight.transpose(2, 1, 0)``; and ``bias`` (F,).

    Each row is treated as if it were alone: windows see zeros past its length, T is its length in
    the formulas of T' and of the padding of "same", and outputs past its T' are zero. A row that is
    shorter than a "valid" window has no output. Unlike in Keras, `strides` and `dilation_rate` may
    both be more than 1.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: Padding = "valid",
        *,
        dilation_rate: int = 1,
        activation: LayerActivation | None = None,
        use_bias: bool = True,
        kernel_initializer: InitializerName = "glorot_uniform",
        bias_initializer: InitializerName = "zeros",
        kernel_regularizer: regularizers.RegularizerLike = None,
        bias_regularizer: regularizers.RegularizerLike = None,
        kernel_constraint: constraints.ConstraintLike = None,
        bias_constraint: constraints.ConstraintLike = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            kernel_constraint,
            bias_constraint,
            seed,
            name,
            trainable,
        )
        self.filters = _checks.integer(filters, "filters", 1)
        self.kernel_size = _checks.integer(kernel_size, "kernel_size", 1)
        self.strides = _checks.integer(strides, "strides", 1)
        self.padding = _checks.choice(padding, "padding", choices(Padding))
        self.dilation_rate = _checks.integer(dilation_rate, "dilation_rate", 1)
        self._width = 0

    @property
    def _windows(self) -> tuple[int, str, int]:
        return self.strides, self.padding, self.dilation_rate

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, T, C)."""
        self._width = self._accept(input_shape, (3,), "(N, T, C)")
        windows = windows_of(input_shape, self.kernel_size, *self._windows)
        return (input_shape[0], windows, self.filters)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``kernel`` (K, C, F) and, if used, ``bias`` (F,)."""
        return self._kernel_specs((self.kernel_size, self._width, self.filters), inputs=(0, 1))

    @property
    def mixes_steps(self) -> bool:
        """Whether windows have several steps, or some steps are in no window."""
        return self.kernel_size > 1 or self.strides > 1

    def output_lengths(self, lengths: Array) -> Array:
        """Count the windows of sequences of `lengths`."""
        return _core.window_counts(lengths, self.kernel_size, *self._windows)

    def _apply(
        self, inputs: Array, lengths: Array | None, activation: str
    ) -> tuple[Array, Array | None, _Context]:
        kernel, bias = self._weights["kernel"], self._weights.get("bias")
        within, rest = functions.split(activation)
        values = _core.conv1d_forward(inputs, lengths, kernel, bias, *self._windows, within)
        valid = None if lengths is None else self.output_lengths(lengths)
        outputs = values if rest is None else rest.value(values)
        if rest is not None and valid is not None and not rest.keeps_zero:
            outputs[np.arange(outputs.shape[1]) >= valid[:, None]] = 0
        return outputs, valid, _Context(inputs, lengths, values, activation)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradients of kernel and bias; see `Layer.backward`."""
        self._follow_trainable()
        within, rest = functions.split(context.activation)
        dvalues = dy if rest is None else rest.pullback(context.values, dy)
        return _core.conv1d_backward(
            context.inputs,
            context.lengths,
            self._weights["kernel"],
            context.values,
            dvalues,
            *self._windows,
            within,
            need_x,
            self.gradient_place("kernel"),
            self.gradient_place("bias"),
        )
