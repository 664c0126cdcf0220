"""Learning-rate schedules: pure functions of the training step, so a resumed run continues them."""

import math
from typing import TYPE_CHECKING

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._suggest import public

__all__ = ["Constant", "CosineDecay", "ExponentialDecay", "OneCycle", "Schedule", "Warmup"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)


class Schedule(Configurable):
    """A function from the number of steps already taken to the learning rate of the next."""

    def _why_fixed(self, name: str) -> str | None:
        return None  # each call reads all options

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` steps, which counts from 0."""
        raise NotImplementedError


class Constant(Schedule):
    """Always the same.

    Parameters
    ----------
    learning_rate : float
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = _checks.real(learning_rate, "learning_rate", 0.0)

    def __call__(self, step: int) -> float:
        """Return the learning rate."""
        return self.learning_rate


class ExponentialDecay(Schedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Steps in which the rate falls by `decay_rate`.
    decay_rate : float
        Above 0.
    staircase : bool, default False
        Whether the exponent is rounded down.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ) -> None:
        self.initial_learning_rate = _checks.real(
            initial_learning_rate, "initial_learning_rate", 0.0
        )
        self.decay_steps = _checks.integer(decay_steps, "decay_steps", 1)
        self.decay_rate = _checks.real(decay_rate, "decay_rate", 0.0, low_open=True)
        self.staircase = _checks.flag(staircase, "staircase")

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        try:
            exponent = step / self.decay_steps
            if self.staircase:
                exponent = math.floor(exponent)
            return self.initial_learning_rate * float(self.decay_rate**exponent)
        except OverflowError:
            raise ValueError(
                f"decay_rate: expected a rate whose powers are floats, got {self.decay_rate} for "
                f"step {step}"
            ) from None


class CosineDecay(Schedule):
    """Half a cosine from `initial_learning_rate` down to ``alpha`` times it (Loshchilov 2017).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Steps until the end; the rate stays there.
    alpha : float, default 0.0
        In [0, 1].
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0) -> None:
        self.initial_learning_rate = _checks.real(
            initial_learning_rate, "initial_learning_rate", 0.0
        )
        self.decay_steps = _checks.integer(decay_steps, "decay_steps", 1)
        self.alpha = _checks.real(alpha, "alpha", 0.0, 1.0)

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        share = _half_cosine(min(step / self.decay_steps, 1.0))
        return self.initial_learning_rate * (self.alpha + (1.0 - self.alpha) * share)


class OneCycle(Schedule):
    """Up from ``max_learning_rate / div_factor``, then far down, each by half a cosine.

    After Smith & Topin 2019, in PyTorch's form.

    Parameters
    ----------
    max_learning_rate : float
    total_steps : int
        Of the whole cycle, at least 2; the rate stays at its end.
    warmup_share : float, default 0.3
        Share of the steps in which the rate rises, in (0, 1).
    div_factor : float, default 25.0
        How far below the maximum it begins.
    final_div_factor : float, default 1e4
        How far below its beginning it ends.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        warmup_share: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_learning_rate = _checks.real(max_learning_rate, "max_learning_rate", 0.0)
        self.total_steps = _checks.integer(total_steps, "total_steps", 2)
        self.warmup_share = _checks.real(
            warmup_share, "warmup_share", 0.0, 1.0, low_open=True, high_open=True
        )
        self.div_factor = _checks.real(div_factor, "div_factor", 1.0)
        self.final_div_factor = _checks.real(final_div_factor, "final_div_factor", 1.0)

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        top, begin = self.max_learning_rate, self.max_learning_rate / self.div_factor
        end = begin / self.final_div_factor
        last = self.total_steps - 1
        peak = self.warmup_share * self.total_steps - 1.0
        if step < peak:
            return begin + (top - begin) * (1.0 - _half_cosine(step / peak))
        return end + (top - end) * _half_cosine(min((step - peak) / (last - peak), 1.0))


class Warmup(Schedule):
    """A straight line up to the first rate of another schedule, then that schedule.

    Parameters
    ----------
    schedule : Schedule or float
        What follows; its steps count from the end of the warm-up.
    warmup_steps : int
        Steps below the full rate.
    initial_learning_rate : float, default 0.0
        Where the line begins.
    """

    def __init__(
        self,
        schedule: Schedule | float,
        warmup_steps: int,
        initial_learning_rate: float = 0.0,
    ) -> None:
        self.schedule = schedule if isinstance(schedule, Schedule) else Constant(schedule)
        self.warmup_steps = _checks.integer(warmup_steps, "warmup_steps", 1)
        self.initial_learning_rate = _checks.real(
            initial_learning_rate, "initial_learning_rate", 0.0
        )

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        if step >= self.warmup_steps:
            return self.schedule(step - self.warmup_steps)
        begin, share = self.initial_learning_rate, step / self.warmup_steps
        return begin + (self.schedule(0) - begin) * share


def _half_cosine(share: float) -> float:
    """From 1 at 0 down to 0 at 1."""
    return 0.5 * (1.0 + math.cos(math.pi * share))
