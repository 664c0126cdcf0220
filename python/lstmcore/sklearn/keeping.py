"""Preserve an estimator's state: in pickles, and when a call fails."""

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
    """Restore an estimator's attributes, and the weights of `model`, if the block raises.

    Parameters
    ----------
    estimator : estimator
        The block may replace its attributes, but not change them in place.
    model : Sequential or None
        A model that the block trains further, restored together with its optimizer.
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
    """Return a function that undoes what training does to a model."""
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
    """Return a copy of a hyper-parameter in a form in which equivalent values are equal."""
    if name == "dtype":
        return np.dtype(value).name
    if name == "cell_options":
        value = dict(value) if isinstance(value, Mapping) and value else None
    if name == "target" and value is not None and not isinstance(value, str):
        value = list(value)
    try:
        return encode(value)
    except ValueError:  # e.g. for names that are times
        return value


def one_blas_thread() -> Any:
    """Return a context in which BLAS uses one thread.

    Orthogonal initial values come from LAPACK, whose results may depend on its number of threads.
    Its threads also wait long for each other where several processes share the cores, as in a grid
    search.
    """
    threadpoolctl = import_module("threadpoolctl")  # installed with scikit-learn
    return threadpoolctl.threadpool_limits(1, user_api="blas")


def to_bytes(model: Sequential) -> bytes:
    """Return the contents of a model file."""
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
