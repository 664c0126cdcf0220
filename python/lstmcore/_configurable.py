"""Objects that say how they were made, so that a model file can make them again."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np


class Configurable:
    """Base of everything that a model file describes.

    Every argument of the constructor is kept as an attribute of the same name.
    """

    left_out_if_none: ClassVar[tuple[str, ...]] = ()
    """Arguments that are told of only if they are not None."""

    _set_when_made: ClassVar[tuple[str, ...]] = ()
    """Attributes that a configuration may name; `_restore_entry` sets them in the new object."""

    def _restore_entry(self, name: str, value: Any) -> None:
        """Set one of `_set_when_made` to what a configuration says."""
        setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments that make an equal object, as JSON can hold them.

        Returns
        -------
        dict
            Argument names and values; nested objects as ``{"class": ..., "config": ...}``.
        """
        return describe_arguments(self, arguments(type(self)))


def arguments(kind: type) -> list[str]:
    """Name the arguments of the constructor of `kind`, but for those gathered in ``**keras``."""
    parameters = inspect.signature(kind).parameters.values()
    return [entry.name for entry in parameters if entry.kind is not entry.VAR_KEYWORD]


def describe_arguments(thing: Configurable, names: Iterable[str]) -> dict[str, Any]:
    """Give the values of some arguments of `thing`, as JSON can hold them."""
    values = {name: getattr(thing, name) for name in names}
    return {
        name: encode(value)
        for name, value in values.items()
        if value is not None or name not in thing.left_out_if_none
    }


def encode(value: Any) -> Any:
    """Turn `value` into what JSON can hold."""
    if isinstance(value, Configurable):
        return {"class": type(value).__name__, "config": value.get_config()}
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"cannot be written to a model file: {value!r} ({type(value).__name__})")


def decode(value: Any, classes: Mapping[str, type]) -> Any:
    """Undo `encode`; `classes` are those that may be made."""
    if isinstance(value, Mapping):
        if set(value) == {"class", "config"}:
            return make(value["class"], value["config"], classes)
        return {key: decode(entry, classes) for key, entry in value.items()}
    if isinstance(value, list):
        return [decode(entry, classes) for entry in value]
    return value


def make(class_name: Any, config: Any, classes: Mapping[str, type], **more: Any) -> Any:
    """Make an object of the class `class_name` from exactly the arguments that it has."""
    kind = classes.get(class_name) if isinstance(class_name, str) else None
    if kind is None:
        raise ValueError(f"unknown class {class_name!r}; known are {', '.join(sorted(classes))}")
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration of {class_name} must be an object, got {config!r}")
    later = {name for name in getattr(kind, "_set_when_made", ()) if name in config}
    expected = set(arguments(kind)) - set(more) - set(getattr(kind, "_set_when_made", ()))
    if unknown := sorted(set(config) - expected - later):
        raise ValueError(f"{class_name}: unknown configuration {', '.join(unknown)}")
    optional = getattr(kind, "left_out_if_none", ())
    if missing := sorted(expected - set(config) - set(optional)):
        raise ValueError(f"{class_name}: missing configuration {', '.join(missing)}")
    values = {key: decode(config[key], classes) for key in config if key not in later}
    try:
        made = kind(**values, **more)
        for name in later:
            made._restore_entry(name, config[name])
    except TypeError as error:
        raise ValueError(f"{class_name}: wrong configuration: {error}") from error
    return made
