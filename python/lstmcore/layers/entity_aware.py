"""An LSTM whose input gate depends on static features alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstmcore import _checks, regularizers
from lstmcore import functional as F
from lstmcore._intake import Intake
from lstmcore._typing import Array, ArrayLike, InitializerName, Precision, Recompute, Shape
from lstmcore.layers import initializers
from lstmcore.layers.cell import LSTMCell, Transposed
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.recurrent import Recurrent

__all__ = ["EALSTM"]

_GATES = ("weight_ih_l0", "weight_hh_l0", "bias_l0")  # of f, g and o


@dataclass(frozen=True)
class _WithoutFirst:
    """Draws for all four gates and leaves the first out."""

    initializer: initializers.Initializer
    units: int

    def __call__(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        whole = self.initializer((4 * self.units, *shape[1:]), random)
        return np.asarray(whole[self.units :])


class EALSTM(Recurrent):
    """Entity-aware LSTM: static features open the input gate (Kratzert et al. 2019).

    Of a sequence x (N, T, C) and static features s (N, S) of what it belongs to, such as a
    catchment, it computes ::

        i   = sigmoid(W_s s + b_s)                                 the same at all steps
        f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)                 and o_t likewise
        g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
        c_t = f_t * c_{t-1} + i * g_t,    h_t = o_t * tanh(c_t)

    so that the gate says which units an entity uses, and rows of its values, which `gate` returns,
    can be compared between entities.

    Parameters
    ----------
    units : int
        H, the width of the state.
    return_sequences : bool, default False
        As in `LSTM`.
    return_state : bool, default False
        As in `LSTM`.
    recompute : int or "sqrt", optional
        As in `LSTM`.
    dropout : float, default 0.0
        Share of x and of s that is dropped while training, with one mask for all steps.
    recurrent_dropout : float, default 0.0
        Share of h that is dropped while training, as in `LSTM`.
    unit_forget_bias : bool, default True
        Whether the forget gate's bias begins at 1 instead of 0.
    forget_bias : float, optional
        Where it begins instead; Kratzert et al. take 5.
    kernel_initializer : str, default "glorot_uniform"
        Initial weights of x.
    recurrent_initializer : str, default "orthogonal"
        Initial weights of h.
    static_initializer : str, default "glorot_uniform"
        Initial weights of s.
    kernel_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on the weights of x.
    recurrent_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on the weights of h.
    static_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on the weights of s.
    precision : str, optional
        As in `LSTM`.
    seed : int, optional
        As in `LSTM`.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``weight_ih_l0`` (3H, C), ``weight_hh_l0`` (3H, H) and ``bias_l0`` (3H,), with the
    gates in the order f, g, o; ``weight_static`` (H, S) and ``bias_static`` (H,).

    It runs as an LSTM over x beside s, whose weights on x and h are zero in the input gate and
    whose weights on s are zero in the others, so its speed is that of an LSTM over C + S features.
    """

    _before_states = 2

    _left_out_if_none = ("precision",)

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        recompute: Recompute = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        unit_forget_bias: bool = True,
        forget_bias: float | None = None,
        kernel_initializer: InitializerName = "glorot_uniform",
        recurrent_initializer: InitializerName = "orthogonal",
        static_initializer: InitializerName = "glorot_uniform",
        kernel_regularizer: regularizers.RegularizerLike = None,
        recurrent_regularizer: regularizers.RegularizerLike = None,
        static_regularizer: regularizers.RegularizerLike = None,
        precision: Precision | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        cell = LSTMCell(
            units,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            unit_forget_bias=unit_forget_bias,
            forget_bias=forget_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            precision=precision,
            seed=seed,
            trainable=trainable,
        )
        super().__init__(
            [cell],
            0.0,
            return_sequences,
            return_state,
            False,
            name,
            trainable=trainable,
            recompute=recompute,
        )
        self.dropout, self.recurrent_dropout = cell.input_dropout, cell.recurrent_dropout
        self.unit_forget_bias, self.forget_bias = cell.unit_forget_bias, cell.forget_bias
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.static_initializer = static_initializer
        self._static_initializer = initializers.get(static_initializer, "static_initializer")
        self.kernel_regularizer = cell.kernel_regularizer
        self.recurrent_regularizer = cell.recurrent_regularizer
        self.static_regularizer = regularizers.get(static_regularizer, "static_regularizer")
        self._widths: tuple[int, int] | None = None  # C and S

    # ---- structure ---------------------------------------------------------------------------

    def build(self, input_shape: Shape) -> Shape:
        """Fix C + S from (N, T, C + S), the two inputs side by side."""
        if self._widths is None:
            raise ValueError(
                "EALSTM: expected a sequence and static features, two inputs, which only a graph "
                "has: EALSTM(units)([sequence, static]) in an lstmcore.Model"
            )
        return super().build(input_shape)

    def _fix_widths(self, sequence: Shape, static: Shape) -> Shape:
        """Fix C and S; return the shape of both inputs side by side."""
        if len(sequence) != 3 or len(static) != 2 or not sequence[-1] or not static[-1]:
            raise ValueError(
                "EALSTM: expected a sequence (N, T, C) and static features (N, S), got "
                f"{_checks.show_shape(sequence)} and {_checks.show_shape(static)}"
            )
        self._widths = (sequence[-1], static[-1])
        return (*sequence[:-1], sum(self._widths))

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        if len(shapes) < 2:
            raise ValueError("EALSTM: expected a list of a sequence and static features, got one")
        return super()._build_node([self._fix_widths(*shapes[:2]), *shapes[2:]])

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights of f, g and o, then those of s."""
        assert self._widths is not None
        width, known = self._widths
        units = self.units
        specs = [
            replace(spec, shape=(3 * units, *spec.shape[1:]))
            for spec in self.cells[0]._specs(width, "_l0")
        ]
        bias = specs[-1]
        specs[-1] = replace(bias, initializer=_WithoutFirst(bias.initializer, units))
        penalty = regularizers.strengths(self.static_regularizer)
        make = Transposed(self._static_initializer)
        return [
            *specs,
            WeightSpec("weight_static", (units, known), make, *penalty, inputs=1),
            WeightSpec("bias_static", (units,), initializers.zeros),
        ]

    def _frozen_weights(self) -> set[str]:
        return set() if self.trainable else set(self._names.values())

    def _engine_weights(self) -> dict[str, Array]:
        """Return the weights of the LSTM over x beside s."""
        assert self._config is not None
        assert self._widths is not None
        (width, _), units, own = self._widths, self.units, self._weights
        whole = {
            name: np.zeros(shape, own["bias_l0"].dtype)
            for name, shape in self._config.parameter_shapes().items()
        }
        whole["weight_ih_l0"][units:, :width] = own["weight_ih_l0"]
        whole["weight_ih_l0"][:units, width:] = own["weight_static"]
        whole["weight_hh_l0"][units:] = own["weight_hh_l0"]
        whole["bias_l0"][units:] = own["bias_l0"]
        whole["bias_l0"][:units] = own["bias_static"]
        return whole

    # ---- computation -------------------------------------------------------------------------

    def _sequence_and_state(self, inputs: Sequence[Array]) -> tuple[Array, F.LSTMState | None]:
        """Return the sequence beside the static features, and the state."""
        return super()._sequence_and_state([_side_by_side(inputs[0], inputs[1]), *inputs[2:]])

    def _backward_node(
        self, context: Any, gradients: Sequence[Array | None], needed: Sequence[bool]
    ) -> list[Array | None]:
        assert self._widths is not None
        asked = [needed[0] or needed[1], *needed[2:]]
        both, *states = super()._backward_node(context, gradients, asked)
        if both is None:
            return [None, None, *states]
        width = self._widths[0]
        dx = np.ascontiguousarray(both[..., :width]) if needed[0] else None
        ds = np.asarray(both[..., width:].sum(axis=1)) if needed[1] else None
        return [dx, ds, *states]

    def _lengths_node(self, lengths: Sequence[Array | None], rows: Array) -> Array:
        return rows if lengths[0] is None else lengths[0]

    def _backward(
        self,
        tape: Any,
        dy: Array | None,
        dstate: Any,
        *,
        need_x: bool = True,
        need_state: bool = True,
        add: bool = False,
    ) -> F.LSTMGradients:
        whole = self._engine_weights()
        places = {name: np.empty_like(whole[name]) if self._trains else None for name in _GATES}
        options = {"need_x": need_x, "need_state": need_state}
        gradients = F.lstm_backward(tape, dy, dstate, out=places, **options)
        for name, part in self._parts_of(places).items():
            target = self.gradient_place(name)
            if target is not None:
                target[...] = target + part if add else part
        return gradients

    def _parts_of(self, whole: Mapping[str, Array | None]) -> dict[str, Array]:
        """Return the layer's parts of arrays that are shaped like the engine's weights."""
        kernel, recurrent, bias = (whole[name] for name in _GATES)
        if kernel is None or recurrent is None or bias is None:
            return {}
        assert self._widths is not None
        width, units = self._widths[0], self.units
        return {
            "weight_ih_l0": kernel[units:, :width],
            "weight_static": kernel[:units, width:],
            "weight_hh_l0": recurrent[units:],
            "bias_l0": bias[units:],
            "bias_static": bias[:units],
        }

    # ---- a layer on its own ------------------------------------------------------------------

    def __call__(  # type: ignore[override]
        self,
        inputs: Sequence[ArrayLike],
        *,
        initial_state: Sequence[ArrayLike] | None = None,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> Any:
        """Apply the layer to arrays; the first call fixes the widths and the element type.

        Parameters
        ----------
        inputs : list of two array_like
            The sequence (N, T, C) and the static features (N, S).
        initial_state : pair of array_like, optional
            h and c, each (N, H).
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row.
        training : bool, default False
            Whether dropout acts.
        seed : int, default 0
            Of the masks.

        Returns
        -------
        ndarray, or tuple of three ndarray
            As of an `LSTM`.
        """
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise TypeError(
                "inputs: expected a list of a sequence and static features, got "
                f"{_checks.describe(inputs)}"
            )
        intake = Intake(switch=False)
        steps = None
        x = intake.numbers(inputs[0], "sequence")
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        if self.parameters is not None:
            dtype = self.parameters.dtype
        if lengths is not None and x.ndim == 3:
            counts = _checks.lengths_array(intake.integers(lengths, "lengths"), *x.shape[:2])
            steps = np.arange(x.shape[1]) < counts[:, None]
        x = intake.floats(x, "sequence", dtype, steps)
        static = intake.floats(inputs[1], "static", dtype)
        if self._widths is None:
            self._fix_widths(x.shape, static.shape)
        expected = (len(x), (self._widths or (0, 0))[1])
        if x.ndim != 3 or static.shape != expected:
            raise ValueError(
                f"static: expected shape {expected} beside a sequence {x.shape}, got {static.shape}"
            )
        both = _side_by_side(x, static)
        return super().__call__(
            both, initial_state=initial_state, lengths=lengths, training=training, seed=seed
        )

    def gate(self, static: ArrayLike) -> Array:
        """Compute the input gate of entities: which of the units each of them uses.

        Parameters
        ----------
        static : array_like, shape (N, S)

        Returns
        -------
        ndarray, shape (N, H)
            Between 0 and 1.

        Raises
        ------
        ValueError
            If the layer is not built, or the shape is wrong.
        """
        if self.parameters is None or self._widths is None:
            raise ValueError("gate: the layer is not built; call it or put it into a model")
        values = Intake(switch=False).floats(static, "static", self.parameters.dtype)
        if values.ndim != 2 or values.shape[1] != self._widths[1]:
            raise ValueError(f"static: expected shape (N, {self._widths[1]}), got {values.shape}")
        sums = values @ self._weights["weight_static"].T + self._weights["bias_static"]
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * sums)), values.dtype)


def _side_by_side(x: Array, static: Array) -> Array:
    """Put static features (N, S) beside every step of x (N, T, C)."""
    both = np.empty((*x.shape[:2], x.shape[2] + static.shape[1]), x.dtype)
    both[..., : x.shape[2]] = x
    both[..., x.shape[2] :] = static[:, None]
    return both
