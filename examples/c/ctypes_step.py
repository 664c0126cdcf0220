"""Run a model step by step through the C interface, with nothing but Python's ctypes.

Usage: python ctypes_step.py LIBRARY MODEL INPUTS

LIBRARY is the shared library, liblstmcore_c. INPUTS has a line of numbers for each step; the
model's output after it is printed. Python has its own, more convenient interface: this shows what
any language with C calls needs, and it runs where the package lstmcore is not installed.
"""

import ctypes
import math
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

OK, ONE_THREAD = 0, 0
ABI_VERSION = 1


class ModelInfo(ctypes.Structure):
    """lstmcore_model_info."""

    _fields_ = (
        ("struct_size", c_size_t),
        ("input_size", c_int64),
        ("vocabulary_size", c_int64),
        ("output_size", c_int64),
        ("state_size", c_int64),
        ("layer_count", c_int64),
        ("output_has_steps", c_int32),
        ("can_stream", c_int32),
    )


# Functions that return a status, and the types of their arguments.
FLOATS = POINTER(c_float)
FUNCTIONS = {
    "model_load": [c_char_p, POINTER(c_void_p)],
    "model_get_info": [c_void_p, POINTER(ModelInfo)],
    "stream_create": [c_void_p, c_int64, c_int32, POINTER(c_void_p)],
    "stream_step": [c_void_p, FLOATS, c_size_t, FLOATS, c_size_t],
}


class Library:
    """The functions of the library; those that fail raise RuntimeError with its text."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.lstmcore_last_error.restype = c_char_p
        for name, types in FUNCTIONS.items():
            self._function(name).argtypes = types
        for name in ("model_free", "stream_free"):
            self._function(name).argtypes = [c_void_p]
            self._function(name).restype = None
        if self._library.lstmcore_abi_version() != ABI_VERSION:
            raise RuntimeError(f"{path}: expected ABI version {ABI_VERSION}")

    def _function(self, name: str) -> Any:
        return getattr(self._library, f"lstmcore_{name}")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns a status."""
        if self._function(name)(*arguments) != OK:
            raise RuntimeError(self._library.lstmcore_last_error().decode())

    def free(self, name: str, handle: c_void_p) -> None:
        """Free a model or a stream."""
        self._function(name)(handle)


def finite(word: str) -> float:
    """Return a number that is finite as float; what is not would stay in the state for ever."""
    try:
        value = c_float(float(word)).value
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RuntimeError(f'expected finite numbers, got "{word}"')
    return value


def main(path: str, model_path: str, inputs: str) -> None:
    """Print the output after each step."""
    library = Library(path)
    model, stream = c_void_p(), c_void_p()
    info = ModelInfo(struct_size=ctypes.sizeof(ModelInfo))
    library.call("model_load", model_path.encode(), byref(model))
    library.call("model_get_info", model, byref(info))
    library.call("stream_create", model, 1, ONE_THREAD, byref(stream))
    y = (c_float * info.output_size)()
    for place, line in enumerate(Path(inputs).read_text(encoding="utf-8").splitlines(), 1):
        try:
            numbers = [finite(word) for word in line.split()]
            x = (c_float * len(numbers))(*numbers)
            library.call("stream_step", stream, x, len(x), y, len(y))
        except RuntimeError as error:
            raise RuntimeError(f"{inputs}, line {place}: {error}") from None
        print(" ".join(f"{value:.9g}" for value in y))
    library.free("stream_free", stream)
    library.free("model_free", model)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, RuntimeError) as failure:
        sys.exit(str(failure))
