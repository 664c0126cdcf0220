"""What the options of Keras' layers are called and mean here."""

from collections.abc import Mapping
from typing import Any

from lstmcore import constraints, regularizers
from lstmcore._typing import CellActivation
from lstmcore.config import Activation
from lstmcore.layers import initializers

CELL_ACTIVATIONS: dict[str, CellActivation | Activation] = {
    "linear": "linear",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "relu": "relu",
    "softsign": "softsign",
    "softplus": "softplus",
    "elu": "elu",
    "leaky_relu": Activation("leaky_relu", 0.2),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),
}
"""Keras' activations with the parameters that Keras gives them."""

NAMES_OF_CLASSES = {
    "GlorotNormal": "glorot_normal",
    "GlorotUniform": "glorot_uniform",
    "HeNormal": "he_normal",
    "HeUniform": "he_uniform",
    "LecunNormal": "lecun_normal",
    "LecunUniform": "lecun_uniform",
    "Orthogonal": "orthogonal",
    "RandomNormal": "random_normal",
    "RandomUniform": "random_uniform",
    "TruncatedNormal": "truncated_normal",
    "Zeros": "zeros",
    "Ones": "ones",
}


class Options:
    """The configuration of one Keras layer; what is left at the end is refused.

    Parameters
    ----------
    class_name : str
    config : mapping
    training : bool
        Whether what acts while training only must have a counterpart too.
    """

    def __init__(self, class_name: str, config: Mapping[str, Any], training: bool) -> None:
        self.kind, self.training = class_name, training
        self._left = dict(config)
        self.name = self._left.pop("name", None)
        if not isinstance(self.name, str):
            raise ValueError(f"{class_name}: expected a name, got {show(self.name)}")
        self.dtype = dtype_of(self._left.pop("dtype", None), self.where)
        self.trainable = self._left.pop("trainable", True) is True

    @property
    def where(self) -> str:
        """Whose options these are, for errors."""
        return f"{self.kind} {self.name!r}"

    def take(self, name: str, default: Any = None) -> Any:
        """Give an option."""
        return self._left.pop(name, default)

    def only(self, **expected: Any) -> None:
        """Refuse options unless they are as expected, or not there."""
        for name, value in expected.items():
            found = self.take(name, value)
            if found != value:
                raise ValueError(f"{self.where}: expected {name}={value!r}, got {found!r}")

    def drop(self, *names: str) -> None:
        """Leave out options that change no result."""
        for name in names:
            self.take(name)

    def single(self, name: str) -> int:
        """Give a number that may stand in a list."""
        value = self.take(name)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if type(value) is not int:
            raise ValueError(f"{self.where}: expected {name} to be one number, got {value!r}")
        return value

    def activation(self, name: str, known: Any) -> Any:
        """Give an activation."""
        value = self.take(name, "linear")
        value = "linear" if value is None else value
        if not isinstance(value, str) or value not in known:
            raise ValueError(
                f"{self.where}: expected {name} to be one of {', '.join(known)}, got {show(value)}"
            )
        return known[value] if isinstance(known, Mapping) else value

    def seed(self) -> int | None:
        """Give the seed, if it is a number."""
        value = self.take("seed")
        return value if type(value) is int else None

    def initializers(self, *names: str) -> dict[str, Any]:
        """Give the initial values that have names; others are history, as they were used."""
        given = {}
        for name in names:
            value = self.take(f"{name}_initializer")
            if isinstance(value, Mapping):
                value = NAMES_OF_CLASSES.get(str(value.get("class_name")))
            if isinstance(value, str) and value in initializers.NAMES:
                given[f"{name}_initializer"] = value
        return given

    def penalties(self, *names: str) -> dict[str, Any]:
        """Give the regularizers of the weights so called."""
        given = {}
        for name in names:
            value = self.take(f"{name}_regularizer")
            if value is None:
                continue
            kind, config = class_of(value)
            if kind in ("L1", "L2", "L1L2") and not set(config) - {"l1", "l2"}:
                given[f"{name}_regularizer"] = getattr(regularizers, kind)(
                    **{key: float(entry) for key, entry in config.items()}
                )
            elif self.training:
                raise ValueError(
                    f"{self.where}: {name}_regularizer has no counterpart, got {show(value)}; "
                    "expected L1, L2 or L1L2, or pass training=False"
                )
        self.take("activity_regularizer") if not self.training else self.only(
            activity_regularizer=None
        )
        return given

    def limits(self, **axes: Any) -> dict[str, Any]:
        """Give the constraints of the weights so called, which must be over these axes."""
        given = {}
        for name, axis in axes.items():
            value = self.take(f"{name}_constraint")
            if value is None:
                continue
            kind, config = class_of(value)
            over = config.get("axis", 0)
            if kind == "MaxNorm" and over in (axis, [axis]) and "max_value" in config:
                given[f"{name}_constraint"] = constraints.MaxNorm(float(config["max_value"]))
            elif self.training:
                raise ValueError(
                    f"{self.where}: {name}_constraint has no counterpart, got {show(value)}; "
                    f"expected MaxNorm with axis={axis}, or pass training=False"
                )
        return given

    def finish(self) -> None:
        """Refuse what nothing has asked for."""
        other = [f"{name}={show(value)}" for name, value in self._left.items() if value]
        if other:
            raise ValueError(f"{self.where}: has no counterpart for {', '.join(other)}")


def dtype_of(policy: Any, where: str) -> str | None:
    """Give the element type of a layer's policy; None if it does not say."""
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name")
    if policy is None or policy in ("float32", "float64"):
        return None if policy is None else str(policy)
    raise ValueError(f"{where}: expected dtype float32 or float64, got {policy!r}")


def class_of(value: Any) -> tuple[str, dict[str, Any]]:
    """Give the class and the configuration of what Keras has serialized."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        return str(value.get("class_name")), dict(value["config"])
    raise ValueError(f"expected the configuration of a Keras object, got {show(value)}")


def show(value: Any) -> str:
    """Write a value of an option in a few words."""
    if isinstance(value, Mapping) and "class_name" in value:
        return str(value["class_name"])
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
