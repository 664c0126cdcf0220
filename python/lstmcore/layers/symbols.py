"""Symbols: what layers return before there is data, from which `lstmcore.Model` makes a graph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from lstmcore import _checks
from lstmcore._typing import Array, Shape

if TYPE_CHECKING:
    from lstmcore.layers.base import Layer

__all__ = ["Call", "Symbol", "Symbols", "has_symbols"]


class Symbol:
    """The place of a value in a graph: made by `Input`, and by a layer that is called on symbols.

    Parameters
    ----------
    shape : tuple of int or None
        Of a batch, with None for sizes that may vary: (None, None, C).
    call : Call, optional
        The call of a layer whose output this is; None for an `Input`.

    Attributes
    ----------
    shape : tuple of int or None
    """

    def __init__(self, shape: Shape, call: "Call | None" = None) -> None:
        self.shape, self._call = shape, call

    def __repr__(self) -> str:
        made = "" if self._call is None else f" of {type(self._call.layer).__name__}"
        return f"<Symbol {_checks.show_shape(self.shape)}{made}>"

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            "expected values, got a symbol, which has none: it stands for a value in an "
            "lstmcore.Model. Only layers are called on symbols; of a model call the layers in "
            "turn, y = layer.copy()(y)"
        )

    def __bool__(self) -> NoReturn:
        raise TypeError("a symbol has no value, so it is neither true nor false")

    def __iter__(self) -> NoReturn:
        raise TypeError("a symbol is a single value, over which no loop is possible")


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer in a graph.

    Attributes
    ----------
    layer : Layer
    arguments : tuple of Symbol
        In the order of `Layer._build_node`.
    outputs : list of Symbol
        Filled in by `Layer._place`, which makes both.
    """

    layer: "Layer"
    arguments: tuple[Symbol, ...]
    outputs: list[Symbol]


OneSymbol: TypeAlias = Symbol | Array
"""A symbol; what a layer returns is an array for type checkers, who cannot tell."""

Symbols: TypeAlias = OneSymbol | Sequence[OneSymbol] | Mapping[str, OneSymbol]
"""Inputs or outputs of a graph: one, several in order, or several by name."""


def has_symbols(arguments: Iterable[Any]) -> bool:
    """Return whether a layer is called on symbols, or on a list of them, instead of arrays."""
    return any(
        isinstance(argument, Symbol)
        or (
            isinstance(argument, (list, tuple))
            and any(isinstance(entry, Symbol) for entry in argument[:_LONGEST])
        )
        for argument in arguments
    )


_LONGEST = 64  # entries of a list of arguments; a longer one is a list of rows
