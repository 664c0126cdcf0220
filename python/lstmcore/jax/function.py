"""The public function: checks of its arguments, at the time when JAX traces it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmcore import _checks
from lstmcore._suggest import suggests
from lstmcore.jax.call import Call

_TRANSPOSE = "; pass its transpose, .T"


@suggests
def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    reverse: bool = False,
    mask: Any = None,
    lengths: Any = None,
    time_major: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Run an LSTM over a batch of sequences, on the CPU, as a differentiable function of JAX.

    The rows of the weights are the gates i, f, g, o::

        i = sigmoid(W_i x + U_i h' + b_i)      f = sigmoid(W_f x + U_f h' + b_f)
        g = tanh   (W_g x + U_g h' + b_g)      o = sigmoid(W_o x + U_o h' + b_o)
        c = f * c' + i * g                     h = o * tanh(c)

    (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.)

    Parameters
    ----------
    x : array, shape (N, T, C)
        Input, float32 or float64. N = 0 and T = 0 are allowed.
    w_ih : array, shape (4H, C)
        Input weights, of the dtype of x like all arrays below.
    w_hh : array, shape (4H, H)
        Recurrent weights.
    b : array, shape (4H,), optional
        Biases; zeros by default.
    h0, c0 : array, shape (N, H), optional
        Initial state; zeros by default.
    reverse : bool, default False
        Walk each sequence from its end. y is in the order of x.
    mask : array of bool, shape (N, T), optional
        True at valid steps. The others are skipped: their input is ignored, the state passes
        unchanged, and y is zero.
    lengths : array of integers, shape (N,), optional
        Valid steps of each row, 0 to T, as an alternative to `mask`. y is zero past them.
    time_major : bool, default False
        x is (T, N, C), y is (T, N, H) and mask is (T, N).

    Returns
    -------
    y : array, shape (N, T, H)
        h of every step.
    h, c : array, shape (N, H)
        State after each row's last valid step, or its initial state if it has none.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If a shape is wrong, or both `mask` and `lengths` are passed.
    NotImplementedError
        If the program is compiled for another device than the CPU.
    jax.errors.JaxRuntimeError
        When the values are known, if one of `lengths` is outside 0 to T.

    Notes
    -----
    Gradients with respect to x, the weights, h0 and c0 are those of exact backpropagation through
    time. Gradients of gradients are exact too, but differentiate a loop in JAX's own operations,
    which is slow. Forward-mode derivatives (``jax.jvp``, ``jax.hessian``) are refused.
    `lstmcore.set_precision` applies to float32 arrays. docs/jax.md says what a call costs, and how
    it behaves under ``jax.vmap``.
    """
    # At the first call, since it registers the engine with JAX, which is mocked in documentation.
    from lstmcore.jax.primitive import lstm_p

    reverse = _checks.flag(reverse, "reverse")
    time_major = _checks.flag(time_major, "time_major")
    required = {"x": x, "w_ih": w_ih, "w_hh": w_hh}
    optional = {"b": b, "h0": h0, "c0": c0}
    floats = required | {name: value for name, value in optional.items() if value is not None}
    operands = {name: _array(name, value) for name, value in floats.items()}
    _check_dtypes(operands)
    _check_shapes(operands, time_major)
    batch = operands["x"].shape[1 if time_major else 0]
    if mask is not None:
        operands["mask"] = _mask(
            mask, operands["x"].shape[:2], "(T, N)" if time_major else "(N, T)"
        )
    if lengths is not None:
        operands["lengths"] = _lengths(lengths, batch)
    if mask is not None and lengths is not None:
        raise ValueError(
            "lengths: expected None with a mask, got both; to combine them, pass "
            "mask & (jnp.arange(T) < lengths[:, None]) as the mask"
        )
    call = Call(tuple(operands), reverse, time_major)
    y, h, c = lstm_p.bind(*operands.values(), call=call)
    return y, h, c


def _array(name: str, value: Any) -> Any:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected an array, got {_checks.describe(value)}") from None
    except OverflowError:
        raise ValueError(
            f"{name}: expected numbers within the range of JAX's types, got "
            f"{_checks.describe(value)}"
        ) from None


def _check_dtypes(operands: dict[str, Any]) -> None:
    """Raise TypeError unless all arrays have the dtype of x, float32 or float64."""
    dtype = operands["x"].dtype
    for name, array in operands.items():
        if name == "x" and dtype not in _checks.FLOAT_TYPES:
            raise TypeError(
                f"x: expected float32 or float64, got {dtype}; nothing is converted silently, "
                "convert with .astype('float32')"
            )
        if array.dtype != dtype:
            raise TypeError(
                f"{name}: expected {dtype} like x, got {array.dtype}; nothing is converted "
                f"silently, convert with .astype('{dtype}')"
            )


def _check_shapes(operands: dict[str, Any], time_major: bool) -> None:
    x, w_hh = operands["x"], operands["w_hh"]
    if x.ndim != 3:
        letters = "(T, N, C)" if time_major else "(N, T, C)"
        hint = "; for a single sequence pass x[None]" if x.ndim == 2 and not time_major else ""
        raise ValueError(f"x: expected shape {letters}, got {x.shape}{hint}")
    units = w_hh.shape[1] if w_hh.ndim == 2 else 0
    if units == 0 or w_hh.shape[0] != 4 * units:
        transposed = w_hh.ndim == 2 and w_hh.shape[1] == 4 * w_hh.shape[0] > 0
        hint = _TRANSPOSE if transposed else ""
        raise ValueError(f"w_hh: expected shape (4H, H), got {w_hh.shape}{hint}")
    if x.shape[2] == 0:
        raise ValueError(f"x: expected at least one feature, got shape {x.shape}")
    batch = x.shape[1 if time_major else 0]
    state = ("(N, H)", (batch, units))
    for name, (letters, shape) in {
        "w_ih": ("(4H, C)", (4 * units, x.shape[2])),
        "b": ("(4H,)", (4 * units,)),
        "h0": state,
        "c0": state,
    }.items():
        if name in operands and operands[name].shape != shape:
            came = operands[name].shape
            hint = _TRANSPOSE if len(shape) == 2 and came == shape[::-1] else ""
            raise ValueError(f"{name}: expected shape {letters} = {shape}, got {came}{hint}")


def _mask(value: Any, shape: tuple[int, ...], letters: str) -> Any:
    mask = _array("mask", value)
    if mask.dtype != jnp.bool_:
        raise TypeError(
            f"mask: expected an array of bool, got {mask.dtype}; for 0 and 1 pass .astype(bool)"
        )
    if mask.shape != shape:
        raise ValueError(f"mask: expected shape {letters} = {shape}, got {mask.shape}")
    return mask


def _lengths(value: Any, batch: int) -> Any:
    lengths = _array("lengths", value)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise ValueError(f"lengths: expected shape (N,) = ({batch},), got {lengths.shape}")
    _check_kept(value, lengths.dtype)
    return lengths


def _check_kept(lengths: Any, dtype: Any) -> None:
    """Raise ValueError if lengths, of another library, have changed as they became of `dtype`.

    Without ``jax_enable_x64``, JAX drops the upper 32 bits without a word: 2**32 + 1 would be 1.
    """
    foreign = not (isinstance(lengths, jax.Array) or hasattr(lengths, "__jax_array__"))
    if foreign and hasattr(lengths, "dtype"):  # JAX itself refuses Python's integers
        wide = _checks.integer_array(lengths, "lengths")
        wrong = wide[(wide < np.iinfo(dtype).min) | (wide > np.iinfo(dtype).max)]
        if wrong.size:
            raise ValueError(f"lengths: expected integers of {dtype}, got {wrong[0]}")
