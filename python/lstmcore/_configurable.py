"""Objects that say how they were made, so that a model file can make them again."""

import inspect
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, ClassVar

import numpy as np

from lstmcore._options import Checked, arguments
from lstmcore._suggest import did_you_mean

MOST_ENTRIES = 6
"""Longer lists, such as vocabularies, are shown in part."""


class Configurable(Checked):
    """Base of everything that a model file describes.

    Every argument of the constructor is kept as an attribute of the same name.
    """

    def _why_fixed(self, name: str) -> str | None:
        return "it is fixed when the object is made; make a new one with it"

    _left_out_if_none: ClassVar[tuple[str, ...]] = ()
    """Arguments that are told of only if they are not None."""

    _always_shown: ClassVar[tuple[str, ...]] = ()
    """Arguments that `repr` shows also where they are the default."""

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

    def __repr__(self) -> str:
        return one_line(self)


def describe_arguments(thing: Configurable, names: Iterable[str]) -> dict[str, Any]:
    """Give the values of some arguments of `thing`, as JSON can hold them."""
    values = {name: getattr(thing, name) for name in names}
    return {
        name: encode(value)
        for name, value in values.items()
        if value is not None or name not in thing._left_out_if_none
    }


def one_line(thing: Any, values: Mapping[str, Any] | None = None) -> str:
    """Write `thing` as a call of its class with the arguments that differ from their defaults.

    Arguments without a default come first, without their names; those that the class always shows
    (`Configurable._always_shown`) are there, too. An argument whose attribute does not exist is
    left out. Where the class has ``default_name`` or the like, that is what None stands for.

    Parameters
    ----------
    thing : object
        Keeps its arguments as attributes of the same names.
    values : mapping of str to object, optional
        To show instead of some attributes.
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
        if getattr(value, "__self__", None) is thing:  # a method, where no function was given
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
    """Write a named tuple with all its fields, each as `brief` writes it."""
    fields = (f"{name}={brief(value)}" for name, value in thing._asdict().items())
    return f"{type(thing).__name__}({', '.join(fields)})"


def _same(value: Any, default: Any) -> bool:
    """Tell whether two values are equal and of one type: True is not 1."""
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return value is default
    return type(value) is type(default) and bool(value == default)


def brief(value: Any) -> str:
    """Write a value in one line: arrays by their shapes, long lists by their beginnings."""
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
        hint = did_you_mean(class_name, classes) or f"; known are {', '.join(sorted(classes))}."
        if isinstance(class_name, str) and class_name.isidentifier():
            hint += (
                f" A class of your own is named by custom_objects={{{class_name!r}: {class_name}}}"
            )
        raise ValueError(f"unknown class {class_name!r}{hint}")
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration of {class_name} must be an object, got {config!r}")
    later = {name for name in getattr(kind, "_set_when_made", ()) if name in config}
    expected = set(arguments(kind)) - set(more) - set(getattr(kind, "_set_when_made", ()))
    if unknown := sorted(set(config) - expected - later):
        hint = did_you_mean(unknown[0], expected)
        raise ValueError(f"{class_name}: unknown configuration {', '.join(unknown)}{hint}")
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
