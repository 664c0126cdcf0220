"""Arguments: plausible ones by the annotation of a parameter, and hostile ones for any."""

import inspect
import re
from collections.abc import Mapping

import numpy as np

HUGE = (2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), 1e18, 1e300)
"""Whoever passes one of these as a size asks for much himself."""

NAMES = (
    *("tanh", "sigmoid", "relu", "softmax", "linear", "adam", "sgd", "mse", "mae", "crossentropy"),
    *("accuracy", "glorot_uniform", "zeros", "concat", "sum", "float32", "float64", "sqrt", "int8"),
    *("additive", "same", "valid", "val_loss", "loss", "min", "word", "character", "lstm", "dense"),
)

PATHS = ("model.safetensors", "missing.safetensors", "x.keras", "x.onnx", ".", "log.csv", "x.png")


class Odd:
    """An object that fails wherever it is used."""

    def __repr__(self):
        raise ValueError("odd")

    __len__ = __iter__ = __float__ = __index__ = __bool__ = __eq__ = __str__ = __repr__
    __hash__ = None


class Loose:
    """An object of no use."""


def hostile(random):
    """Return a value that few parameters take."""
    rng = np.random.default_rng(random.randrange(2**32))
    kind = random.randrange(26)
    if kind < 5:
        return random.choice(
            (None, True, False, 0, 1, -1, 3, float("nan"), float("inf"), -0.0, 1e-320)
        )
    if kind < 7:
        return random.choice(HUGE)
    if kind < 10:
        return random.choice(
            ("", "a", "é", "\0", "\udc80", "x" * 400, "../x", b"abc", "12", "tanh ")
        )
    if kind < 13:
        return random.choice(((), [], {}, set(), [[]], {"a": 1}, [None], ((),), [1, "a"], range(3)))
    if kind < 15:
        return random.choice(
            (Loose(), Loose, len, lambda *a, **k: None, Ellipsis, NotImplemented, Odd())
        )
    if kind < 17:
        return random.choice(
            (1j, slice(None), iter([1, 2]), bytearray(8), memoryview(b"1234"), type)
        )
    return odd_array(random, rng)


def odd_array(random, rng):
    shape = random.choice(
        ((), (0,), (1,), (3,), (2, 0), (2, 3), (2, 3, 4), (0, 3, 4), (2, 0, 4), (1,) * 9)
    )
    dtype = random.choice(
        ("f4", "f8", "f2", "i4", "i8", "u1", "?", "c8", "O", "U3", "M8[s]", ">f4")
    )
    try:
        array = rng.normal(size=shape).astype("f8")
        array = array.astype(dtype) if dtype not in ("M8[s]", "U3", "O") else np.zeros(shape, dtype)
    except (TypeError, ValueError):
        array = np.zeros(shape)
    if array.dtype.kind == "f" and array.size and random.random() < 0.4:
        array.flat[random.randrange(array.size)] = random.choice((np.nan, np.inf, -np.inf, 1e38))
    change = random.randrange(6)
    if change == 0 and array.ndim:
        array = array[::-1]
    elif change == 1 and array.ndim > 1:
        array = array.swapaxes(0, -1)
    elif change == 2:
        array.flags.writeable = False
    elif change == 3 and array.ndim:
        array = np.broadcast_to(array, (2, *array.shape))
    elif change == 4 and array.size:
        array = np.ma.masked_array(array, mask=True)
    return array


def plausible(random, parameter, pool):
    """Return a value that a parameter may take, as far as its annotation says.

    Parameters
    ----------
    random : random.Random
    parameter : inspect.Parameter
    pool : dict of str to list
        Objects that earlier calls returned, by the names of their classes.
    """
    text = _annotation(parameter)
    known = [name for name in pool if re.search(rf"\b{name}\b", text)]
    if known and random.random() < 0.8:
        return random.choice(pool[random.choice(known)])
    default = parameter.default
    if default is not inspect.Parameter.empty and random.random() < 0.3:
        return default
    literals = re.findall(r"'([^']*)'", text)
    if literals and random.random() < 0.8:
        return random.choice(literals)
    makers = [make for pattern, make in MAKERS if re.search(pattern, text)]
    return random.choice(makers or [maker for _, maker in MAKERS])(random)


def _annotation(parameter):
    note = parameter.annotation
    if note is inspect.Parameter.empty:
        return "ndarray" if parameter.name in ("x", "y", "X") else ""
    return note if isinstance(note, str) else str(note).replace("typing.", "")


def _array(random):
    rng = np.random.default_rng(random.randrange(2**32))
    shape = random.choice(
        ((2, 3, 4), (2, 3, 4), (2, 5, 4), (4, 3), (3,), (2, 3), (16, 4), (2, 1, 4), (1, 3, 4))
    )
    array = rng.normal(size=shape).astype(random.choice(("f4", "f4", "f8")))
    return np.abs(array * 3).astype(np.int64) if random.random() < 0.2 else array


MAKERS = (
    (r"\bint\b|SupportsIndex|Integral", lambda random: random.choice((1, 1, 2, 3, 4, 8, 0))),
    (r"\bfloat\b|Real", lambda random: random.choice((0.0, 0.1, 0.5, 1.0, 2.0, 1e-3))),
    (r"\bbool\b", lambda random: random.choice((True, False))),
    (r"Array|ndarray|Any|ArrayLike|object", _array),
    (r"\bstr\b", lambda random: random.choice(NAMES)),
    (r"PathLike|Path", lambda random: random.choice(PATHS)),
    (
        r"Sequence|list|Iterable|tuple",
        lambda random: random.choice(([1, 2], [0.5], ["a", "b"], [3, 4, 4])),
    ),
    (r"Mapping|dict", lambda random: random.choice(({}, {"a": 1}, {0: 1.0, 1: 2.0}))),
    (r"Callable", lambda random: random.choice((len, lambda *a: 1.0, lambda x: x))),
    (r"None|Optional", lambda random: None),
)


def has_huge(value, depth=0):
    """Return whether a value is, or holds, a number that asks for much."""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return abs(value) >= 2**31 - 1
    if isinstance(value, np.ndarray):
        return bool(
            value.dtype.kind in "iufc"
            and value.size
            and np.any(np.abs(value.astype(complex)) > 2**30)
        )
    if isinstance(value, Mapping):
        value = list(value.values())
    return (
        depth < 3
        and isinstance(value, (list, tuple))
        and any(has_huge(v, depth + 1) for v in value)
    )
