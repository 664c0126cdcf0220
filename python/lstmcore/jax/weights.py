"""The weights of a call, packed for the engine, which takes about as long as copying them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from lstmcore import _core, precision
from lstmcore import functional as F
from lstmcore._typing import Array
from lstmcore.config import LSTMConfig
from lstmcore.functional import PackedWeights

MOST_BYTES = 1 << 24
"""Size of one call's weights above which they are packed at every call."""

MOST_HELD = 1 << 26
"""Bytes of weights that are remembered altogether; the least recently used are forgotten first."""

MOST_PLACES = 256
"""How many places of weights are remembered."""


class _Seen(NamedTuple):
    """Weights of an earlier call: copies of them, and their packed form; or neither."""

    copies: list[Array]
    packed: PackedWeights | None
    size: int


_NOTHING = _Seen([], None, 0)

_seen: OrderedDict[Hashable, _Seen] = OrderedDict()
_held = 0
_lock = threading.Lock()


class Packer:
    """Packs the weights of the examples of one call.

    Parameters
    ----------
    remember : bool
        Whether weights may be the same at the next call, as they are in inference. Weights that are
        found in the same place twice are copied; from then on they are packed again only if their
        bytes differ from the copy, so that every change is noticed.
    """

    def __init__(self, remember: bool) -> None:
        self._remember = remember
        self._place: Hashable = None
        self._last: PackedWeights | None = None

    def packed(self, weights: dict[str, Array], config: LSTMConfig) -> PackedWeights:
        """Return packed weights; those of the previous example if they are in the same place."""
        arrays = list(weights.values())
        places = tuple(array.__array_interface__["data"][0] for array in arrays)
        place = (places, config, arrays[0].dtype, precision.get_precision())
        if self._last is None or place != self._place:
            known = self._remember and sum(array.nbytes for array in arrays) <= MOST_BYTES
            self._last = _remembered(place, weights, config) if known else F.pack(weights, config)
            self._place = place
        return self._last


def _remembered(place: Hashable, weights: dict[str, Array], config: LSTMConfig) -> PackedWeights:
    seen = _seen.get(place)
    now = _NOTHING
    if seen is _NOTHING:  # found for the second time
        # Packs the copies, so that the two are of the same bytes.
        copies = {name: array.copy() for name, array in weights.items()}
        size = sum(copy.nbytes for copy in copies.values())
        now = _Seen(list(copies.values()), F.pack(copies, config), size)
    elif seen is not None and _core.same_bytes(list(weights.values()), seen.copies):
        now = seen
    _remember(place, now)
    return F.pack(weights, config) if now.packed is None else now.packed


def _remember(place: Hashable, seen: _Seen) -> None:
    global _held
    with _lock:
        _held += seen.size - _seen.pop(place, _NOTHING).size
        _seen[place] = seen
        while _held > MOST_HELD or len(_seen) > MOST_PLACES:
            _held -= _seen.popitem(last=False)[1].size
