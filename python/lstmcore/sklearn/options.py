"""Constructors of other libraries' estimators that take these estimators' hyper-parameters.

The rooms `aeon` and `sktime` have classes that contain an estimator of this room. Their
hyper-parameters are those of that estimator: here are the functions that give them its signature.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec

from lstmcore._suggest import unexpected

__all__ = ["hyper_parameters", "stores"]

P = ParamSpec("P")


def hyper_parameters(
    kind: type, without: Iterable[str] = (), **defaults: Any
) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class by name, except for some, with some other defaults."""
    known = inspect.signature(kind).parameters
    return {
        name: entry.replace(default=defaults.get(name, entry.default))
        for name, entry in known.items()
        if name not in without
    }


def stores(
    parameters: Mapping[str, inspect.Parameter], like: Callable[Concatenate[Any, P], None]
) -> Callable[[Callable[[Any], None]], Callable[Concatenate[Any, P], None]]:
    """Decorate a constructor without arguments so that it takes `parameters`.

    Each becomes an attribute before the constructor itself runs, as scikit-learn, aeon and sktime
    expect of hyper-parameters. The signature ends with ``**options``, for which `shows_options`
    puts in the parameters.

    Parameters
    ----------
    parameters : mapping of str to inspect.Parameter
        See `hyper_parameters`.
    like : callable
        The constructor of the contained estimator, whose types type checkers see.

    Returns
    -------
    callable
        The decorator. The decorated constructor raises TypeError for an unknown argument, and
        suggests a known one.
    """

    def decorate(function: Callable[[Any], None]) -> Callable[Concatenate[Any, P], None]:
        signature = inspect.Signature(list(parameters.values()))

        @functools.wraps(function)
        def constructor(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
            if not kwargs.keys() <= parameters.keys():
                raise TypeError(unexpected(type(self).__name__, kwargs, parameters))
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            for name, value in bound.arguments.items():
                setattr(self, name, value)
            function(self)

        shown: Any = constructor
        shown.__signature__ = inspect.Signature(
            [
                inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
                inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD),
            ]
        )
        found: Callable[Concatenate[Any, P], None] = shown
        return found

    return decorate
