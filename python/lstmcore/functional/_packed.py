"""Weights laid out for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from lstmcore import _core
from lstmcore import precision as _precision
from lstmcore._arrays import refuse_masked_in
from lstmcore._typing import Precision
from lstmcore.config import LSTMConfig, core_config
from lstmcore.functional._types import FloatArray


class PackedWeights:
    """Weights laid out for the instruction set in use, for many calls with the same weights.

    Immutable and independent of the arrays that it was made from; any number of threads may use it
    at once.

    Parameters
    ----------
    weights : mapping of str to ndarray
        All weights of `config`, and no others; float32 or float64, all the same.
    config : LSTMConfig
        Sizes and options.
    precision : str, optional
        Precision of the products: ``"fp32"``, ``"bf16x3"``, ``"bf16x2"``, ``"bf16"``,
        ``"int8"`` (inference only) or ``"auto"``; see `lstmcore.set_precision`, which sets the
        default of float32 weights. Sums, cells and states are float32 in all of them.

    Raises
    ------
    TypeError
        If a weight is not an array of float32 or float64, or the types are mixed.
    ValueError
        If a name is missing or unknown, a shape is wrong, or `precision` is a lower one and the
        weights are float64.
    """

    __slots__ = ("_config", "_lstm")

    _config: LSTMConfig
    _lstm: _core.Lstm

    def __init__(
        self,
        weights: Mapping[str, FloatArray],
        config: LSTMConfig,
        precision: Precision | None = None,
    ) -> None:
        if not isinstance(config, LSTMConfig):
            raise TypeError(f"config: expected an LSTMConfig, got {type(config).__name__}")
        refuse_masked_in(weights, "weights")
        self._lstm = _core.Lstm(core_config(config), weights, _precision_for(weights, precision))
        self._config = config

    @property
    def config(self) -> LSTMConfig:
        """Sizes and options."""
        return self._config

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, that of the arrays given."""
        return self._lstm.dtype

    @property
    def precision(self) -> str:
        """Precision of the products."""
        return self._lstm.precision

    def __repr__(self) -> str:
        precision = "" if self.precision == "fp32" else f", precision={self.precision!r}"
        return f"PackedWeights({self._config}, dtype={self.dtype}{precision})"

    def __copy__(self) -> PackedWeights:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedWeights:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("PackedWeights cannot be pickled: save the weights and pack them again")


def _precision_for(weights: Mapping[str, FloatArray], precision: Precision | None) -> Precision:
    """Return the precision to pack for: the argument, or the default of the weights' type."""
    if precision is not None:
        _precision.checked(precision)
        return precision
    if _precision.get_precision() == "fp32" or not isinstance(weights, Mapping):
        return "fp32"
    first = next(iter(weights.values()), None)
    return _precision.in_force(None, getattr(first, "dtype", None))


def pack(
    weights: Mapping[str, FloatArray], config: LSTMConfig, precision: Precision | None = None
) -> PackedWeights:
    """Lay `weights` out for many calls; see `PackedWeights`."""
    return PackedWeights(weights, config, precision)


def as_packed(
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None,
    precision: Precision | None = None,
) -> PackedWeights:
    """Return packed weights: `weights` themselves if they are packed and belong to `config`."""
    if not isinstance(weights, PackedWeights):
        if config is None:
            raise TypeError("config: expected an LSTMConfig alongside unpacked weights, got None")
        return PackedWeights(weights, config, precision)
    if config is not None and config != weights.config:
        raise ValueError(f"config: expected that of the weights, {weights.config}, got {config}")
    if precision is not None and precision != weights.precision:
        raise ValueError(
            f"precision: expected that of the packed weights, {weights.precision!r}, "
            f"got {precision!r}"
        )
    return weights
