"""The LSTM as plain functions: NumPy arrays in, NumPy arrays out, no state between calls.

Letters: N batch, T time steps, C input features, H hidden units, D directions (2 if bidirectional,
else 1). With a projection, h and all arrays of its width have P instead of H. Weights are a flat
mapping from names to arrays, ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H), ``bias_l0`` (4H,)
and so on (`LSTMConfig.parameter_shapes`), rows in gate order i, f, g, o::

    i = sigmoid(W_i x + U_i h' + b_i)      f = sigmoid(W_f x + U_f h' + b_f)
    g = tanh   (W_g x + U_g h' + b_g)      o = sigmoid(W_o x + U_o h' + b_o)
    c = f * c' + i * g                     h = o * tanh(c)

(Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; `LSTMConfig` names the
variants.) `rnn` runs the simple recurrent network, h = tanh(W x + U h' + b), in the same way.
Element types are float32 or float64, the same for all arrays of a call; nothing is converted.
"""

from typing import TYPE_CHECKING

from lstmcore._suggest import public
from lstmcore.config import LSTMConfig
from lstmcore.functional._backward import lstm_backward
from lstmcore.functional._forward import lstm
from lstmcore.functional._forward import recompute_steps as recompute_steps  # for this package
from lstmcore.functional._initial import init_weights
from lstmcore.functional._masks import lstm_masks
from lstmcore.functional._packed import PackedWeights, pack
from lstmcore.functional._packed import as_packed as as_packed
from lstmcore.functional._rnn import (
    PackedRNN,
    RNNConfig,
    RNNGradients,
    RNNTape,
    pack_rnn,
    rnn,
    rnn_backward,
)
from lstmcore.functional._steps import lstm_begin, lstm_state, lstm_step
from lstmcore.functional._tangents import lstm_jvp, lstm_jvp_backward
from lstmcore.functional._types import FloatArray as FloatArray
from lstmcore.functional._types import LSTMGradients, LSTMState, LSTMTangentTape, LSTMTape
from lstmcore.functional._types import as_pair as as_pair

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
    "RNNConfig",
    "RNNGradients",
    "RNNTape",
    "PackedRNN",
    "pack_rnn",
    "rnn",
    "rnn_backward",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
