"""How many elements a result has that is made from numbers, by the definition of its operator.

Two places compare these sizes with the limits: `lstmcore.onnx.sizes` when a model is loaded, with
what the file fixes, and `lstmcore.onnx.guards`, whose nodes compute them when the model runs. Each
of them is an `Arithmetic`, so that the definitions stand here once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["DOMAINS", "Arithmetic", "Quantity", "Result", "result_of"]

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Where operators of these names mean this: ONNX Runtime has some of them itself too."""

Quantity: TypeAlias = Any
"""A number or a vector of an `Arithmetic`, with ``+ - * /``; vectors of one length, or numbers."""

Axes: TypeAlias = "str | Sequence[int] | None"
"""Constant axes, or the name of an input that holds them; None for all."""


class Arithmetic(Protocol):
    """What the sizes of a node's results are computed from, and how."""

    opset: int

    def has(self, position: int) -> bool:
        """Return whether the node has an input."""

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default`."""

    def axes(self, position: int) -> Axes:
        """Return the axes that an input holds, or all if the node does not have it."""

    def number(self, value: float) -> Quantity:
        """Return a constant."""

    def values(self, position: int) -> Quantity:
        """Return the numbers of an input as they are."""

    def counts(self, position: int) -> Quantity:
        """Return the magnitudes of the integers of an input, at least 1."""

    def steps(self) -> Quantity:
        """Return how many steps of the third number lead from the first to the second.

        Numbers that are close to each other may be large, such as times in nanoseconds.
        """

    def vector(self, numbers: Sequence[float]) -> Quantity:
        """Return the magnitudes of constants."""

    def sizes(self, position: int, axes: Axes = None) -> Quantity:
        """Return the sizes of an input along axes, at least 1."""

    def both_ends(self, pads: Quantity) -> Quantity:
        """Return the sums of the magnitudes in the first half and in the second half."""

    def broadcast(self, first: Quantity, second: Quantity) -> Quantity:
        """Return the larger of two sizes, the last with the last and so on."""

    def product(self, vector: Quantity) -> Quantity:
        """Return the product of all elements; 1 for none."""

    def power(self, vector: Quantity) -> Quantity:
        """Return what `product` returns if all elements were as large as the largest."""


@dataclass(frozen=True)
class Result:
    """What decides the size of an operator's result.

    Attributes
    ----------
    numbers : tuple of int
        Positions of the inputs whose numbers, not whose shapes, decide it.
    elements : callable
        Returns its number of elements, or an upper bound that is close.
    scalar : bool
        Whether these inputs are single numbers; those of the others are arrays with one axis.
    resized : bool
        Whether it is the first input in another size, which may be large because that one is.
    """

    numbers: tuple[int, ...]
    elements: Callable[[Arithmetic], Quantity]
    scalar: bool = False
    resized: bool = False


def result_of(operator: str, opset: int) -> Result | None:
    """Return what decides the size of an operator's result; None if no numbers do."""
    if operator == "Resize" and opset < 11:  # as Upsample, which it replaced
        operator = "Upsample"
    return RESULTS.get(operator)


def _whole(of: Arithmetic, position: int) -> Quantity:
    return of.product(of.sizes(position))


def _changed(of: Arithmetic, sizes: Quantity, axes: Axes) -> Quantity:
    """Return the elements of the first input with other sizes along some axes."""
    return _whole(of, 0) * of.product(sizes / of.sizes(0, axes))


def _pad(of: Arithmetic) -> Quantity:
    """Size: d + begin + end along each axis."""
    fixed = of.attribute("pads", of.attribute("paddings"))
    pads = of.both_ends(of.values(1) if fixed is None else of.vector(fixed))
    axes = of.axes(3)
    return _changed(of, of.sizes(0, axes) + pads, axes)


def _scaled(of: Arithmetic, scales: Quantity) -> Quantity:
    """Size: floor(d * scale) along each axis."""
    return _whole(of, 0) * of.product(scales)


def _upsample(of: Arithmetic) -> Quantity:
    fixed = of.attribute("scales")
    if fixed is None and of.attribute("height_scale") is not None:  # version 1
        fixed = [of.attribute("height_scale"), of.attribute("width_scale", 1.0)]
    return _scaled(of, of.values(1) if fixed is None else of.vector(fixed))


def _resize(of: Arithmetic) -> Quantity:
    """Return the elements by sizes along axes, or by scales."""
    if not of.has(3):
        return _scaled(of, of.values(2))
    axes = of.attribute("axes")
    ratios = of.counts(3) / of.sizes(0, axes)
    if of.attribute("keep_aspect_ratio_policy") == "not_smaller":  # all axes by the largest ratio
        rounded = of.number(1) / of.sizes(0, axes)
        return _whole(of, 0) * of.power(ratios + rounded)
    return _whole(of, 0) * of.product(ratios)


def _col2im(of: Arithmetic) -> Quantity:
    """Sizes: input (N, C * block, L), result (N, C, *image)."""
    blocks = _whole(of, 0) / of.product(of.sizes(0, [2]))
    return blocks * of.product(of.counts(1)) / of.product(of.counts(2))


def _dft(of: Arithmetic) -> Quantity:
    """Size: the length along the axis; real parts alone get imaginary ones."""
    axes = of.axes(2) if of.opset >= 20 else [of.attribute("axis", 1)]
    if of.opset >= 20 and not of.has(2):
        axes = [-2]
    if not of.has(1):
        return _whole(of, 0) * of.number(2)
    return _changed(of, of.counts(1), axes) * of.number(2)


def _stft(of: Arithmetic) -> Quantity:
    """Sizes: signal (N, L, ...), result (N, 1 + (L - length) / step, length or fewer, 2)."""
    length = of.product(of.counts(3)) if of.has(3) else of.product(of.sizes(2))
    return _whole(of, 0) * length * of.number(2) / of.product(of.values(1))


def _numbers_alone(position: int, times: float = 1) -> Callable[[Arithmetic], Quantity]:
    def elements(of: Arithmetic) -> Quantity:
        found = of.product(of.counts(position))
        return found if times == 1 else found * of.number(times)

    return elements


_WINDOW = Result((0,), _numbers_alone(0), scalar=True)

RESULTS: dict[str, Result] = {
    # sizes (N, C, H, W), result (N, H, W, 2); or (N, C, D, H, W), (N, D, H, W, 3)
    "AffineGrid": Result((1,), _numbers_alone(1, 3)),
    "BlackmanWindow": _WINDOW,
    "CenterCropPad": Result(
        (1,), lambda of: _changed(of, of.counts(1), of.attribute("axes")), resized=True
    ),
    "Col2Im": Result((1, 2), _col2im, resized=True),
    "ConstantOfShape": Result((0,), _numbers_alone(0)),
    "DFT": Result((1,), _dft, scalar=True, resized=True),
    "Expand": Result(
        (1,), lambda of: of.product(of.broadcast(of.sizes(0), of.counts(1))), resized=True
    ),
    "HammingWindow": _WINDOW,
    "HannWindow": _WINDOW,
    "MaxUnpool": Result((2,), _numbers_alone(2)),
    "MelWeightMatrix": Result(
        (0, 1), lambda of: of.product(of.counts(0)) * of.product(of.counts(1)), scalar=True
    ),
    "OneHot": Result((1,), lambda of: _whole(of, 0) * of.product(of.counts(1)), scalar=True),
    "Pad": Result((1,), _pad, resized=True),
    "Range": Result(
        (0, 1, 2),
        lambda of: of.steps(),
        scalar=True,
    ),
    "Resize": Result((2, 3), _resize, resized=True),
    "STFT": Result((1, 3), _stft, scalar=True, resized=True),
    "Tile": Result((1,), lambda of: _whole(of, 0) * of.product(of.counts(1)), resized=True),
    "Upsample": Result((1,), _upsample, resized=True),
}
"""The operators whose results are made from numbers."""
