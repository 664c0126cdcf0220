"""The windows of convolutions and pooling over an array."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.padding import padded

FEW = 64
"""Largest window for which one pass over the whole input per element of the window is fastest."""

BLOCK = 1 << 16
"""Elements of a block of the input that stays in a cache during these passes."""


class Windows:
    """The window attributes of Conv and pooling, for any number of axes."""

    def __init__(self, node: Node, size: Sequence[int]) -> None:
        rank = len(size)
        self.size = tuple(size)
        self.strides = tuple(node.get("strides") or [1] * rank)
        self.dilations = tuple(node.get("dilations") or [1] * rank)
        self.mode = node.get("auto_pad", "NOTSET")
        self.ceiling = bool(node.get("ceil_mode", 0))
        pads = node.get("pads") or [0] * (2 * rank)
        if self.mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            node.fail(f"auto_pad: expected one of the standard's values, got {self.mode!r}")
        if not len(self.strides) == len(self.dilations) == rank or len(pads) != 2 * rank:
            node.fail(f"expected strides, dilations and pads for {rank} axes")
        for name, numbers in (
            ("kernel_shape", self.size),
            ("strides", self.strides),
            ("dilations", self.dilations),
        ):
            if min(numbers, default=1) < 1:
                node.fail(f"{name}: expected numbers of at least 1, got {list(numbers)}")
        if self.mode == "VALID":
            pads = [0] * (2 * rank)
        self.pads = tuple(zip(pads[:rank], pads[rank:], strict=True))
        self.few = math.prod(self.size) <= FEW
        self.span = tuple((s - 1) * d + 1 for s, d in zip(self.size, self.dilations, strict=True))

    def padding(self, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Return the padding before and after each axis of an input."""
        if not self.mode.startswith("SAME"):
            return self.pads
        pairs = []
        for steps, span, stride in zip(shape, self.span, self.strides, strict=True):
            total = max((-(-steps // stride) - 1) * stride + span - steps, 0)
            less = total // 2
            pairs.append(
                (less, total - less) if self.mode == "SAME_UPPER" else (total - less, less)
            )
        return tuple(pairs)

    def over(self, x: Array, pairs: Sequence[tuple[int, int]], fill: Any) -> Array:
        """Return all windows of x (N, C, ...) as a view (N, C, positions ..., window ...)."""
        x = self._with_pads(x, pairs, fill)
        axes = tuple(range(2, x.ndim))
        slide: Any = np.lib.stride_tricks.sliding_window_view
        view: Array = slide(x, self.span, axes)
        places = tuple(slice(None, None, stride) for stride in self.strides)
        inside = tuple(slice(None, None, dilation) for dilation in self.dilations)
        result: Array = view[(slice(None), slice(None), *places, *inside)]
        return result

    def reduce(
        self,
        x: Array,
        pairs: Sequence[tuple[int, int]],
        fill: Any,
        passes: Callable[[Iterator[Array], Array], None],
    ) -> Array:
        """Reduce each window of x (N, C, ...) to one number, in passes over blocks of rows.

        Parameters
        ----------
        x : ndarray
        pairs : sequence of tuple of int
            Padding before and after each axis.
        fill : object
            The value of the padding.
        passes : callable
            Called with views of the windows' elements, one view for each element of the kernel in
            order, and with the array (n, C, positions ...) to fill.

        Returns
        -------
        ndarray, shape (N, C, positions ...)
        """
        x = self._with_pads(x, pairs, fill)
        places = [
            (size - span) // stride + 1
            for size, span, stride in zip(x.shape[2:], self.span, self.strides, strict=True)
        ]
        result = np.empty((*x.shape[:2], *places), x.dtype)
        rows = max(BLOCK // max(math.prod(x.shape[1:]), 1), 1)
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            passes(self.shifted(x[block], places), result[block])
        return result

    def shifted(self, x: Array, places: Sequence[int]) -> Iterator[Array]:
        """Yield a view for each element of the kernel, in order."""
        for inside in product(*map(range, self.size)):
            cut = [slice(None), slice(None)]
            for number, dilation, stride, count in zip(
                inside, self.dilations, self.strides, places, strict=True
            ):
                first = number * dilation
                cut.append(slice(first, first + (count - 1) * stride + 1, stride))
            yield x[tuple(cut)]

    def _with_pads(self, x: Array, pairs: Sequence[tuple[int, int]], fill: Any) -> Array:
        if any(before or after for before, after in pairs):
            x = padded(x, [(0, 0), (0, 0), *pairs], "constant", fill)
        if any(size < span for size, span in zip(x.shape[2:], self.span, strict=True)):
            raise ValueError(
                f"X: expected windows of {self.span} to fit, got {x.shape[2:]} with pads"
            )
        return x
