"""Losses: what is minimized, and its gradient.

The reported value is the sum over all samples (and valid time steps) of loss times weight, divided
by their number, as Keras does.
"""

from typing import TYPE_CHECKING, TypeAlias

from lstmcore._suggest import did_you_mean, public
from lstmcore._typing import LossName
from lstmcore.training.losses.base import Loss
from lstmcore.training.losses.chain import CRF
from lstmcore.training.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lstmcore.training.losses.ctc import CTC
from lstmcore.training.losses.distribution import GaussianNLL, Quantile
from lstmcore.training.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalFocalCrossentropy,
)
from lstmcore.training.losses.function import HOW, Function, check_gradient
from lstmcore.training.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)
from lstmcore.training.losses.sequence import PresenceCrossentropy, SequenceLoss

__all__ = [
    "CRF",
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "Function",
    "GaussianNLL",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "PresenceCrossentropy",
    "Quantile",
    "SequenceLoss",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "check_gradient",
    "get",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)

LossLike: TypeAlias = Loss | LossName
"""What `compile` takes as a loss."""

NAMES: dict[LossName, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "sparse_categorical_focal_crossentropy": SparseCategoricalFocalCrossentropy,
    "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "quantile": Quantile,
    "pinball": Quantile,
    "gaussian_nll": GaussianNLL,
    "poisson": Poisson,
    "presence_crossentropy": PresenceCrossentropy,
    "ctc": CTC,
    "crf": CRF,
}


def get(loss: LossLike) -> Loss:
    """Turn a name into a loss with default values; pass a loss on.

    Raises
    ------
    TypeError
        If it is a function, whose gradient is not known, or a class.
    ValueError
        If the name is unknown.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"loss: expected an object, got the class {loss.__name__}; call it")
    if callable(loss):
        raise TypeError(
            f"loss: expected a Loss or its name, got the function {loss!r}, whose gradient is not "
            f"known; write {HOW}"
        )
    if not isinstance(loss, str) or loss not in NAMES:
        names = ", ".join(repr(name) for name in NAMES)
        hint = did_you_mean(loss, NAMES)
        raise ValueError(f"loss: expected a Loss or one of {names}, got {loss!r}{hint}")
    return NAMES[loss]()
