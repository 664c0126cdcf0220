"""Curricula: which samples an epoch may use, from the easiest on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import one_line
from lstmcore._typing import Array, ArrayLike, Pace, choices
from lstmcore.training.data import Examples, Ragged, batch_rows

__all__ = ["Curriculum", "Paced"]

Difficulty: TypeAlias = ArrayLike | Callable[[Any, Any], ArrayLike]


class Curriculum:
    """Train on the easiest samples first, and on more of them from epoch to epoch.

    An epoch uses the easiest share of the samples, in a random order if `fit` shuffles, else from
    the easiest to the hardest (Bengio, Louradour, Collobert & Weston 2009; "linear" and "root" as
    in Platanios, Stretcu, Neubig, Poczos & Mitchell 2019)::

        lengths = lc.Curriculum(lambda x, y: [len(row) for row in x], epochs=10)
        model.fit(x, y, epochs=30, curriculum=lengths)

    Parameters
    ----------
    difficulty : array_like, shape (N,), or callable
        A number for each sample of x, greater for harder ones; infinity is the hardest. Or a
        function of x and y, as they are passed to `fit`, that returns such numbers.
    pace : {"root", "linear", "steps"} or callable, default "root"
        The share of the samples in epoch e, which counts from 0, with r = e / epochs and s =
        `start`: "root" is ``sqrt(s^2 + (1 - s^2) r)``, with which new samples arrive more slowly
        the more there are; "linear" is ``s + (1 - s) r``; "steps" is "linear" in four stages of
        equal length. From epoch number `epochs` on it is 1. A function returns the share in (0, 1]
        of an epoch.
    start : float, default 0.1
        The share in the first epoch, in (0, 1]. Not used by a function.
    epochs : int, default 10
        The epoch from which on all samples are used. Not used by a function.

    Notes
    -----
    An epoch has at least one whole batch, if there are that many samples. It has fewer batches
    while it uses fewer samples: compare runs by the optimizer's steps. The share depends on the
    number of the epoch alone, so that a resumed training continues as if uninterrupted. Validation
    data is not affected; with `validation_split`, `difficulty` has a number for its samples too.
    """

    STAGES = 4

    def __init__(
        self,
        difficulty: Difficulty,
        pace: Pace | Callable[[int], float] = "root",
        *,
        start: float = 0.1,
        epochs: int = 10,
    ) -> None:
        self.difficulty = difficulty
        if not callable(pace):
            _checks.choice(pace, "pace", choices(Pace))
        self.pace = pace
        self.start = _checks.real(start, "start", 0.0, 1.0, low_open=True)
        self.epochs = _checks.integer(epochs, "epochs", 1)

    def __repr__(self) -> str:
        return one_line(self)

    def share(self, epoch: int) -> float:
        """Return the share of the samples that an epoch uses, in (0, 1].

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Raises
        ------
        ValueError
            If the function `pace` returns another number.
        """
        if callable(self.pace):
            name = f"curriculum: the share that pace returns for epoch {epoch}"
            return _checks.real(self.pace(epoch), name, 0.0, 1.0, low_open=True)
        done, start = min(epoch / self.epochs, 1.0), self.start
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
            raise TypeError(f"difficulty: expected numbers, got {values.dtype}")
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
    """

    examples: Examples
    batch_size: int
    bucket: bool
    limit: int | None
    order: Array
    curriculum: Curriculum

    @property
    def steps(self) -> None:
        """None: the number of batches depends on the epoch."""
        return

    def batches(
        self, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Examples, Array | slice]]:
        """Yield the batches of an epoch; see `Source`."""
        examples = self.examples
        share = math.ceil(self.curriculum.share(epoch) * len(self.order))
        used = self.order[: max(share, self.batch_size)]
        if seed is not None:
            used = np.sort(used)  # with all of them, the order is that without a curriculum
        lengths = examples.lengths if isinstance(examples.inputs, Ragged) else None
        if lengths is not None:
            lengths = lengths[used]
        chosen = batch_rows(len(used), self.batch_size, lengths, seed, self.bucket)
        for rows in islice(chosen, self.limit):
            yield examples, used[rows]
