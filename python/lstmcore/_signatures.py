"""Classes whose constructors take ``**options`` show every option to `help` and to `inspect`.

So an option is defined and described once, by the class that checks it, and the classes that pass
it on have it in their signatures and docstrings, too.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

__all__ = ["shows_options"]

T = TypeVar("T")

SECTION = "Parameters\n----------\n"
"""The title of a docstring's section Parameters."""

NEXT_SECTION = r"\n\n(?=\w+\n-+\n)"
"""The end of a section: the title of the next one follows."""

ENTRY = re.compile(r"^(?P<names>\S.*?)(?P<kind> : .*)?\n(?P<body>(?: .*\n|\n)*)", re.MULTILINE)
"""An entry of the section: names and type in a line, then an indented description."""

PLACE = "**options"
"""The entry of a docstring that is replaced by the options' entries."""


class Entry(NamedTuple):
    """An entry of a docstring's section Parameters."""

    names: tuple[str, ...]
    kind: str
    """The rest of the first line, from the colon on."""
    body: str

    def text(self) -> str:
        """Return the entry as in a docstring without indentation."""
        return ", ".join(self.names) + self.kind + "\n" + self.body


def shows_options(
    parameters: Mapping[str, inspect.Parameter], *documented: type, before: str | None = None
) -> Callable[[type[T]], type[T]]:
    """Decorate a class so that its signature and docstring list what ``**options`` stands for.

    Parameters
    ----------
    parameters : mapping of str to inspect.Parameter
        The options by name.
    *documented : class
        Classes whose docstrings describe the options. The first that describes an option counts.
    before : str, optional
        The parameter of the constructor that follows the options in the signature; they come last
        by default.

    Returns
    -------
    callable
        The decorator, which changes the class and returns it.

    Raises
    ------
    ValueError
        If an option is not described anywhere.
    """

    def decorate(kind: type[T]) -> type[T]:
        constructor: Any = vars(kind)["__init__"]
        own = inspect.signature(constructor)
        entries = [
            entry for entry in own.parameters.values() if entry.kind is not entry.VAR_KEYWORD
        ]
        names = [entry.name for entry in entries]
        place = len(entries) if before is None else names.index(before)
        entries[place:place] = parameters.values()
        constructor.__signature__ = own.replace(parameters=entries)
        constructor.__annotations__ = {
            **{
                entry.name: entry.annotation for entry in entries if entry.annotation != entry.empty
            },
            "return": None,
        }
        if kind.__doc__ is not None:  # None under python -OO
            kind.__doc__ = _with_entries(kind.__doc__, list(parameters), documented)
        return kind

    return decorate


def _with_entries(text: str, wanted: list[str], documented: Iterable[type]) -> str:
    """Replace ``**options`` with the entries of the options `wanted`."""
    text = inspect.cleandoc(text)
    head, rest = text.split(SECTION, 1)
    written, end = _entries(rest)
    done = {name for entry in written for name in entry.names}
    found: dict[str, Entry] = {}
    for source in documented:
        for entry in _entries(inspect.cleandoc(source.__doc__ or "").split(SECTION, 1)[1])[0]:
            names = tuple(name for name in entry.names if name in wanted and name not in found)
            found.update(dict.fromkeys(names, entry._replace(names=names)))
    if missing := [name for name in wanted if name not in found and name not in done]:
        raise ValueError(f"no docstring describes {', '.join(missing)}")
    chosen = dict.fromkeys(found[name] for name in wanted if name not in done)
    lines = itertools.chain.from_iterable(
        chosen if entry.names == (PLACE,) else (entry,) for entry in written
    )
    return head + SECTION + "".join(entry.text() for entry in lines) + end


def _entries(text: str) -> tuple[list[Entry], str]:
    """Split what follows the section's title into its entries and the rest of the docstring."""
    body, *rest = re.split(NEXT_SECTION, text, maxsplit=1)
    found = [
        Entry(tuple(match["names"].split(", ")), match["kind"] or "", match["body"])
        for match in ENTRY.finditer(body.rstrip("\n") + "\n")
    ]
    return found, "".join("\n" + section for section in rest)
