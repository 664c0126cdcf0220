"""Activation functions of layers and their derivatives, element by element.

The engine computes the common ones together with the product of a `Dense` or `Conv1D`; the others
follow here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, LayerActivation, choices
from lstmcore.layers.error_function import erf

__all__ = ["ACTIVATIONS", "ALPHAS", "Function", "canonical", "function", "split"]

ACTIVATIONS = choices(LayerActivation)

ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
"""Second names, which Keras accepts as well."""

ENGINE = ("linear", "relu", "tanh", "sigmoid", "softmax")
"""Those that the engine applies to a product."""

ALPHAS = {"elu": 1.0, "leaky_relu": 0.2, "hard_sigmoid": 1.0 / 6.0}
"""The functions that have a parameter, with its usual value, which is Keras 3's."""


@dataclass(frozen=True)
class Function:
    """An activation f.

    Attributes
    ----------
    value : callable
        Computes f(z).
    slope : callable
        Computes f'(z) from z. At a bend it is the slope to the left.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]

    def pullback(self, z: Array, dy: Array) -> Array:
        """Return the gradient with respect to z, given that with respect to f(z)."""
        return np.asarray(dy * self.slope(z))

    @property
    def keeps_zero(self) -> bool:
        """Whether f(0) = 0."""
        return not self.value(np.zeros(1)).any()


class _Softmax(Function):
    """Shares that sum to 1 over the last axis; its derivative is not element by element."""

    def __init__(self) -> None:
        super().__init__(_softmax, _no_slope)

    def pullback(self, z: Array, dy: Array) -> Array:
        """Apply the Jacobian, y * (dy - sum of dy * y)."""
        y = _softmax(z)
        return np.asarray(y * (dy - (dy * y).sum(axis=-1, keepdims=True)))


def _no_slope(z: Array) -> Array:
    raise NotImplementedError("the softmax has no slope for each element")


def _softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(z: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(-z) = inf makes the 0 that is right
        return np.asarray(1 / (1 + np.exp(-z)))


def _exp(z: Array) -> Array:
    with np.errstate(over="ignore"):  # infinity is reported where it does harm
        return np.asarray(np.exp(z))


def _where(condition: Array, z: Array) -> Array:
    """Return 1 and 0 in the type of z."""
    return condition.astype(z.dtype)


def _elu(alpha: float, scale: float = 1.0) -> Function:
    """Return scale * z above 0, scale * alpha * (exp(z) - 1) below."""

    def value(z: Array) -> Array:
        below = alpha * np.expm1(np.minimum(z, 0))
        return np.asarray(scale * np.where(z > 0, z, below))

    def slope(z: Array) -> Array:
        below = alpha * np.exp(np.minimum(z, 0))
        return np.asarray(scale * np.where(z > 0, np.ones_like(z), below))

    return Function(value, slope)


def _leaky_relu(alpha: float) -> Function:
    return Function(
        lambda z: np.where(z > 0, z, alpha * z),
        lambda z: np.where(z > 0, np.ones_like(z), np.full_like(z, alpha)),
    )


def _hard_sigmoid(alpha: float) -> Function:
    """Return alpha z + 1/2, between 0 and 1."""
    return Function(
        lambda z: np.clip(alpha * z + 0.5, 0, 1),
        lambda z: alpha * _where(np.abs(alpha * z) < 0.5, z),
    )


def _gelu_slope(z: Array) -> Array:
    bell = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.asarray(0.5 * (1 + erf(z / math.sqrt(2))) + z * bell)


def _silu_slope(z: Array) -> Array:
    share = _sigmoid(z)
    return np.asarray(share * (1 + z * (1 - share)))


def _hard_silu_slope(z: Array) -> Array:
    hard = _hard_sigmoid(1 / 6)
    return np.asarray(hard.value(z) + z * hard.slope(z))


def _softplus(z: Array) -> Array:
    return np.asarray(np.logaddexp(z, z.dtype.type(0)))


def _mish_slope(z: Array) -> Array:
    inner = np.tanh(_softplus(z))
    return np.asarray(inner + z * _sigmoid(z) * (1 - inner * inner))


_FUNCTIONS: dict[str, Function] = {
    "linear": Function(lambda z: z, np.ones_like),
    "relu": Function(lambda z: np.maximum(z, 0), lambda z: _where(z > 0, z)),
    "tanh": Function(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": Function(_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "softmax": _Softmax(),
    # Klambauer, Unterthiner, Mayr & Hochreiter 2017; the constants make (0, 1) a fixed point.
    "selu": _elu(1.6732632423543772, 1.0507009873554805),
    # Hendrycks & Gimpel 2016, with the normal distribution itself, not an approximation.
    "gelu": Function(lambda z: 0.5 * z * (1 + erf(z / math.sqrt(2))), _gelu_slope),
    "silu": Function(lambda z: z * _sigmoid(z), _silu_slope),  # Elfwing, Uchibe & Doya 2018
    "hard_silu": Function(lambda z: z * np.clip(z / 6 + 0.5, 0, 1), _hard_silu_slope),
    "softplus": Function(_softplus, _sigmoid),
    "softsign": Function(lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "exponential": Function(_exp, _exp),
    "relu6": Function(lambda z: np.clip(z, 0, 6), lambda z: _where((z > 0) & (z < 6), z)),
    "mish": Function(lambda z: z * np.tanh(_softplus(z)), _mish_slope),  # Misra 2019
}
"""Those without a parameter."""

_FAMILIES: dict[str, Callable[[float], Function]] = {
    "elu": _elu,  # Clevert, Unterthiner & Hochreiter 2016
    "leaky_relu": _leaky_relu,
    "hard_sigmoid": _hard_sigmoid,
}
"""Those with a parameter, alpha."""


def canonical(value: LayerActivation, name: str) -> str:
    """Return the first name of the activation `value`; `name` is the argument's in errors.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    found = _checks.choice(str(value), name, ACTIVATIONS)
    return ALIASES.get(found, found)


def function(name: str, alpha: float | None = None) -> Function:
    """Return the function of this canonical name; None: with the usual `alpha`."""
    if name in _FAMILIES:
        return _FAMILIES[name](ALPHAS[name] if alpha is None else alpha)
    return _FUNCTIONS[name]


def split(activation: str) -> tuple[str, Function | None]:
    """Return what the engine applies to a product, and what remains to be applied to that."""
    return (activation, None) if activation in ENGINE else ("linear", function(activation))
