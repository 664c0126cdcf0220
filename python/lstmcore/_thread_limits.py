"""threadpoolctl, where it is installed, limits the engine's threads like other libraries'."""

from importlib import import_module
from typing import Any

__all__ = ["register"]

_MOST_THREADS = 1024  # that the engine accepts


def _get_num_threads(_: Any) -> int:
    return int(import_module("lstmcore._core").get_num_threads())


def _set_num_threads(_: Any, num_threads: int) -> None:
    # An error would leave the other libraries' limits half set.
    import_module("lstmcore._core").set_num_threads(min(max(num_threads, 1), _MOST_THREADS))


def _get_version(_: Any) -> str:
    return str(import_module("lstmcore._core").__version__)


def register() -> None:
    """Register a controller of the engine with threadpoolctl 3.2 or newer, if there is one.

    Its API counts as ``"openmp"``, so that a limit for that one holds for the engine as well.
    """
    try:
        threadpoolctl = import_module("threadpoolctl")
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):
        return
    members = {
        "__doc__": "Controller class for lstmcore's engine.",
        "user_api": "openmp",
        "internal_api": "lstmcore",
        # The compiled module, which exports this symbol for the purpose.
        "filename_prefixes": ("_core.",),
        "check_symbols": ("lstmcore_is_here",),
        "get_num_threads": _get_num_threads,
        "set_num_threads": _set_num_threads,
        "get_version": _get_version,
    }
    threadpoolctl.register(type("LSTMCoreController", (threadpoolctl.LibController,), members))
