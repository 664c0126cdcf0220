"""The labels that a model decides for whole sequences, which metrics of sequences compare."""

from typing import TypeAlias

import numpy as np

from lstmcore._typing import Array
from lstmcore.training.data import Batch
from lstmcore.training.losses import Loss, SequenceLoss

__all__ = ["Decisions", "decisions_of"]

Decisions: TypeAlias = tuple[list[Array], list[Array]]
"""Labels of the targets and labels that were decided, a row (S_i,) of int64 for each sequence."""


def decisions_of(loss: Loss, outputs: Array, lengths: Array | None, batch: Batch) -> Decisions:
    """Return the labels of each sequence of a batch whose target is known.

    Parameters
    ----------
    loss : Loss
    outputs : ndarray, shape (N, T, U)
        Of the model, or what the loss makes of them if it decides about steps together.
    lengths : ndarray of int64, shape (N,), or None
        Valid steps; None: all.
    batch : Batch
    """
    targets, known = batch.targets, batch.known
    assert targets is not None
    if lengths is None:
        lengths = np.full(len(outputs), outputs.shape[1], np.int64)
    rows = np.arange(len(outputs))
    if isinstance(loss, SequenceLoss):
        assert batch.target_lengths is not None
        if known is not None:
            rows = rows[known]
        ends, found = batch.target_lengths, loss.labels_of(outputs, lengths)
        return [targets[row, : ends[row]] for row in rows], [found[row] for row in rows]
    steps = np.arange(outputs.shape[1]) < lengths[:, None]
    if known is not None:
        steps = steps & (known if known.ndim == 2 else known[:, None])
        rows = rows[steps.any(axis=1)]
    best = outputs.argmax(axis=2)
    return [targets[row][steps[row]] for row in rows], [best[row][steps[row]] for row in rows]
