"""The declared shape of a model's input."""

from collections.abc import Sequence

from lstmcore import _checks
from lstmcore._typing import InputType, choices
from lstmcore.layers.symbols import Symbol

__all__ = ["Input"]


class Input(Symbol):
    """An input of a model: of an `lstmcore.Model`, or put first in a `Sequential`.

    A `Sequential` that begins with one is built at once instead of at its first call. In a graph,
    layers are called on it: ``y = LSTM(32)(Input((None, 8)))``.

    Parameters
    ----------
    shape : sequence of int or None
        Of one sample, without the batch: (None, C) for sequences of any length of C features,
        (None,) for token ids, (C,) for features that have no steps.
    name : str, optional
        By which `lstmcore.Model` takes its data from a dict; the model chooses one if it is None.
    dtype : {"float32", "float64", "int32", "int64"}, optional
        Whether the input holds numbers or, as integers, token ids, which only an `Embedding`
        takes; data are then converted to the model's dtype or to int64. None: what the layers
        that take the input expect.

    Attributes
    ----------
    shape : tuple of int or None
        Of a batch: (None, None, C).
    """

    def __init__(
        self,
        shape: Sequence[int | None],
        *,
        name: str | None = None,
        dtype: InputType | None = None,
    ) -> None:
        if isinstance(shape, (str, bytes, int)):
            raise TypeError(f"shape: expected a sequence of int or None, got {shape!r}")
        sizes = (None if size is None else _checks.integer(size, "shape", 1) for size in shape)
        super().__init__((None, *sizes))
        self.name = None if name is None else _checks.label(name)
        if dtype is not None:
            _checks.choice(dtype, "dtype", choices(InputType))
        self.dtype = dtype

    @property
    def is_ids(self) -> bool | None:
        """Whether `dtype` says that the input holds token ids; None: it says nothing."""
        return None if self.dtype is None else self.dtype.startswith("int")

    def __repr__(self) -> str:
        named = "" if self.name is None else f", name={self.name!r}"
        typed = "" if self.dtype is None else f", dtype={self.dtype!r}"
        return f"Input({self.shape[1:]}{named}{typed})"
