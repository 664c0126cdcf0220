"""Optimizers: each step is one call of the engine over all parameters at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import _checks, _core
from lstmcore._configurable import Configurable
from lstmcore._suggest import did_you_mean, public
from lstmcore._typing import Array
from lstmcore.layers.parameters import Parameters
from lstmcore.training.schedules import Schedule

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)


class Optimizer(Configurable):
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float or Schedule
    clipnorm : float, optional
        Each weight's gradient is scaled down to this norm at most.
    clipvalue : float, optional
        Each element of the gradients is clipped to this magnitude.
    global_clipnorm : float, optional
        All gradients together are scaled down to this norm at most. Only one of the three may be
        given.
    rate_factors : mapping of str to float, optional
        Factors above 0 of the learning rate by the names of layers, such as ``{"embedding": 0.1}``;
        1 for the others. "residual.0" is a layer within another. For a model whose lower layers
        were trained before (discriminative rates, Howard & Ruder 2018). To leave a layer as it is,
        set its `trainable` to False.

    Attributes
    ----------
    iterations : int
        Steps taken.
    slots : dict of str to ndarray, shape (P,)
        What the optimizer remembers, one value for each parameter, in their order. Those of a
        frozen weight (`Layer.trainable`) stay as they are until it is trained again.
    """

    slot_names: tuple[str, ...] = ()

    _open_attributes = ("iterations", "slots")
    _left_out_if_none = ("rate_factors",)
    _always_shown = ("learning_rate",)

    def _why_fixed(self, name: str) -> str | None:
        return None  # each step reads all options

    def __init__(
        self,
        learning_rate: float | Schedule,
        clipnorm: float | None,
        clipvalue: float | None,
        global_clipnorm: float | None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.rate_factors = rate_factors
        limits = {
            "clipnorm": clipnorm,
            "clipvalue": clipvalue,
            "global_clipnorm": global_clipnorm,
        }
        given = [name for name, limit in limits.items() if limit is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: expected at most one of them")
        self.clipnorm, self.clipvalue, self.global_clipnorm = (
            None if limit is None else _checks.real(limit, name, 0.0, low_open=True)
            for name, limit in limits.items()
        )
        self.iterations = 0
        self.slots: dict[str, Array] = {}
        self._parameters: Parameters | None = None

    @property
    def learning_rate(self) -> float | Schedule:
        """A number or a schedule; may be set at any time."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        if not isinstance(value, Schedule):
            value = _checks.real(value, "learning_rate", 0.0)
        self._learning_rate = value

    @property
    def rate_factors(self) -> dict[str, float] | None:
        """Factors of the learning rate by the names of layers; may be set at any time."""
        return self._rate_factors

    @rate_factors.setter
    def rate_factors(self, value: Mapping[str, float] | None) -> None:
        if value is not None:
            _checks.instance(value, Mapping, "rate_factors", "factors by the names of layers")
            for name, factor in value.items():
                _checks.instance(name, str, "rate_factors", "names of layers")
                _checks.real(factor, f"rate_factors[{name!r}]", 0.0, low_open=True)
        self._rate_factors = None if not value else {k: float(v) for k, v in value.items()}
        self._rated: tuple[Any, list[tuple[slice, float]]] | None = None

    def current_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        rate = self._learning_rate
        return rate(self.iterations) if isinstance(rate, Schedule) else rate

    def build(self, parameters: Parameters) -> None:
        """Make the slots for `parameters`, all zero, at the first call.

        Raises
        ------
        ValueError
            If the optimizer belongs to another model already, or `rate_factors` names a layer that
            does not exist.
        """
        if self._parameters is None:
            self._parameters = parameters
            self.slots = {name: np.zeros_like(parameters.values) for name in self.slot_names}
            self._rated_parts(parameters)
        elif self._parameters is not parameters:
            raise ValueError("optimizer: it belongs to another model already; make a new one")

    def _resize(self) -> None:
        """Follow the model's parameters, whose end has grown or shrunk: new slots are zero."""
        if self._parameters is None:
            return
        size = self._parameters.values.size
        for name, slot in self.slots.items():
            resized = np.zeros(size, slot.dtype)
            kept = min(size, slot.size)
            resized[:kept] = slot[:kept]
            self.slots[name] = resized

    def apply(self, parameters: Parameters) -> None:
        """Clip the gradients and make one step; frozen weights are not touched."""
        self.build(parameters)
        self._clip(parameters)
        rate = self.current_learning_rate()
        for part, factor in self._rated_parts(parameters):
            slots = {name: slot[part] for name, slot in self.slots.items()}
            self._step(parameters.values[part], parameters.gradients[part], slots, rate * factor)
        self.iterations += 1
        parameters.settle()
        parameters.touch()

    def _rated_parts(self, parameters: Parameters) -> list[tuple[slice, float]]:
        """Return the trained ranges of the flat arrays, each with its factor of the rate."""
        if not self._rate_factors:
            return [(part, 1.0) for part in parameters.trained_parts]
        if self._rated is None or self._rated[0] is not parameters.trained_parts:
            factors = _factors_of(self._rate_factors, parameters)
            parts = []
            for factor in sorted(set(factors.values())):
                others = {name for name, own in factors.items() if own != factor}
                parts += [(p, factor) for p in parameters.parts_without(parameters.frozen | others)]
            self._rated = parameters.trained_parts, sorted(parts, key=lambda part: part[0].start)
        return self._rated[1]

    def _step(
        self, values: Array, gradients: Array, slots: Mapping[str, Array], learning_rate: float
    ) -> None:
        """Change a part of the parameters; `slots` are the same part of those in `self.slots`."""
        raise NotImplementedError

    def _clip(self, parameters: Parameters) -> None:
        parts = [parameters.gradients[part] for part in parameters.trained_parts]
        if self.clipvalue is not None:
            for part in parts:
                _core.clip(part, self.clipvalue)
        elif self.global_clipnorm is not None:
            _clip_norm(parts, self.global_clipnorm)
        elif self.clipnorm is not None:
            for name in parameters.specs:
                if name not in parameters.frozen:
                    _clip_norm([parameters.gradient(name).reshape(-1)], self.clipnorm)


def _factors_of(factors: Mapping[str, float], parameters: Parameters) -> dict[str, float]:
    """Return the factor of each weight: that of the innermost layer that is named."""
    found = dict.fromkeys(parameters.specs, 1.0)
    for layer in sorted(factors, key=len):  # so that "residual.0" comes after "residual"
        own = [name for name in found if name.startswith(f"{layer}.")]
        if not own:
            known = list(dict.fromkeys(name.rpartition(".")[0] for name in found))
            raise ValueError(
                f"rate_factors: expected names of layers with weights, {', '.join(known)}, got "
                f"{layer!r}{did_you_mean(layer, known)}"
            )
        found.update(dict.fromkeys(own, factors[layer]))
    return found


def _clip_norm(parts: Sequence[Array], limit: float) -> None:
    """Scale arrays of one axis so that their norm, all together, is at most `limit`."""
    norm = float(np.sqrt(sum(_core.squared_norm(part) for part in parts)))
    if norm > limit:
        for part in parts:
            _core.scale(part, limit / norm)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013) if requested.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    momentum : float, default 0.0
        In [0, 1].
    nesterov : bool, default False
        Whether the momentum is Nesterov's.
    clipnorm, clipvalue, global_clipnorm, rate_factors : optional
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, rate_factors)
        self.momentum = _checks.real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = _checks.flag(nesterov, "nesterov")

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, if momentum is used."""
        return ("velocity",) if self.momentum else ()

    def _take_over(self, name: str, found: Mapping[str, Any]) -> None:
        super()._take_over(name, found)
        if self._parameters is not None:  # a momentum that begins, or ends, with the next step
            fresh = np.zeros_like(self._parameters.values)
            self.slots = {slot: self.slots.get(slot, fresh) for slot in self.slot_names}

    def _step(
        self, values: Array, gradients: Array, slots: Mapping[str, Array], learning_rate: float
    ) -> None:
        velocity = slots.get("velocity")
        _core.sgd_step(values, gradients, velocity, learning_rate, self.momentum, self.nesterov)


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman & Hinton 2012).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    rho : float, default 0.9
        Decay of the mean square, in [0, 1).
    epsilon : float, default 1e-7
        Added to the root.
    clipnorm, clipvalue, global_clipnorm, rate_factors : optional
        See `Optimizer`.
    """

    slot_names: tuple[str, ...] = ("mean_square",)

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        rho: float = 0.9,
        *,
        epsilon: float = 1e-7,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, rate_factors)
        self.rho = _checks.real(rho, "rho", 0.0, 1.0, high_open=True)
        self.epsilon = _checks.real(epsilon, "epsilon", 0.0)

    def _step(
        self, values: Array, gradients: Array, slots: Mapping[str, Array], learning_rate: float
    ) -> None:
        mean_square = slots["mean_square"]
        _core.rmsprop_step(values, gradients, mean_square, learning_rate, self.rho, self.epsilon)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-7
        Added to the root.
    clipnorm, clipvalue, global_clipnorm, rate_factors : optional
        See `Optimizer`.
    """

    slot_names: tuple[str, ...] = ("m", "v")

    weight_decay = 0.0

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, rate_factors)
        self.beta_1 = _checks.real(beta_1, "beta_1", 0.0, 1.0, high_open=True)
        self.beta_2 = _checks.real(beta_2, "beta_2", 0.0, 1.0, high_open=True)
        self.epsilon = _checks.real(epsilon, "epsilon", 0.0)

    def _step(
        self, values: Array, gradients: Array, slots: Mapping[str, Array], learning_rate: float
    ) -> None:
        _core.adam_step(
            values,
            gradients,
            slots["m"],
            slots["v"],
            self.iterations + 1,
            learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            self.weight_decay,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    weight_decay : float, default 0.004
        Each step takes this share, times the learning rate, from every parameter.
    beta_1, beta_2, epsilon : float
        As in `Adam`.
    clipnorm, clipvalue, global_clipnorm, rate_factors : optional
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            rate_factors=rate_factors,
        )
        self.weight_decay = _checks.real(weight_decay, "weight_decay", 0.0)


_NAMES: dict[str, type[SGD] | type[RMSprop] | type[Adam] | type[AdamW]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def get(optimizer: Optimizer | str) -> Optimizer:
    """Turn a name, in any case, into an optimizer with default values; pass an optimizer on."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer: expected an object, got {_checks.describe(optimizer)}")
    kind = _NAMES.get(str(optimizer).lower())
    if kind is None:
        names = ", ".join(repr(name) for name in _NAMES)
        hint = did_you_mean(optimizer, _NAMES)
        raise ValueError(
            f"optimizer: expected an Optimizer or one of {names}, got {optimizer!r}{hint}"
        )
    return kind()
