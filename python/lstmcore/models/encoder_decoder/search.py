"""Find sequences of a decoder, step by step: the likeliest by beam search, or drawn at random."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from lstmcore._typing import Array

__all__ = ["Hypothesis", "Limits", "beam_search", "draw", "log_softmax"]


class Hypothesis(NamedTuple):
    """A sequence that was found.

    Attributes
    ----------
    tokens : ndarray of int64, shape (S,)
        Without start and end token.
    log_probability : float
        Natural logarithm of the probability of these tokens and, if `finished`, the end token.
    score : float
        `log_probability` divided by the length penalty: what hypotheses are ranked by.
    finished : bool
        Whether the end token was reached; False if it was cut at the greatest length.
    attention : ndarray, shape (S, T), or None
        The attention of each token; T is the length of the source.
    text : str or None
        The tokens as a text, if the model writes texts.
    """

    tokens: Array
    log_probability: float
    score: float
    finished: bool
    attention: Array | None
    text: str | None = None


class Limits(NamedTuple):
    """What outputs may be."""

    most: Array
    """(N,), the most tokens of each row."""
    least: int
    """The end token comes after at least this many tokens."""
    start: int
    end: int
    forbidden: tuple[int, ...]
    """Tokens that are never output."""

    def rule_out(self, logs: Array, time: int) -> None:
        """Set the logarithms (..., V) of what may not be said at a step to -inf."""
        logs[..., list(self.forbidden)] = -np.inf
        if time < self.least:
            logs[..., self.end] = -np.inf


class State(Protocol):
    """The state of the beams of some rows; see `beam_search`."""

    def rows(self, rows: Array) -> "State":
        """Choose rows."""
        ...

    def beams(self, parents: Array) -> "State":
        """Select for each row and beam the parent beam, (R, B), that it continues."""
        ...


StateT = TypeVar("StateT", bound=State)
Step = Callable[[Array, Any], tuple[Array, Any, Array | None]]


class _Event(NamedTuple):
    """One step of all active rows."""

    place: Array
    """The position of each row of the batch among them."""
    tokens: Array
    """(R, B), chosen at this step."""
    parents: Array
    """(R, B), the beams that the tokens were appended to."""
    weights: Array | None
    """(R, B, T), of the beams before the choice."""


def log_softmax(logits: Array) -> Array:
    """Logarithms of the softmax over the last axis, in float64."""
    values = np.asarray(logits, np.float64)
    values = values - values.max(axis=-1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(axis=-1, keepdims=True)))


def beam_search(
    step: Step,
    state: Any,
    limits: Limits,
    source_lengths: Array,
    *,
    beam_width: int,
    length_penalty: float,
    keep_attention: bool,
) -> list[list[Hypothesis]]:
    """Find the likeliest sequences for each row.

    At every step each beam is continued with every token. Of the `beam_width` likeliest
    continuations, those that end are finished; the others, up to `beam_width`, continue. A row
    is done when it has `beam_width` finished hypotheses and none that continues can have a better
    score than the best of them, or at its limit, where what has not ended is cut. Hypotheses are
    ranked by their score, ``log p / ((5 + S + 1) / 6) ** length_penalty`` for S tokens and the end
    (Wu et al. 2016), those that ended before those that were cut. With a width of 1 it is greedy:
    the likeliest token at every step.

    Parameters
    ----------
    step : callable
        From tokens (R, B) and the state to logits (R, B, V), the next state, weights (R, B, T) or
        None.
    state : State
        Of all rows, with `beam_width` equal beams each.
    limits : Limits
    source_lengths : ndarray of int64, shape (N,)
        The lengths that attention weights are cut to.
    beam_width, length_penalty
        As in `EncoderDecoder.decode`.
    keep_attention : bool

    Returns
    -------
    list of list of Hypothesis
        For each row at most `beam_width`, the best first.
    """
    count = len(limits.most)
    found: list[list[Hypothesis]] = [[] for _ in range(count)]
    events: list[_Event] = []
    alive = np.arange(count)  # the rows that `state` holds
    working = np.ones(count, bool)  # which of these are not done
    tokens = np.full((count, beam_width), limits.start, np.int64)
    totals = np.full((count, beam_width), -np.inf)
    totals[:, 0] = 0.0  # all beams are equal, so only one counts
    best = np.full(count, -np.inf)  # score of what is finished
    longest = _penalty(limits.most, length_penalty)
    time = 0
    while working.any():
        if 2 * int(working.sum()) <= len(alive):  # less work, at the price of copying the rest
            kept = np.flatnonzero(working)
            alive, tokens, totals = alive[kept], tokens[kept], totals[kept]
            state, working = state.rows(kept), np.ones(len(kept), bool)
        logits, state, weights = step(tokens, state)
        logs = log_softmax(logits)
        limits.rule_out(logs, time)
        size = logs.shape[-1]
        choices, values = _best((totals[..., None] + logs).reshape(len(alive), -1), beam_width)
        parents, said = np.divmod(choices, size)
        ends = (said == limits.end) & np.isfinite(values)
        place = np.full(count, -1)
        place[alive] = np.arange(len(alive))
        going = np.argsort(ends, axis=1, kind="stable")[:, :beam_width]
        event = _Event(
            place,
            np.take_along_axis(said, going, 1),
            np.take_along_axis(parents, going, 1),
            weights if keep_attention else None,
        )
        at_limit = working & (limits.most[alive] <= time)
        going_totals = np.take_along_axis(np.where(ends, -np.inf, values), going, 1)
        for at in np.flatnonzero(working & (ends[:, :beam_width].any(axis=1) | at_limit)):
            row = int(alive[at])
            ended = [rank for rank in range(beam_width) if ends[at, rank]]
            for rank in ended:
                beam, value = int(parents[at, rank]), float(values[at, rank])
                found[row].append(_hypothesis(events, row, beam, value, length_penalty, True))
                best[row] = max(best[row], found[row][-1].score)
            if at_limit[at]:
                finished = {int(parents[at, rank]) for rank in ended}
                for beam in np.argsort(-totals[at], kind="stable"):
                    value = float(totals[at, beam])
                    if int(beam) not in finished and np.isfinite(value):
                        found[row].append(
                            _hypothesis(events, row, int(beam), value, length_penalty, False)
                        )
        hopes = going_totals.max(axis=1) / longest[alive]
        enough = np.array([len(found[row]) >= beam_width for row in alive], bool)
        working &= ~at_limit & np.isfinite(hopes) & ~(enough & (hopes <= best[alive]))
        events.append(event)
        tokens, totals = event.tokens, going_totals
        state = state.beams(event.parents)
        time += 1
    results = []
    for row, hypotheses in enumerate(found):
        hypotheses.sort(key=lambda one: (not one.finished, -one.score))
        results.append(
            [
                one._replace(
                    attention=_cut(one.attention, source_lengths[row]) if keep_attention else None
                )
                for one in hypotheses[:beam_width]
            ]
        )
    return results


def draw(
    step: Step,
    state: Any,
    limits: Limits,
    source_lengths: Array,
    *,
    choose: Callable[[Array, Array], Array],
    length_penalty: float,
    keep_attention: bool,
) -> list[list[Hypothesis]]:
    """Draw one sequence for each row: every token at random, given those before it.

    Parameters
    ----------
    step, state, limits, source_lengths, length_penalty, keep_attention
        As in `beam_search`, with a single beam.
    choose : callable
        From logarithms (R, V) and the numbers of their rows (R,) to tokens (R,).

    Returns
    -------
    list of list of Hypothesis
        One for each row.
    """
    count = len(limits.most)
    said: list[list[int]] = [[] for _ in range(count)]
    seen: list[list[Array]] = [[] for _ in range(count)]
    totals, finished = np.zeros(count), np.zeros(count, bool)
    alive, tokens, time = np.arange(count), np.full(count, limits.start, np.int64), 0
    while len(alive):
        logits, state, weights = step(tokens[:, None], state)
        logs = log_softmax(logits)[:, 0]
        limits.rule_out(logs, time)
        # At its limit, a row may only end; greedy decoding does not say more either.
        at_limit = limits.most[alive] <= time
        tokens = choose(logs, alive)
        goes_on = (tokens != limits.end) & ~at_limit
        ends = tokens == limits.end
        counted = goes_on | ends
        totals[alive[counted]] += logs[counted, tokens[counted]]
        finished[alive[ends]] = True
        for at in np.flatnonzero(goes_on):
            said[alive[at]].append(int(tokens[at]))
            if weights is not None and keep_attention:
                seen[alive[at]].append(weights[at, 0])
        kept = np.flatnonzero(goes_on)
        alive, tokens, time = alive[kept], tokens[kept], time + 1
        state = state.rows(kept)
    return [
        [
            Hypothesis(
                np.array(row, np.int64),
                float(total),
                float(total) / float(_penalty(np.int64(len(row)), length_penalty)),
                bool(ended),
                _cut(np.array(parts) if parts else None, length) if keep_attention else None,
            )
        ]
        for row, total, ended, parts, length in zip(
            said, totals, finished, seen, source_lengths, strict=True
        )
    ]


def _best(values: Array, width: int) -> tuple[Array, Array]:
    """Return places and values of the largest of each row, enough for `width` that do not end."""
    if width == 1:
        places = values.argmax(axis=1)[:, None]
    else:
        most = min(2 * width, values.shape[1])
        places = np.sort(np.argpartition(-values, most - 1, axis=1)[:, :most], axis=1)
        order = np.argsort(-np.take_along_axis(values, places, 1), axis=1, kind="stable")
        places = np.take_along_axis(places, order, 1)
    return places, np.take_along_axis(values, places, 1)


def _hypothesis(
    events: list[_Event], row: int, beam: int, value: float, penalty: float, finished: bool
) -> Hypothesis:
    """Follow a beam back to its start."""
    tokens, weights = [], []
    for event in reversed(events):
        at = event.place[row]
        tokens.append(event.tokens[at, beam])
        beam = event.parents[at, beam]
        if event.weights is not None:
            weights.append(event.weights[at, beam])
    score = value / float(_penalty(np.int64(len(tokens)), penalty))
    attention = np.array(weights[::-1]) if weights else None
    return Hypothesis(np.array(tokens[::-1], np.int64), value, score, finished, attention)


def _penalty(count: Any, power: float) -> Any:
    """Return the divisor of the log-probability of a sequence of this many tokens."""
    return ((6.0 + count) / 6.0) ** power


def _cut(attention: Array | None, length: int) -> Array:
    return np.zeros((0, int(length))) if attention is None else attention[:, :length].copy()
