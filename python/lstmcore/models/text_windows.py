"""Running text as batches that continue each other."""

from collections.abc import Iterator

from lstmcore._typing import Array

__all__ = ["TextWindows"]


class TextWindows:
    """Batches of the tokens of one long text, which is divided into streams of equal length.

    Row n of every batch holds the next tokens of stream n, so a state can pass from batch to
    batch; the targets are the tokens that follow.

    Parameters
    ----------
    ids : ndarray of int64, shape (M,)
    streams : int
        Rows of a batch, N; fewer if there are not as many tokens that follow another.
    steps : int
        Tokens of each stream in a batch; the last batch may have fewer.
    name : str
        Name of the text in errors.

    Raises
    ------
    ValueError
        If there are fewer than two tokens.
    """

    def __init__(self, ids: Array, streams: int, steps: int, name: str) -> None:
        streams = min(streams, len(ids) - 1)
        if streams < 1:
            raise ValueError(f"{name}: expected at least two tokens, got {len(ids)}")
        length = (len(ids) - 1) // streams
        self._x = ids[: streams * length].reshape(streams, length)
        self._y = ids[1 : streams * length + 1].reshape(streams, length)
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return (self[number] for number in range(len(self)))

    def __len__(self) -> int:
        return -(-self._x.shape[1] // self._steps)

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = slice(number * self._steps, (number + 1) * self._steps)
        return self._x[:, part].copy(), self._y[:, part].copy()
