"""Figures of predictions, each compared with a guess that needs no model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.training.metrics import R2

__all__ = ["class_table", "score_amounts", "score_classes"]


def score_classes(labels: Array, chosen: Array) -> dict[str, float]:
    """Compute the accuracy, and the accuracy of always choosing the most frequent label.

    Parameters
    ----------
    labels, chosen : ndarray of int64, shape (M,)
    """
    return {
        "accuracy": float((labels == chosen).mean()),
        "majority_accuracy": float(np.bincount(labels).max() / len(labels)),
    }


def class_table(labels: Array, chosen: Array, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Compute precision, recall, F1 and the number of targets of each class; 0 if undefined.

    Parameters
    ----------
    labels, chosen : ndarray of int64, shape (M,)
    """
    right, wanted, found = (
        np.bincount(numbers, minlength=len(classes))
        for numbers in (labels[labels == chosen], labels, chosen)
    )
    return {
        name: {
            "precision": _ratio(right[number], found[number]),
            "recall": _ratio(right[number], wanted[number]),
            "f1": _ratio(2 * right[number], wanted[number] + found[number]),
            "count": int(wanted[number]),
        }
        for number, name in enumerate(classes)
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def score_amounts(targets: Array, predicted: Array, guess: Any, baseline: str) -> dict[str, float]:
    """Compute errors of amounts, and those of `guess`, whose names begin with `baseline`.

    Parameters
    ----------
    targets, predicted : ndarray of float64, shape (M,) or (M, U)
    guess : float or ndarray
        A number, or an array of the shape of the targets.
    """
    error, other = predicted - targets, guess - targets
    figures = {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        f"{baseline}_mae": float(np.abs(other).mean()),
        f"{baseline}_rmse": float(np.sqrt(np.square(other).mean())),
    }
    rows = targets.reshape(len(targets), -1)
    if len(rows) > 1 and (rows != rows[0]).any():
        r2 = R2()
        r2.update(rows, predicted.reshape(rows.shape))
        figures["r2"] = r2.result()
    return figures
