"""Objects that return the arguments they were made with, so that a model file can restore them."""

import inspect
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, ClassVar

import numpy as np

from lstmcore import _checks
from lstmcore._options import Checked, arguments
from lstmcore._suggest import did_you_mean

MOST_ENTRIES = 6
"""Entries of a list that `repr` shows; of longer ones, such as vocabularies, only the first."""


class Configurable(Checked):
    """Base of everything that a model file describes.

    Every argument of the constructor is stored as an attribute of the same name.
    """

    def _why_fixed(self, name: str) -> str | None:
        return "it is fixed when the object is made; make a new one with it"

    _left_out_if_none: ClassVar[tuple[str, ...]] = ()
    """Arguments that a configuration may lack, as older files do, which means their default.

    `get_config` leaves them out where they are None.
    """

    _always_shown: ClassVar[tuple[str, ...]] = ()
    """Arguments that `repr` shows even if they have their default."""

    _set_when_made: ClassVar[tuple[str, ...]] = ()
    """Other attributes that a configuration may hold, which `_restore_entry` sets."""

    def _restore_entry(self, name: str, value: Any) -> None:
        """Set one of `_set_when_made` to its value in a configuration."""
        setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal object, as values that JSON can represent.

        Returns
        -------
        dict
            Argument names and values; nested objects as ``{"class": ..., "config": ...}``.
        """
        return describe_arguments(self, arguments(type(self)))

    def __repr__(self) -> str:
        return one_line(self)


def describe_arguments(thing: Configurable, names: Iterable[str]) -> dict[str, Any]:
    """Return the arguments `names` of `thing`, as values that JSON can represent."""
    values = {name: getattr(thing, name) for name in names}
    return {
        name: encode(value)
        for name, value in values.items()
        if value is not None or name not in thing._left_out_if_none
    }


def one_line(thing: Any, values: Mapping[str, Any] | None = None) -> str:
    """Return `thing` as a call of its class with the arguments that differ from their defaults.

    Arguments without a default come first, without their names. Those that the class always shows
    (`Configurable._always_shown`) are included. An argument without an attribute is left out. If
    the class has an attribute ``default_x``, None stands for its value in the argument ``x``.

    Parameters
    ----------
    thing : object
        Stores its arguments as attributes of the same names.
    values : mapping of str to object, optional
        Values that are shown instead of some attributes.
    """
    values = values or {}
    shown = []
    for name, argument in inspect.signature(type(thing)).parameters.items():
        if argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
            continue
        if name in getattr(type(thing), "_keras_only", ()):
            continue
        try:
            value = values[name] if name in values else getattr(thing, name)
        except AttributeError:
            continue
        if isinstance(value, np.dtype):
            value = value.name
        if getattr(value, "__self__", None) is thing:  # its own method, as no function was passed
            continue
        required = argument.default is argument.empty
        default = argument.default
        for stands_for_none in (f"default_{name}", f"_default_{name}"):
            default = getattr(type(thing), stands_for_none, default)
        usual = not required and (_same(value, default) or _same(value, argument.default))
        if usual and name not in getattr(type(thing), "_always_shown", ()):
            continue
        positional = required and argument.kind is not argument.KEYWORD_ONLY
        shown.append(brief(value) if positional else f"{name}={brief(value)}")
    return f"{type(thing).__name__}({', '.join(shown)})"


def named_fields(thing: Any) -> str:
    """Return a named tuple as a call with all its fields, each in the form of `brief`."""
    fields = (f"{name}={brief(value)}" for name, value in thing._asdict().items())
    return f"{type(thing).__name__}({', '.join(fields)})"


def _same(value: Any, default: Any) -> bool:
    """Return whether two values are equal and have the same type: True is not 1."""
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return value is default
    return type(value) is type(default) and bool(value == default)


def brief(value: Any) -> str:
    """Return a value as one line: of an array its shape, of a long list its first entries."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return value.__name__
    if type(value) in (list, tuple):
        first = [brief(entry) for entry in value[:MOST_ENTRIES]]
        if len(value) > MOST_ENTRIES:
            first.append(f"... {len(value):,} in all")
        body = ", ".join(first)
        if type(value) is list:
            return f"[{body}]"
        return f"({body},)" if len(value) == 1 else f"({body})"
    if isinstance(value, dict):
        entries = [f"{key!r}: {brief(entry)}" for key, entry in value.items()]
        return f"{{{', '.join(entries)}}}"
    return " ".join(repr(value).split())


def encode(value: Any) -> Any:
    """Return `value` as JSON can represent it."""
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
    """Return what `encode` was applied to; only objects of `classes` may occur."""
    if isinstance(value, Mapping):
        if set(value) == {"class", "config"}:
            return make(value["class"], value["config"], classes)
        return {key: decode(entry, classes) for key, entry in value.items()}
    if isinstance(value, list):
        return [decode(entry, classes) for entry in value]
    return value


def make(class_name: Any, config: Any, classes: Mapping[str, type], **more: Any) -> Any:
    """Return a new object of the class `class_name`, given exactly the arguments that it has."""
    kind = classes.get(class_name) if isinstance(class_name, str) else None
    if kind is None:
        hint = did_you_mean(class_name, classes) or f"; known are {', '.join(sorted(classes))}."
        short = isinstance(class_name, str) and len(class_name) <= _checks.LONGEST
        if short and class_name.isidentifier():
            hint += f" Pass a class of your own as custom_objects={{{class_name!r}: {class_name}}}"
        raise ValueError(f"unknown class {_checks.quote(class_name)}{hint}")
    if not isinstance(config, Mapping):
        raise ValueError(
            f"the configuration of {class_name} must be an object, got {_checks.quote(config)}"
        )
    later = {name for name in getattr(kind, "_set_when_made", ()) if name in config}
    expected = set(arguments(kind)) - set(more) - set(getattr(kind, "_set_when_made", ()))
    if unknown := sorted(set(config) - expected - later):
        hint = did_you_mean(unknown[0], expected)
        raise ValueError(f"{class_name}: unknown configuration {_checks.listed(unknown)}{hint}")
    optional = getattr(kind, "_left_out_if_none", ())
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
