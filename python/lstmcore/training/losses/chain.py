"""The loss of a conditional random field."""

from collections.abc import Sequence

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.layers import linear_chain
from lstmcore.layers.linear_chain import Chain
from lstmcore.training.losses.base import Loss, weighted_sum

__all__ = ["CRF"]


class CRF(Loss):
    """Minus the logarithm of the probability that `lstmcore.layers.CRF` gives the sequence of tags.

    With the scores of `layers.CRF`, the loss of a sequence is ``log Z - score(y)``, and its
    gradient the expected number of each tag and transition minus that in y (Lafferty, McCallum &
    Pereira 2001; by the forward and the backward algorithm). The reported value is the mean over
    sequences, not over steps.

    Parameters
    ----------
    tags : sequence of str, optional
        The name of each tag, for the metric "span_f1"; the loss does not depend on them.

    Notes
    -----
    Targets are tags (N, T), or a list of rows (T_i,), aligned with the inputs like those of other
    losses of steps. `sample_weight` has one number for each sequence. Metrics compare the tags that
    Viterbi's algorithm finds.

    A target with a transition that the layer forbids has the probability 0: a ValueError, which
    names the transition, when its batch is computed.
    """

    labels = True
    activation = "crf"
    sees_sequences = True
    check_gradient = False

    _left_out_if_none = ("tags",)

    def __init__(self, tags: Sequence[str] | None = None) -> None:
        self.tags = None if tags is None else _checks.strings(tags, "tags")

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """Refuse: rows are not enough; see `sum_tagged`."""
        raise TypeError(
            "loss: CRF applies to whole sequences in a model that ends with layers.CRF; for arrays "
            "use CRF.sum_tagged"
        )

    def sum_tagged(
        self,
        targets: Array,
        outputs: Array,
        lengths: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """Compute the weighted sum of the losses of all sequences.

        Parameters
        ----------
        targets : ndarray of int64, shape (N, T)
            Tags; entries past a row's length may be any tag.
        outputs : ndarray, shape (N, K + 2 + T, K)
            Of `layers.CRF.forward_logits`: the tables of all rows are the same.
        lengths : ndarray of int64, shape (N,)
            Valid steps of each row.
        weights : ndarray, shape (N,), optional
            None: all 1. A sequence of weight 0 does not count.
        scale : float, default 1.0
            Factor of the gradient.
        need_gradient : bool, default False

        Returns
        -------
        value : float
        gradient : ndarray, shape (N, K + 2 + T, K), or None
            With respect to the outputs, times `scale`; 0 past each row's length.

        Raises
        ------
        ValueError
            If a sequence that counts has a forbidden transition.
        """
        if len(outputs) == 0:
            return 0.0, np.zeros_like(outputs) if need_gradient else None
        chain = _chain_of(outputs, lengths)
        steps = chain.emissions.shape[1]
        path = np.where(np.arange(steps) < lengths[:, None], targets[:, :steps], 0)
        scores = linear_chain.path_scores(chain, path, lengths)
        wrong = np.isneginf(scores)
        if weights is not None:
            wrong &= weights != 0
        if wrong.any():
            _refuse(chain, path, lengths, int(wrong.argmax()))
        found = linear_chain.sums(chain, lengths, need_gradient)
        with np.errstate(invalid="ignore"):  # of rows of weight 0
            value = weighted_sum(found.log_z - scores, weights)
        if not need_gradient:
            return value, None
        gradient = _expected(found, chain) - _observed(path, lengths, chain)
        factors = np.full(len(outputs), scale) if weights is None else weights * scale
        gradient *= factors[:, None, None]
        return value, np.asarray(gradient, outputs.dtype)

    def decided(self, outputs: Array, lengths: Array) -> Array:
        """Return the best tags as 0 and 1, (N, T, K), which metrics compare with targets.

        Parameters
        ----------
        outputs, lengths
            As in `sum_tagged`.
        """
        chain = _chain_of(outputs, lengths)
        tags, _ = linear_chain.viterbi(chain, lengths)
        return np.asarray(tags[:, :, None] == np.arange(outputs.shape[2]), outputs.dtype)

    def behind(self, activation: str) -> tuple[Loss, bool]:
        """Take the scores of a last layer `layers.CRF`; see `Loss.behind`."""
        return self, activation == self.activation


def _chain_of(outputs: Array, lengths: Array) -> Chain:
    """Return the scores in float64, with zeros past each row's length."""
    transitions, starts, ends, emissions = linear_chain.parted(outputs)
    valid = np.arange(emissions.shape[1]) < lengths[:, None]
    moves, begin, end = (table[0].astype(np.float64) for table in (transitions, starts, ends))
    return Chain(moves, begin, end, np.where(valid[:, :, None], emissions, 0).astype(np.float64))


def _expected(found: linear_chain.Sums, chain: Chain) -> Array:
    """Join the probabilities of tags and transitions, in the layout of the outputs."""
    assert found.unary is not None
    assert found.pairs is not None
    assert found.first is not None
    assert found.last is not None
    tags = len(chain.starts)
    nothing = np.zeros(tags)
    whole = linear_chain.joined(np.zeros((tags, tags)), nothing, nothing, found.unary)
    transitions, starts, ends, _ = linear_chain.parted(whole)
    transitions[...], starts[...], ends[...] = found.pairs, found.first, found.last
    return whole


def _observed(path: Array, lengths: Array, chain: Chain) -> Array:
    """Count the tags and transitions of sequences of tags, in the layout of the outputs."""
    count, steps, tags = chain.emissions.shape
    whole = np.zeros((count, tags + linear_chain.HEAD_ROWS + steps, tags))
    transitions, starts, ends, emissions = linear_chain.parted(whole)
    valid = np.arange(steps) < lengths[:, None]
    rows, times = np.nonzero(valid)
    emissions[rows, times, path[rows, times]] = 1
    rows, times = np.nonzero(valid[:, 1:])
    np.add.at(transitions, (rows, path[rows, times], path[rows, times + 1]), 1)
    rows = np.flatnonzero(lengths > 0)
    starts[rows, path[rows, 0]] = 1
    ends[rows, path[rows, lengths[rows] - 1]] = 1
    return whole


def _refuse(chain: Chain, path: Array, lengths: Array, row: int) -> None:
    """Raise ValueError that names the first forbidden transition of a row."""
    tags = path[row, : lengths[row]]
    if np.isneginf(chain.starts[tags[0]]):
        what = f"a sequence that begins with the tag {tags[0]}"
    elif np.isneginf(moved := chain.transitions[tags[:-1], tags[1:]]).any():
        step = int(np.isneginf(moved).argmax())
        what = f"the tag {tags[step]} followed by {tags[step + 1]}, at step {step}"
    else:
        what = f"a sequence that ends with the tag {tags[-1]}"
    raise ValueError(
        f"y: expected sequences of tags that the layer CRF allows, got {what} of the row "
        f"{row} of a batch, which its option forbidden excludes; correct the tags, or leave the "
        "pair out of forbidden"
    )
