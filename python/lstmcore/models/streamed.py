"""Samples that are read window by window, for those that do not fit into memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import refuse_sparse
from lstmcore._intake import Intake
from lstmcore._typing import Array
from lstmcore.models.layer_stack import LayerStack
from lstmcore.training.data import Batch, Examples, prepare_inputs
from lstmcore.training.losses import Loss
from lstmcore.training.prepare import add_reset, add_targets
from lstmcore.training.samples import Samples

__all__ = ["Streamed"]

BLOCK = 2**20  # elements that a check reads at a time


@dataclass(frozen=True)
class Streamed(Examples):
    """Samples of which only a window of a batch is in memory.

    The fields of `Examples` are sources: anything with a shape (N, T, ...) that returns an array
    when sliced by [rows, steps], where rows are a slice or rising numbers; weights may also be
    (N,). Their values are checked once, in blocks, unless every value is valid.
    """

    model: Any = None
    loss: Any = None
    class_weight: Mapping[int, float] | None = None
    intake: Intake = field(default_factory=Intake)

    @classmethod
    def make(
        cls,
        model: LayerStack,
        loss: Loss,
        given: Samples,
        intake: Intake,
    ) -> "Streamed":
        """Check shapes and whatever can be checked in blocks.

        Whether x and y are finite is checked later, window by window.

        Raises
        ------
        TypeError, ValueError
            If something does not fit.
        """
        x, first = given.x, model._network[0]
        if model.vectorizer is not None:
            raise TypeError(f"x: expected texts, got {_checks.describe(x)}")
        rank = 2 if first.input_kind == "ids" else 3
        shape = _shape(x, "x")
        if len(shape) != rank or not all(shape):
            expected = "(N, T)" if rank == 2 else "(N, T, C)"
            raise ValueError(f"x: expected shape {expected}, none of them 0, got {shape}")
        if first._finds_lengths:
            kind = "mask_zero=True" if rank == 2 else type(first).__name__
            without = "mask_zero=False" if rank == 2 else "a model without it"
            raise ValueError(
                f"layer {first.name!r}: {kind} finds lengths from all of x, which is only possible "
                f"in memory; expected an array, or {without} and weights"
            )
        if not model.built:
            model.build((None,) * rank if rank == 2 else (None, None, shape[2]))
        first._check_shape(shape)
        for name, source, ranks in (
            ("y", given.y, (2, 3)),
            ("sample_weight", given.sample_weight, (1, 2)),
            ("reset", given.reset, (2,)),
        ):
            if source is None and name != "y":
                continue
            came = _shape(source, name)
            if len(came) not in ranks or came[:2] != shape[: len(came)][:2]:
                raise ValueError(
                    f"{name}: expected {shape[0]} rows of {shape[1]} steps like x, got {came}"
                )
        samples = cls(
            x,
            None,
            given.y,
            given.sample_weight,
            given.reset,
            model=model,
            loss=loss,
            class_weight=given.class_weight,
            intake=intake,
        )
        samples.check()
        return samples

    def check(self) -> None:
        """Check ids, targets, weights and resets, a block at a time."""
        count, steps, *rest = self.inputs.shape
        self.read(slice(0, 1), 0, 1)
        if rest and self.weights is None and not self.loss.labels:
            return
        blank = np.zeros((), self.model.dtype) if rest else None  # floats are not checked here
        width = max(1, min(steps, BLOCK))
        height = max(1, BLOCK // width)
        for row in range(0, count, height):
            rows = slice(row, min(row + height, count))
            for begin in range(0, steps, width):
                self.read(rows, begin, min(begin + width, steps), blank)

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def part(self, rows: slice) -> "Streamed":
        """Choose consecutive samples; nothing is read."""

        def choose(source: Any) -> Any:
            return None if source is None else _Rows(source, rows.start, rows.stop)

        return replace(
            self,
            inputs=choose(self.inputs),
            targets=choose(self.targets),
            weights=choose(self.weights),
            reset=choose(self.reset),
        )

    def without_class_weight(self) -> "Streamed":
        """Return the same samples without class weights."""
        return replace(self, class_weight=None)

    def batch(self, rows: Array | slice) -> Batch:
        """Read the samples `rows`, all steps."""
        return self.read(rows, 0, self.inputs.shape[1])

    def windows(self, rows: Array | slice, size: int | None) -> Iterator[Batch]:
        """Read the samples `rows` in windows of `size` time steps; None: all at once."""
        steps = self.inputs.shape[1]
        size = steps if size is None else size
        for begin in range(0, steps, size):
            yield self.read(rows, begin, min(begin + size, steps))

    def read(self, rows: Array | slice, begin: int, end: int, blank: Array | None = None) -> Batch:
        """Read a window, with `blank` everywhere instead of x if it is given, and check it."""
        model = self.model
        intake = self.intake.of_window(
            range(*rows.indices(len(self))) if isinstance(rows, slice) else rows, begin
        )
        first = model._network[0]
        if blank is None:
            window = _read(self.inputs, rows, begin, end)
            x = prepare_inputs(window, first.input_kind, model.dtype, "x", intake)
            assert isinstance(x, np.ndarray)
            first.check_values(x)
        else:
            count = len(range(*rows.indices(len(self)))) if isinstance(rows, slice) else len(rows)
            x = np.broadcast_to(blank, (count, end - begin, *self.inputs.shape[2:]))
        weights, reset = (
            None if source is None else _read(source, rows, begin, end)
            for source in (self.weights, self.reset)
        )
        y = _read(self.targets, rows, begin, end)
        shape = model.output_shape
        inputs = add_reset(Examples(x, None), reset)
        return add_targets(
            inputs,
            self.loss,
            shape,
            model.dtype,
            y,
            weights,
            self.class_weight,
            intake,
            model.compiled.metrics,
        ).batch(slice(None))


class _Rows:
    """Consecutive rows of a source."""

    def __init__(self, source: Any, start: int, stop: int) -> None:
        self.source, self.start = source, start
        self.shape = (stop - start, *source.shape[1:])
        self.dtype = source.dtype

    def __getitem__(self, key: Any) -> Any:
        rows, *steps = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice):
            rows = slice(rows.start + self.start, rows.stop + self.start)
        else:
            rows = rows + self.start
        return self.source[(rows, *steps)]


def _shape(source: Any, name: str) -> tuple[int, ...]:
    if source is None:
        raise ValueError(f"{name}: expected targets, got None")
    refuse_sparse(source, name)
    if isinstance(source, (list, tuple)) or not hasattr(source, "shape"):
        raise TypeError(
            f"{name}: expected something that is sliced by [rows, steps] like x, got "
            f"{_checks.describe(source)}"
        )
    return tuple(map(int, source.shape))


def _read(source: Any, rows: Array | slice, begin: int, end: int) -> Array:
    """Make an array of a window of `source`; of its rows, if it has no time axis."""
    order = back = None
    if not isinstance(rows, slice):  # files need increasing indices
        order = np.argsort(rows)
        back = np.argsort(order)
        rows = rows[order]
    key = rows if len(source.shape) == 1 else (rows, slice(begin, end))
    window = np.asarray(source[key])
    return np.ascontiguousarray(window if back is None else window[back])
