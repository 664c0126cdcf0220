"""Copying from the source: the pointer-generator network (See, Liu & Manning 2017).

Letters: N pairs, S steps of the decoder, T steps of the source, V tokens of the target's
vocabulary, K words of a source that it lacks, which have the ids V .. V + K - 1.
"""

from typing import Any, NamedTuple

import numpy as np

from lstmcore import layers
from lstmcore._typing import Array
from lstmcore.layers.attention import Memory
from lstmcore.training.losses.base import sigmoid

__all__ = ["CopyContext", "Copies", "Copying", "with_weights"]

SMALLEST = 1e-30
"""Probabilities are not smaller than this, so that their logarithms are finite."""


class Copies(NamedTuple):
    """Which token each place of the sources is."""

    ids: Array
    """(N, T): ids of the target, extended by those of words that its vocabulary lacks."""
    lengths: Array
    """(N,), the places of each source that count."""
    extra: int
    """K, the same for all batches of a call."""
    places: list[tuple[Array, Array, Array]]
    """For each row the order that puts equal words side by side, where each begins, and its id."""

    @classmethod
    def of(cls, ids: Array, lengths: Array, extra: int) -> "Copies":
        """Find equal words, once for all steps of the decoder."""
        places = []
        for row, length in zip(ids, lengths, strict=True):
            order = np.argsort(row[:length], kind="stable")
            words, firsts = np.unique(row[:length][order], return_index=True)
            places.append((order, firsts, words))
        return cls(ids, lengths, extra, places)

    def rows(self, rows: Array) -> "Copies":
        """Choose rows."""
        places = [self.places[row] for row in rows]
        return Copies(self.ids[rows], self.lengths[rows], self.extra, places)


class CopyContext(NamedTuple):
    """What `Copying.backward` needs."""

    copies: Copies
    gate: Any
    p: Array
    """(N, S, 1), the probability of generating."""
    vocabulary: Array
    """(N, S, V), the distribution over the vocabulary."""
    total: Array
    """(N, S, V + K), the final distribution, not below `SMALLEST`."""
    logits: bool


class Copying:
    """Mixes the distribution over the vocabulary with the attention over the source.

    ``P(w) = p P_vocabulary(w) + (1 - p) sum of the attention of all places t where the source is
    w``, with ``p = sigmoid(w . [context, output, input] + b)``.
    """

    def __init__(self) -> None:
        self.gate = layers.Dense(1, "sigmoid", name="copy_gate")

    def forward(
        self, scores: Array, parts: list[Array], weights: Array, copies: Copies, logits: bool
    ) -> tuple[Array, CopyContext]:
        """Compute the final distribution, or with `logits` its logarithm.

        Parameters
        ----------
        scores : ndarray, shape (N, S, V)
            Logits over the vocabulary.
        parts : list of ndarray, each of shape (N, S, ...)
            Context, output and input of the decoder.
        weights : ndarray, shape (N, S, T)
            Of the attention.
        copies : Copies
        logits : bool

        Returns
        -------
        outputs : ndarray, shape (N, S, V + K)
        context : CopyContext
        """
        joined = np.concatenate(parts, axis=-1)
        raised, _, gate = self.gate.forward_logits(joined, None, True, 0)
        p = sigmoid(raised)
        p[copies.lengths == 0] = 1  # where nothing can be copied
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        vocabulary = powers / powers.sum(axis=-1, keepdims=True)
        total = np.zeros((*scores.shape[:2], scores.shape[2] + copies.extra), scores.dtype)
        total[..., : scores.shape[2]] = p * vocabulary
        for row, (order, firsts, words) in enumerate(copies.places):
            shares = np.add.reduceat(weights[row][:, order], firsts, axis=1)
            total[row][:, words] += (1 - p[row]) * shares
        outputs = total = np.maximum(total, scores.dtype.type(SMALLEST))
        if logits:
            outputs = np.log(total)
        return outputs, CopyContext(copies, gate, p, vocabulary, total, logits)

    def backward(
        self, context: CopyContext, dy: Array, weights: Array, need_parts: bool
    ) -> tuple[Array, Array | None, Array]:
        """Write the gradients of the gate and return those of what it mixes.

        Parameters
        ----------
        context : CopyContext
        dy : ndarray, shape (N, S, V + K)
            With respect to the outputs.
        weights : ndarray, shape (N, S, T)
        need_parts : bool

        Returns
        -------
        dscores : ndarray, shape (N, S, V)
        dparts : ndarray or None
            With respect to the joined parts.
        dweights : ndarray, shape (N, S, T)
        """
        p, total, size = context.p, context.total, context.vocabulary.shape[2]
        # Of the logarithms; a probability at its floor does not depend on anything.
        dlogs = np.where(total > SMALLEST, dy if context.logits else dy * total, 0)
        # The generator's share of each probability, at most 1; the rest is the copier's.
        share = np.zeros_like(total)
        share[..., :size] = np.minimum(p * context.vocabulary / total[..., :size], 1)
        drawn = (dlogs * share).sum(axis=-1, keepdims=True)
        dscores = dlogs[..., :size] * share[..., :size] - context.vocabulary * drawn
        # dP / dp, times p (1 - p): (1 - p) of the generator's share less p of the copier's.
        draised = (dlogs * (share - p)).sum(axis=-1, keepdims=True)
        dparts = self.gate.backward(context.gate, np.ascontiguousarray(draised), need_parts)
        dweights = np.zeros_like(weights)
        slopes = (1 - p) * dlogs / total
        for row, length in enumerate(context.copies.lengths):
            dweights[row, :, :length] = slopes[row][:, context.copies.ids[row, :length]]
        return dscores, dparts, dweights


def with_weights(memory: Memory, dseen: Array, dweights: Array) -> tuple[Memory, Array]:
    """Add the gradient of the weights to that of the context, for `Attention.look_backward`.

    The engine knows the weights only by the contexts that they make. With T more channels of the
    values, of which the t-th is 1 at step t and 0 elsewhere, the context holds the weights too.
    """
    samples, steps, _ = memory.values.shape
    one = np.broadcast_to(np.eye(steps, dtype=dseen.dtype), (samples, steps, steps))
    wide = memory._replace(values=np.concatenate([memory.values, one], axis=2))
    return wide, np.concatenate([dseen, dweights], axis=2)
