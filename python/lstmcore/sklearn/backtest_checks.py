"""What a backtest can refuse before anything is trained."""

import warnings
from typing import Any

from sklearn.base import clone

from lstmcore.sklearn.distributions import check_levels, describes, interval_levels
from lstmcore.sklearn.intervals import held_out
from lstmcore.sklearn.seasons import find_season
from lstmcore.sklearn.series import Series, fit_arguments

__all__ = ["CALIBRATION", "check_bounds", "check_start", "measured_from"]

CALIBRATION = 0.2  # share of the training part, where intervals need errors that are not measured


def check_bounds(model: Any, coverage: float) -> None:
    """Raise ValueError if a model with a distribution will have no bounds with this coverage.

    Parameters
    ----------
    model : LSTMForecaster
        Need not be fitted.
    coverage : float
    """
    if model.calibration is not None or not describes(model.loss):
        return
    check_levels(model, interval_levels(coverage))
    if model.strategy != "direct" and model.horizon > 1:
        raise ValueError(
            f"coverage: expected None for strategy={model.strategy!r} with loss={model.loss!r}, "
            f"which has quantiles of one step ahead only, got {coverage} with a horizon of "
            f"{model.horizon}; use strategy='direct', or calibration={CALIBRATION}"
        )


def measured_from(first: int, horizon: int) -> int:
    """Return the step from which errors of simple forecasts are measured, before step `first`."""
    return min(int((1 - CALIBRATION) * first), first - horizon)


def check_start(
    model: Any, known: Series, coverage: float | None, steps: int, targets: Any
) -> None:
    """Raise ValueError if too little is known at the first origin, before anything is trained.

    With ``difference="auto"``, small models are trained to choose the difference, if it decides
    whether the steps suffice.

    Parameters
    ----------
    model : LSTMForecaster
        Its hyper-parameters must have been checked, and `read_series` called.
    known : Series
        The steps before the first origin.
    coverage : float or None
    steps : int
        Of the whole series.
    targets : str, sequence of str, or None
        Their names, for errors.
    """
    first = len(known.y)
    season = model.season
    if season == "auto":
        season = find_season([known.y], int(model.horizon))
    if season is not None and first <= season:
        raise ValueError(
            f"season: expected fewer than the {first} rows before the first forecast, got {season}"
        )
    lag = 0 if model.difference == "auto" else int(model.difference)
    longest = max(1, season or 0)
    if (
        model.difference == "auto"
        and _suffice(model, first, lag, season, coverage)
        and not _suffice(model, first, longest, season, coverage)
    ):
        lag = _chosen_lag(model, known)
    if not _suffice(model, first, lag, season, coverage):
        least = first + 1
        while not _suffice(model, least, lag, season, coverage):
            least += 1
        names = [targets] if isinstance(targets, str) else list(targets or [])
        whose = f"y (target {', '.join(map(str, names))})" if names else "y"
        more = _needs(model, lag, season, coverage)
        if least + int(model.horizon) > steps:
            advice = f"y has too few rows, {least + int(model.horizon)} are needed"
        else:
            advice = "start later"
        raise ValueError(
            f"start: expected at least {least} rows of {whose} before the first forecast, for "
            f"{more}, got {first} of {steps}; {advice}, or use a smaller window or horizon"
        )


def _chosen_lag(model: Any, known: Series) -> int:
    """Return the lag that `fit` will choose."""
    probe: Any = clone(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `fit` warns, too
        probe._learn_lag(probe._read(*fit_arguments([known]), True))
    return int(probe.difference_)


def _suffice(model: Any, first: int, lag: int, season: int | None, coverage: float | None) -> bool:
    """Return whether `first` steps suffice for training and, with a coverage, for bounds."""
    needed = int(model.window) + lag + int(model.horizon) + 1  # ridge is fitted on two windows
    measured = first if coverage is None else measured_from(first, int(model.horizon))
    if measured < max(needed, season or 0):
        return False
    return model.calibration is None or first - held_out(model, first) >= needed


def _needs(model: Any, lag: int, season: int | None, coverage: float | None) -> str:
    """Return what the known steps are needed for."""
    needs = [f"a window of {model.window}"]
    if lag:
        needs.append(f"a difference over {lag}")
    if season is not None:
        needs.append(f"a season of {season}")
    needs.append(f"{model.horizon} to forecast and one more")
    if model.calibration is not None or coverage is not None:
        needs.append("and to measure errors on")
    return ", ".join(needs)
