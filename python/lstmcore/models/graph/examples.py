"""The samples of a graph: rows of every input, with targets for every output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstmcore._intake import Intake
from lstmcore._typing import Array, Shape
from lstmcore.models.graph.inputs import Given, Steps
from lstmcore.models.graph.network import Feed
from lstmcore.training.data import Batch, Examples, Ragged, Rows, gather
from lstmcore.training.joint import Joint, by_output
from lstmcore.training.prepare import add_targets
from lstmcore.training.samples import Samples

__all__ = ["GraphExamples", "examples_of", "with_targets"]


@dataclass(frozen=True)
class GraphExamples(Examples):
    """All samples of a call.

    `inputs` and `lengths` are those of the longest rows of lists, by which batches are sorted; if
    no input is a list, those of the first input.

    Attributes
    ----------
    given : tuple of Given
        Of each input.
    heads : tuple of Examples
        Of each output: what its targets are compared with, and the targets.
    """

    given: tuple[Given, ...] = ()
    heads: tuple[Examples, ...] = ()

    def outputs_in_rows(self, output_shape: Any) -> Any:
        """Return whether each output is a list of rows; see `Examples`."""
        in_rows = [isinstance(head.inputs, Ragged) for head in self.heads]
        return in_rows if len(in_rows) > 1 else in_rows[0]

    def part(self, rows: slice) -> "GraphExamples":
        """Choose consecutive samples."""
        return replace(
            self,
            inputs=_rows(self.inputs, rows),
            lengths=None if self.lengths is None else self.lengths[rows],
            weights=_rows(self.weights, rows),
            given=tuple(_part(entry, rows) for entry in self.given),
            heads=tuple(head.part(rows) for head in self.heads),
        )

    def without_class_weight(self) -> "GraphExamples":
        """Return the same samples without class weights."""
        return replace(self, heads=tuple(head.without_class_weight() for head in self.heads))

    def batch(self, rows: Array | slice) -> Batch:
        """Gather the samples `rows`."""
        feed = Feed(
            tuple(gather(entry.rows, rows) for entry in self.given),
            tuple(None if entry.lengths is None else entry.lengths[rows] for entry in self.given),
        )
        if len(self.heads) == 1:
            return _targets(self.heads[0], rows, feed)
        heads = tuple(_targets(head, rows, None) for head in self.heads)
        return Batch(feed, None, None, None, heads=heads)

    def windows(self, rows: Array | slice, size: int | None) -> Iterator[Batch]:
        """Gather the samples `rows` in one window, the only kind that a graph has."""
        assert size is None
        yield self.batch(rows)


def _targets(head: Examples, rows: Array | slice, feed: Feed | None) -> Batch:
    """Gather the targets of the samples `rows` of one output, beside its inputs if it is alone."""
    width = None
    if isinstance(head.inputs, Ragged):
        width = max(1, int(head.inputs.lengths[rows].max(initial=0)))
    return head.labelled(rows, feed, None, width)


def _part(given: Given, rows: slice) -> Given:
    return Given(
        _rows(given.rows, rows),
        None if given.lengths is None else given.lengths[rows],
        None if given.there is None else given.there[rows],
    )


def _rows(values: Any, rows: slice) -> Any:
    if values is None:
        return None
    return values.take(rows) if isinstance(values, Ragged) else values[rows]


def examples_of(given: Sequence[Given], outputs: Sequence[Steps | None]) -> GraphExamples:
    """Make the samples of checked inputs.

    Parameters
    ----------
    given : sequence of Given
        Of each input.
    outputs : sequence of Steps or None
        Of each output.
    """
    count = len(given[0].rows)
    ragged = [entry.rows for entry in given if isinstance(entry.rows, Ragged)]
    inputs: Rows = given[0].rows
    lengths = given[0].lengths
    if ragged:
        lengths = np.max([rows.lengths for rows in ragged], axis=0)
        inputs = _steps_only(lengths)
    heads = tuple(_head(steps, count) for steps in outputs)
    return GraphExamples(inputs, lengths, given=tuple(given), heads=heads)


def _head(steps: Steps | None, count: int) -> Examples:
    """Return samples that have the steps of an output, with which targets are compared."""
    if steps is None:
        return Examples(_nothing((count, 1)), None)
    if steps.width is None:
        return Examples(_steps_only(steps.lengths), steps.lengths, there=steps.there)
    full = bool((steps.lengths == steps.width).all())
    values = _nothing((count, steps.width, 1))
    return Examples(values, None if full else steps.lengths, there=steps.there)


def _steps_only(lengths: Array) -> Ragged:
    """Return rows of these lengths without memory for values."""
    return Ragged(_nothing((int(lengths.sum()), 1)), lengths)


def _nothing(shape: tuple[int, ...]) -> Array:
    """Return zeros of this shape that take no memory."""
    return np.broadcast_to(np.zeros((), np.float32), shape)


def with_targets(
    examples: GraphExamples,
    compiled: Any,
    shapes: Mapping[str, Shape],
    dtype: "np.dtype[Any]",
    samples: Samples,
    intake: Intake,
) -> GraphExamples:
    """Add checked targets and weights.

    Parameters
    ----------
    examples : GraphExamples
    compiled : Compiled or Joint
    shapes : mapping of str to shape
        Of each output, by its name.
    dtype : dtype
        The model's.
    samples : Samples
    intake : Intake

    Raises
    ------
    TypeError, ValueError
        If something does not fit; with several outputs the error names the output.
    """
    if not isinstance(compiled, Joint):
        ((name, shape),) = shapes.items()
        y = samples.y
        if isinstance(y, Mapping):
            y = by_output(y, [name], "y", (), required=True)[name]
        head = _with_targets(
            examples, 0, compiled, shape, dtype, y, samples.sample_weight, samples, intake
        )
        return replace(examples, heads=(head,), weights=head.weights)
    if samples.class_weight is not None:
        raise ValueError(
            "class_weight: expected None for a model with several outputs; use sample_weight with "
            "an entry for each output"
        )
    if samples.y is None:
        raise ValueError("y: expected targets, got None")
    names = list(shapes)
    targets = by_output(samples.y, names, "y", (), required=True)
    weights = by_output(samples.sample_weight, names, "sample_weight", (np.ndarray,))
    heads = []
    for place, (name, part) in enumerate(compiled.parts.items()):
        try:
            heads.append(
                _with_targets(
                    examples,
                    place,
                    part,
                    shapes[name],
                    dtype,
                    targets[name],
                    weights[name],
                    samples,
                    intake,
                )
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"output {name!r}: {error}") from error
    return replace(examples, heads=tuple(heads))


def _with_targets(
    examples: GraphExamples,
    place: int,
    compiled: Any,
    shape: Shape,
    dtype: "np.dtype[Any]",
    y: Any,
    sample_weight: Any,
    samples: Samples,
    intake: Intake,
) -> Examples:
    return add_targets(
        examples.heads[place],
        compiled.loss,
        shape,
        dtype,
        y,
        sample_weight,
        samples.class_weight,
        intake,
        compiled.metrics,
    )
