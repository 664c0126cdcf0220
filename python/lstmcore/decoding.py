"""From the outputs of a model trained with `lstmcore.losses.CTC` to labels.

Letters: N sequences, T steps, U outputs of a step, S labels that were found, B beams.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import public
from lstmcore._typing import Array, ArrayLike, Inputs
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.training.losses.ctc import best_path

__all__ = ["Labelling", "ctc_beam_search", "ctc_greedy"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)

Scorer: TypeAlias = Callable[[tuple[int, ...], int], float]
"""Returns the log-probability of the next symbol after a prefix of labels."""

NOTHING = -1  # the last label of the empty prefix, and its parent


class Labelling(NamedTuple):
    """Labels that were found for a sequence.

    Attributes
    ----------
    labels : ndarray of int64, shape (S,)
        Without blanks.
    log_probability : float
        Natural logarithm of the probability of the labels given the outputs: of the sum over all
        alignments that the search followed, which is at most that of all alignments.
    score : float
        What labellings are ranked by: `log_probability`, plus what the scorer and the length add.
    """

    labels: Array
    log_probability: float
    score: float


def ctc_greedy(outputs: Inputs, lengths: ArrayLike | None = None, *, blank: int = 0) -> list[Array]:
    """Read the likeliest symbol of each step: merge equal neighbours, then remove blanks.

    This finds the likeliest alignment ("best path decoding", Graves et al. 2006), whose labels need
    not be the likeliest: several alignments may read as other labels. `ctc_beam_search` adds them.

    Parameters
    ----------
    outputs : array_like, shape (N, T, U), or list of array_like of shape (T_n, U)
        Probabilities or logits, as `Sequential.predict` returns them.
    lengths : array_like of int, shape (N,), optional
        Valid steps of an array; None: all.
    blank : int, default 0
        The number of the blank, as in `lstmcore.losses.CTC`.

    Returns
    -------
    list of ndarray of int64, shape (S_n,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    rows = _rows(outputs, lengths)
    blank = _check_blank(blank, rows)
    return [best_path(row, blank) for row in rows]


def ctc_beam_search(
    outputs: Inputs,
    lengths: ArrayLike | None = None,
    *,
    blank: int = 0,
    beam_width: int = 16,
    top: int = 1,
    scorer: Scorer | None = None,
    scorer_weight: float = 1.0,
    length_bonus: float = 0.0,
    from_logits: bool = False,
) -> list[list[Labelling]]:
    """Find the likeliest labels by prefix beam search.

    At each step, the `beam_width` best beginnings of labels are extended by every symbol. The
    probabilities of all alignments that read as the same beginning are added, separately for those
    that end with a blank and those that end with the last label (Hannun, Maas, Jurafsky & Ng 2014).
    With a scorer and S labels, beginnings are ranked by ``log_probability + scorer_weight * (sum of
    the scorer's values) + length_bonus * S``.

    Parameters
    ----------
    outputs : array_like, shape (N, T, U), or list of array_like of shape (T_n, U)
        Probabilities, or logits with `from_logits`, as `Sequential.predict` returns them.
    lengths : array_like of int, shape (N,), optional
        Valid steps of an array; None: all.
    blank : int, default 0
        The number of the blank, as in `lstmcore.losses.CTC`.
    beam_width : int, default 16
        How many beginnings are followed. With as many as there are, the result is exact.
    top : int, default 1
        How many labellings are returned for each sequence, at most `beam_width`.
    scorer : callable, optional
        ``scorer(prefix, symbol)`` returns the log-probability of a symbol after a tuple of labels,
        such as that of a language model. It is called once for each pair.
    scorer_weight : float, default 1.0
        Factor of the scorer's values.
    length_bonus : float, default 0.0
        Added for each label: a scorer favours short labellings, and this makes up for it.
    from_logits : bool, default False
        Whether the outputs are logits.

    Returns
    -------
    list of list of Labelling
        For each sequence at most `top`, the best first. Equal scores: the one that was found first.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the scorer returns NaN or a value above 0.
    """
    width = _checks.integer(beam_width, "beam_width", 1)
    count = _checks.integer(top, "top", 1)
    if count > width:
        raise ValueError(f"top: expected at most beam_width={width}, got {count}")
    if scorer is not None and not callable(scorer):
        raise TypeError(
            f"scorer: expected a function of a prefix and a symbol, got {_checks.describe(scorer)}"
        )
    weight = _checks.real(scorer_weight, "scorer_weight", 0.0)
    bonus = _checks.real(length_bonus, "length_bonus")
    rows = _rows(outputs, lengths)
    blank = _check_blank(blank, rows)
    if _checks.flag(from_logits, "from_logits"):
        steps = [log_softmax(row) for row in rows]
    else:
        steps = [_logarithms(row, place) for place, row in enumerate(rows)]
    return [_Search(row, blank, width, scorer, weight, bonus).run(count) for row in steps]


def _rows(outputs: Inputs, lengths: ArrayLike | None) -> list[Array]:
    """Return the valid steps of each sequence, (T_n, U) floats."""
    intake = Intake(switch=False)
    if isinstance(outputs, (list, tuple)) and lengths is None:
        rows = [intake.floats(row, f"outputs[{place}]", None) for place, row in enumerate(outputs)]
        widths = {row.shape[1:] for row in rows}
        if any(row.ndim != 2 for row in rows) or len(widths) > 1:
            shapes = ", ".join(str(row.shape) for row in rows[:3])
            raise ValueError(
                "outputs: expected rows (T, U) with the same U, or an array (N, T, U), got rows of "
                f"shape {shapes}{', ...' if len(rows) > 3 else ''}"
            )
        return rows
    array = Intake(check_finite=False).floats(outputs, "outputs", None)
    if array.ndim != 3:
        raise ValueError(
            f"outputs: expected an array (N, T, U), or a list of rows (T, U), got {array.shape}; "
            "of a single sequence pass outputs[None]"
        )
    steps = np.full(len(array), array.shape[1])
    if lengths is not None:
        steps = _checks.lengths_array(lengths, *array.shape[:2])
    parts = [row[:count] for row, count in zip(array, steps, strict=True)]
    return [intake.floats(row, f"outputs[{place}]", None) for place, row in enumerate(parts)]


def _check_blank(blank: int, rows: list[Array]) -> int:
    blank = _checks.integer(blank, "blank", 0)
    if rows and blank >= rows[0].shape[1]:
        units = rows[0].shape[1]
        raise ValueError(f"blank: expected 0..{units - 1}, an output of {units}, got {blank}")
    return blank


def _logarithms(row: Array, place: int) -> Array:
    """Return the logarithms of probabilities (T, U), in float64."""
    if row.size and (row.min() < 0 or row.max() > 1 + 1e-4):
        raise ValueError(
            f"outputs[{place}]: expected probabilities in [0, 1], got {row.min():g} to "
            f"{row.max():g}; for logits pass from_logits=True"
        )
    with np.errstate(divide="ignore"):
        return np.log(row.astype(np.float64))


class _Beams(NamedTuple):
    """The beginnings that are followed, best first; every field has an entry (B,) for each."""

    nodes: Array  # numbers in the tree of prefixes
    blank_ends: Array  # log-probability of all alignments that end with a blank
    label_ends: Array  # of all that end with the last label

    @property
    def totals(self) -> Array:
        return np.logaddexp(self.blank_ends, self.label_ends)


class _Tree:
    """All prefixes that were followed, each a node: its parent, last label and bonus.

    A prefix has one number even if it is given up and found again.
    """

    def __init__(self, units: int, scorer: Scorer | None, weight: float, bonus: float) -> None:
        self.parents, self.labels, self.ranks = [NOTHING], [NOTHING], [0.0]
        self.children: dict[tuple[int, int], int] = {}
        self.units, self.scorer, self.weight, self.bonus = units, scorer, weight, bonus
        self.scores: dict[int, Array] = {}

    def prefix(self, node: int) -> tuple[int, ...]:
        labels = []
        while node > 0:
            labels.append(self.labels[node])
            node = self.parents[node]
        return tuple(reversed(labels))

    def extensions(self, nodes: Array, blank: int) -> Array:
        """Return what the rank of each node gains by each symbol, (B, U); the blank gains 0."""
        if self.scorer is None:
            return np.full((len(nodes), self.units), self.bonus)
        for node in map(int, nodes):
            if node not in self.scores:
                self.scores[node] = self._score(self.prefix(node), blank)
        return np.stack([self.scores[int(node)] for node in nodes])

    def _score(self, prefix: tuple[int, ...], blank: int) -> Array:
        assert self.scorer is not None
        values = np.zeros(self.units)
        for symbol in range(self.units):
            if symbol == blank:
                continue
            value = float(self.scorer(prefix, symbol))
            if not value <= 0:
                raise ValueError(
                    "scorer: expected a log-probability, at most 0, got "
                    f"{value} for symbol {symbol} after {prefix}"
                )
            # Without a weight, even a symbol that the scorer excludes changes nothing.
            values[symbol] = (self.weight * value if self.weight else 0.0) + self.bonus
        return values

    def child(self, node: int, symbol: int, gain: float) -> int:
        found = self.children.get((node, symbol))
        if found is None:
            found = self.children[node, symbol] = len(self.parents)
            self.parents.append(node)
            self.labels.append(symbol)
            self.ranks.append(self.ranks[node] + gain)
        return found


class _Search:
    """The search of one sequence of log-probabilities (T, U)."""

    def __init__(
        self,
        steps: Array,
        blank: int,
        width: int,
        scorer: Scorer | None,
        weight: float,
        bonus: float,
    ) -> None:
        self.steps, self.blank, self.width = steps, blank, width
        self.tree = _Tree(steps.shape[1], scorer, weight, bonus)

    def run(self, count: int) -> list[Labelling]:
        beams = _Beams(np.zeros(1, np.int64), np.zeros(1), np.full(1, -np.inf))
        for row in self.steps:
            beams = self._step(beams, row)
        ranks = np.array(self.tree.ranks)
        found = []
        for node, total in zip(beams.nodes[:count], beams.totals, strict=False):
            labels = np.array(self.tree.prefix(int(node)), np.int64)
            found.append(Labelling(labels, float(total), float(total + ranks[node])))
        return found

    def _step(self, beams: _Beams, row: Array) -> _Beams:
        """Extend every beam by every symbol, or by none, and choose the best."""
        tree, nodes, totals = self.tree, beams.nodes, beams.totals
        labels = np.array([tree.labels[node] for node in nodes])
        ended = labels != NOTHING
        # A label again, after itself, is the same label unless a blank is between the two.
        grown = totals[:, None] + row
        grown[ended, labels[ended]] = (beams.blank_ends[:, None] + row)[ended, labels[ended]]
        grown[:, self.blank] = -np.inf
        blank_ends = totals + row[self.blank]
        label_ends = np.where(ended, beams.label_ends + row[labels], -np.inf)
        # Where the extension of one beam is another beam, their alignments are added.
        parents = np.array([tree.parents[node] for node in nodes])
        child, parent = np.nonzero(parents[:, None] == nodes)
        label_ends[child] = np.logaddexp(label_ends[child], grown[parent, labels[child]])
        grown[parent, labels[child]] = -np.inf
        return self._best(beams, blank_ends, label_ends, grown)

    def _best(self, beams: _Beams, blank_ends: Array, label_ends: Array, grown: Array) -> _Beams:
        """Choose the best of the beams (B,) and of their extensions (B, U)."""
        tree, count, units = self.tree, len(beams.nodes), grown.shape[1]
        ranks = np.array([tree.ranks[node] for node in beams.nodes])
        gains = tree.extensions(beams.nodes, self.blank)
        stay = np.logaddexp(blank_ends, label_ends) + ranks
        scores = np.concatenate([stay, (grown + ranks[:, None] + gains).reshape(-1)])
        order = np.argsort(-scores, kind="stable")[: self.width]
        order = order[scores[order] > -np.inf]
        if not len(order):  # every symbol has the probability 0: nothing to choose by
            order = np.arange(1)
        flat = order - count
        nodes = np.empty(len(order), np.int64)
        for place, number in enumerate(flat.tolist()):
            if number < 0:
                nodes[place] = beams.nodes[order[place]]
                continue
            beam, symbol = divmod(number, units)
            nodes[place] = tree.child(int(beams.nodes[beam]), symbol, gains[beam, symbol])
        return _Beams(
            nodes,
            np.where(flat < 0, blank_ends[np.minimum(order, count - 1)], -np.inf),
            np.where(
                flat < 0,
                label_ends[np.minimum(order, count - 1)],
                grown.reshape(-1)[np.maximum(flat, 0)],
            ),
        )
