"""Initial values of weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lstmcore import _checks
from lstmcore.config import LSTMConfig
from lstmcore.functional._types import FloatArray


def init_weights(
    config: LSTMConfig,
    seed: int | np.random.Generator = 0,
    dtype: npt.DTypeLike = "float32",
    *,
    forget_bias: float = 1.0,
) -> dict[str, FloatArray]:
    """Return new weights with Keras' initial values.

    Input weights are Glorot uniform (Glorot & Bengio 2010), recurrent weights orthogonal (Saxe et
    al. 2014), biases zero except the forget gate's, which are one (Jozefowicz et al. 2015),
    peephole weights zero and gains one.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    seed : int or numpy.random.Generator, default 0
        Where the random numbers come from; the same seed gives the same weights.
    dtype : dtype, default "float32"
        ``float32`` or ``float64``. Both hold the same values except for rounding.
    forget_bias : float, default 1.0
        Initial bias of the forget gate. Larger values remember for longer from the start.

    Returns
    -------
    dict of str to ndarray
        Every weight of `config`.

    Raises
    ------
    TypeError
        If `config` is no configuration.
    ValueError
        If `dtype` is neither float32 nor float64.
    """
    if isinstance(config, type) or not hasattr(config, "parameter_shapes"):
        raise TypeError(f"config: expected an LSTMConfig, got {_checks.describe(config)}")
    element = _checks.float_dtype(dtype)
    remembering = _checks.real(forget_bias, "forget_bias")
    random = np.random.default_rng(seed)
    weights: dict[str, FloatArray] = {}
    for name, shape in config.parameter_shapes().items():
        if name.startswith(("peephole", "bias_c")):
            values = np.zeros(shape)
        elif name.startswith("gain"):
            values = np.ones(shape)
        elif name.startswith("bias"):
            values = np.zeros(shape)
            values[config.hidden_size : 2 * config.hidden_size] = remembering
        elif name.startswith("weight_hh"):  # more rows than columns
            values = _orthogonal(shape, random)
        else:
            limit = np.sqrt(6.0 / (shape[0] + shape[1]))
            values = random.uniform(-limit, limit, shape)
        weights[name] = values.astype(element)
    return weights


def _orthogonal(shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Orthonormal columns, uniformly distributed; there are at least as many rows as columns."""
    basis, triangle = np.linalg.qr(random.standard_normal(shape))
    return np.asarray(basis * np.where(np.diag(triangle) < 0, -1.0, 1.0), np.float64)
