"""Look into a model: gates and states over time, and what in its input an output depends on.

`trace` returns the gates and states of every LSTM at every step. `attribute` divides an output
among the tokens or values of the input, by integrated gradients, by gradient times input or by
occlusion. `attention` returns the weights of an `Attention` layer. All take a `Sequential`, a
`Model` or an `EncoderDecoder`, and what its `predict` takes; the model is not changed.
"""

from typing import TYPE_CHECKING

from lstmcore._suggest import public
from lstmcore.explain.attribution import attribute
from lstmcore.explain.gates import trace
from lstmcore.explain.results import AttentionMap, Attribution, GateTrace, Trace
from lstmcore.explain.weights import attention

__all__ = ["AttentionMap", "Attribution", "GateTrace", "Trace", "attention", "attribute", "trace"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)
