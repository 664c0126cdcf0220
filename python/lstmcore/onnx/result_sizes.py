"""How many elements a result has that is made from numbers, by the definition of its operator.

Two places compare these sizes with the limits: `lstmcore.onnx.sizes` when a model is loaded, with
what the file fixes, and `lstmcore.onnx.guards`, whose nodes compute them when the model runs. Each
of them is an `Arithmetic`, so that the definitions stand here once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

__all__ = ["DOMAINS", "Arithmetic", "Quantity", "Result", "result_of"]

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc")
"""Where operators of these names mean this: ONNX Runtime has some of them itself too."""

POINTERS = 512 * 8
"""Bytes of the pointers that NhwcMaxPool holds for each number of its window."""

POINT = 8
"""Numbers of 4 bytes that are held for each point between others: their places and weights."""

Quantity: TypeAlias = Any
"""A number or a vector of an `Arithmetic`, with ``+ - * /``; vectors of one length, or numbers."""

Axes: TypeAlias = "str | Sequence[int] | None"
"""Constant axes, or the name of an input that holds them; None for all."""


class Arithmetic(Protocol):
    """What the sizes of a node's results are computed from, and how."""

    opset: int

    def has(self, position: int) -> bool:
        """Return whether the node has an input."""

    def wants(self, position: int) -> bool:
        """Return whether the node has an output."""

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

    def largest(self, position: int) -> Quantity:
        """Return the magnitude of the largest number of an input, at least 1."""

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
    many : bool
        Whether the inputs with numbers may have any number of them.
    axes : mapping of int to int
        How many axes inputs must have, by their positions, if ONNX Runtime ends the process where
        they have fewer.
    free : callable, optional
        Returns how many elements its inputs account for: those of the first one, for example, for
        each of the channels that its weights make. By default 1, or the first input if `resized`.
    """

    numbers: tuple[int, ...]
    elements: Callable[[Arithmetic], Quantity]
    scalar: bool = False
    resized: bool = False
    many: bool = False
    axes: Mapping[int, int] = field(default_factory=dict)
    free: Callable[[Arithmetic], Quantity] | None = None

    def accounted(self, of: Arithmetic) -> Quantity | None:
        """Return how many elements the inputs account for, whatever the numbers are."""
        if self.free is not None:
            return self.free(of)
        return _whole(of, 0) if self.resized else None


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


# ---- windows -------------------------------------------------------------------------------------


def _rank(of: Arithmetic) -> int:
    """Return how many axes a window has, 0 if its attributes say nothing about the result."""
    pads = len(of.attribute("pads", ())) // 2
    found = (len(of.attribute(name, ())) for name in ("strides", "dilations", "output_shape"))
    return max(pads, *found)


def _window(of: Arithmetic, name: str, rank: int) -> Quantity:
    """Return an attribute with a number for each axis of a window, by default 1."""
    return of.vector(of.attribute(name) or [1] * rank)


def _places(of: Arithmetic, first: int = 2) -> Quantity:
    """Return where a window fits: (d + begin + end) / stride + 1 or fewer along each axis.

    These axes of the first input begin with `first`.
    """
    if not len(of.attribute("pads", ())) or not (rank := _rank(of)):
        return of.number(1)
    axes = list(range(first, first + rank))
    sizes = of.sizes(0, axes) + of.both_ends(of.vector(of.attribute("pads")))
    return of.product(sizes / _window(of, "strides", rank) + of.vector([1] * rank))


def _images(of: Arithmetic, position: int, axis: int) -> Quantity:
    """Return the rows, times the channels that an axis of an input has."""
    return of.product(of.sizes(0, [0])) * of.product(of.sizes(position, [axis]))


def _convolution(position: int, last: bool = False) -> Result:
    """Weights (M, C / group, *kernel); channels are the last axis of images if `last`."""

    def elements(of: Arithmetic) -> Quantity:
        return _images(of, position, 0) * _places(of, 1 if _channels_last(of, last) else 2)

    return Result((), elements, free=lambda of: _whole(of, 0) * of.product(of.sizes(position, [0])))


def _pooled(last: bool = False, held: float = 0) -> Result:
    """Windows on each channel, the last axis if `last`.

    For each number of a window, `held` elements are held.
    """

    def elements(of: Arithmetic) -> Quantity:
        if not _channels_last(of, last):
            made = _images(of, 0, 1) * _places(of)
        elif rank := len(of.attribute("pads", ())) // 2:
            made = _images(of, 0, rank + 1) * _places(of, 1)
        else:
            made = of.number(1)
        return made + of.product(of.vector(of.attribute("kernel_shape"))) * of.number(held)

    return Result((), elements, free=lambda of: _whole(of, 0) + of.number(held))


def _channels_last(of: Arithmetic, last: bool) -> bool:
    return last or of.attribute("channels_last", 0) != 0


def _spread(of: Arithmetic, kernel: Quantity, rank: int) -> Quantity:
    """Size: stride (d - 1) + (kernel - 1) dilation + 1 + padding of the output, along each axis."""
    spread = of.sizes(0, list(range(2, 2 + rank))) * _window(of, "strides", rank)
    padding = of.attribute("output_padding")
    found = spread + kernel * _window(of, "dilations", rank)
    return of.product(found if padding is None else found + of.vector(padding))


def _transposed(of: Arithmetic) -> Quantity:
    """Weights (C, M / group, *kernel)."""
    rank = _rank(of)
    if rank == 0:
        return of.number(1)
    images = _images(of, 1, 1) * of.number(of.attribute("group", 1))
    if of.attribute("output_shape"):
        return images * of.product(of.vector(of.attribute("output_shape")))
    return images * _spread(of, of.sizes(1, list(range(2, 2 + rank))), rank)


def _weights_across(of: Arithmetic) -> Quantity:
    """Return what a transposed convolution makes of its input, because of its weights."""
    return _whole(of, 0) * _whole(of, 1) * of.number(of.attribute("group", 1))


def _unpooled(of: Arithmetic) -> Quantity:
    """Size: as of a transposed convolution, unless the third input is the shape."""
    if of.has(2):
        return of.product(of.counts(2))
    kernel = of.attribute("kernel_shape")
    return _images(of, 0, 1) * _spread(of, of.vector(kernel), len(kernel))


def _aligned(of: Arithmetic) -> Quantity:
    """Sizes: input (N, C, H, W), boxes (B, 4), result (B, C, *output); points of one box are held.

    Their number is an attribute, or as many as the box is large.
    """
    height, width = (float(of.attribute(f"output_{name}", 1)) for name in ("height", "width"))
    made = _boxes(of)
    ratio = float(of.attribute("sampling_ratio", 0))
    if ratio > 0:
        points = of.number(height * width * ratio**2)
    else:
        side = of.largest(1) * of.number(2 * abs(of.attribute("spatial_scale", 1.0)))
        points = (side + of.number(height)) * (side + of.number(width))
    return made * of.number(height * width) + points * of.number(POINT)


def _boxes(of: Arithmetic) -> Quantity:
    """Sizes: input (N, C, H, W), boxes (B, ...), result (B, C, ...)."""
    return of.product(of.sizes(1, [0])) * of.product(of.sizes(0, [1]))


def _normalized(of: Arithmetic) -> Quantity:
    """Sizes: input (N, C, ...), squares of a row that are held (C + size, ...)."""
    ratio = of.number(of.attribute("size", 1)) / of.product(of.sizes(0, [1]))
    return _whole(of, 0) * (of.number(2) + ratio)


# ---- rows ----------------------------------------------------------------------------------------


def _rows(of: Arithmetic) -> Quantity:
    return of.product(of.sizes(0, [0]))


def _rows_of(*names: str) -> Result:
    """Rows, each of as many elements as one of these attributes says, or has entries."""

    def elements(of: Arithmetic) -> Quantity:
        given = [of.attribute(name, 0) for name in names]
        counts = [len(entry) if isinstance(entry, (list, tuple)) else entry for entry in given]
        return _rows(of) * of.number(max(1, *counts))

    return Result((), elements, free=_rows)


def _generated(of: Arithmetic) -> Quantity:
    """Sizes: rows (N, ...), result (N, length); a score for each word is held."""
    return _rows(of) * (of.product(of.counts(1)) + _words(of))


def _searched(of: Arithmetic) -> Quantity:
    """Sizes: rows (N, ...), result (N, beams, length); a score for each word is held.

    If the scores are wanted, those of all steps are.
    """
    beams = _rows(of) * of.product(of.counts(3))
    length = of.product(of.counts(1))
    return beams * (length * _words(of) if of.wants(2) else length + _words(of))


def _words(of: Arithmetic) -> Quantity:
    return of.number(max(of.attribute("vocab_size", 1), 1))


def _remembered(of: Arithmetic) -> Quantity:
    """Sizes: keys (N, steps, H) or queries, keys and values (N, steps, 3 H), result (N, total, H).

    The total is the seventh input.
    """
    width = of.sizes(1 if of.has(1) else 0, [2])
    return _rows(of) * of.product(of.counts(6)) * of.product(width)


# ---- the table -----------------------------------------------------------------------------------


def _numbers_alone(position: int, times: float = 1) -> Callable[[Arithmetic], Quantity]:
    def elements(of: Arithmetic) -> Quantity:
        found = of.product(of.counts(position))
        return found if times == 1 else found * of.number(times)

    return elements


_WINDOW = Result((0,), _numbers_alone(0), scalar=True)

RESULTS: dict[str, Result] = {
    # sizes (N, C, H, W), result (N, H, W, 2); or (N, C, D, H, W), (N, D, H, W, 3)
    "AffineGrid": Result((1,), _numbers_alone(1, 3)),
    "AveragePool": _pooled(),
    "BeamSearch": Result((1, 3), _searched, scalar=True),
    "BlackmanWindow": _WINDOW,
    "CenterCropPad": Result(
        (1,), lambda of: _changed(of, of.counts(1), of.attribute("axes")), resized=True
    ),
    "Col2Im": Result((1, 2), _col2im, resized=True),
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": Result((), _transposed, free=_weights_across),
    "ConvTransposeWithDynamicPads": Result((), _transposed, free=_weights_across),
    "CropAndResize": Result((3,), lambda of: _boxes(of) * of.product(of.counts(3)), free=_boxes),
    "ConstantOfShape": Result((0,), _numbers_alone(0)),
    "DFT": Result((1,), _dft, scalar=True, resized=True, axes={0: 1}),
    "Expand": Result(
        (1,), lambda of: of.product(of.broadcast(of.sizes(0), of.counts(1))), resized=True
    ),
    "FeatureVectorizer": Result(
        (),
        lambda of: _rows(of) * of.number(sum(of.attribute("inputdimensions", ()))),
        free=_rows,
    ),
    "FusedConv": _convolution(1),
    "GreedySearch": Result((1,), _generated, scalar=True),
    "GroupQueryAttention": Result((6,), _remembered, scalar=True),
    "GridSample": Result(
        (),
        lambda of: of.product(of.sizes(0, [1])) * _whole(of, 1) / of.number(2),
        axes={0: 2},
        free=lambda of: _whole(of, 1) * of.product(of.sizes(0, [1])),
    ),
    "HammingWindow": _WINDOW,
    "HannWindow": _WINDOW,
    "LRN": Result((), _normalized, free=lambda of: _whole(of, 0) * of.number(2)),
    "LinearClassifier": _rows_of("intercepts", "classlabels_ints", "classlabels_strings"),
    "LinearRegressor": _rows_of("targets"),
    "LpPool": _pooled(),
    "MaxPool": _pooled(),
    "MaxRoiPool": Result(
        (),
        lambda of: _boxes(of) * of.product(of.vector(of.attribute("pooled_shape"))),
        axes={0: 4},
        free=_boxes,
    ),
    "MaxpoolWithMask": _pooled(),
    "MaxUnpool": Result((2,), _unpooled),
    "MelWeightMatrix": Result(
        (0, 1), lambda of: of.product(of.counts(0)) * of.product(of.counts(1)), scalar=True
    ),
    "Multinomial": Result(
        (),
        lambda of: _rows(of) * of.number(of.attribute("sample_size", 1)),
        axes={0: 2},
        free=_rows,
    ),
    "NhwcConv": _convolution(1, last=True),
    "NhwcFusedConv": _convolution(1, last=True),
    "NhwcMaxPool": _pooled(last=True, held=POINTERS),
    "OneHot": Result(
        (1,),
        lambda of: _whole(of, 0) * of.product(of.counts(1)),
        scalar=True,
        free=lambda of: _whole(of, 0),
    ),
    "OneHotEncoder": Result(
        (),
        lambda of: (
            _whole(of, 0)
            * of.number(len(of.attribute("cats_int64s") or of.attribute("cats_strings") or (1,)))
        ),
        free=lambda of: _whole(of, 0),
    ),
    "Pad": Result((1,), _pad, resized=True),
    "QLinearAveragePool": _pooled(),
    "QLinearConv": _convolution(3),
    "Range": Result(
        (0, 1, 2),
        lambda of: of.steps(),
        scalar=True,
    ),
    "Resize": Result((2, 3), _resize, resized=True),
    "ReverseSequence": Result(
        (), lambda of: _whole(of, 0), axes={0: 2}, free=lambda of: _whole(of, 0)
    ),
    "RoiAlign": Result((1,), _aligned, scalar=True, many=True, axes={0: 4}),
    "SVMClassifier": _rows_of("rho", "classlabels_ints", "classlabels_strings"),
    "Sampling": Result((1,), _generated, scalar=True),
    "STFT": Result((1, 3), _stft, scalar=True, resized=True, axes={0: 2, 2: 1}),
    "Tile": Result((1,), lambda of: _whole(of, 0) * of.product(of.counts(1)), resized=True),
    "TreeEnsemble": _rows_of("n_targets"),
    "TreeEnsembleClassifier": _rows_of("classlabels_int64s", "classlabels_strings"),
    "TreeEnsembleRegressor": _rows_of("n_targets"),
    "UnfoldTensor": Result(
        (),
        lambda of: _whole(of, 0) * of.number(of.attribute("size", 1)),
        free=lambda of: _whole(of, 0),
    ),
    "Upsample": Result((1,), _upsample, resized=True),
    "WhisperBeamSearch": Result((1, 3), _searched, scalar=True),
}
"""The operators whose results are made from numbers."""
