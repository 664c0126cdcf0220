"""The simple recurrent network, which an LSTM is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn, overload

import numpy as np

from lstmcore import _checks, _core
from lstmcore._arrays import as_array, refuse_masked, refuse_masked_in
from lstmcore._configurable import named_fields, one_line
from lstmcore._typing import Exporter, Recompute, RNNActivation, choices
from lstmcore.config import MAX_LAYERS
from lstmcore.functional._backward import gradient_arrays, with_last_output
from lstmcore.functional._forward import recompute_steps
from lstmcore.functional._types import FloatArray, Lengths, Reset, flags_array

RNNTape = _core.RnnTape
"""What a training forward records for its one backward: copies of all it needs, and its weights."""


@dataclass(frozen=True)
class RNNConfig:
    """Sizes and options of a simple RNN, h = f(W x + U h' + b); checked when made, never changed.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bidirectional, go_backwards, dropout, bias
        As in `LSTMConfig`.
    activation : {"tanh", "relu"}, default "tanh"
        f.
    recurrent_dropout, input_dropout : float, default 0.0
        As in `LSTMConfig`.

    Raises
    ------
    TypeError, ValueError
        As in `LSTMConfig`.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    go_backwards: bool = False
    dropout: float = 0.0
    bias: bool = field(default=True, kw_only=True)
    activation: RNNActivation = field(default="tanh", kw_only=True)
    recurrent_dropout: float = field(default=0.0, kw_only=True)
    input_dropout: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        _checks.choice(self.activation, "activation", choices(RNNActivation))
        core_rnn_config(self)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """Features of h, H."""
        return self.hidden_size

    @property
    def output_size(self) -> int:
        """Features of the output, D * H."""
        return self.num_directions * self.hidden_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order.

        Returns
        -------
        dict
            ``weight_ih_l0`` (H, C), ``weight_hh_l0`` (H, H) and ``bias_l0`` (H,) of every layer
            and, with suffix ``_reverse``, of every second direction.
        """
        return dict(core_rnn_config(self).parameters())

    def __repr__(self) -> str:
        return one_line(self)


def core_rnn_config(config: RNNConfig) -> _core.RnnConfig:
    """Return the engine's form of `config`."""
    return _core.RnnConfig(**{name: getattr(config, name) for name in config.__dataclass_fields__})


class PackedRNN:
    """Weights of a simple RNN laid out for many calls; as `PackedWeights` for an LSTM.

    Parameters
    ----------
    weights : mapping of str to ndarray
        All weights of `config`, and no others; float32 or float64, all the same.
    config : RNNConfig
        Sizes and options.

    Raises
    ------
    TypeError
        If a weight is not an array of float32 or float64, or the types are mixed.
    ValueError
        If a name is missing or unknown, or a shape is wrong.
    """

    __slots__ = ("_config", "_rnn")

    def __init__(self, weights: Mapping[str, FloatArray], config: RNNConfig) -> None:
        _checks.instance(config, RNNConfig, "config", "an RNNConfig")
        refuse_masked_in(weights, "weights")
        self._rnn = _core.Rnn(core_rnn_config(config), weights)
        self._config = config

    @property
    def config(self) -> RNNConfig:
        """Sizes and options."""
        return self._config

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, that of the arrays given."""
        return self._rnn.dtype

    def __repr__(self) -> str:
        return f"PackedRNN({self._config}, dtype={self.dtype})"

    def __copy__(self) -> PackedRNN:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedRNN:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("PackedRNN cannot be pickled: save the weights and pack them again")


class RNNGradients(NamedTuple):
    """Gradients with respect to the inputs of a forward of a simple RNN.

    Attributes
    ----------
    x : ndarray, shape (N, T, C), or None
        With respect to the input; zero past a row's length. None if not requested.
    state : ndarray, shape (layers * D, N, H), or None
        With respect to the initial state. None if not requested.
    weights : dict of str to ndarray
        With respect to the weights, with their names and shapes. Empty if not requested.
    """

    x: FloatArray | None
    state: FloatArray | None
    weights: dict[str, FloatArray]

    def __repr__(self) -> str:
        return named_fields(self)


@overload
def rnn(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedRNN,
    config: RNNConfig | None = None,
    *,
    state: FloatArray | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[False] = False,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]: ...
@overload
def rnn(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedRNN,
    config: RNNConfig | None = None,
    *,
    state: FloatArray | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[True],
    seed: int = 0,
    recompute: Recompute = None,
) -> tuple[FloatArray, FloatArray, RNNTape]: ...
def rnn(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedRNN,
    config: RNNConfig | None = None,
    *,
    state: FloatArray | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: bool = False,
    seed: int = 0,
    recompute: Recompute = None,
) -> tuple[FloatArray, FloatArray] | tuple[FloatArray, FloatArray, RNNTape]:
    """Run a simple RNN (Elman 1990) over a batch of sequences: h = f(W x + U h' + b).

    Parameters
    ----------
    x : ndarray, shape (N, T, C)
        Input, of the weights' dtype; any strides.
    weights : mapping of str to ndarray, or PackedRNN
        A mapping is packed for this call.
    config : RNNConfig, optional
        Sizes and options; may be left out with packed weights.
    state : ndarray, shape (layers * D, N, H), optional
        Initial h; zeros by default.
    lengths, reset, mask, return_sequences, seed, recompute
        As in `lstm`.
    training : bool, default False
        Apply dropout and return a tape for `rnn_backward`.

    Returns
    -------
    y : ndarray, shape (N, T, D * H) or, without `return_sequences`, (N, D * H)
        Output of the last layer; zero past each row's length.
    state : ndarray, shape (layers * D, N, H)
        Final h of every layer and direction.
    tape : RNNTape
        Only if `training`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If a shape or a value is wrong.
    """
    packed = _as_packed(weights, config)
    if type(x) is not np.ndarray:
        x = as_array(x, "x")
    refuse_masked(state, "state")
    if lengths is not None:
        lengths = _checks.integer_array(lengths, "lengths")
    if reset is not None:
        reset = flags_array(reset, "reset")
    if mask is not None:
        mask = flags_array(mask, "mask")
    again = recompute_steps(recompute)
    if again and not training:
        raise ValueError(f"recompute: expected None without training, got {recompute!r}")
    y, h, tape = packed._rnn.forward(
        x, state, lengths, reset, mask, return_sequences, training, seed, again
    )
    if y is None:
        y = h[-1].copy() if packed.config.num_directions == 1 else np.hstack([h[-2], h[-1]])
    return (y, h) if tape is None else (y, h, tape)


def rnn_backward(
    tape: RNNTape,
    dy: FloatArray | None = None,
    dstate: FloatArray | None = None,
    *,
    need_x: bool = True,
    need_state: bool = True,
    need_weights: bool = True,
    out: Mapping[str, FloatArray | None] | None = None,
) -> RNNGradients:
    """Compute the exact gradients of the forward that filled `tape`.

    Parameters
    ----------
    tape : RNNTape
        From `rnn` with ``training=True``. It serves one backward, which frees its memory.
    dy : ndarray, shape of y, optional
        Gradient with respect to y; zeros by default. Entries past a row's length are ignored.
    dstate : ndarray, shape (layers * D, N, H), optional
        Gradient with respect to the final state; zeros by default.
    need_x, need_state, need_weights, out
        As in `lstm_backward`.

    Returns
    -------
    RNNGradients

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As in `lstm_backward`.
    """
    _checks.instance(tape, RNNTape, "tape", "an RNNTape")
    refuse_masked(dy, "dy")
    refuse_masked(dstate, "dstate")
    given_dy = dy
    if dy is not None and not tape.return_sequences:
        dstate, dy = with_last_output(dy, dstate, tape, "dstate"), None
    gradients: dict[str, FloatArray] = {}
    if need_weights:
        gradients = gradient_arrays(tape, out, (given_dy, dstate))
    elif out is not None:
        raise ValueError("out: expected None with need_weights=False, got a mapping")
    dx, dh = tape.backward(dy, dstate, need_x, need_state, gradients or None)
    return RNNGradients(dx, dh, gradients)


def pack_rnn(weights: Mapping[str, FloatArray], config: RNNConfig) -> PackedRNN:
    """Lay `weights` out for many calls; see `PackedRNN`."""
    return PackedRNN(weights, config)


def _as_packed(
    weights: Mapping[str, FloatArray] | PackedRNN, config: RNNConfig | None
) -> PackedRNN:
    """Return packed weights: `weights` themselves if they are packed and belong to `config`."""
    if not isinstance(weights, PackedRNN):
        if config is None:
            raise TypeError("config: expected an RNNConfig alongside unpacked weights, got None")
        return PackedRNN(weights, config)
    if config is not None and config != weights.config:
        raise ValueError(f"config: expected that of the weights, {weights.config}, got {config}")
    return weights
