"""From what a caller of `Model` passes as x to checked inputs, and to the steps of the outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array
from lstmcore.layers import Flatten, Layer, Masking, Permute, Reshape
from lstmcore.layers.shapes import check_shape, row_ends
from lstmcore.models.graph.structure import Entry, Structure
from lstmcore.training.data import Ragged, Rows, read_inputs, typed
from lstmcore.training.masks import check_mask, compact

__all__ = ["Given", "Steps", "by_input", "read_all", "steps_of"]


@dataclass(frozen=True)
class Given:
    """Checked data of one input.

    Attributes
    ----------
    rows : ndarray or Ragged
    lengths : ndarray of int64, shape (N,), or None
        Valid steps of each row; None: all.
    there : ndarray of bool, shape (N, T), or None
        The mask, if one was passed: which steps of the caller's array `rows` has.
    """

    rows: Rows
    lengths: Array | None
    there: Array | None = None


@dataclass(frozen=True)
class Steps:
    """The steps of a value of the graph.

    Attributes
    ----------
    lengths : ndarray of int64, shape (N,)
        Of each row.
    width : int or None
        Steps of all rows, valid or not, if they are in an array; None: rows of a list.
    there : ndarray of bool, shape (N, T), or None
        The caller's mask, if these are the steps that it left.
    """

    lengths: Array
    width: int | None
    there: Array | None


def by_input(x: Any, names: Sequence[str], argument: str = "x") -> list[Any]:
    """Return what an argument holds for each input of a graph.

    Parameters
    ----------
    x : mapping of str, sequence, or a single entry
        By the inputs' names; in their order; or the data of the only input.
    names : sequence of str
    argument : str
        The argument's name in errors.
    """
    if isinstance(x, Mapping):
        unknown = [str(name) for name in x if name not in names]
        if unknown:
            hint = did_you_mean(unknown[0], names)
            raise ValueError(
                f"{argument}: expected the inputs {', '.join(names)}, got {unknown[0]!r}{hint}"
            )
        missing = [name for name in names if name not in x]
        if missing:
            raise ValueError(
                f"{argument}: expected the inputs {', '.join(names)}, got none for "
                f"{', '.join(missing)}"
            )
        return [x[name] for name in names]
    if len(names) == 1:
        return [x]
    if not isinstance(x, (list, tuple)) or len(x) != len(names):
        count = f"{len(x)} entries" if isinstance(x, (list, tuple)) else _checks.describe(x)
        raise ValueError(
            f"{argument}: expected a dict by name or a list with one entry for each of the "
            f"{len(names)} inputs {', '.join(names)}, got {count}"
        )
    return list(x)


def read_all(
    structure: Structure, x: Any, mask: Any, dtype: "np.dtype[Any]", intake: Intake
) -> list[Given]:
    """Check the data of all inputs.

    Raises
    ------
    TypeError, ValueError
        If something does not fit; the error names the input.
    """
    names = [entry.name for entry in structure.inputs]
    masks = _masks(structure, mask)
    found: list[Given] = []
    for place, (entry, values) in enumerate(zip(structure.inputs, by_input(x, names), strict=True)):
        where = "x" if len(names) == 1 else f"x[{entry.name!r}]"
        own = where
        if isinstance(x, Mapping):
            own = f"x[{entry.name!r}]"
        elif len(names) > 1:
            own = f"x[{place}]"
        found.append(
            _read(structure, place, entry, values, masks[place], dtype, where, own, intake)
        )
    for entry, given in zip(structure.inputs, found, strict=True):
        if len(given.rows) != len(found[0].rows):
            raise ValueError(
                f"x[{entry.name!r}]: expected {len(found[0].rows)} samples like x[{names[0]!r}], "
                f"got {len(given.rows)}"
            )
    return found


def _masks(structure: Structure, mask: Any) -> list[Any]:
    """Return the mask of each input, or None."""
    names = [entry.name for entry in structure.inputs]
    if mask is None:
        return [None] * len(names)
    if isinstance(mask, Mapping):
        return by_input({**dict.fromkeys(names), **mask}, names, "mask")
    if isinstance(mask, (list, tuple)) and len(names) > 1 and len(mask) == len(names):
        return list(mask)
    timed = [has_steps(structure, place) for place in range(len(names))]
    if sum(timed) != 1:
        raise ValueError(
            f"mask: expected a dict by name of the inputs with steps, which are "
            f"{', '.join(name for name, own in zip(names, timed, strict=True) if own) or 'none'}"
        )
    return [mask if own else None for own in timed]


def has_steps(structure: Structure, place: int) -> bool:
    """Return whether an input has an axis of time."""
    shape = structure.shapes[place]
    return len(shape) > 2 or (len(shape) == 2 and structure.is_ids(place))


def _read(
    structure: Structure,
    place: int,
    entry: Entry,
    x: Any,
    mask: Any,
    dtype: "np.dtype[Any]",
    where: str,
    own: str,
    intake: Intake,
) -> Given:
    """Check the data of one input: `where` for errors, `own` as the caller wrote it."""
    kind = "ids" if structure.is_ids(place) else "floats"
    timed = has_steps(structure, place)
    takers = [structure.layers[use.layer] for use in structure.consumers(place)]
    inputs = read_inputs(x, kind, where, intake)
    if isinstance(inputs, Ragged) and not timed:
        inputs = intake.numbers(x, where)
    if mask is not None and not timed:
        raise ValueError(f"mask: expected None for {entry.name!r}, which has no steps")
    valid = None if mask is None else check_mask(mask, inputs, kind)
    inputs = typed(inputs, kind, dtype, where, intake, valid)
    try:
        _check(inputs, entry, takers, own)
        if not isinstance(inputs, Ragged):
            valid = _with_maskings(inputs, takers, valid)
        if valid is not None and len(valid):
            assert not isinstance(inputs, Ragged)
            rows = compact(inputs, valid, where)
            return Given(rows, rows.lengths, valid)
        return _with_lengths(inputs, takers)
    except ValueError as error:
        message = str(error).removeprefix("inputs: ")
        named = message.startswith((where, "mask"))
        raise ValueError(message if named else f"{where}: {message}") from error


def _check(inputs: Rows, entry: Entry, takers: Sequence[Layer], own: str) -> None:
    shape, fixed = inputs.shape, entry.shape[1:2]
    if isinstance(inputs, Ragged) and fixed != (None,) and shape[1] <= (fixed[0] or 0):
        shape = (shape[0], fixed[0] or 0, *shape[2:])
    check_shape(shape, entry.shape, own)
    values = inputs.values if isinstance(inputs, Ragged) else inputs
    for layer in takers:
        layer.check_values(values)


def _with_maskings(inputs: Array, takers: Sequence[Layer], valid: Array | None) -> Array | None:
    """Return the mask without the steps that a `Masking` leaves out.

    None if no mask was passed, and lengths can say the same.
    """
    for layer in takers:
        if isinstance(layer, Masking):
            own = layer.valid_steps(inputs)
            if valid is not None:
                valid = np.asarray(valid & own)
            elif row_ends(own)[1] is not None:
                valid = own
        elif valid is not None and getattr(layer, "mask_zero", False):
            wrong = np.argwhere(valid & (inputs == 0))
            if len(wrong):
                raise ValueError(
                    "mask: with mask_zero=True, id 0 is padding, but the mask says that the one at "
                    f"{tuple(map(int, wrong[0]))} is valid; expected mask & (x != 0)"
                )
    return valid


def _with_lengths(inputs: Rows, takers: Sequence[Layer]) -> Given:
    """Let the layers that mask say where rows end."""
    ragged = isinstance(inputs, Ragged)
    lengths = inputs.lengths if isinstance(inputs, Ragged) else None
    for layer in takers:
        if layer._finds_lengths:
            padded = inputs.padded() if isinstance(inputs, Ragged) else inputs
            found = layer.lengths_of(padded, lengths)
            if found is not None:
                lengths = found if lengths is None else np.minimum(lengths, found)
    if ragged:
        assert isinstance(inputs, Ragged)
        assert lengths is not None
        inputs = Ragged(inputs.values, lengths, inputs.starts)
    return Given(inputs, lengths)


# ---- the steps of all values ---------------------------------------------------------------------


def steps_of(structure: Structure, given: Sequence[Given]) -> list[Steps | None]:
    """Find the steps of every value of the graph; None: it has no axis of time.

    Raises
    ------
    ValueError
        If branches that meet differ in the steps of a row.
    """
    count = len(given[0].rows)
    found: list[Steps | None] = []
    for place, entry in enumerate(given):
        found.append(_own_steps(entry, count) if has_steps(structure, place) else None)
    for use in structure.uses:
        layer = structure.layers[use.layer]
        taken = [found[value] for value in use.inputs]
        timed = [steps for steps in taken if steps is not None]
        _check_meeting(layer, timed)
        after = _steps_after(layer, taken, timed, count)
        for value in use.outputs:
            found.append(after if len(structure.shapes[value]) > 2 else None)
    return found


def _own_steps(given: Given, count: int) -> Steps:
    rows = given.rows
    width = None if isinstance(rows, Ragged) else rows.shape[1]
    lengths = given.lengths
    if lengths is None:
        lengths = np.full(count, rows.shape[1], np.int64)
    return Steps(lengths, width, given.there)


def _steps_after(
    layer: Layer, taken: Sequence[Steps | None], timed: Sequence[Steps], count: int
) -> Steps:
    lengths = layer._lengths_node(
        [None if steps is None else steps.lengths for steps in taken], np.zeros(count, np.int64)
    )
    ends = isinstance(layer, (Flatten, Permute, Reshape)) and layer._known_from == 1
    width: int | None = None
    if ends or not timed or timed[0].width is not None:
        fixed = (layer.input_shape or ())[1:2]  # that rows of a list are padded to
        widths = [
            None
            if steps is None
            else np.array([fixed[0] if steps.width is None else steps.width], np.int64)
            for steps in taken
        ]
        width = int(layer._lengths_node(widths, np.zeros(1, np.int64))[0])
    same = bool(timed) and np.array_equal(lengths, timed[0].lengths)
    return Steps(lengths, width, timed[0].there if same else None)


def _check_meeting(layer: Layer, timed: Sequence[Steps]) -> None:
    """Raise ValueError unless the inputs of a layer have the same steps."""
    if len(timed) < 2 or not layer._joins_steps:
        return
    first = timed[0]
    for other in timed[1:]:
        if (first.width is None) != (other.width is None):
            raise ValueError(
                f"layer {layer.name!r}: expected inputs with the same steps, got rows of a list "
                "beside an array; pass lists of rows for both, or arrays and masks"
            )
        if first.width != other.width:
            raise ValueError(
                f"layer {layer.name!r}: expected inputs of as many steps, got {first.width} and "
                f"{other.width}"
            )
        wrong = np.flatnonzero(first.lengths != other.lengths)
        if first.width is None and wrong.size:
            row = int(wrong[0])
            raise ValueError(
                f"layer {layer.name!r}: expected inputs with the same steps, got "
                f"{first.lengths[row]} and {other.lengths[row]} in row {row}"
            )
