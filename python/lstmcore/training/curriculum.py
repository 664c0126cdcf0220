"""Curricula: which samples an epoch may use, from the easiest on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import one_line
from lstmcore._typing import Array, ArrayLike, Pace, choices
from lstmcore.training.data import Examples, Ragged, batch_rows

__all__ = ["Curriculum", "Paced"]

Difficulty: TypeAlias = ArrayLike | Callable[[Any, Any], ArrayLike]


class Curriculum:
    """Train on the easiest samples first, and on more of them later.

    An epoch uses the easiest share of the samples, in a random order if `fit` shuffles, else from
    the easiest to the hardest (Bengio, Louradour, Collobert & Weston 2009; "linear" and "root" as
    in Platanios, Stretcu, Neubig, Poczos & Mitchell 2019)::

        lengths = lc.Curriculum(lambda x, y: [len(row) for row in x], epochs=10)
        model.fit(x, y, epochs=30, curriculum=lengths)

    An epoch with few samples is short, so a pace that counts epochs hurries through the easiest
    ones. With `steps` it counts the steps of the optimizer instead.

    Parameters
    ----------
    difficulty : array_like, shape (N,), or callable
        A number for each sample of x, greater for harder ones; infinity is the hardest. Or a
        function of x and y, as they are passed to `fit`, that returns such numbers.
    pace : {"root", "linear", "steps"} or callable, default "root"
        The share of the samples in an epoch, with s = `start` and r = e / epochs in epoch e, which
        counts from 0, or r = i / steps after i steps of the optimizer: "root" is ``sqrt(s^2 + (1 -
        s^2) r)``, with which new samples arrive more slowly the more there are; "linear" is ``s +
        (1 - s) r``; "steps" is "linear" in four stages of equal length. From r = 1 on it is 1. A
        function is called with e, or with i if `steps` is True, and returns the share in (0, 1].
    start : float, default 0.1
        The share in the first epoch, in (0, 1]. Not used by a function.
    epochs : int, optional
        The epoch from which on all samples are used. None: 10, unless `steps` is given. Not used by
        a function.
    steps : int or True, optional
        How many steps the optimizer takes until all samples are used, instead of `epochs`. The
        share of an epoch follows from the steps that were taken before it. True for a function of
        the steps.

    Notes
    -----
    An epoch has at least one whole batch, if there are that many samples. It has fewer batches
    while it uses fewer samples: compare runs by the optimizer's steps. The share depends on the
    number of the epoch or of the optimizer's steps alone, both of which a file holds, so that a
    resumed training continues as if uninterrupted. Validation data is not affected; with
    `validation_split`, `difficulty` has a number for its samples too.
    """

    STAGES = 4
    _default_epochs = 10

    def __init__(
        self,
        difficulty: Difficulty,
        pace: Pace | Callable[[int], float] = "root",
        *,
        start: float = 0.1,
        epochs: int | None = None,
        steps: int | Literal[True] | None = None,
    ) -> None:
        self.difficulty = difficulty
        if not callable(pace):
            _checks.choice(pace, "pace", choices(Pace))
        self.pace = pace
        self.start = _checks.real(start, "start", 0.0, 1.0, low_open=True)
        if epochs is not None and steps is not None:
            raise ValueError(
                f"epochs: expected None with steps, which the pace then counts, got {epochs}"
            )
        if steps is not True:
            steps = None if steps is None else _checks.integer(steps, "steps", 1)
        elif not callable(pace):
            raise ValueError(
                f"steps: expected their number with pace={pace!r}; True is for a function of them"
            )
        given = self._default_epochs if epochs is None else epochs
        self.epochs = _checks.integer(given, "epochs", 1) if steps is None else None
        self.steps = steps

    def __repr__(self) -> str:
        return one_line(self)

    def described(self) -> tuple[str, float, int | None, int | None]:
        """Return the options that processes that train together must share."""
        name = "function" if callable(self.pace) else self.pace
        return name, self.start, self.epochs, self.steps

    def share(self, epoch: int, steps_taken: int = 0) -> float:
        """Return the share of the samples that an epoch uses, in (0, 1].

        Parameters
        ----------
        epoch : int
            Counted from 0.
        steps_taken : int, default 0
            Steps that the optimizer has taken before it, which count with `steps`.

        Raises
        ------
        ValueError
            If the function `pace` returns another number.
        """
        unit, number = ("epoch", epoch) if self.steps is None else ("step", steps_taken)
        if callable(self.pace):
            name = f"curriculum: the share that pace returns for {unit} {number}"
            return _checks.real(self.pace(number), name, 0.0, 1.0, low_open=True)
        whole = self.epochs if self.steps is None else self.steps
        assert whole is not None
        done, start = min(number / whole, 1.0), self.start
        if self.pace == "root":
            return math.sqrt(start**2 + (1 - start**2) * done)
        if self.pace == "steps":
            done = math.floor(done * self.STAGES) / self.STAGES
        return start + (1 - start) * done

    def order(self, x: Any, y: Any, count: int) -> Array:
        """Return the samples from the easiest to the hardest; equals keep their order.

        Parameters
        ----------
        x, y : object
            As passed to `fit`.
        count : int
            N, the number of samples.

        Returns
        -------
        ndarray of int64, shape (N,)

        Raises
        ------
        TypeError, ValueError
            If `difficulty` is not a number for each sample.
        """
        given = self.difficulty(x, y) if callable(self.difficulty) else self.difficulty
        values = _checks.any_array(given, "difficulty")
        if values.dtype.kind not in "fiub":
            raise TypeError(f"difficulty: expected numbers, got {_checks.describe(given)}")
        if values.shape != (count,):
            raise ValueError(
                f"difficulty: expected shape ({count},), a number for each sample of x, got "
                f"{values.shape}"
            )
        unknown = np.isnan(values)
        if unknown.any():
            raise ValueError(
                f"difficulty: expected a number for each sample, got nan at {unknown.argmax()}"
            )
        return np.argsort(values, kind="stable")


@dataclass(frozen=True)
class Paced:
    """Samples in memory, of which an epoch uses the easiest; a `Source`.

    Attributes
    ----------
    examples : Examples
    batch_size : int
    bucket : bool
        As in `InMemory`.
    limit : int or None
        At most so many batches make an epoch.
    order : ndarray of int64, shape (N,)
        From the easiest sample to the hardest.
    curriculum : Curriculum
    steps_taken : callable
        Returns how many steps the optimizer has taken.
    """

    examples: Examples
    batch_size: int
    bucket: bool
    limit: int | None
    order: Array
    curriculum: Curriculum
    steps_taken: Callable[[], int]

    @property
    def steps(self) -> None:
        """None: the number of batches depends on the epoch."""
        return

    def batches(
        self, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Examples, Array | slice]]:
        """Yield the batches of an epoch; see `Source`."""
        examples = self.examples
        share = self.curriculum.share(epoch, self.steps_taken())
        used = self.order[: max(math.ceil(share * len(self.order)), self.batch_size)]
        if seed is not None:
            used = np.sort(used)  # with all of them, the order is that without a curriculum
        lengths = examples.lengths if isinstance(examples.inputs, Ragged) else None
        if lengths is not None:
            lengths = lengths[used]
        chosen = batch_rows(len(used), self.batch_size, lengths, seed, self.bucket)
        for rows in islice(chosen, self.limit):
            yield examples, used[rows]
