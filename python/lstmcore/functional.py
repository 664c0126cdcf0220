"""The LSTM as plain functions: NumPy arrays in, NumPy arrays out, nothing kept between calls.

Letters: N batch, T time steps, C input features, H hidden units, D directions (2 if bidirectional,
else 1). With a projection h, and what has its width, is P wide instead of H. Weights are a flat
mapping from names to arrays, ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H), ``bias_l0`` (4H,)
and so on (`LSTMConfig.parameter_shapes`), rows in gate order i, f, g, o::

    i = sigmoid(W_i x + U_i h' + b_i)      f = sigmoid(W_f x + U_f h' + b_f)
    g = tanh   (W_g x + U_g h' + b_g)      o = sigmoid(W_o x + U_o h' + b_o)
    c = f * c' + i * g                     h = o * tanh(c)

(Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; `LSTMConfig` names the
variants.) Element types are float32 or float64, the same for all arrays of a call; nothing is
converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core
from lstmcore import precision as _precision
from lstmcore._arrays import as_array
from lstmcore._configurable import named_fields
from lstmcore._suggest import public
from lstmcore._typing import Exporter, Precision
from lstmcore.config import LSTMConfig, core_config

__all__ = [
    "LSTMConfig",
    "LSTMState",
    "LSTMGradients",
    "LSTMTape",
    "LSTMTangentTape",
    "PackedWeights",
    "init_weights",
    "pack",
    "lstm",
    "lstm_masks",
    "lstm_begin",
    "lstm_step",
    "lstm_state",
    "lstm_backward",
    "lstm_jvp",
    "lstm_jvp_backward",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)

FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Lengths: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[int]
Reset: TypeAlias = npt.NDArray[np.bool_] | Sequence[Sequence[bool]]
StatePair: TypeAlias = tuple[FloatArray | None, FloatArray | None]

LSTMTape = _core.LstmTape
"""What a training forward keeps for its one backward: copies of all it needs, and its weights."""

LSTMTangentTape = _core.LstmTangentTape
"""The same of a forward with tangents."""


class LSTMState(NamedTuple):
    """State of every layer and direction, entry layer * D + direction.

    Attributes
    ----------
    h : ndarray, shape (layers * D, N, H), with a projection (layers * D, N, P)
        Hidden state.
    c : ndarray, shape (layers * D, N, H)
        Cell state.
    """

    h: FloatArray
    c: FloatArray

    def __repr__(self) -> str:
        return named_fields(self)


class LSTMGradients(NamedTuple):
    """Gradients by the inputs of a forward.

    Attributes
    ----------
    x : ndarray, shape (N, T, C), or None
        By the input; zero past a row's length. None if not asked for.
    state : LSTMState or None
        By the initial state. None if not asked for.
    weights : dict of str to ndarray
        By the weights, with their names and shapes. Empty if not asked for.
    """

    x: FloatArray | None
    state: LSTMState | None
    weights: dict[str, FloatArray]

    def __repr__(self) -> str:
        return named_fields(self)


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
        How exactly products are computed: ``"fp32"``, ``"bf16x3"``, ``"bf16x2"``, ``"bf16"``,
        ``"int8"`` (inference only) or ``"auto"``; see `lstmcore.set_precision`, which sets the
        default of float32 weights. Sums, cells and states are float32 in all of them.

    Raises
    ------
    TypeError
        If an array is missing its type: not an array, not float32 or float64, or mixed.
    ValueError
        If a name is missing or unknown, a shape is wrong, or float64 weights are to be computed in
        another precision than their own.
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
        """How exactly products are computed."""
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
    """Return what weights are packed for: what is asked for, or the default of their type."""
    if precision is not None:
        _precision.checked(precision)
        return precision
    if _precision.get_precision() == "fp32" or not isinstance(weights, Mapping):
        return "fp32"
    first = next(iter(weights.values()), None)
    return _precision.in_force(None, getattr(first, "dtype", None))


def init_weights(
    config: LSTMConfig,
    seed: int | np.random.Generator = 0,
    dtype: npt.DTypeLike = "float32",
    *,
    forget_bias: float = 1.0,
) -> dict[str, FloatArray]:
    """Return new weights with Keras' initial values.

    Input weights are Glorot uniform (Glorot & Bengio 2010), recurrent weights orthogonal (Saxe et
    al. 2014), biases zero but for the forget gate's, which are one (Jozefowicz et al. 2015),
    peephole weights zero and gains one.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    seed : int or numpy.random.Generator, default 0
        Where the random numbers come from; the same seed gives the same weights.
    dtype : dtype, default "float32"
        ``float32`` or ``float64``. Both hold the same values but for rounding.
    forget_bias : float, default 1.0
        Initial bias of the forget gate. Larger values remember for longer from the start.

    Returns
    -------
    dict of str to ndarray
        Every weight of `config`.

    Raises
    ------
    ValueError
        If `dtype` is neither float32 nor float64.
    """
    element = np.dtype(dtype)
    if element not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {element}")
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
    """Return packed weights, those given if they are packed and belong to `config`."""
    if not isinstance(weights, PackedWeights):
        if config is None:
            raise TypeError("config: expected an LSTMConfig beside unpacked weights, got None")
        return PackedWeights(weights, config, precision)
    if config is not None and config != weights.config:
        raise ValueError(f"config: expected that of the weights, {weights.config}, got {config}")
    if precision is not None and precision != weights.precision:
        raise ValueError(
            f"precision: expected that of the packed weights, {weights.precision!r}, "
            f"got {precision!r}"
        )
    return weights


@overload
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[False] = False,
    seed: int = 0,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState]: ...
@overload
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[True],
    seed: int = 0,
    recompute: int | str | None = None,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState, LSTMTape]: ...
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: bool = False,
    seed: int = 0,
    recompute: int | str | None = None,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState] | tuple[FloatArray, LSTMState, LSTMTape]:
    """Run an LSTM over a batch of sequences.

    Parameters
    ----------
    x : ndarray, shape (N, T, C)
        Input, of the weights' dtype; any strides. N = 0 and T = 0 are allowed: the state stays.
    weights : mapping of str to ndarray, or PackedWeights
        A mapping is packed for this call.
    config : LSTMConfig, optional
        Sizes and options; may be left out with packed weights.
    state : pair (h, c), optional
        Initial state, each (layers * D, N, H) or None for zeros.
    lengths : integers, shape (N,), optional
        Valid steps of each row, 0 to T, in any order; all T by default. Steps past them are not
        looked at. A row's final state is that of its last valid step, its initial state if it has
        none.
    reset : bool, shape (N, T), optional
        True where a new sequence starts: nothing passes between this step and the one before it.
        The forward direction's state is zeroed before the step, the reverse direction's after it.
    mask : bool, shape (N, T), optional
        True where a step is there. The others are passed over: not looked at, the state carried
        over unchanged, y zero; a reset there acts on the next step that is there. Instead of
        `lengths`.
    return_sequences : bool, default True
        If false, y is the last layer's final h instead of its h of every step.
    training : bool, default False
        Apply dropout and zoneout and return a tape for `lstm_backward`.
    seed : int, default 0
        Seed of the masks (`lstm_masks`), 0 to 2**64 - 1.
    recompute : int or "sqrt", optional
        The tape keeps the state of every so many steps only, and the backward computes what lies
        between them again: gradients of the same bits for about a third more time, and memory that
        no longer grows by all gates of every step (Chen et al. 2016). "sqrt": the square root of
        the longest sequence, which takes the least memory. None: everything is kept.
    precision : str, optional
        How exactly products are computed; see `PackedWeights`. Packed weights have theirs.

    Returns
    -------
    y : ndarray, shape (N, T, D * H) or, without `return_sequences`, (N, D * H)
        Output of the last layer; zero past each row's length.
    state : LSTMState
        Final state of every layer and direction.
    tape : LSTMTape
        Only if `training`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If a shape or a value is wrong.
    """
    if (
        type(weights) is not PackedWeights
        or not (config is None or config is weights._config)
        or precision is not None
    ):
        weights = as_packed(weights, config, precision)
    h, c = (None, None) if state is None else as_pair("state", state)
    if type(x) is not np.ndarray:
        x = as_array(x, "x")
    if lengths is not None and (type(lengths) is not np.ndarray or lengths.dtype.char in "LQ"):
        lengths = _checks.integer_array(lengths, "lengths")
    if reset is not None and not isinstance(reset, np.ndarray):
        reset = _flags(reset, "reset")
    if mask is not None and not isinstance(mask, np.ndarray):
        mask = _flags(mask, "mask")
    again = 0 if recompute is None else recompute_steps(recompute)
    if again and not training:
        raise ValueError(f"recompute: expected None without training, got {recompute!r}")
    y, h, c, tape = weights._lstm.forward(
        x, h, c, lengths, reset, return_sequences, training, seed, mask, again
    )
    if y is None:
        y = h[-1].copy() if weights._config.num_directions == 1 else np.hstack([h[-2], h[-1]])
    if tape is None:
        return y, LSTMState(h, c)
    return y, LSTMState(h, c), tape


def recompute_steps(recompute: int | str | None) -> int:
    """Return the engine's number for what `lstm` takes."""
    if recompute is None:
        return 0
    if isinstance(recompute, str):
        _checks.choice(recompute, "recompute", ("sqrt",))
        return -1
    return _checks.integer(recompute, "recompute", 1)


def _flags(value: Any, name: str) -> npt.NDArray[np.bool_]:
    """Make an array of what is none; an empty list says nothing of its type."""
    flags = _checks.any_array(value, name)
    return flags.astype(np.bool_) if flags.size == 0 else flags


def lstm_masks(
    config: LSTMConfig, batch_size: int, steps: int, seed: int = 0
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the random masks of a training forward.

    They depend on the arguments only: not on threads, lengths, dtype or instruction set.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    batch_size, steps : int
        N and T of the forward.
    seed : int, default 0
        Of the forward.

    Returns
    -------
    dict of str to ndarray
        An entry for every option at work. Factors, 0 where an element is dropped, else 1 / (1 -
        rate): ``dropout`` (layers - 1, N, T, D * H), ``input_dropout`` (N, C),
        ``recurrent_dropout`` (layers * D, N, H), ``weight_dropout`` (layers * D, 4H, H or P). One
        where an element keeps the value that it had before the step, else 0: ``zoneout_h`` and
        ``zoneout_c`` (layers * D, N, T, H), with t the time in the sequence, in both directions.
    """
    _checks.instance(config, LSTMConfig, "config", "an LSTMConfig")
    batch = _checks.integer(batch_size, "batch_size", 0)
    times = _checks.integer(steps, "steps", 0)
    cells = config.num_layers * config.num_directions

    _core.mask_seed(seed, "zoneout_h", 0)  # refuses what is no seed

    def draw(shape: tuple[int, ...], rate: float, kind: str, cell: int = 0) -> Any:
        if rate == 1.0:  # a zoneout too small to be told from none
            return np.zeros(shape)
        stream = _core.mask_seed(seed, kind, cell) if kind else seed
        return _core.dropout(np.ones(shape), rate, stream)

    masks: dict[str, npt.NDArray[np.float64]] = {}
    hidden, width = config.hidden_size, config.output_size
    if config.dropout and config.num_layers > 1:
        masks["dropout"] = draw((config.num_layers - 1, batch, times, width), config.dropout, "")
    if config.input_dropout:
        shape = (batch, config.input_size)
        masks["input_dropout"] = draw(shape, config.input_dropout, "input_dropout")
    for kind, rate, rows in (
        ("recurrent_dropout", config.recurrent_dropout, batch),
        ("weight_dropout", config.weight_dropout, 4 * hidden),
    ):
        if rate:
            shape = (rows, config.state_size)
            every = [draw(shape, rate, kind, cell) for cell in range(cells)]
            masks[kind] = np.stack(every)
    for kind, rate, features in (
        ("zoneout_h", config.zoneout_h, config.state_size),
        ("zoneout_c", config.zoneout_c, hidden),
    ):
        if rate:
            kept = [draw((times, batch, features), 1.0 - rate, kind, n) != 0 for n in range(cells)]
            masks[kind] = np.stack(kept).swapaxes(1, 2).astype(np.float64)
    return masks


def lstm_begin(
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    batch_size: int = 1,
    state: StatePair | None = None,
    expected_steps: int = 0,
    seed: int = 0,
    precision: Precision | None = None,
) -> LSTMTape:
    """Begin a training forward that is fed step by step, such as beside a simulation.

    `lstm_step` appends steps to the tape, `lstm_backward` goes back through all of them. Outputs
    and gradients have the same bits as those of one `lstm` over the whole sequence.

    Parameters
    ----------
    weights : mapping of str to ndarray, or PackedWeights
        As for `lstm`.
    config : LSTMConfig, optional
        May be left out with packed weights. Not bidirectional, not ``go_backwards``, and no
        dropout between layers, whose mask depends on how many steps there will be.
    batch_size : int, default 1
        Rows that take their steps together, N.
    state : pair (h, c), optional
        Initial state, each (layers, N, H) or None for zeros.
    expected_steps : int, default 0
        Memory for so many steps is taken at once, for more as they come.
    seed : int, default 0
        Seed of the masks, 0 to 2**64 - 1.
    precision : str, optional
        How exactly products are computed, all but ``"int8"``; see `PackedWeights`. Packed weights
        have theirs.

    Returns
    -------
    LSTMTape
        Without steps.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a shape or a value is wrong, or the LSTM cannot run step by step.

    Examples
    --------
    >>> tape = F.lstm_begin(weights, config, batch_size=4)
    >>> outputs = [F.lstm_step(tape, x_t) for x_t in steps]
    >>> gradients = F.lstm_backward(tape, dy)  # dy (N, T, H)
    """
    packed = as_packed(weights, config, precision)
    h, c = (None, None) if state is None else as_pair("state", state)
    return packed._lstm.begin(batch_size, h, c, expected_steps, seed)


def lstm_step(
    tape: LSTMTape,
    x_t: FloatArray,
    reset: npt.NDArray[np.bool_] | Sequence[bool] | None = None,
) -> FloatArray:
    """Append a step to a tape from `lstm_begin`.

    Parameters
    ----------
    tape : LSTMTape
        Fed by one thread at a time.
    x_t : ndarray, shape (N, C)
        Input of this step; any strides.
    reset : bool, shape (N,), optional
        True for rows that begin a new sequence with this step: their state is zeroed before it, and
        no gradient passes.

    Returns
    -------
    ndarray, shape (N, H)
        Output of the last layer.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a shape is wrong, or the tape is not from `lstm_begin` or used up.
    RuntimeError
        If another thread is using the tape.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    if reset is not None and not isinstance(reset, np.ndarray):
        reset = _checks.any_array(reset, "reset")
    return tape.step(x_t, reset)


def lstm_state(tape: LSTMTape) -> LSTMState:
    """Return a copy of the state after the last step of a tape from `lstm_begin`.

    Raises
    ------
    TypeError
        If `tape` is no LSTMTape.
    ValueError
        If the tape is not from `lstm_begin` or used up.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    return LSTMState(*tape.get_state())


def lstm_backward(
    tape: LSTMTape,
    dy: FloatArray | None = None,
    dstate: StatePair | None = None,
    *,
    need_x: bool = True,
    need_state: bool = True,
    need_weights: bool = True,
    out: Mapping[str, FloatArray | None] | None = None,
) -> LSTMGradients:
    """Compute the exact gradients of the forward that filled `tape`.

    Parameters
    ----------
    tape : LSTMTape
        From `lstm` with ``training=True``. It serves one backward, which gives its memory back.
    dy : ndarray, shape of y, optional
        Gradient of the loss by y; zeros by default. Entries past a row's length are not looked at.
    dstate : pair (dh, dc), optional
        Gradient by the final state, each (layers * D, N, H) or None for zeros.
    need_x, need_state, need_weights : bool, default True
        Which gradients to compute.
    out : mapping of str to ndarray, optional
        An array for the gradient of each weight, C-contiguous, written (not added to) in place,
        apart from each other, `dy` and `dstate`; new arrays by default. None for a weight whose
        gradient is not wanted, which is then not computed.

    Returns
    -------
    LSTMGradients

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If the tape was used already, a shape is wrong, or `out` lacks a name, has an unknown one or
        arrays that overlap.
    RuntimeError
        If another thread is using the tape.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    dh, dc = (None, None) if dstate is None else as_pair("dstate", dstate)
    given_dy = dy
    if dy is not None and not tape.return_sequences:
        dh = _with_last_output(dy, dh, tape)
        dy = None
    gradients: dict[str, FloatArray] = {}
    if need_weights:
        gradients = _gradient_arrays(tape, out, (given_dy, dh, dc))
    elif out is not None:
        raise ValueError("out: expected None with need_weights=False, got a mapping")
    dx, dh, dc = tape.backward(dy, dh, dc, need_x, need_state, gradients or None)
    state = None if dh is None or dc is None else LSTMState(dh, dc)
    return LSTMGradients(dx, state, gradients)


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

    A direction is a tangent for x, the weights and the initial state; what is not given is zero.
    With f what `lstm` computes and J its derivative, this gives f and the Jacobian-vector product
    J t, and `lstm_jvp_backward` then gives the gradients and their derivative along the same
    direction: second derivatives, at some three times the time of `lstm` and `lstm_backward`.

    Parameters
    ----------
    x, weights, config, state, lengths, reset, mask
        As for `lstm`.
    x_tangent : ndarray, shape of x, optional
        Not looked at where no step is.
    weights_tangent : mapping of str to ndarray, optional
        Tangents of some or all weights, in their shapes.
    state_tangent : pair (h, c), optional
        Tangent of the initial state, each (layers * D, N, H) or None for zeros.
    training : bool, default True
        Whether dropout and zoneout are at work, with the masks of `seed`, which are held fixed.
        The tape is for a backward in both cases.
    seed : int, default 0
        Seed of the masks, as for `lstm`.
    precision : str, optional
        How exactly the products of values and gradients are computed, all but ``"int8"``; see
        `PackedWeights`. Those of tangents are plain multiply-adds in every precision.

    Returns
    -------
    outputs : pair (y, LSTMState)
        Of the bits that `lstm` gives: y (N, T, D * H) and the final state.
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
    1994). At the bend of an activation or a bound the slope is that of one side.

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
    y, h, c, y_tangent, h_tangent, c_tangent, tape = _core.lstm_jvp(
        packed._lstm,
        x,
        h,
        c,
        None if lengths is None else _checks.integer_array(lengths, "lengths"),
        _flags(reset, "reset") if reset is not None else None,
        _flags(mask, "mask") if mask is not None else None,
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
    ``s = <t, J^T dy>``, which depends on the gradients J^T dy that `lstm_backward` gives, is

    - by x, the state and the weights: the second result for the direction t, with `dy_tangent` and
      `dstate_tangent` left out;
    - by dy and dstate: the tangents that `lstm_jvp` gave for t.

    Parameters
    ----------
    tape : LSTMTangentTape
        From `lstm_jvp`. It serves one backward, which gives its memory back.
    dy : ndarray, shape of y, optional
        Gradient of the loss by y; zeros by default. Not looked at where no step is.
    dstate : pair (dh, dc), optional
        Gradient by the final state, each (layers * D, N, H) or None for zeros.
    dy_tangent : ndarray, shape of y, optional
        Derivative of `dy` along the direction; zeros by default.
    dstate_tangent : pair (dh, dc), optional
        The same of `dstate`.

    Returns
    -------
    gradients : LSTMGradients
        Of the bits that `lstm_backward` gives.
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


def as_pair(name: str, state: Any) -> StatePair:
    """Take a state apart; `name` is what an error calls it."""
    try:
        h, c = state
    except (TypeError, ValueError) as error:
        came = type(state).__name__
        if isinstance(error, ValueError):
            came += f" of {len(state)}"
        raise type(error)(f"{name}: expected a pair (h, c) of arrays, got {came}") from None
    return h, c


def _gradient_arrays(
    tape: LSTMTape,
    out: Mapping[str, FloatArray | None] | None,
    inputs: Sequence[FloatArray | None],
) -> dict[str, FloatArray]:
    """Give where the gradients go: `out`, which must not overlap itself nor `inputs`."""
    if out is None:
        return tape.new_gradients()
    if not isinstance(out, Mapping):
        raise TypeError(f"out: expected a mapping from names to arrays, got {type(out).__name__}")
    known = [name for name, _ in tape.parameters()]
    for name in known:
        if name not in out:
            raise ValueError(f"out: expected an array for {name}, got none")
    for name, array in out.items():
        if array is None and name not in known:
            raise ValueError(f"out: expected no names but {', '.join(known)}, got {name!r}")
    arrays = {name: array for name, array in out.items() if array is not None}
    _apart(arrays, inputs)
    return arrays


def _apart(arrays: Mapping[str, Any], inputs: Sequence[FloatArray | None]) -> None:
    """Raise ValueError if two of `arrays` overlap, or one of them and one of `inputs`.

    Those of `arrays` are contiguous, or the engine refuses them, so neighbours in memory tell.
    """
    places = [
        (array.__array_interface__["data"][0], array.nbytes, name)
        for name, array in arrays.items()
        if isinstance(array, np.ndarray)
    ]
    places.sort()
    for (begin, size, name), (after, _, other) in pairwise(places):
        if begin + size > after:
            raise ValueError(f"out: expected arrays apart from each other, got {name} over {other}")
    for given in inputs:
        if isinstance(given, np.ndarray):
            for name, array in arrays.items():
                if isinstance(array, np.ndarray) and np.may_share_memory(given, array):
                    raise ValueError(f"out: expected arrays apart from dy and dstate, got {name}")


def _with_last_output(dy: Any, dh: Any, tape: LSTMTape) -> npt.NDArray[Any]:
    """Add the gradient by the last layer's final h to that by the final state."""
    batch, _, features = tape.output_shape
    for name, array, shape in (("dy", dy, (batch, features)), ("dstate h", dh, tape.state_shape)):
        if array is None:
            continue
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") != tape.dtype:
            came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name}: expected an array of {tape.dtype} like the tape, got {came}")
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    total = np.zeros(tape.state_shape, tape.dtype) if dh is None else np.array(dh)
    hidden = tape.state_shape[2]
    directions = features // hidden
    for direction in range(directions):
        part = dy[:, direction * hidden : (direction + 1) * hidden]
        total[direction - directions] += part
    return total
