"""Fast, trustworthy LSTM training and inference on the CPU.

Layers and models in Keras' words (`Sequential`, `layers`), the same as plain functions
(`functional`), and one step at a time (`LSTMStream`). Arrays are NumPy's, batch first: (N, T, C).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from lstmcore._core import __version__
except ImportError as error:
    raise ImportError(
        "lstmcore's compiled engine (lstmcore._core) cannot be loaded: "
        f"{error}. Install the package (pip install lstmcore, or pip install . in its source tree) "
        "and import it from outside the source tree; the engine must match this Python."
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
_LAZY = {
    "Sequential": "lstmcore.model",
    "load": "lstmcore.model",
    "callbacks": "lstmcore.training",
    "losses": "lstmcore.training",
    "metrics": "lstmcore.training",
    "optimizers": "lstmcore.training",
    "schedules": "lstmcore.training",
}
_LAZY_MODULES = {"datasets", "functional", "layers", "plots", "regularizers"}


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return import_module(f"lstmcore.{name}")
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lstmcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
