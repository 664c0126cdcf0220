"""One step of an LSTM, with the initial values, penalties and constraints of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from lstmcore import _checks, constraints, regularizers
from lstmcore import functional as F
from lstmcore._intake import Intake
from lstmcore._signatures import shows_options
from lstmcore._suggest import suggests
from lstmcore._typing import Array, ArrayLike, CellActivation, Precision, Shape, choices
from lstmcore.config import Activation, LSTMConfig
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.cell_options import (
    ENGINE_OPTIONS,
    LATER,
    PARAMETERS,
    CellAttributes,
    CellKeywords,
)
from lstmcore.layers.engines import LSTM_ENGINE
from lstmcore.layers.keras_words import CONFIG_NAMES, check_keras
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.precision import checked, in_force

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LSTMCell", "Transposed"]


@shows_options(PARAMETERS, CellAttributes, LSTMConfig, before="precision")
class LSTMCell(CellAttributes, Layer):
    """One step: ``h, (h, c) = cell(x, (h, c))``; in an `RNN`, whole sequences in one engine call.

    Parameters
    ----------
    units : int
        H, the width of the state.
    **options
        Options of `LSTMConfig` and of the weights.
    precision : str, optional
        Precision of the products; None: the default, set by `lstmcore.set_precision`, at the time
        when the weights are packed. ``"int8"`` is for inference only.
    seed : int, optional
        Seed of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    dropout : float, default 0.0
        Keras' name for `input_dropout`.
    bias_initializer, implementation
        Arguments of Keras, accepted only with the values that describe this cell anyway.

    Notes
    -----
    Weights: ``weight_ih`` (4H, C), ``weight_hh`` (4H, H) and ``bias`` (4H,), with the gates in the
    order i, f, g, o; with peepholes also ``peephole`` (3H,), in the order i, f, o; with a
    projection ``weight_hr`` (P, H), and ``weight_hh`` is (4H, P); with layer normalization
    ``gain_ih`` and ``gain_hh`` (4H,), ``gain_c`` and ``bias_c`` (H,). Each name ends with
    ``_l`` and the number of the layer in an `RNN`, ``_l0`` for a cell on its own.
    """

    def __init__(
        self,
        units: int,
        *,
        precision: Precision | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
        dropout: float = 0.0,
        bias_initializer: Literal["zeros"] = "zeros",
        implementation: Literal[1, 2] = 2,
        **options: "Unpack[CellKeywords]",
    ) -> None:
        check_keras(bias_initializer=bias_initializer, implementation=implementation)
        super().__init__(name=name, trainable=trainable)
        self.units = _checks.integer(units, "units", 1)
        for option, parameter in PARAMETERS.items():
            setattr(self, option, options.get(option, parameter.default))
        self.input_dropout = either_dropout(dropout, self.input_dropout)
        self._says_dropout = dropout != 0.0
        self._check_config()
        self._check_start()
        self._check_penalties()
        self.precision = precision
        self.seed = None if seed is None else _checks.integer(seed, "seed")
        self._config: LSTMConfig | None = None

    def _check_config(self) -> None:
        """Check the options that the engine knows, and store plain numbers and flags."""
        if _checks.integer(self.proj_size, "proj_size", 0) > self.units:
            raise ValueError(f"proj_size: expected 0 to units, {self.units}, got {self.proj_size}")
        try:
            config = self._config_for(1)
        except (TypeError, ValueError) as error:
            name, colon, rest = str(error).partition(":")
            raise type(error)(_LAYER_NAMES.get(name, name) + colon + rest) from None
        for name, option in ENGINE_OPTIONS.items():
            value = getattr(self, name)
            # An activation with parameters gets the defaults of those that were left out.
            if option.kind != "activation" or isinstance(value, (tuple, list)):
                setattr(self, name, getattr(config, option.name))

    def _check_start(self) -> None:
        """Check the options of the initial values, and make the initializers."""
        self.unit_forget_bias = _checks.flag(self.unit_forget_bias, "unit_forget_bias")
        self.forget_bias = self._checked_forget_bias(self.forget_bias)
        self.recurrent_trainable = _checks.flag(self.recurrent_trainable, "recurrent_trainable")
        self._initializers = tuple(
            initializers.get(getattr(self, name), name)
            for name in ("kernel_initializer", "recurrent_initializer")
        )
        start = float(self.unit_forget_bias) if self.forget_bias is None else self.forget_bias
        self._bias_initializer = _ForgetBias(self.units, start)

    def _check_penalties(self) -> None:
        """Make the penalties and constraints out of what was passed."""
        for weights in ("kernel", "recurrent", "bias"):
            for suffix, get in _PENALTIES.items():
                name = f"{weights}_{suffix}"
                setattr(self, name, get(getattr(self, name), name))
        for name in ("bias_regularizer", "bias_constraint"):
            if not self.use_bias and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: expected None without biases, got {getattr(self, name)!r}"
                )

    _left_out_if_none = ("precision", *LATER)

    _keras_only = ("dropout", "bias_initializer", "implementation")

    @property
    def dropout(self) -> float:
        """Keras' name for `input_dropout`."""
        return self.input_dropout

    @dropout.setter
    def dropout(self, share: float) -> None:
        self.input_dropout = share

    @property
    def precision(self) -> Precision | None:
        """Precision of the products; it may be set at any time."""
        return self._precision

    @precision.setter
    def precision(self, precision: Precision | None) -> None:
        checked(precision)
        if self._parameters is not None:
            in_force(precision, self._parameters.dtype)
        self._precision = precision

    @property
    def state_size(self) -> int:
        """Width of h: P with a projection, else H."""
        return self.proj_size or self.units

    _engine = LSTM_ENGINE

    def _options(self) -> dict[str, Any]:
        """Return the options as arguments of `LSTMConfig`."""
        options = {}
        for name, option in ENGINE_OPTIONS.items():
            value = getattr(self, name)
            if option.kind == "activation":
                value = self.activation if value is None else value
                value = check_activation(value, name)
            options[option.name] = value
        return options

    def _config_for(self, width: int) -> LSTMConfig:
        """Return the configuration for inputs of `width`."""
        return LSTMConfig(width, self.units, **self._options())

    def _checked_forget_bias(self, value: float | None) -> float | None:
        if value is None:
            return None
        number = _checks.real(value, "forget_bias")
        if not self.unit_forget_bias:
            raise ValueError(
                f"forget_bias: expected None alongside unit_forget_bias=False, got {number}"
            )
        if not self.use_bias:
            raise ValueError(f"forget_bias: expected None without biases, got {number}")
        return number

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, C)."""
        width = self._accept(input_shape, (2,), "(N, C)")
        self._config = self._config_for(width)
        return (input_shape[0], self.state_size)

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Take the views of the weights; see `Layer.bind`."""
        in_force(self.precision, parameters.dtype)
        super().bind(parameters, names)

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights of the step."""
        assert self._config is not None
        return self._specs(self._config.input_size, "_l0")

    def _specs(self, width: int, suffix: str) -> list[WeightSpec]:
        """List the weights for inputs of `width`, with `suffix` added to their names."""
        kernel, recurrent = (Transposed(make) for make in self._initializers)
        units, trained = self.units, self.recurrent_trainable
        specs = [
            WeightSpec(
                "weight_ih" + suffix,
                (4 * units, width),
                kernel,
                *regularizers.strengths(self.kernel_regularizer),
                constraint=self.kernel_constraint,
                inputs=1,
            ),
            WeightSpec(
                "weight_hh" + suffix,
                (4 * units, self.state_size),
                recurrent,
                *regularizers.strengths(self.recurrent_regularizer if trained else None),
                constraint=self.recurrent_constraint if trained else None,
                inputs=1,
                trainable=trained,
            ),
        ]
        if self.use_bias:
            specs.append(
                WeightSpec(
                    "bias" + suffix,
                    (4 * units,),
                    self._bias_initializer,
                    *regularizers.strengths(self.bias_regularizer),
                    constraint=self.bias_constraint,
                )
            )
        if self.peephole:
            specs.append(WeightSpec("peephole" + suffix, (3 * units,), initializers.zeros))
        if self.proj_size:
            projection = Transposed(initializers.get("glorot_uniform", "projection"))
            shape = (self.proj_size, units)
            specs.append(WeightSpec("weight_hr" + suffix, shape, projection, inputs=1))
        if self.layer_norm:
            for product in ("gain_ih", "gain_hh"):
                specs.append(WeightSpec(product + suffix, (4 * units,), initializers.ones))
            specs.append(WeightSpec("gain_c" + suffix, (units,), initializers.ones))
            if self.use_bias:
                specs.append(WeightSpec("bias_c" + suffix, (units,), initializers.zeros))
        return specs

    @suggests
    def __call__(  # type: ignore[override]
        self, inputs: ArrayLike, states: tuple[ArrayLike, ArrayLike] | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Take one step.

        Parameters
        ----------
        inputs : array_like, shape (N, C)
        states : pair of array_like, each of shape (N, H), optional
            h and c before the step; None: zeros. With a projection h is (N, P), here and below.

        Returns
        -------
        h : ndarray, shape (N, H)
        states : tuple of two ndarray, each of shape (N, H)
            h and c after the step.
        """
        array, _ = self._prepare_call(inputs, None)
        assert self.parameters is not None
        assert self._config is not None
        state = None
        if states is not None:
            if not isinstance(states, (list, tuple)) or len(states) != 2:
                raise TypeError(f"states: expected a pair (h, c), got {_checks.describe(states)}")
            dtype = self.parameters.dtype
            intake = Intake(switch=False)
            h, c = (
                intake.floats(part, f"states {name}", dtype)
                for part, name in zip(states, "hc", strict=True)
            )
            state = F.LSTMState(h[None], c[None])
        _, final = F.lstm(
            array[:, None],
            self._weights,
            self._config,
            state=state,
            return_sequences=False,
            precision=self.precision,
        )
        return final.h[0], (final.h[0], final.c[0])

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Raise TypeError: a model needs an `RNN` around the cell."""
        raise TypeError("LSTMCell: computes one step; in a model wrap it: lc.layers.RNN(cell)")


_LAYER_NAMES = {ours: word for word, ours in CONFIG_NAMES.items()}

_PENALTIES: dict[str, Callable[..., Any]] = {
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}
"""Functions that convert an argument, by the end of its name."""


def either_dropout(dropout: float, input_dropout: float) -> float:
    """Return the share of an option that was given under one of its two names.

    Raises
    ------
    ValueError
        If both are not zero.
    """
    for name, share in (("dropout", dropout), ("input_dropout", input_dropout)):
        _checks.real(share, name, 0.0, 1.0, high_open=True)
    if dropout and input_dropout:
        raise ValueError(
            f"dropout: expected 0 alongside input_dropout={input_dropout}, which is the same: the "
            f"share of x that is dropped; got {dropout}"
        )
    return dropout or input_dropout


def check_activation(value: Any, name: str) -> CellActivation | Activation:
    """Return an activation as a name or an `Activation`; model files hold the latter as a list.

    Raises
    ------
    TypeError
        If it is neither a name nor a name with its parameters.
    """
    if isinstance(value, str):
        return cast(CellActivation, _checks.choice(value, name, choices(CellActivation)))
    if isinstance(value, (tuple, list)) and len(value) == 3:
        return Activation(*value)
    raise TypeError(
        f"{name}: expected a name or an lstmcore.Activation, got {_checks.describe(value)}"
    )


@dataclass(frozen=True)
class _ForgetBias:
    """Initial bias: `value` for the forget gate, 0 for the others."""

    units: int
    value: float

    def __call__(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        bias = np.zeros(shape)
        bias[self.units : 2 * self.units] = self.value
        return bias


@dataclass(frozen=True)
class Transposed:
    """Draws (outputs, inputs) by an initializer for (inputs, outputs), which is Keras' layout."""

    initializer: initializers.Initializer

    def __call__(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        """Draw the values."""
        return self.initializer(shape[::-1], random).T
