"""Linear chains of tags: sums and maxima over all sequences of tags, and marginal probabilities.

Letters: N sequences, T steps, K tags. A sequence of tags y has the score

    starts[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_(t-1), y_t] + ends[y_last]

and the probability ``exp(score) / Z`` (Lafferty, McCallum & Pereira 2001). All is computed in
logarithms and in float64. A forbidden transition has the score -infinity.
"""

from typing import NamedTuple

import numpy as np

from lstmcore._typing import Array

__all__ = ["HEAD_ROWS", "Chain", "Sums", "joined", "parted", "path_scores", "sums", "viterbi"]

HEAD_ROWS = 2
"""Rows of starts and ends that `joined` puts between transitions and emissions."""

_SMALLEST = 1e-280
"""Sums below it are computed again pair by pair, since products of exponentials lost digits."""

_MOST_EXPONENT = 300.0
"""Above it, products of exponentials could overflow, and pairs are computed one by one."""


class Chain(NamedTuple):
    """The scores of a batch, in float64.

    Attributes
    ----------
    transitions : ndarray, shape (K, K)
        From the row's tag to the column's.
    starts, ends : ndarray, shape (K,)
    emissions : ndarray, shape (N, T, K)
    """

    transitions: Array
    starts: Array
    ends: Array
    emissions: Array


class Sums(NamedTuple):
    """Results of `sums`.

    Attributes
    ----------
    log_z : ndarray, shape (N,)
        Logarithm of the sum over all sequences of tags; 0 for a row without steps.
    unary : ndarray, shape (N, T, K), or None
        Probability of each tag at each step; 0 past a row's length.
    pairs : ndarray, shape (N, K, K), or None
        Expected number of each transition in the row.
    first, last : ndarray, shape (N, K), or None
        Probability of each tag at the first and at the last step.
    """

    log_z: Array
    unary: Array | None = None
    pairs: Array | None = None
    first: Array | None = None
    last: Array | None = None


def joined(transitions: Array, starts: Array, ends: Array, emissions: Array) -> Array:
    """Join the scores into one array (N, K + 2 + T, K), the same transitions in every row."""
    count, steps, tags = emissions.shape
    scores = np.empty((count, tags + HEAD_ROWS + steps, tags), emissions.dtype)
    scores[:, :tags] = transitions
    scores[:, tags], scores[:, tags + 1] = starts, ends
    scores[:, tags + HEAD_ROWS :] = emissions
    return scores


def parted(scores: Array) -> tuple[Array, Array, Array, Array]:
    """Undo `joined`: transitions (N, K, K), starts (N, K), ends (N, K), emissions (N, T, K)."""
    tags = scores.shape[2]
    head = scores[:, : tags + HEAD_ROWS]
    return head[:, :tags], head[:, tags], head[:, tags + 1], scores[:, tags + HEAD_ROWS :]


def sums(chain: Chain, lengths: Array, need_marginals: bool) -> Sums:
    """Sum over all sequences of tags: the forward algorithm and, for marginals, the backward one.

    Parameters
    ----------
    chain : Chain
        Emissions must be finite, also past a row's length.
    lengths : ndarray of int64, shape (N,)
        Valid steps of each row.
    need_marginals : bool

    Returns
    -------
    Sums
    """
    count, steps, tags = chain.emissions.shape
    if steps == 0:
        nothing = np.zeros((count, tags))
        pairs = np.zeros((count, tags, tags))
        return Sums(np.zeros(count), np.zeros((count, 0, tags)), pairs, nothing, nothing)
    alpha = _alphas(chain, lengths)
    filled = lengths > 0
    log_z = np.where(filled, _log_sum(alpha[-1] + chain.ends), 0.0)
    if not need_marginals:
        return Sums(log_z)
    beta = _betas(chain, lengths)
    valid = (np.arange(steps)[:, None] < lengths)[:, :, None]
    unary = np.where(valid, np.exp(np.where(valid, alpha + beta - log_z[:, None], -np.inf)), 0)
    pairs = _pair_sums(chain, alpha, beta, log_z, lengths)
    last = unary[np.maximum(lengths - 1, 0), np.arange(count)]
    return Sums(log_z, unary.transpose(1, 0, 2), pairs, unary[0], last)


def viterbi(chain: Chain, lengths: Array) -> tuple[Array, Array]:
    """Find the sequence of tags with the highest score of each row (Viterbi 1967).

    Parameters
    ----------
    chain, lengths
        As in `sums`.

    Returns
    -------
    tags : ndarray of int64, shape (N, T)
        0 past a row's length. Of several best sequences, that with the lowest last tag, and so on
        backwards.
    scores : ndarray, shape (N,)
        0 for a row without steps.
    """
    count, steps, tags = chain.emissions.shape
    path = np.zeros((count, steps), np.int64)
    if steps == 0 or count == 0:
        return path, np.zeros(count)
    best = chain.starts + chain.emissions[:, 0]
    stay = np.arange(tags)
    before = np.empty((steps, count, tags), np.int64)
    for t in range(1, steps):
        scores = best[:, :, None] + chain.transitions
        before[t] = scores.argmax(axis=1)
        reached = scores.max(axis=1) + chain.emissions[:, t]
        valid = (t < lengths)[:, None]
        before[t] = np.where(valid, before[t], stay)
        best = np.where(valid, reached, best)
    best = best + chain.ends
    rows = np.arange(count)
    tag = best.argmax(axis=1)
    top = np.where(lengths > 0, best[rows, tag], 0.0)
    for t in range(steps - 1, -1, -1):
        path[:, t] = np.where(t < lengths, tag, 0)
        if t:
            tag = before[t, rows, tag]
    return path, top


def path_scores(chain: Chain, path: Array, lengths: Array) -> Array:
    """Return the score (N,) of one sequence of tags of each row; `path` is (N, T)."""
    count, steps, _ = chain.emissions.shape
    if steps == 0:
        return np.zeros(count)
    rows = np.arange(count)
    valid = np.arange(steps) < lengths[:, None]
    emitted = np.take_along_axis(chain.emissions, path[:, :, None], axis=2)[:, :, 0]
    moved = chain.transitions[path[:, :-1], path[:, 1:]]
    total = np.where(valid, emitted, 0).sum(axis=1) + np.where(valid[:, 1:], moved, 0).sum(axis=1)
    ends = chain.ends[path[rows, np.maximum(lengths - 1, 0)]]
    return np.asarray(np.where(lengths > 0, total + chain.starts[path[:, 0]] + ends, 0.0))


def _log_sum(values: Array) -> Array:
    """Logarithm of the sum of exponentials over the last axis, -infinity for none."""
    top = values.max(axis=-1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - safe).sum(axis=-1)) + safe[..., 0])


class _Moves:
    """Sums over one step of the chain: ``log(exp(values) @ exp(table))`` without overflow.

    The product of exponentials takes K squared multiplications where sums of pairs take K squared
    exponentials. It is exact to the last digits unless scores differ by hundreds; sums for which
    they do are computed pair by pair.
    """

    def __init__(self, table: Array) -> None:
        self.table = table
        top = table.max()
        self.top = float(top) if np.isfinite(top) else 0.0
        self.powers = np.exp(table - self.top)
        self.reachable = np.isfinite(table).any(axis=0)

    def __call__(self, values: Array) -> Array:
        top = values.max(axis=1, keepdims=True)
        safe = np.where(np.isfinite(top), top, 0.0)
        products = np.exp(values - safe) @ self.powers
        with np.errstate(divide="ignore"):
            found = np.log(products) + (safe + self.top)
        small = (products < _SMALLEST) & self.reachable
        if small.any():
            rows = np.flatnonzero(small.any(axis=1))
            exact = _log_sum(values[rows, None, :] + self.table.T)
            found[rows] = np.where(small[rows], exact, found[rows])
        return np.asarray(found)


def _alphas(chain: Chain, lengths: Array) -> Array:
    """Log sums (T, N, K) over all beginnings that end with a tag; past a length, the last ones."""
    emissions = chain.emissions.transpose(1, 0, 2)
    alpha = np.empty(emissions.shape)
    alpha[0] = chain.starts + emissions[0]
    move = _Moves(chain.transitions)
    shortest = int(lengths.min(initial=0))
    for t in range(1, len(alpha)):
        reached = move(alpha[t - 1]) + emissions[t]
        if t < shortest:
            alpha[t] = reached
        else:
            alpha[t] = np.where((t < lengths)[:, None], reached, alpha[t - 1])
    return alpha


def _betas(chain: Chain, lengths: Array) -> Array:
    """Log sums (T, N, K) over all continuations after a tag; from the last step on, the ends."""
    emissions = chain.emissions.transpose(1, 0, 2)
    beta = np.empty(emissions.shape)
    beta[-1] = chain.ends
    move = _Moves(chain.transitions.T)
    shortest = int(lengths.min(initial=0))
    for t in range(len(beta) - 2, -1, -1):
        reached = move(beta[t + 1] + emissions[t + 1])
        if t + 1 < shortest:
            beta[t] = reached
        else:
            beta[t] = np.where((t + 1 < lengths)[:, None], reached, chain.ends)
    return beta


def _pair_sums(chain: Chain, alpha: Array, beta: Array, log_z: Array, lengths: Array) -> Array:
    """Expected numbers (N, K, K) of each transition."""
    steps, count, tags = alpha.shape
    if steps == 1:
        return np.zeros((count, tags, tags))
    followed = (np.arange(1, steps)[:, None] < lengths)[:, :, None]
    tops = alpha[:-1].max(axis=2, keepdims=True)
    tops = np.where(np.isfinite(tops), tops, 0.0)
    before = alpha[:-1] - tops
    after = beta[1:] + chain.emissions.transpose(1, 0, 2)[1:] + tops - log_z[:, None]
    after = np.where(followed, after, -np.inf)
    highest = float(chain.transitions.max())
    if after.max() + max(highest, 0.0) < _MOST_EXPONENT:
        left = np.exp(before).transpose(1, 2, 0)
        right = np.exp(after).transpose(1, 0, 2)
        return np.asarray((left @ right) * np.exp(chain.transitions))
    pairs = np.zeros((count, tags, tags))
    for one, other in zip(before, after, strict=True):
        pairs += np.exp(one[:, :, None] + chain.transitions + other[:, None, :])
    return pairs
