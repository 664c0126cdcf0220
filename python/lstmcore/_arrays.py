"""Read other libraries' arrays, without a copy if NumPy can address their memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcore._typing import Array

__all__ = [
    "PLAIN",
    "as_array",
    "columns_of",
    "is_frame",
    "is_sparse",
    "refuse_masked",
    "refuse_masked_in",
    "refuse_sparse",
]

CPU_DEVICES = (1, 3)  # DLPack's kDLCPU, and kDLCUDAHost, which is pinned CPU memory
_DENSE = ("toarray", "todense", "to_dense")  # methods of scipy.sparse, sparse and PyTorch
_NUMBERS = (int, float, str, np.generic)
PLAIN = (list, tuple, str, bytes, int, float, np.generic, type(None))


def as_array(values: Any, name: str) -> Any:
    """Convert an object that exports an array; return anything else (lists, numbers) as it is.

    Exporters have `__dlpack__`, the buffer protocol, or `__array__`: PyTorch's and JAX's arrays,
    `array.array`, memoryviews, the tables and columns of pandas and polars. Data are copied only if
    NumPy cannot address the exporter's memory.

    Raises
    ------
    TypeError
        If it is a masked array, is on another device, or cannot be read.
    ValueError
        If values are missing in a type that can represent that, such as a table's nullable
        integers.
    """
    if isinstance(values, np.ndarray):
        refuse_masked(values, name)
        return values
    if isinstance(values, PLAIN):
        return values
    if hasattr(values, "to_numpy"):
        return _from_table(values, name)
    refuse_sparse(values, name)
    try:
        if hasattr(values, "__dlpack__") and hasattr(values, "__dlpack_device__"):
            return _from_dlpack(values, name)
        if hasattr(values, "__array__"):
            return np.asarray(values)
        view = _view(values)
        return values if view is None else np.asarray(view)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(
            f"{name}: expected an array that NumPy can read, got {type(values).__name__}: {error}"
            + _conversion(values)
        ) from error


def refuse_masked(values: Any, name: str) -> None:
    """Raise TypeError if `values` are a masked array: what it masks would count like the rest."""
    if type(values) is not np.ndarray and isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: expected an array without a mask, got a MaskedArray; "
            "mark valid values by lengths or sample_weight, and pass .filled(0)"
        )


def refuse_masked_in(arrays: Any, name: str) -> None:
    """Raise TypeError if one of `arrays` is a masked array.

    Parameters
    ----------
    arrays : mapping of str to array, sequence of arrays, or anything else, which passes
        Sequences may be nested. One that begins with a number is taken to hold numbers, of which
        none may be masked either.
    name : str
        Of the argument.
    """
    if isinstance(arrays, Mapping):
        for key, array in arrays.items():
            refuse_masked(array, f"{name} {key}")
    elif isinstance(arrays, (list, tuple)) and arrays:
        if isinstance(arrays[0], _NUMBERS) and not any(one is np.ma.masked for one in arrays):
            return
        for place, array in enumerate(arrays):
            if isinstance(array, (list, tuple)):
                refuse_masked_in(array, f"{name}[{place}]")
            else:
                refuse_masked(array, f"{name}[{place}]")


def is_sparse(values: Any) -> bool:
    """Return whether `values` are a sparse matrix, as in scipy.sparse, or a sparse tensor."""
    if hasattr(values, "nnz"):
        return any(hasattr(values, method) for method in _DENSE)
    return hasattr(values, "to_dense") and str(getattr(values, "layout", "")) != "torch.strided"


def refuse_sparse(values: Any, name: str) -> None:
    """Raise TypeError if `values` are a sparse array; the error says how to make it dense."""
    if is_sparse(values):
        kind = type(values).__name__
        method = next(method for method in _DENSE if hasattr(values, method))
        raise TypeError(f"{name}: expected a dense array, got a sparse {kind}; pass .{method}()")


def _conversion(values: Any) -> str:
    """Return advice on converting a float type that NumPy lacks, such as bfloat16, or ""."""
    kind = str(getattr(values, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(("bfloat", "float8", "float4")):
        return ""
    method = "float()" if hasattr(values, "float") else "astype('float32')"
    return f" NumPy has no {kind}; pass .{method}"


def _view(values: Any) -> memoryview | None:
    try:
        return memoryview(values)
    except TypeError:
        return None


def _from_dlpack(values: Any, name: str) -> Array:
    if values.__dlpack_device__()[0] not in CPU_DEVICES:
        raise TypeError(
            f"{name}: expected an array in the CPU's memory, got {type(values).__name__} on "
            "another device; move it to the CPU first"
        )
    if hasattr(values, "resolve_neg"):  # PyTorch's DLPack export ignores a pending negation
        values = values.resolve_neg()
    return np.from_dlpack(values)


def _from_table(values: Any, name: str) -> Array:
    """Convert a pandas or polars column or frame, whose types may represent missing values."""
    missing = _missing(values)
    if missing:
        raise ValueError(
            f"{name}: expected a value in every place, got {missing} missing; fill them in or "
            "leave those rows out"
        )
    array = np.asarray(values.to_numpy())
    if is_frame(values) and len({str(kind) for kind in values.dtypes}) > 1:
        # Convert column by column: as a whole, pandas would convert a frame to objects, and polars
        # would even convert dates to numbers.
        columns = [np.asarray(column.to_numpy()) for _, column in columns_of(values)]
        if all(column.dtype.kind in "fiub" for column in columns):
            return np.stack(columns, axis=1)
        return array.astype(object)
    return array


def _missing(values: Any) -> int:
    """Count missing values: polars' null and pandas' NA, but not NaN, which is a number."""
    if hasattr(values, "null_count"):
        counts = values.null_count()
        return int(counts if isinstance(counts, int) else np.sum(counts.to_numpy()))
    columns = [values] if not is_frame(values) else [column for _, column in columns_of(values)]
    with_place = [column for column in columns if hasattr(column.dtype, "na_value")]
    return sum(int(np.sum(column.isna().to_numpy())) for column in with_place)


def is_frame(values: Any) -> bool:
    """Return whether `values` are a table with columns, not a single column or an array."""
    return hasattr(values, "to_numpy") and hasattr(values, "columns")


def columns_of(frame: Any) -> list[tuple[Any, Any]]:
    """List the names and columns of a frame by position, since pandas' names may repeat."""
    by_place = frame.iloc if hasattr(frame, "iloc") else frame
    return [(label, by_place[:, place]) for place, label in enumerate(frame.columns)]
