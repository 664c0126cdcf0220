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
    """Weights of an earlier call: their fingerprints and their packed form; or neither."""

    fingerprints: _core.Fingerprints
    packed: PackedWeights | None
    size: int


_NOTHING = _Seen(_core.Fingerprints([]), None, 0)

_seen: OrderedDict[Hashable, _Seen] = OrderedDict()
_held = 0
_lock = threading.Lock()


class Packer:
    """Packs the weights of the examples of one call.

    Parameters
    ----------
    remember : bool
        Whether weights may be the same at the next call, as they are in inference. Weights that are
        found in the same place twice stay packed; from then on they are packed again only if their
        bytes have another fingerprint, so that every change is noticed.
    several : bool
        Whether the call has several examples, which may share their weights.
    """

    def __init__(self, remember: bool, several: bool = False) -> None:
        self._remember = remember
        self._several = several
        self._place: Hashable = None
        self._last: PackedWeights | None = None

    def packed(self, weights: dict[str, Array], config: LSTMConfig) -> PackedWeights:
        """Return packed weights; those of the previous example if they are in the same place."""
        if not self._remember and not self._several:
            return F.pack(weights, config)
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
        arrays = list(weights.values())
        size = sum(array.nbytes for array in arrays)
        now = _Seen(_core.Fingerprints(arrays), F.pack(weights, config), size)
    elif seen is not None and seen.fingerprints.match(list(weights.values())):
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
