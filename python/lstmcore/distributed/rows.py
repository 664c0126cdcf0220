"""Gradients of embeddings as the rows that a batch has touched; all others are zero."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmcore._typing import Array
from lstmcore.layers.parameters import Parameters

__all__ = ["LARGE", "Rows", "Touched", "join", "tables_that_pay"]

LARGE = 2**20
"""Bytes from which on a gradient may be treated as rows; below, a plain sum is as fast."""

Touched = dict[str, int]
"""How many rows the shards of a process have touched, by weight; -1: it is not known."""


class Rows(NamedTuple):
    """Some rows of a table (V, E).

    Attributes
    ----------
    ids : ndarray of int64, shape (U,)
        Rising.
    values : ndarray, shape (U, E)
        Without negative zeros, so that a sum is the same whether zeros are added or left out.
    """

    ids: Array
    values: Array


def join(one: Rows, other: Rows) -> Rows:
    """Add two tables."""
    ids = np.union1d(one.ids, other.ids)
    values = np.zeros((len(ids), one.values.shape[1]), one.values.dtype)
    values[np.searchsorted(ids, one.ids)] = one.values
    values[np.searchsorted(ids, other.ids)] += other.values
    return Rows(ids, values)


def tables_that_pay(parameters: Parameters, touched: Sequence[Touched]) -> tuple[str, ...]:
    """Choose the gradients that are exchanged as rows.

    Parameters
    ----------
    parameters : Parameters
    touched : sequence of Touched
        Of every process, in the step before.

    Returns
    -------
    tuple of str
        Those of which all shards together have touched fewer than half as many rows as there are.
        The choice does not depend on the number of processes.
    """
    chosen = []
    # One that has just been frozen has no gradient to send.
    for name in sorted({name for own in touched for name in own} - parameters.frozen):
        counts = [own[name] for own in touched if name in own]
        if min(counts) >= 0 and 2 * sum(counts) < len(parameters.gradient(name)):
            chosen.append(name)
    return tuple(chosen)
