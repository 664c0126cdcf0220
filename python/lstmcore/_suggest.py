"""Suggestions in errors: "did you mean ...?"."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

__all__ = ["did_you_mean", "keywords_of", "no_attribute", "public", "suggests", "unexpected"]

P = ParamSpec("P")
R = TypeVar("R")

KERAS_WORDS = {
    "input_shape": "put lc.layers.Input(shape) first in the model",
    "batch_input_shape": "put lc.layers.Input(shape) first in the model",
    "input_dim": "put lc.layers.Input(shape) first in the model",
    "dtype": "it is an argument of the model, Sequential(layers, dtype=...)",
    "lr": "it is called learning_rate",
    "decay": "pass a schedule of lc.schedules as learning_rate",
}
"""Arguments of Keras' classes that are passed elsewhere here."""


SHORTEST_BEGINNING = 3  # letters from which a longer name is suggested: "acc" suggests "accuracy"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of an error message that suggests the known name most similar to `name`.

    Case is ignored, and hyphens, blanks and underscores are equivalent.

    Returns
    -------
    str
        ``"; did you mean 'softmax'?"``, or "" if no name is similar.
    """
    if not isinstance(name, str):
        return ""
    import difflib  # slow to import, and only errors need it

    plain, given = {_plain(entry): entry for entry in known}, _plain(name)
    close = difflib.get_close_matches(given, plain, n=1, cutoff=0.65)
    if not close and len(given) >= SHORTEST_BEGINNING:
        close = [entry for entry in plain if entry.startswith(given)]
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def no_attribute(what: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that `what` does not have."""
    return AttributeError(f"{what} has no attribute {name!r}{did_you_mean(name, known)}", name=name)


def public(
    module: str, names: Sequence[str]
) -> tuple[Callable[[str], NoReturn], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a module of the package with these names.

    Hide them from type checkers, which would assume that a module with a `__getattr__` has every
    name: ``if not TYPE_CHECKING: __getattr__, __dir__ = public(__name__, __all__)``.
    """

    def __getattr__(name: str) -> NoReturn:
        shown = module.replace(".training.", ".")  # its public name
        raise no_attribute(f"module {shown!r}", name, names)

    def __dir__() -> list[str]:
        return sorted(names)

    return __getattr__, __dir__


def suggests(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate `function` so that the error for an unknown keyword suggests a known one."""
    known = keywords_of(function)
    if known is None:
        return function

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.keys() <= known.keys():
            constructs = function.__name__ == "__init__"
            owner = type(args[0]).__name__ if constructs else function.__name__
            raise TypeError(unexpected(owner, kwargs, known))
        return function(*args, **kwargs)

    return checked


def keywords_of(function: Callable[..., Any]) -> dict[str, None] | None:
    """Collect the keywords that `function` takes, in their order; None if it takes any."""
    entries = list(inspect.signature(function).parameters.values())
    if any(entry.kind is entry.VAR_KEYWORD for entry in entries):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [entry.name for entry in entries if entry.kind in named]
    return dict.fromkeys(found[1:] if found[:1] == ["self"] else found)


def unexpected(owner: str, given: Iterable[str], known: Iterable[str]) -> str:
    """Return the message for a call of `owner` with keywords that it does not have."""
    name = next(name for name in given if name not in known)
    hint = f"; {KERAS_WORDS[name]}" if name in KERAS_WORDS else did_you_mean(name, known)
    return f"{owner}: unexpected argument {name!r}{hint or '; expected ' + ', '.join(known)}"
