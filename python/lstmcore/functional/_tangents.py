"""Forward and backward with derivatives along a direction: Jacobian-vector products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstmcore import _checks, _core
from lstmcore._arrays import as_array, refuse_masked, refuse_masked_in
from lstmcore._typing import Exporter, Precision
from lstmcore.config import LSTMConfig
from lstmcore.functional._packed import PackedWeights, as_packed
from lstmcore.functional._types import (
    FloatArray,
    Lengths,
    LSTMGradients,
    LSTMState,
    LSTMTangentTape,
    Reset,
    StatePair,
    as_pair,
    flags_array,
)


def lstm_jvp(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    x_tangent: FloatArray | Exporter | None = None,
    weights_tangent: Mapping[str, FloatArray] | None = None,
    state_tangent: StatePair | None = None,
    training: bool = True,
    seed: int = 0,
    precision: Precision | None = None,
) -> tuple[tuple[FloatArray, LSTMState], tuple[FloatArray, LSTMState], LSTMTangentTape]:
    """Run an LSTM and differentiate it along a direction (forward mode).

    A direction t consists of tangents for x, the weights and the initial state; those left out are
    zero. If `lstm` computes f and J is its Jacobian, this returns f and the Jacobian-vector product
    J t, and `lstm_jvp_backward` then returns the gradients and their derivative along the same
    direction: second derivatives, in about three times the time of `lstm` and `lstm_backward`.

    Parameters
    ----------
    x, weights, config, state, lengths, reset, mask
        As for `lstm`.
    x_tangent : ndarray, shape of x, optional
        Ignored past a row's length and at masked steps.
    weights_tangent : mapping of str to ndarray, optional
        Tangents of some or all weights, in their shapes.
    state_tangent : pair (h, c), optional
        Tangent of the initial state, each (layers * D, N, H) or None for zeros.
    training : bool, default True
        Whether dropout and zoneout are applied, with the masks of `seed`, which are held fixed.
        The tape serves a backward in both cases.
    seed : int, default 0
        Seed of the masks, as for `lstm`.
    precision : str, optional
        Precision of the products of values and gradients: any but ``"int8"``; see `PackedWeights`.
        Products of tangents are plain multiply-adds in every precision.

    Returns
    -------
    outputs : pair (y, LSTMState)
        With the bits that `lstm` returns: y (N, T, D * H) and the final state.
    tangents : pair (y_tangent, LSTMState)
        Derivatives of these along the direction, in their shapes.
    tape : LSTMTangentTape
        For `lstm_jvp_backward`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If a shape or a value is wrong, or `weights_tangent` has an unknown name.

    Notes
    -----
    Dual numbers are carried through the equations of the forward and of the backward (Pearlmutter
    1994). At a kink of an activation or a bound, the slope of one side is used.

    Examples
    --------
    The product of the Hessian of a loss L(y) with v, a mapping like `weights`:

    >>> (y, _), (y_tangent, _), tape = F.lstm_jvp(x, weights, config, weights_tangent=v)
    >>> dy = (y - target) / y.size  # L = mean((y - target)**2) / 2
    >>> _, product = F.lstm_jvp_backward(tape, dy, dy_tangent=y_tangent / y.size)
    >>> product.weights["weight_hh_l0"]
    """
    packed = as_packed(weights, config, precision)
    h, c = (None, None) if state is None else as_pair("state", state)
    h_tangent, c_tangent = (
        (None, None) if state_tangent is None else as_pair("state_tangent", state_tangent)
    )
    x = as_array(x, "x")
    if x_tangent is not None:
        x_tangent = as_array(x_tangent, "x_tangent")
    refuse_masked_in(weights_tangent, "weights_tangent")
    y, h, c, y_tangent, h_tangent, c_tangent, tape = _core.lstm_jvp(
        packed._lstm,
        x,
        h,
        c,
        None if lengths is None else _checks.integer_array(lengths, "lengths"),
        flags_array(reset, "reset") if reset is not None else None,
        flags_array(mask, "mask") if mask is not None else None,
        x_tangent,
        h_tangent,
        c_tangent,
        weights_tangent,
        training,
        seed,
    )
    return (y, LSTMState(h, c)), (y_tangent, LSTMState(h_tangent, c_tangent)), tape


def lstm_jvp_backward(
    tape: LSTMTangentTape,
    dy: FloatArray | None = None,
    dstate: StatePair | None = None,
    *,
    dy_tangent: FloatArray | None = None,
    dstate_tangent: StatePair | None = None,
) -> tuple[LSTMGradients, LSTMGradients]:
    """Compute gradients, and their derivative along the direction of `lstm_jvp`.

    Of a loss L(y) with ``dy = L'(y)`` and ``dy_tangent = L''(y) y_tangent``, the second result is
    the product of the Hessian of L with the direction (forward over reverse).

    Because a Hessian is symmetric, this is also the double backward: the gradient of a scalar
    ``s = <t, J^T dy>``, which depends on the gradients J^T dy that `lstm_backward` returns, is

    - with respect to x, the state and the weights: the second result for the direction t, with
      `dy_tangent` and `dstate_tangent` left out;
    - with respect to dy and dstate: the tangents that `lstm_jvp` returned for t.

    Parameters
    ----------
    tape : LSTMTangentTape
        From `lstm_jvp`. It serves one backward, which frees its memory.
    dy : ndarray, shape of y, optional
        Gradient with respect to y; zeros by default. Ignored at steps that are not valid.
    dstate : pair (dh, dc), optional
        Gradient with respect to the final state, each (layers * D, N, H) or None for zeros.
    dy_tangent : ndarray, shape of y, optional
        Derivative of `dy` along the direction; zeros by default.
    dstate_tangent : pair (dh, dc), optional
        The same for `dstate`.

    Returns
    -------
    gradients : LSTMGradients
        With the bits that `lstm_backward` returns.
    tangents : LSTMGradients
        Their derivatives along the direction, in their shapes.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If the tape was used already, or a shape is wrong.
    RuntimeError
        If another thread is using the tape.
    """
    if not isinstance(tape, LSTMTangentTape):
        raise TypeError(f"tape: expected an LSTMTangentTape, got {type(tape).__name__}")
    dh, dc = (None, None) if dstate is None else as_pair("dstate", dstate)
    dh_tangent, dc_tangent = (
        (None, None) if dstate_tangent is None else as_pair("dstate_tangent", dstate_tangent)
    )
    refuse_masked(dy, "dy")
    refuse_masked(dy_tangent, "dy_tangent")
    values: dict[str, FloatArray] = {}
    tangents: dict[str, FloatArray] = {}
    for name, shape in tape.parameters():
        values[name] = np.empty(shape, tape.dtype)
        tangents[name] = np.empty(shape, tape.dtype)
    dx, dh0, dc0, dx_tangent, dh0_tangent, dc0_tangent = tape.backward(
        dy, dh, dc, dy_tangent, dh_tangent, dc_tangent, values, tangents
    )
    return (
        LSTMGradients(dx, LSTMState(dh0, dc0), values),
        LSTMGradients(dx_tangent, LSTMState(dh0_tangent, dc0_tangent), tangents),
    )
