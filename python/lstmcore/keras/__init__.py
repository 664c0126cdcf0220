"""Keras' LSTM layers on lstmcore's engine, with gradients, on the CPU.

`accelerate` makes the LSTM layers of a program run on the engine, whoever built the model; `LSTM`
is ``keras.layers.LSTM`` on the engine, for single layers. Both serve Keras 3 with PyTorch,
TensorFlow or JAX as the backend. Needs ``pip install keras`` and the backend.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import keras as _keras
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    raise ImportError(
        f"lstmcore.keras needs Keras, which is not installed: {how_to_install('keras')}"
    ) from None
if str(_keras.__version__).partition(".")[0] in ("0", "1", "2"):
    raise ImportError(
        f"lstmcore.keras: expected Keras 3, got {_keras.__version__}: pip install --upgrade keras"
    )

from lstmcore._suggest import public
from lstmcore.keras.acceleration import Acceleration, accelerate
from lstmcore.keras.calls import AcceleratedCalls, accelerated_calls
from lstmcore.keras.layer import LSTM

__all__ = ["accelerate", "accelerated_calls", "LSTM", "Acceleration", "AcceleratedCalls"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
