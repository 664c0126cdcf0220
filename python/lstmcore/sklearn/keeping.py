"""How an estimator stays what it was: in pickles, and where a call is refused."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore._configurable import encode
from lstmcore.models import Sequential

__all__ = ["from_bytes", "one_blas_thread", "settled", "to_bytes", "unchanged_on_error"]


@contextmanager
def unchanged_on_error(estimator: Any, model: Sequential | None) -> Iterator[None]:
    """Give an estimator its attributes back if the block raises, and `model` its weights.

    Parameters
    ----------
    estimator : estimator
        Whose attributes are replaced in the block, not changed in place.
    model : Sequential or None
        One that the block trains further, with its optimizer.
    """
    before = dict(vars(estimator))
    restore = _keep(model) if model is not None else None
    try:
        yield
    except BaseException:
        _replace(estimator, before)
        if restore is not None:
            restore()
        raise


def _keep(model: Sequential) -> Callable[[], None]:
    """Give a function that undoes what a training does to a model."""
    optimizer, parameters = model.optimizer, model.parameters
    attributes = [(thing, dict(vars(thing))) for thing in (model, optimizer)]
    arrays = [(own, own.copy()) for own in (parameters.values, *optimizer.slots.values())]

    def restore() -> None:
        for thing, values in attributes:
            _replace(thing, values)
        for own, copy in arrays:
            own[...] = copy
        parameters.touch()

    return restore


def _replace(thing: Any, attributes: dict[str, Any]) -> None:
    vars(thing).clear()
    vars(thing).update(attributes)


def settled(name: str, value: Any) -> Any:
    """Copy a hyper-parameter, so that values which mean the same are equal."""
    if name == "dtype":
        return np.dtype(value).name
    if name == "cell_options":
        value = dict(value) if isinstance(value, Mapping) and value else None
    if name == "target" and value is not None and not isinstance(value, str):
        value = list(value)
    try:
        return encode(value)
    except ValueError:  # such as names that are times
        return value


def one_blas_thread() -> Any:
    """Give a context in which BLAS uses one thread.

    Orthogonal initial values come from LAPACK, whose bits may depend on its threads, and whose
    threads wait long for each other where several processes share the cores, as in a grid search.
    """
    threadpoolctl = import_module("threadpoolctl")  # comes with scikit-learn
    return threadpoolctl.threadpool_limits(1, user_api="blas")


def to_bytes(model: Sequential) -> bytes:
    """Give what a model file holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        return path.read_bytes()


def from_bytes(content: bytes) -> Sequential:
    """Undo `to_bytes`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        return Sequential.load(path)
