"""Arrays of other libraries: read where they lie, if NumPy can address their memory."""

from typing import Any

import numpy as np

from lstmcore._typing import Array

__all__ = ["PLAIN", "as_array", "columns_of", "is_frame", "is_sparse", "refuse_sparse"]

CPU_DEVICES = (1, 3)  # DLPack's kDLCPU, and kDLCUDAHost, which is pinned memory of the CPU
_DENSE = ("toarray", "todense", "to_dense")  # methods of scipy.sparse, sparse and PyTorch
PLAIN = (list, tuple, str, bytes, int, float, np.generic, type(None))


def as_array(values: Any, name: str) -> Any:
    """Return what exports an array as that array; anything else (lists, numbers) comes back as is.

    Exporters have `__dlpack__`, the buffer protocol, or `__array__`: PyTorch's and JAX's arrays,
    `array.array`, memoryviews, the tables and columns of pandas and polars. Nothing is copied where
    the exporter's own memory can be addressed.

    Raises
    ------
    TypeError
        If it is a masked array, lies on another device, or cannot be read.
    ValueError
        If values are missing where the type has a place for that, as integers of a table.
    """
    if isinstance(values, np.ndarray):
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(
                f"{name}: expected an array without a mask, got a MaskedArray; "
                "say what is valid by lengths or sample_weight, and pass .filled(0)"
            )
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


def is_sparse(values: Any) -> bool:
    """Tell a sparse matrix, of scipy.sparse and the like, or a sparse tensor of PyTorch."""
    if hasattr(values, "nnz"):
        return any(hasattr(values, method) for method in _DENSE)
    return hasattr(values, "to_dense") and str(getattr(values, "layout", "")) != "torch.strided"


def refuse_sparse(values: Any, name: str) -> None:
    """Raise TypeError, which says how to make it dense, if `values` are a sparse array."""
    if is_sparse(values):
        kind = type(values).__name__
        method = next(method for method in _DENSE if hasattr(values, method))
        raise TypeError(f"{name}: expected a dense array, got a sparse {kind}; pass .{method}()")


def _conversion(values: Any) -> str:
    """Say how to convert floats of a type that NumPy lacks, such as bfloat16, if it is that."""
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
    if hasattr(
        values, "resolve_neg"
    ):  # PyTorch's DLPack forgets a sign that is still to be changed
        values = values.resolve_neg()
    return np.from_dlpack(values)


def _from_table(values: Any, name: str) -> Array:
    """A column or a frame of pandas or polars, whose types may have a place for missing values."""
    missing = _missing(values)
    if missing:
        raise ValueError(
            f"{name}: expected a value in every place, got {missing} missing; fill them in or "
            "leave those rows out"
        )
    array = np.asarray(values.to_numpy())
    if is_frame(values) and len({str(kind) for kind in values.dtypes}) > 1:
        # Columns know their types, a frame does not: pandas makes objects of them, polars even
        # numbers of dates.
        columns = [np.asarray(column.to_numpy()) for _, column in columns_of(values)]
        if all(column.dtype.kind in "fiub" for column in columns):
            return np.stack(columns, axis=1)
        return array.astype(object)
    return array


def _missing(values: Any) -> int:
    """How many values are missing: polars' null, pandas' NA, but not NaN, which is a number."""
    if hasattr(values, "null_count"):
        counts = values.null_count()
        return int(counts if isinstance(counts, int) else np.sum(counts.to_numpy()))
    columns = [values] if not is_frame(values) else [column for _, column in columns_of(values)]
    with_place = [column for column in columns if hasattr(column.dtype, "na_value")]
    return sum(int(np.sum(column.isna().to_numpy())) for column in with_place)


def is_frame(values: Any) -> bool:
    """Tell a table with columns from a single column and from an array."""
    return hasattr(values, "to_numpy") and hasattr(values, "columns")


def columns_of(frame: Any) -> list[tuple[Any, Any]]:
    """List the names and columns of a frame, by place, since pandas' names may occur twice."""
    by_place = frame.iloc if hasattr(frame, "iloc") else frame
    return [(label, by_place[:, place]) for place, label in enumerate(frame.columns)]
