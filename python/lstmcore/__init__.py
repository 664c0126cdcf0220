"""Fast, trustworthy LSTM training and inference on the CPU.

Layers and models in Keras' words (`Sequential`, `layers`), the same as plain functions
(`functional`), and one step at a time (`LSTMStream`). Arrays are NumPy's, batch first: (N, T, C).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from lstmcore._core import __version__
except ModuleNotFoundError as error:
    raise ImportError(
        f"lstmcore's compiled engine is missing ({error}). Install the package (pip install "
        "lstmcore, or pip install . in its source tree) and import it from outside the source "
        "tree; the engine must be built for this Python."
    ) from error

from lstmcore.config import LSTMConfig
from lstmcore.cpu import cpu_info, get_num_threads, set_num_threads
from lstmcore.stream import LSTMStream

if TYPE_CHECKING:
    from lstmcore import datasets, functional, layers, plots, regularizers
    from lstmcore.model import Sequential, load
    from lstmcore.training import callbacks, losses, metrics, optimizers, schedules

__all__ = [
    "__version__",
    # models
    "Sequential",
    "load",
    "layers",
    "regularizers",
    # training
    "callbacks",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    # the engine
    "LSTMConfig",
    "LSTMStream",
    "functional",
    "cpu_info",
    "get_num_threads",
    "set_num_threads",
    # data
    "datasets",
    "plots",
]

# Imported when first used, so that `import lstmcore` costs little.
_MODULES = {
    "callbacks": "training.callbacks",
    "datasets": "datasets",
    "functional": "functional",
    "layers": "layers",
    "losses": "training.losses",
    "metrics": "training.metrics",
    "optimizers": "training.optimizers",
    "plots": "plots",
    "regularizers": "regularizers",
    "schedules": "training.schedules",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"lstmcore.{_MODULES[name]}")
    elif name in ("Sequential", "load"):
        value = getattr(import_module("lstmcore.model"), name)
    else:
        raise AttributeError(f"module 'lstmcore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
