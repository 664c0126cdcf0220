"""Functions for XLA, called as XLA does: by structures in memory, without JAX."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from lstmcore import _core

SIZE, POINTER, INT, LONG = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
CODES = {
    np.dtype(kind): code
    for code, kind in enumerate(["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"], 1)
}
CODES |= {np.dtype("f4"): 11, np.dtype("f8"): 12}


def structure(*fields):
    """Return the class of a structure that begins with its size and its extensions."""
    both = (("size", SIZE), ("extension", POINTER), *fields)
    return type("Structure", (ctypes.Structure,), {"_fields_": both})


Version = structure(("major", INT), ("minor", INT))
Error = structure(("message", ctypes.c_char_p), ("code", INT))
Buffer = structure(("type", INT), ("data", POINTER), ("rank", LONG), ("extents", POINTER))
Buffers = structure(("count", LONG), ("types", POINTER), ("places", POINTER))
Attributes = structure(("count", LONG), ("types", POINTER), ("names", POINTER), ("values", POINTER))
CreateError = ctypes.CFUNCTYPE(POINTER, ctypes.POINTER(Error))
Api = structure(("version", Version), ("internal", POINTER), ("create_error", CreateError))
Frame = structure(
    ("api", ctypes.POINTER(Api)),
    ("context", POINTER),
    ("stage", INT),
    ("operands", Buffers),
    ("results", Buffers),
    ("attributes", Attributes),
)


class Text(ctypes.Structure):
    _fields_ = (("start", ctypes.c_char_p), ("size", SIZE))


class MetadataExtension(ctypes.Structure):
    _fields_ = (("size", SIZE), ("type", INT), ("next", POINTER), ("metadata", POINTER))


class Metadata(ctypes.Structure):
    _fields_ = (("size", SIZE), ("version", Version))


class Program:
    """Holds what a call points to, and the errors that it created."""

    def __init__(self):
        self.alive, self.errors = [], []

    def buffers(self, arrays, code=None):
        found = []
        for array in arrays:
            extents = (LONG * array.ndim)(*array.shape)
            data = array.ctypes.data if array.size else None
            kind = CODES[array.dtype] if code is None else code
            self.alive.append(extents)
            found.append(
                Buffer(0, None, kind, data, array.ndim, ctypes.cast(extents, POINTER).value)
            )
        places = (POINTER * len(found))(*(ctypes.addressof(buffer) for buffer in found))
        self.alive += [found, places]
        return Buffers(0, None, len(found), None, ctypes.cast(places, POINTER).value)

    def create(self, pointer):
        self.errors.append((pointer.contents.code, pointer.contents.message.decode()))
        return 77

    def call(self, handler, operands, results, code=None, extension=None):
        text = Text(b"a text\0and more", 15)
        values = (POINTER * 1)(ctypes.addressof(text))
        api = Api(0, None, Version(), None, CreateError(self.create))
        attributes = Attributes(0, None, 1, None, None, ctypes.cast(values, POINTER).value)
        given, written = self.buffers(operands, code), self.buffers(results)
        frame = Frame(0, extension, ctypes.pointer(api), None, 3, given, written, attributes)
        return handler(ctypes.addressof(frame))


def received(text, operands, results):
    """Be the function of the only handler of these tests, since handlers are never freed."""
    return received.function(text, operands, results)


@pytest.fixture(scope="module")
def handler():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = POINTER, (ctypes.py_object, ctypes.c_char_p)
    return ctypes.CFUNCTYPE(POINTER, POINTER)(pointer(_core.foreign_function(received), None))


def test_arrays_share_memory(handler):
    operands = [np.arange(6).reshape(2, 3).astype(kind) for kind in CODES]
    operands += [np.zeros((0, 3), np.float32), np.array(3.5)]
    results = [np.zeros((3, 2), np.float32), np.zeros(2, np.uint32)]

    def function(text, given, written):
        assert text == b"a text\0and more"
        for one, other in zip(given, operands, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
            assert one.ctypes.data == other.ctypes.data or not other.size
        written[0][...] = 2.5
        written[1].view(np.uint64)[0] = 1 << 40

    received.function = function
    program = Program()
    assert program.call(handler, operands, results) is None
    assert (results[0] == 2.5).all()
    assert results[1].view(np.uint64)[0] == 1 << 40
    assert not program.errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x: wrong"), 3),
        (TypeError("x: wrong"), 3),
        (MemoryError("too much"), 8),
        (KeyError("k"), 13),
        (KeyboardInterrupt("stop"), 13),
    ],
)
def test_exceptions_become_errors(handler, error, code):
    def function(*unused):
        raise error

    received.function = function
    program = Program()
    assert program.call(handler, [], []) == 77
    assert program.errors == [(code, f"{type(error).__name__}: {error}")]


def test_an_exception_without_a_text_is_an_error_too(handler):
    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def function(*unused):
        raise SilentError

    received.function = function
    program = Program()
    assert program.call(handler, [], []) == 77
    assert program.errors[0][0] == 13


def test_other_types_are_refused(handler):
    program = Program()
    assert program.call(handler, [np.zeros(3, np.float32)], [], code=16) == 77
    code, message = program.errors[0]
    assert code == 3
    assert "expected booleans, integers, float32 or float64, got XLA's data type 16" in message


def test_the_version_of_the_interface(handler):
    received.function = None  # not called
    metadata = Metadata(0, Version(0, None, -1, -1))
    extension = MetadataExtension(0, 1, None, ctypes.addressof(metadata))
    assert Program().call(handler, [], [], extension=ctypes.addressof(extension)) is None
    assert (metadata.version.major, metadata.version.minor) == (0, 1)


def test_there_can_be_eight():
    code = "from lstmcore import _core\nfor _ in range(9): _core.foreign_function(print)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ValueError: expected at most 8 functions, got another one" in done.stderr
