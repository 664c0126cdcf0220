"""What `Model.compile` sets up for several outputs: a loss and metrics for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lstmcore import _checks
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Shape
from lstmcore.training import optimizers
from lstmcore.training.compiled import Compiled
from lstmcore.training.losses import Loss
from lstmcore.training.metrics import Metric
from lstmcore.training.optimizers import Optimizer

__all__ = ["Joint", "by_output"]

T = TypeVar("T")

_KEYS = {"optimizer", "outputs", "loss_weights"}
_PART_KEYS = ("loss", "metrics", "weighted_metrics")


@dataclass(frozen=True)
class Joint:
    """An optimizer, and a loss with metrics for each of several outputs.

    Attributes
    ----------
    optimizer : Optimizer
    parts : dict of str to Compiled
        By the names of outputs; all have this optimizer.
    loss_weights : dict of str to float
        Factors of the losses in their sum, which is trained.
    """

    optimizer: Optimizer
    parts: dict[str, Compiled]
    loss_weights: dict[str, float]

    @classmethod
    def make(
        cls,
        optimizer: Optimizer | str,
        losses: Any,
        plain: Any,
        weighted: Any,
        loss_weights: Any,
        activations: Mapping[str, str],
    ) -> "Joint":
        """Find everything by name; see `lstmcore.Model.compile`.

        Parameters
        ----------
        optimizer, losses, plain, weighted, loss_weights
            The arguments of `compile`.
        activations : mapping of str to str
            The last activation of each output, by its name.
        """
        names = list(activations)
        chosen = by_output(losses, names, "loss", (str, Loss), required=True)
        if missing := [name for name in names if chosen[name] is None]:
            raise ValueError(
                f"loss: expected one for each output, got none for {', '.join(missing)}"
            )
        metrics = by_output(plain, names, "metrics", (str, Metric, Loss))
        others = by_output(weighted, names, "weighted_metrics", (str, Metric, Loss))
        factors = by_output(loss_weights, names, "loss_weights", ())
        found = optimizers.get(optimizer)
        parts = {}
        for name, activation in activations.items():
            try:
                own = (chosen[name], metrics[name], activation, others[name])
                parts[name] = Compiled.make(found, *own)
            except (TypeError, ValueError) as error:
                raise type(error)(f"output {name!r}: {error}") from error
        return cls(found, parts, {name: _factor(factors[name], name) for name in names})

    @property
    def heads(self) -> tuple[Compiled, ...]:
        """Loss and metrics of each output."""
        return tuple(self.parts.values())

    @property
    def takes_logits(self) -> list[bool]:
        """Whether each output leaves its activation to its loss."""
        return [part.takes_logits for part in self.heads]

    @staticmethod
    def log_name(output: str, name: str) -> str:
        """Return the name in logs of a figure of an output."""
        return f"{output}_{name}"

    @property
    def log_names(self) -> list[str]:
        """Names in the logs of training and evaluation, in their order."""
        losses = [self.log_name(name, "loss") for name in self.parts]
        return ["loss", *losses, *self.logged_metrics]

    @property
    def logged_metrics(self) -> dict[str, Metric]:
        """The metrics by their names in logs."""
        return {
            self.log_name(name, metric.name): metric
            for name, part in self.parts.items()
            for metric in part.metrics
        }

    def check_shape(self, output_shapes: Sequence[Shape]) -> None:
        """Raise ValueError if a metric cannot judge the outputs of these shapes."""
        for (name, part), shape in zip(self.parts.items(), output_shapes, strict=True):
            try:
                part.check_shape(shape)
            except ValueError as error:
                raise ValueError(f"output {name!r}: {error}") from error

    def get_config(self) -> dict[str, Any]:
        """Describe everything but the optimizer's slots, as JSON can hold it."""
        configs = {name: part.get_config() for name, part in self.parts.items()}
        return {
            "optimizer": next(iter(configs.values()))["optimizer"],
            "outputs": {
                name: {key: config[key] for key in _PART_KEYS if key in config}
                for name, config in configs.items()
            },
            "loss_weights": self.loss_weights,
        }

    @classmethod
    def from_config(
        cls, config: Any, activations: Mapping[str, str], custom_objects: Mapping[str, Any]
    ) -> "Joint":
        """Undo `get_config`; see `lstmcore.load` for `custom_objects`."""
        if not isinstance(config, dict) or set(config) != _KEYS:
            raise ValueError(f"compile: expected {', '.join(sorted(_KEYS))}, got {config!r}")
        for key in ("outputs", "loss_weights"):
            if not isinstance(config[key], dict) or list(config[key]) != list(activations):
                raise ValueError(
                    f"compile: expected {key} for {', '.join(activations)}, got {config[key]!r}"
                )
        parts: dict[str, Compiled] = {}
        optimizer: Optimizer | None = None
        for name, own in config["outputs"].items():
            if not isinstance(own, dict) or "optimizer" in own:
                raise ValueError(f"compile: expected a loss and metrics for {name!r}, got {own!r}")
            whole = {"optimizer": config["optimizer"], **own}
            part = Compiled.from_config(whole, activations[name], custom_objects)
            optimizer = part.optimizer if optimizer is None else optimizer
            parts[name] = Compiled.make(
                optimizer,
                part.loss,
                [metric for metric in part.metrics if metric not in part.weighted],
                activations[name],
                part.weighted,
            )
        assert optimizer is not None
        weights = config["loss_weights"]
        return cls(optimizer, parts, {name: _factor(weights[name], name) for name in parts})


def by_output(
    given: Any, names: Sequence[str], argument: str, alike: tuple[type, ...], required: bool = False
) -> dict[str, Any]:
    """Return what an argument says about each output, by name.

    Parameters
    ----------
    given : mapping of str, sequence, or a single entry
        By the outputs' names, of which some may be missing; in the order of outputs; or one of the
        types `alike`, for all of them. None: nothing about any.
    names : sequence of str
        The names of the outputs.
    argument : str
        The argument's name in errors.
    alike : tuple of type
    required : bool, default False
        Whether a mapping must have an entry for each output.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if given is None:
        return dict.fromkeys(names)
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise ValueError(
                    f"{argument}: expected names of outputs, {', '.join(names)}, got {name!r}"
                    f"{did_you_mean(name, names)}"
                )
        missing = [name for name in names if name not in given]
        if required and missing:
            raise ValueError(
                f"{argument}: expected an entry for each output, got none for {', '.join(missing)}"
            )
        return {name: given.get(name) for name in names}
    if isinstance(given, alike) or (alike and callable(given)):
        return dict.fromkeys(names, given)
    if isinstance(given, (list, tuple)) and len(given) == len(names):
        return dict(zip(names, given, strict=True))
    count = f", got {len(given)}" if isinstance(given, (list, tuple)) else ""
    expected = (
        f"a dict by name, such as {{{names[0]!r}: ...}}, or a list with one entry for each of"
    )
    message = (
        f"{argument}: expected {expected} the outputs {', '.join(names)}"
        f"{count or f', got {_checks.describe(given)}'}"
    )
    raise ValueError(message) if count else TypeError(message)


def _factor(value: Any, name: str) -> float:
    """Return the factor of a loss: 1 if none was given."""
    return 1.0 if value is None else _checks.real(value, f"loss_weights[{name!r}]", 0.0)
