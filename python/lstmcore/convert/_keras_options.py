"""Translate the options of Keras' layers."""

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
"""Keras' activations with Keras' default parameters."""

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

VARIANCES: dict[tuple[Any, Any], str] = {
    (1.0, "fan_avg"): "glorot",
    (1.0, "fan_in"): "lecun",
    (2.0, "fan_in"): "he",
}
"""Beginnings of the names of VarianceScaling by scale and mode; early versions wrote only these."""

FORMS = {"uniform": "uniform", "normal": "normal", "truncated_normal": "normal"}
"""Ends of the names of VarianceScaling, by distribution."""


class Options:
    """The configuration of one Keras layer; options that were not taken are refused at the end.

    Parameters
    ----------
    class_name : str
    config : mapping
    training : bool
        Whether options that matter only in training must have a counterpart too.
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
        """The layer that has these options, for errors."""
        return f"{self.kind} {self.name!r}"

    def take(self, name: str, default: Any = None) -> Any:
        """Return an option, and mark it as taken."""
        return self._left.pop(name, default)

    def only(self, **expected: Any) -> None:
        """Refuse options unless they have the expected value or are absent."""
        for name, value in expected.items():
            found = self.take(name, value)
            if found != value:
                raise ValueError(f"{self.where}: expected {name}={value!r}, got {found!r}")

    def drop(self, *names: str) -> None:
        """Ignore options that do not change results."""
        for name in names:
            self.take(name)

    def single(self, name: str) -> int:
        """Return a number, which may be in a list."""
        value = self.take(name)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if type(value) is not int:
            raise ValueError(f"{self.where}: expected {name} to be one number, got {value!r}")
        return value

    def activation(self, name: str, known: Any) -> Any:
        """Return an activation: an own name, or for an LSTM an `Activation` with parameters."""
        value = self.take(name, "linear")
        value = "linear" if value is None else value
        if isinstance(value, Activation) and isinstance(known, Mapping):
            return value
        if not isinstance(value, str) or value not in known:
            raise ValueError(
                f"{self.where}: expected {name} to be one of {', '.join(known)}, got {show(value)}"
            )
        return known[value] if isinstance(known, Mapping) else value

    def seed(self) -> int | None:
        """Return the seed if it is a number."""
        value = self.take("seed")
        return value if type(value) is int else None

    def initializers(self, *names: str) -> dict[str, Any]:
        """Return the initializers that have a counterpart; others are dropped."""
        given = {}
        for name in names:
            value = self.take(f"{name}_initializer")
            if isinstance(value, Mapping):
                value = _initializer_name(value)
            if isinstance(value, str) and value in initializers.NAMES:
                given[f"{name}_initializer"] = value
        return given

    def penalties(self, *names: str) -> dict[str, Any]:
        """Return the regularizers of the weights of these names."""
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
        """Return the constraints of the weights of these names, which must be over these axes."""
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
        """Refuse options that were not taken."""
        other = [f"{name}={show(value)}" for name, value in self._left.items() if value]
        if other:
            raise ValueError(f"{self.where}: has no counterpart for {', '.join(other)}")


def _initializer_name(value: Mapping[str, Any]) -> str | None:
    kind, config = str(value.get("class_name")), value.get("config")
    if kind != "VarianceScaling" or not isinstance(config, Mapping):
        return NAMES_OF_CLASSES.get(kind)
    scheme = VARIANCES.get((config.get("scale"), config.get("mode")))
    form = FORMS.get(str(config.get("distribution")))
    return f"{scheme}_{form}" if scheme and form else None


def dtype_of(policy: Any, where: str) -> str | None:
    """Return the element type of a layer's policy; None if it names none."""
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name")
    if policy is None or policy in ("float32", "float64"):
        return None if policy is None else str(policy)
    raise ValueError(f"{where}: expected dtype float32 or float64, got {policy!r}")


def class_of(value: Any) -> tuple[str, dict[str, Any]]:
    """Return the class and the configuration of a serialized Keras object."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        return str(value.get("class_name")), dict(value["config"])
    raise ValueError(f"expected the configuration of a Keras object, got {show(value)}")


def show(value: Any) -> str:
    """Describe an option's value in a few words."""
    if isinstance(value, Mapping) and "class_name" in value:
        return str(value["class_name"])
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
