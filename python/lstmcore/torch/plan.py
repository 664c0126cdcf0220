"""What all calls of a module share: its configuration and the names of its parameters."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

from lstmcore import functional as F
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Precision, Recompute
from lstmcore.config import Activation, LSTMConfig, StepOptions, WalkOptions, core_config

OPTIONS = tuple(
    name for name in LSTMConfig.__dataclass_fields__ if name in WalkOptions.__annotations__
)
"""Options that torch.nn.LSTM does not have."""

STEP_OPTIONS = tuple(name for name in OPTIONS if name in StepOptions.__annotations__)
"""Options that torch.nn.LSTMCell does not have."""

OF_TORCH = tuple(name for name in LSTMConfig.__dataclass_fields__ if name not in OPTIONS)
"""Options that torch.nn.LSTM has."""

MASKS = ("zoneout_h", "zoneout_c", "recurrent_dropout", "input_dropout", "weight_dropout")
"""Options that draw a random mask while training."""

_DEFAULT = LSTMConfig(1, 1)


class Plan:
    """A configuration with everything that is derived from it.

    Attributes
    ----------
    config : LSTMConfig
    core
        The same, as the engine's type.
    names : tuple of str
        PyTorch's names of the parameters, each bias twice, in PyTorch's order.
    step_names : tuple of str
        The same for an LSTMCell, which has one layer and direction.
    shapes : tuple of tuple
        The shapes of the parameters.
    places : tuple of (str, int, int)
        The engine's name of each weight, and the indices in `names` of the two parameters whose sum
        it is, as for a bias; the second index is -1 if the weight is a single parameter.
    precision : str
        Of the products; see `lstmcore.precision`.
    recompute : int
        Steps between the states that a tape stores, as the engine takes it.
    masks : bool
        Whether an option draws random masks, besides the dropout between layers.
    plain : bool
        Whether torch.nn.LSTM computes the same.
    """

    def __init__(
        self, config: LSTMConfig, recompute: Recompute, precision: Precision = "fp32"
    ) -> None:
        self.config = config
        self.precision = precision
        self.core = core_config(config)
        self._recompute = recompute
        self.recompute = F.recompute_steps(recompute)
        self.plain = not options_text(config, None)
        names: list[str] = []
        shapes: list[tuple[int, ...]] = []
        places: list[tuple[str, int, int]] = []
        for name, shape in config.parameter_shapes().items():
            if name.startswith("bias_l"):
                places.append((name, len(names), len(names) + 1))
                names += [name.replace("bias_l", "bias_ih_l"), name.replace("bias_l", "bias_hh_l")]
                shapes += [shape, shape]
            else:
                places.append((name, len(names), -1))
                names.append(name)
                shapes.append(shape)
        self.names, self.shapes, self.places = tuple(names), tuple(shapes), tuple(places)
        self.step_names = tuple(name.removesuffix("_l0") for name in names)
        self.masks = any(getattr(config, name) > 0 for name in MASKS)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.config, self._recompute, self.precision)

    def has_parameters_of_torch(self) -> bool:
        """Return whether torch.nn makes the same parameters for these sizes."""
        config = self.config
        plain = LSTMConfig(**{name: getattr(config, name) for name in OF_TORCH})
        shapes, own = plain.parameter_shapes(), config.parameter_shapes()
        return list(own.items()) == list(shapes.items()) and config.proj_size < config.hidden_size


@functools.lru_cache(maxsize=1024)
def plan_of(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    dropout: float,
    bidirectional: bool,
    proj_size: int,
    options: str,
    precision: Precision = "fp32",
) -> Plan:
    """Return the plan of a module with these attributes and `options` from `options_text`."""
    values: dict[str, Any] = json.loads(options) if options else {}
    recompute = values.pop("recompute", None)
    for name, value in values.items():
        if name.endswith("_activation") and not isinstance(value, str):
            values[name] = Activation(*value)
    config = LSTMConfig(
        input_size,
        hidden_size,
        num_layers,
        bidirectional,
        dropout=dropout,
        bias=bias,
        proj_size=proj_size,
        **values,
    )
    return Plan(config, recompute, precision)


def check_options(
    owner: str, options: Iterable[str], known: tuple[str, ...], own: tuple[str, ...] = ()
) -> None:
    """Raise TypeError if not all `options` are `known`; `own` are other arguments of `owner`."""
    if unknown := sorted(set(options) - set(known)):
        hint = did_you_mean(unknown[0], (*own, *known))
        raise TypeError(
            f"{owner}: expected options among {', '.join(known)}, got {unknown[0]!r}{hint}"
        )


def options_text(config: LSTMConfig, recompute: int | str | None) -> str:
    """Return the options that torch.nn.LSTM does not have and that differ from the defaults."""
    values = {name: getattr(config, name) for name in OPTIONS}
    values = {name: value for name, value in values.items() if value != getattr(_DEFAULT, name)}
    if recompute is not None:
        values["recompute"] = recompute
    return json.dumps(values) if values else ""


def options_repr(options: str) -> str:
    """Return the result of `options_text` in the form of arguments of a call."""
    text = ""
    for name, value in json.loads(options or "{}").items():
        shown = value
        if isinstance(value, list):
            plain = LSTMConfig(1, 1, gate_activation=value[0]).gate_activation
            shown = value[0] if tuple(value) == plain else tuple(value)
        text += f", {name}={shown!r}"
    return text
