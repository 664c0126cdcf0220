"""Functions that XLA calls with the memory of its arrays.

XLA calls foreign functions through a C interface whose compatibility it promises (the typed FFI,
``xla/ffi/api/c_api.h`` in jaxlib's ``include`` folder). The structures here mirror the part of it
that is needed, so that neither a compiler nor JAX is needed to build lstmcore. A function receives
arrays that share XLA's memory: nothing is copied on the way in, and results are written in place.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lstmcore._typing import Array
from lstmcore.jax.call import Call, call_of

Function = Callable[[Call, Sequence[Array], Sequence[Array]], None]
"""Takes a call, its operands and its results, which it writes."""

_VERSION = (0, 1)
"""The version of the interface that these structures are written for."""

_METADATA = 1  # XLA_FFI_Extension_Metadata: a question about the function instead of a call

_TYPES = {
    1: np.dtype(np.bool_),
    2: np.dtype(np.int8),
    3: np.dtype(np.int16),
    4: np.dtype(np.int32),
    5: np.dtype(np.int64),
    6: np.dtype(np.uint8),
    7: np.dtype(np.uint16),
    8: np.dtype(np.uint32),
    9: np.dtype(np.uint64),
    11: np.dtype(np.float32),
    12: np.dtype(np.float64),
}
"""XLA_FFI_DataType."""

_CODES = (
    ((ValueError, TypeError), 3),  # XLA_FFI_Error_Code_INVALID_ARGUMENT
    ((MemoryError,), 8),  # XLA_FFI_Error_Code_RESOURCE_EXHAUSTED
    ((BaseException,), 13),  # XLA_FFI_Error_Code_INTERNAL
)


class _Extension(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
    )


class _Version(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("struct_size", ctypes.c_size_t), ("version", _Version))


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", ctypes.POINTER(_Metadata)))


class _Api(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("version", _Version),
        ("internal_api", ctypes.c_void_p),
        ("create_error", ctypes.c_void_p),
    )


class _ErrorArguments(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("extents", ctypes.POINTER(ctypes.c_int64)),
    )


class _Buffers(ctypes.Structure):
    """Operands or results."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("places", ctypes.POINTER(ctypes.c_void_p)),
    )


class _Text(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Attributes(ctypes.Structure):
    """Constants of a call; here a single one, a text."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("names", ctypes.c_void_p),
        ("values", ctypes.POINTER(ctypes.POINTER(_Text))),
    )


class _Frame(ctypes.Structure):
    """All of a call."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    )


_Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_CreateError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorArguments))

_registered: list[Any] = []  # XLA holds their addresses for as long as the process runs


def register(target: str, function: Function) -> None:
    """Make `function` callable by compiled programs under the name `target`."""

    def handle(address: int) -> int | None:
        frame = _Frame.from_address(address)
        try:
            if frame.extension_start and _described(frame):
                return None
            text = frame.attributes.values[0].contents
            call = call_of(ctypes.string_at(text.start, text.size))
            function(call, _arrays(frame.operands), _arrays(frame.results))
        except BaseException as error:  # an exception cannot cross XLA's own code
            return _failure(frame, error)
        return None

    handler = _Handler(handle)
    _registered.append(handler)
    jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(handler), platform="cpu")


def _described(frame: _Frame) -> bool:
    """Answer if XLA asks for the version of the interface, as it does at registration."""
    extension = _MetadataExtension.from_address(frame.extension_start)
    if extension.base.type != _METADATA:
        return False
    version = extension.metadata.contents.version
    version.major, version.minor = _VERSION
    return True


def _arrays(buffers: _Buffers) -> list[Array]:
    """Return arrays that share the memory of operands or results."""
    places = buffers.places
    return [_array(_Buffer.from_address(places[index])) for index in range(buffers.size)]


def _array(buffer: _Buffer) -> Array:
    shape = tuple(buffer.extents[: buffer.rank])
    kind = _TYPES[buffer.type]
    size = kind.itemsize
    for extent in shape:
        size *= extent
    if size == 0:  # such a buffer may have no address
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, _bytes(size).from_address(buffer.data))


@functools.lru_cache(maxsize=1024)
def _bytes(size: int) -> Any:
    """Return the type of that many bytes, which takes longer to make than an array."""
    return ctypes.c_char * size


def _failure(frame: _Frame, error: BaseException) -> int | None:
    """Return an error of XLA's with the message of `error`."""
    message = f"{type(error).__name__}: {error}".encode()
    code = next(code for kinds, code in _CODES if isinstance(error, kinds))
    arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, message, code)
    created: int | None = _CreateError(frame.api.contents.create_error)(ctypes.byref(arguments))
    return created
