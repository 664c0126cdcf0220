"""PyTorch's LSTM modules on lstmcore's engine: drop-in, with exact gradients, on the CPU.

`accelerate` runs every ``torch.nn.LSTM`` and ``LSTMCell`` of a process on the engine, and
`accelerated_calls` says which calls did. `LSTM` and `LSTMCell` take the place of
``torch.nn.LSTM`` and ``torch.nn.LSTMCell`` and add the engine's options: the same arguments,
parameters, state dict and results. `replace_lstm` changes the modules of a model in place,
`restore_lstm` changes them back. Needs ``pip install torch``.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        f"lstmcore.torch needs PyTorch, which is not installed: {how_to_install('torch')}"
    ) from None

from lstmcore._suggest import public
from lstmcore.torch.acceleration import Acceleration, accelerate
from lstmcore.torch.calls import AcceleratedCalls, accelerated_calls
from lstmcore.torch.cell import LSTMCell
from lstmcore.torch.module import LSTM
from lstmcore.torch.replace import replace_lstm, restore_lstm
from lstmcore.torch.weights import frozen

__all__ = [
    "accelerate",
    "accelerated_calls",
    "LSTM",
    "LSTMCell",
    "replace_lstm",
    "restore_lstm",
    "frozen",
    "Acceleration",
    "AcceleratedCalls",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
