"""What a graph needs from a layer: any number of inputs and outputs, in lists."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._typing import Array, Shape
from lstmcore.layers.symbols import Call, Symbol, has_symbols

if TYPE_CHECKING:
    from lstmcore.layers.base import Layer

__all__ = ["HOW_TO_REUSE", "Node", "NodeOutputs"]

HOW_TO_REUSE = (
    "give it a copy, layer.copy(), which begins with the same weights, or take the layer out of "
    "the other model with pop()"
)
"""What an error advises about a layer that cannot be in two models."""


class NodeOutputs(NamedTuple):
    """What a node computes for one batch."""

    values: list[Array]
    lengths: list[Array | None]
    """Valid steps of each row of each output; None: all, or there is no time axis."""
    context: Any
    """For `Layer._backward_node`; serves once."""


class Node(Configurable):
    """Base of `Layer`: how a layer takes part in a graph.

    A layer with one input and one output inherits all of this. One with several inputs, such as
    `Add`, or with several outputs overrides the methods that end in ``_node``.
    """

    _joins_steps = False
    """Whether inputs with steps must all have the same ones."""

    _decides = False
    """Whether the outputs are decisions, such as tags, after which no layer may come."""

    _takes_states = False
    """Whether calls may have states besides their other inputs, or none."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__call__" in vars(cls):  # of arrays; symbols make a node instead
            cls.__call__ = _or_symbols(cls.__call__)  # type: ignore[method-assign]

    def _place(self: "Layer", *arguments: Any, **options: Any) -> Any:  # type: ignore[misc]
        """Add a call on symbols to their graph, and return the symbols of the outputs."""
        inputs = self._arguments_of(arguments, options)
        name = type(self).__name__
        for place, entry in enumerate(inputs):
            if not isinstance(entry, Symbol):
                raise TypeError(
                    f"{name}: expected only symbols, such as Input(shape), got "
                    f"{_checks.describe(entry)} as argument {place}"
                )
        made = self._call_node(inputs)
        return made[0] if len(made) == 1 else tuple(made)

    def _call_node(self: "Layer", inputs: Sequence[Symbol]) -> list[Symbol]:  # type: ignore[misc]
        """Add a call with these inputs, and return its outputs."""
        name = type(self).__name__
        if self._held_by is not None or (self.weights and not self._alone):
            raise ValueError(f"{name}: belongs to a model already; {HOW_TO_REUSE}")
        if any(getattr(inner, "stateful", False) for inner in self._layers_within()):
            raise ValueError(
                f"{name}: expected stateful=False in a graph, whose calls pass no state on"
            )
        before = [symbol._call.layer for symbol in inputs if symbol._call is not None]
        for layer in before:
            if layer._decides:
                raise ValueError(
                    f"{name}: no layer may follow a {type(layer).__name__}, which returns tags"
                )
        shapes = [symbol.shape for symbol in inputs]
        made = self._build_node(shapes)
        if self._node_shapes is not None:  # another call of a shared layer
            if len(self._node_shapes) != len(shapes) and not self._takes_states:
                raise ValueError(
                    f"{name}: expected {len(self._node_shapes)} inputs like its first call, got "
                    f"{len(shapes)}"
                )
            common = _common_shapes(name, self._node_shapes, shapes)
            if common != shapes:
                self._build_node(common)
            shapes = common
        self._node_shapes = shapes
        call = Call(self, tuple(inputs), [])
        call.outputs.extend(Symbol(shape, call) for shape in made)
        return list(call.outputs)

    def _arguments_of(  # type: ignore[misc]
        self: "Layer",
        arguments: Sequence[Any],
        options: dict[str, Any],
    ) -> list[Any]:
        """Return the inputs that the arguments of a call on symbols stand for.

        Raises
        ------
        ValueError
            If an argument of the call applies to arrays only.
        """
        for option, value in options.items():
            if value is not None and not (option in ("training", "seed") and not value):
                raise ValueError(
                    f"{type(self).__name__}: {option} is for calling the layer on arrays; in a "
                    "graph, fit and predict decide about it"
                )
        if len(arguments) != 1:
            raise ValueError(
                f"{type(self).__name__}: expected one input, got {len(arguments)} arguments"
            )
        given = arguments[0]
        return list(given) if isinstance(given, (list, tuple)) else [given]

    # ---- for one input and one output; layers with several override these --------------------

    def _build_node(self: "Layer", shapes: Sequence[Shape]) -> list[Shape]:  # type: ignore[misc]
        """Fix the widths, given the shapes of all inputs; return those of all outputs."""
        if len(shapes) != 1:
            raise ValueError(f"{type(self).__name__}: expected one input, got {len(shapes)}")
        return [self.build(shapes[0])]

    def _forward_node(  # type: ignore[misc]
        self: "Layer",
        inputs: Sequence[Array],
        lengths: Sequence[Array | None],
        training: bool,
        seed: int,
        logits: bool,
    ) -> NodeOutputs:
        """Compute the outputs of one batch; with `logits` without the last activation."""
        run = self.forward_logits if logits else self.forward
        outputs, after, context = run(inputs[0], lengths[0], training, seed)
        return NodeOutputs([outputs], [after if outputs.ndim > 2 else None], context)

    def _backward_node(  # type: ignore[misc]
        self: "Layer",
        context: Any,
        gradients: Sequence[Array | None],
        needed: Sequence[bool],
    ) -> list[Array | None]:
        """Compute the gradients with respect to the inputs, and write those of the weights.

        Parameters
        ----------
        context
            From `_forward_node`.
        gradients : sequence of ndarray or None
            With respect to the outputs; None: zeros. At least one is an array. They may not be
            changed.
        needed : sequence of bool
            Which inputs need a gradient.
        """
        gradient = gradients[0]
        assert gradient is not None
        return [self.backward(context, gradient, needed[0])]

    def _lengths_node(  # type: ignore[misc]
        self: "Layer",
        lengths: Sequence[Array | None],
        rows: Array,
    ) -> Array:
        """Return how many steps the outputs have, if they have any.

        Parameters
        ----------
        lengths : sequence of ndarray of int64, shape (M,), or None
            Steps of the rows of each input; None: it has no time axis.
        rows : ndarray of int64, shape (M,)
            Zeros, for a layer that makes steps of its own.
        """
        first = lengths[0]
        return self.output_lengths(rows if first is None else first)


def _or_symbols(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the `__call__` of a layer, so that symbols make a node of a graph."""

    @functools.wraps(function)
    def __call__(self: Any, *arguments: Any, **options: Any) -> Any:
        if has_symbols(arguments) or (options and has_symbols(options.values())):
            return self._place(*arguments, **options)
        return function(self, *arguments, **options)

    return __call__


def _common_shapes(name: str, before: Sequence[Shape], now: Sequence[Shape]) -> list[Shape]:
    """Return the shapes that fit two calls of one layer, with None where sizes differ."""
    common: list[Shape] = []
    for old, new in zip(before, now, strict=False):
        if len(old) != len(new) or old[-1:] != new[-1:]:
            raise ValueError(
                f"{name}: expected inputs of shape {_checks.show_shape(old)} like those of its "
                f"first call, since all calls share its weights, got {_checks.show_shape(new)}"
            )
        pairs = zip(old, new, strict=True)
        common.append(tuple(a if a == b else None for a, b in pairs))
    return [*common, *now[len(common) :]]
