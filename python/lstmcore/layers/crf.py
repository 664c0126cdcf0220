"""The conditional random field: a last layer that chooses the tags of a sequence together."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks, regularizers
from lstmcore._typing import Array, ArrayLike, InitializerName, Shape
from lstmcore.layers import initializers, linear_chain
from lstmcore.layers.base import Layer
from lstmcore.layers.linear_chain import Chain
from lstmcore.layers.parameters import WeightSpec

__all__ = ["CRF", "Forbidden"]

Forbidden: TypeAlias = Iterable[tuple[int | str, int | str]]
"""Pairs of tags (from, to); "start" may be the first of a pair, and "end" the second."""

START, END = "start", "end"


class CRF(Layer):
    """Linear-chain conditional random field over the tags of each step.

    A sequence of tags y has the score ``starts[y_0] + sum_t x[t, y_t] + sum_t
    transitions[y_(t-1), y_t] + ends[y_last]`` and the probability ``exp(score) / Z``, where Z is
    the sum over all sequences of tags (Lafferty, McCallum & Pereira 2001). So a tag depends on its
    neighbours, which a softmax at each step does not take into account.

    It is the last layer, after a `Dense` layer with a unit for each tag and no activation. Compile
    the model with ``loss="crf"``, which trains both together; `predict` returns the tags with the
    highest score::

        model = lc.Sequential([
            lc.layers.Embedding(5000, 64),
            lc.layers.Bidirectional(lc.layers.LSTM(64, return_sequences=True)),
            lc.layers.Dense(9),
            lc.layers.CRF(9),
        ])
        model.compile("adam", "crf", metrics=["accuracy"])
        model.fit(x, y)  # y: tags (N, T), or a list of rows (T_i,)
        tags = model.predict(x)

    Parameters
    ----------
    tags : int
        K, the number of tags; also the width of the inputs.
    forbidden : iterable of (int, int), optional
        Transitions (from, to) that no sequence may have: their score is -infinity. "start" stands
        for the place before the first tag and "end" for that after the last one, so ``("start",
        2)`` forbids that a sequence begins with the tag 2. See
        `lstmcore.metrics.forbidden_transitions` for those of BIO and other schemes.
    transitions_initializer : str, default "zeros"
        Name of the initial values of all three weights.
    transitions_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on ``transitions``.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Raises
    ------
    ValueError
        If `forbidden` names a tag that does not exist, or leaves no sequence of some length.

    Notes
    -----
    Inputs are (N, T, K). Outputs are tags (N, T) of int64, found by Viterbi's algorithm, with 0
    past a row's length; a model returns a list of rows if its inputs are one. They are the best
    sequence as a whole; the most probable tag of each step alone is the maximum of `marginals`.
    The ``output_shape`` of a model is that of the scores, (N, T, K).

    Weights: ``transitions`` (K, K), from the row's tag to the column's, ``starts`` (K,) and
    ``ends`` (K,). The sums are computed in logarithms and in float64.
    """

    last_activation = "crf"
    _decides = True

    def __init__(
        self,
        tags: int,
        forbidden: Forbidden | None = None,
        transitions_initializer: InitializerName = "zeros",
        transitions_regularizer: regularizers.RegularizerLike = None,
        *,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.tags = _checks.integer(tags, "tags", 1)
        self.forbidden = None if forbidden is None else _pairs(forbidden, self.tags)
        _check_left(self.forbidden or [], self.tags)
        self.transitions_initializer = transitions_initializer
        self._initializer = initializers.get(transitions_initializer, "transitions_initializer")
        self.transitions_regularizer = regularizers.get(
            transitions_regularizer, "transitions_regularizer"
        )
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    @cached_property
    def _allowed(self) -> tuple[Array, Array, Array]:
        # Of K^2 values: not before there are weights, which a file that says K need not hold.
        return _allowed(self.forbidden or [], self.tags)

    @property
    def mixes_steps(self) -> bool:
        """True: each tag depends on the whole sequence."""
        return True

    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, K)."""
        width = self._accept(input_shape, (3,), "(N, T, K)")
        if width != self.tags:
            raise ValueError(
                f"CRF: expected inputs of width {self.tags}, a score for each of the tags, got "
                f"{width}; put Dense({self.tags}) before it"
            )
        return input_shape

    def weight_specs(self) -> list[WeightSpec]:
        """List ``transitions`` (K, K), ``starts`` (K,) and ``ends`` (K,)."""
        count, initial = self.tags, self._initializer
        penalty = regularizers.strengths(self.transitions_regularizer)
        return [
            WeightSpec("transitions", (count, count), initial, *penalty, rounded=False),
            WeightSpec("starts", (count,), initial),
            WeightSpec("ends", (count,), initial),
        ]

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, None]:
        """Choose tags (N, T) of int64; see `Layer.forward`. They have no gradient."""
        tags = linear_chain.viterbi(self._chain(inputs, lengths), _full(inputs, lengths))[0]
        return tags, lengths, None

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array, tuple[int, ...]]:
        """Return all scores of the chain, which the loss "crf" takes, as `linear_chain.joined`.

        Returns
        -------
        outputs : ndarray, shape (N, K + 2 + T, K)
            Transitions, starts, ends and emissions, of the type of the inputs.
        lengths : ndarray of int64, shape (N,)
            Valid steps of the emissions.
        context : tuple of int
        """
        scores = linear_chain.joined(*self._tables(), inputs)
        return scores, _full(inputs, lengths), inputs.shape

    def backward(self, context: tuple[int, ...] | None, dy: Array, need_x: bool = True) -> Array:
        """Write the gradients of the weights, and return that of the emissions.

        Parameters
        ----------
        context
            Of `forward_logits`.
        dy : ndarray, shape (N, K + 2 + T, K)
            Gradient with respect to its outputs.
        need_x : bool, default True

        Raises
        ------
        ValueError
            After `forward`, since tags have no gradient.
        """
        if context is None:
            raise ValueError(
                "CRF: tags have no gradient; train the model with loss='crf', which takes scores"
            )
        self._follow_trainable()
        transitions, starts, ends, emissions = linear_chain.parted(dy)
        found = {"transitions": transitions, "starts": starts, "ends": ends}
        for (name, rows), allowed in zip(found.items(), self._allowed, strict=True):
            place = self.gradient_place(name)
            if place is not None:
                place[...] = np.where(allowed, rows.sum(axis=0, dtype=np.float64), 0)
        return emissions

    def marginals(self, inputs: ArrayLike, *, lengths: ArrayLike | None = None) -> Array:
        """Compute the probability of each tag at each step, given the whole sequence.

        Parameters
        ----------
        inputs : array_like, shape (N, T, K)
            Scores: of a model, ``model.inputs_of(layer, x)``.
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row; None: all.

        Returns
        -------
        ndarray, shape (N, T, K)
            0 past a row's length.
        """
        array, steps = self._prepare_call(inputs, lengths)
        chain = self._chain(array, steps)
        unary = linear_chain.sums(chain, _full(array, steps), True).unary
        assert unary is not None
        return np.asarray(unary, array.dtype)

    def _tables(self) -> tuple[Array, Array, Array]:
        """Return transitions, starts and ends, with -infinity for what is forbidden."""
        names = ("transitions", "starts", "ends")
        values = (self._weights[name] for name in names)
        transitions, starts, ends = (
            np.where(allowed, table, table.dtype.type(-np.inf))
            for table, allowed in zip(values, self._allowed, strict=True)
        )
        return transitions, starts, ends

    def _chain(self, inputs: Array, lengths: Array | None) -> Chain:
        emissions = inputs.astype(np.float64)
        if lengths is not None:
            valid = np.arange(inputs.shape[1]) < lengths[:, None]
            emissions = np.where(valid[:, :, None], emissions, 0)
        transitions, starts, ends = (table.astype(np.float64) for table in self._tables())
        return Chain(transitions, starts, ends, emissions)


def _full(inputs: Array, lengths: Array | None) -> Array:
    """Return the lengths of all rows."""
    return np.full(len(inputs), inputs.shape[1], np.int64) if lengths is None else lengths


def _pairs(forbidden: Any, tags: int) -> list[tuple[int | str, int | str]]:
    """Check pairs of tags."""
    if isinstance(forbidden, str) or not isinstance(forbidden, Iterable):
        raise TypeError(
            f"forbidden: expected pairs (from, to) of tags, got {_checks.describe(forbidden)}"
        )
    found: list[tuple[int | str, int | str]] = []
    for pair in forbidden:
        if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2:
            raise ValueError(f"forbidden: expected pairs (from, to) of tags, got {pair!r}")
        found.append((_tag(pair[0], START, tags), _tag(pair[1], END, tags)))
    return found


def _tag(value: Any, border: str, tags: int) -> int | str:
    """Check one tag of a pair; `border` is the word that may stand in its place."""
    if isinstance(value, str):
        if value != border:
            where = "first" if border == START else "second"
            raise ValueError(
                f"forbidden: expected a tag or {border!r} as the {where} of a pair, got {value!r}"
            )
        return value
    number = _checks.integer(value, "forbidden", 0)
    if number >= tags:
        raise ValueError(f"forbidden: expected tags in 0..{tags - 1}, got {number}")
    return number


def _check_left(forbidden: Iterable[tuple[int | str, int | str]], tags: int) -> None:
    """Raise ValueError if no sequence of some length is left.

    Memory and time follow from the number of pairs, not from the tags, of which a file may name any
    number.
    """
    pairs = set(forbidden)
    if len({tag for pair in pairs for tag in pair if not isinstance(tag, str)}) < tags:
        return  # a tag that is in no pair may come any number of times
    reached, ends = np.ones(tags, np.bool_), np.ones(tags, np.bool_)
    reached[[tag for border, tag in pairs if border == START and isinstance(tag, int)]] = False
    ends[[tag for tag, border in pairs if border == END and isinstance(tag, int)]] = False
    inner = [pair for pair in pairs if START not in pair and END not in pair]
    befores, afters = np.array(inner, np.int64).reshape(-1, 2).T
    for steps in range(1, 2 * tags + 1):  # after which a pattern of reached tags has repeated
        if not (reached & ends).any():
            raise ValueError(f"forbidden: expected pairs that leave a sequence of {steps} tags")
        barred = np.bincount(afters[reached[befores]], minlength=tags)
        following = barred < np.count_nonzero(reached)
        if (following == reached).all():
            return
        reached = following


def _allowed(
    forbidden: Iterable[tuple[int | str, int | str]], tags: int
) -> tuple[Array, Array, Array]:
    """Return which transitions (K, K), starts (K,) and ends (K,) are not forbidden."""
    table = np.ones((tags + 1, tags + 1), np.bool_)
    for before, after in forbidden:
        row, column = (tags if isinstance(tag, str) else tag for tag in (before, after))
        table[row, column] = False
    return table[:tags, :tags], table[tags, :tags], table[:tags, tags]
