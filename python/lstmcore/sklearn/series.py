"""Series and their exogenous columns, in the forms that `LSTMForecaster` takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from lstmcore import _checks
from lstmcore._arrays import refuse_sparse
from lstmcore._typing import Array
from lstmcore.sklearn.columns import check_finite, check_numbers, column_names

__all__ = ["Series", "fit_arguments", "read_exogenous", "read_series"]


@dataclass(frozen=True)
class Series:
    """A series in its original units.

    Attributes
    ----------
    y : ndarray of float64, shape (T, K)
    x : ndarray of float64, shape (T, E)
    """

    y: Array
    x: Array

    def first(self, steps: int) -> "Series":
        """Return the first steps."""
        return Series(self.y[:steps], self.x[:steps])

    def last(self, steps: int) -> "Series":
        """Return the last steps, or all if there are fewer."""
        return Series(self.y[-steps:].copy(), self.x[-steps:].copy())

    def then(self, other: "Series") -> "Series":
        """Return this series followed by another."""
        return Series(np.concatenate([self.y, other.y]), np.concatenate([self.x, other.x]))


def fit_arguments(series: Sequence[Series]) -> tuple[list[Array], list[Array] | None]:
    """Return series as the arguments of `fit`."""
    beside = [one.x for one in series] if series[0].x.shape[1] else None
    return [one.y for one in series], beside


def is_list(values: Any) -> bool:
    """Return whether `values` is a list of series rather than of numbers."""
    return isinstance(values, (list, tuple)) and any(
        isinstance(one, (list, tuple)) or len(getattr(one, "shape", ())) > 0 for one in values
    )


def read_series(forecaster: Any, y: Any, x: Any, *, reset: bool, x_name: str = "X") -> list[Series]:
    """Check series and their exogenous columns.

    Parameters
    ----------
    forecaster : LSTMForecaster
        Has the attributes that describe the series `fit` saw; with `reset`, they are set.
    y : array_like, frame, or list of them
        (T,) or (T, K); if the forecaster has a `target`, frames whose other columns are exogenous.
    x : array_like, frame, or list of them, optional
        (T, E) or (T,).
    reset : bool
        Whether to describe the series instead of comparing them with those that `fit` saw.
    x_name : str
        Name of `x` in errors. Errors about exogenous columns in `y` name `y`.

    Returns
    -------
    list of Series

    Raises
    ------
    ValueError
        If the arguments do not fit, or values are not finite.
    """
    if isinstance(y, (list, tuple)) and len(y) == 0:
        raise ValueError("y: expected a series, or a list of them, got an empty one")
    several = is_list(y)
    rows = list(y) if several else [y]
    names = forecaster.target
    if names is not None and x is not None:
        raise ValueError(
            f"{x_name}: expected None, since the columns of y other than target are exogenous"
        )
    found = []
    beside = _beside(x, len(rows), several, x_name)
    if names is not None:
        x_name = "y"
    for place, (one, more) in enumerate(zip(rows, beside, strict=True)):
        if names is not None:
            one, more = _divide(one, names)
        if not (reset and place == 0):
            more = _in_order(more, forecaster._names[1])
            if names is None:
                one = _in_order(one, forecaster._names[0])
        where = f"[{place}]" if several else ""
        values = _table(one, "y", where)
        columns = np.empty((len(values), 0))
        if more is not None:
            columns = _wide(_table(more, x_name, where))
        if len(columns) != len(values):
            raise ValueError(
                f"{x_name}: expected {len(values)} steps like y, got {len(columns)} in series "
                f"{place}"
            )
        if reset and place == 0:
            forecaster._listed, forecaster._flat = several, values.ndim == 1
            forecaster.n_targets_ = _wide(values).shape[1]
            forecaster.n_exogenous_ = columns.shape[1]
            forecaster.n_features_in_ = forecaster.n_targets_ + forecaster.n_exogenous_
            forecaster._names = column_names(one), column_names(more)
            targets = [names] if isinstance(names, str) else forecaster._names[0]
            _name_features(forecaster, targets, forecaster._names[1])
        _check_columns(one, values, forecaster.n_targets_, forecaster._names[0], "y")
        kind = "" if names is None else " besides target"
        _check_columns(more, columns, forecaster.n_exogenous_, forecaster._names[1], x_name, kind)
        if (values.ndim == 1) != forecaster._flat:
            shape = "(T,)" if forecaster._flat else f"(T, {forecaster.n_targets_})"
            raise ValueError(
                f"y: expected series of shape {shape} like the first, got {values.shape}"
            )
        found.append(Series(_wide(values), columns))
    return found


def read_exogenous(forecaster: Any, x: Any, steps: int, count: int, several: bool) -> Array | None:
    """Check the exogenous columns of the steps ahead.

    Parameters
    ----------
    forecaster : LSTMForecaster
        Fitted.
    x : array_like, frame, or list of them, optional
        (steps, E) or (steps,).
    steps, count : int
        Required number of steps, and of series.
    several : bool
        Whether it must be a list.

    Returns
    -------
    ndarray of float64, shape (count, steps, E), or None
        None if the model does not use them.

    Raises
    ------
    ValueError
        If the arguments do not fit, or values are not finite.
    """
    width = forecaster.n_exogenous_
    if forecaster.exogenous != "known" or width == 0:
        if x is not None:
            reason = "the model has no exogenous columns" if width == 0 else "exogenous='past'"
            raise ValueError(f"X: expected None, since {reason}")
        return None
    if x is None:
        raise ValueError(f"X: expected the {width} exogenous columns of {steps} steps, got None")
    tables = []
    for one in _beside(x, count, several, "X"):
        names = forecaster._names[1]
        one = _in_order(one, names, others=True)
        columns = _wide(_table(one, "X"))
        _check_columns(one, columns, width, names, "X")
        if len(columns) != steps:
            raise ValueError(
                f"X: expected {steps} steps, one for each forecast, got {len(columns)}"
            )
        tables.append(columns)
    return np.stack(tables)


def _beside(x: Any, count: int, several: bool, name: str) -> list[Any]:
    if x is None:
        return [None] * count
    if not several:
        if count > 1:
            raise ValueError(f"{name}: expected a list of {count} like the series, got one")
        return [x]
    if not is_list(x) or len(x) != count:
        raise ValueError(f"{name}: expected a list of {count} like the series")
    return list(x)


def _divide(frame: Any, target: Any) -> tuple[Any, Any]:
    """Split a frame into targets and exogenous columns, None if there are none."""
    columns = column_names(frame)
    names = [target] if isinstance(target, str) else list(target)
    if columns is None:
        raise ValueError("y: expected a frame, since target names columns; got none")
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(
            f"target: expected columns of y, which are {', '.join(map(str, columns))}; got "
            f"{', '.join(map(str, missing))}"
        )
    others = [name for name in columns if name not in names]
    return frame[target if isinstance(target, str) else names], frame[others] if others else None


def _in_order(frame: Any, names: list[Any] | None, others: bool = False) -> Any:
    """Reorder a frame's columns as `names` if it has exactly these or, with `others`, more."""
    given = column_names(frame)
    if names is None or given is None or given == names:
        return frame
    if set(names) == set(given) or (others and set(names) <= set(given)):
        return frame[names]
    return frame


def _table(values: Any, name: str, where: str = "") -> Array:
    refuse_sparse(values, name)
    if values is None or isinstance(values, (str, bytes, Mapping)):
        raise TypeError(f"{name}: expected a series of numbers, got {_checks.describe(values)}")
    check_numbers(values, name)
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected shape (T,) or (T, columns), got {array.shape}")
    checked: Array = check_array(
        array, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name=name
    )
    check_finite(checked, name, where, values)
    return checked


def _wide(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _check_columns(
    given: Any, values: Array, width: int, names: Any, name: str, kind: str = ""
) -> None:
    if _wide(values).shape[1] != width:
        raise ValueError(
            f"{name}: expected {width} columns{kind} as before, got {_wide(values).shape[1]}"
        )
    columns = column_names(given)
    if names is not None and columns is not None and columns != names:
        raise ValueError(
            f"{name}: expected the columns {', '.join(map(str, names))}, got "
            f"{', '.join(map(str, columns))}{kind}"
        )


def _name_features(forecaster: Any, targets: Any, others: Any) -> None:
    names = [*(targets or []), *(others or [])]
    if len(names) == forecaster.n_features_in_ and all(isinstance(name, str) for name in names):
        forecaster.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(forecaster, "feature_names_in_"):
        del forecaster.feature_names_in_
