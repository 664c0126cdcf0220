"""Sizes that HDF5 files declare, compared with what the files hold before the library reads them.

The HDF5 library takes the memory that a file declares before it looks for the content: up to 4 GiB
for a text of variable length, for a chunk, and whatever a compressed chunk becomes. What follows is
by the HDF5 File Format Specification, sections III.C, III.D and IV.A.
"""

import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

from lstmcore._typing import Array

__all__ = ["check_attribute", "check_chunks"]

ATTRIBUTE, CONTINUATION = 0x0C, 0x10
"""Types of messages in the header of an object."""

SHARED = 0x02
"""Flag of a message that is stored elsewhere."""

MOST_MESSAGES = 1 << 16


class _Source:
    """The bytes of an HDF5 file, and the width of its numbers."""

    def __init__(self, content: Any, file: Any) -> None:
        self._content = content
        self.size = content.seek(0, os.SEEK_END)
        plist = file.id.get_create_plist()
        self.offset, self.length = plist.get_sizes()
        self.begin = plist.get_userblock()

    def bytes(self, address: int, count: int) -> bytes:
        """Return bytes at an address of the file; fewer if they are not there."""
        place = self.begin + address
        if not 0 <= place <= self.size or count < 0:
            return b""
        self._content.seek(place)
        found: bytes = self._content.read(min(count, self.size - place))
        return found


def _number(data: bytes, place: int, width: int) -> int:
    return int.from_bytes(data[place : place + width], "little")


# ---- texts ---------------------------------------------------------------------------------------


def check_attribute(h5py: Any, content: Any, holder: Any, name: str) -> None:
    """Raise ValueError if an attribute is no text or number, or longer than the file.

    Parameters
    ----------
    h5py : module
    content : binary file
        What the HDF5 file is read from.
    holder : h5py.Group
    name : str
        Of an attribute that it has.
    """
    known = holder.attrs.get_id(name)
    kind = known.get_type()
    plain = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
    if kind.get_class() not in plain:
        raise ValueError(f"its attribute {name!r} is neither a text nor a number")
    if kind.get_class() != h5py.h5t.STRING or not kind.is_variable_str():
        return
    source = _Source(content, holder.file)
    address = h5py.h5o.get_info(holder.id).addr
    width = 4 + source.offset + 4  # of a text: its length, the address of its heap, its place there
    count = math.prod(known.shape)
    found = False
    for data in _data_of(source, address, name.encode(), width * count):
        found = True
        heaps = set[int]()
        for place in range(0, len(data), width):
            if (size := _number(data, place, 4)) > source.size:
                raise ValueError(
                    f"its attribute {name!r} would have {size} bytes, in a file of {source.size} "
                    "bytes"
                )
            if size > 0:
                heaps.add(_number(data, place + 4, source.offset))
        if not all(_is_whole(source, heap) for heap in heaps):
            raise ValueError(f"its attribute {name!r} lies in a damaged heap")
    if not found:
        raise ValueError(f"its attribute {name!r} is stored in a way that is not read")


def _data_of(source: _Source, address: int, name: bytes, size: int) -> Iterator[bytes]:
    """Yield the data of the attributes of a name in the header of the object at an address."""
    for flags, message in _attributes(source, address):
        version = message[0] if message else 0
        lengths = [_number(message, place, 2) for place in (2, 4, 6)]
        begin = 9 if version == 3 else 8
        if version not in (1, 2, 3) or flags & SHARED:
            continue
        if message[begin : begin + lengths[0]].split(b"\0")[0] != name:
            continue
        if version == 1:  # padded to multiples of eight bytes
            lengths = [-(-length // 8) * 8 for length in lengths]
        data = message[begin + sum(lengths) :][:size]
        if len(data) == size:
            yield data


def _is_whole(source: _Source, address: int) -> bool:
    """Return whether the objects of a heap follow each other to its end.

    The library would otherwise walk over them for ever.
    """
    first = 8 + source.length
    begin = source.bytes(address, first)
    if len(begin) < first or begin[:4] != b"GCOL":
        return False
    size = _number(begin, 8, source.length)
    heap = source.bytes(address, size)
    place, head = first, 8 + source.length
    while len(heap) == size and place + head <= size:
        free = _number(heap, place, 2) == 0  # what is left over counts its own head
        length = _number(heap, place + 8, source.length)
        step = length if free else head + -(-length // 8) * 8
        if step < head:
            return False
        place += step
    return len(heap) == size and place <= size


def _attributes(source: _Source, address: int) -> Iterator[tuple[int, bytes]]:
    """Yield the flags and the data of the messages with attributes in an object's header."""
    begin = source.bytes(address, 32)
    later = begin[:4] == b"OHDR"
    ordered = False
    if later:
        flags = _number(begin, 5, 1)
        ordered = bool(flags & 0x04)
        place = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
        width = 1 << (flags & 3)
        blocks = [(address + place + width, _number(begin, place, width))]
    else:
        blocks = [(address + 16, _number(begin, 8, 4))]
    seen = 0
    while blocks:
        at, size = blocks.pop(0)
        block = source.bytes(at, size)
        for kind, flags, message in _messages(block, later, ordered):
            seen += 1
            if seen > MOST_MESSAGES:
                return
            if kind == ATTRIBUTE:
                yield flags, message
            elif kind == CONTINUATION:
                at = _number(message, 0, source.offset)
                size = _number(message, source.offset, source.length)
                blocks.append((at + 4, size - 8) if later else (at, size))  # signature, checksum


def _messages(block: bytes, later: bool, ordered: bool) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and data of the messages in a block of a header."""
    place, head = 0, (4 + 2 * ordered) if later else 8
    while place + head <= len(block):
        if later:
            kind, size, flags = block[place], _number(block, place + 1, 2), block[place + 3]
        else:
            kind, size = _number(block, place, 2), _number(block, place + 2, 2)
            flags = block[place + 4]
        yield kind, flags, block[place + head : place + head + size]
        place += head + size


# ---- chunks --------------------------------------------------------------------------------------


def check_chunks(h5py: Any, content: Any, entry: Any, most: int) -> None:
    """Raise ValueError if the chunks of a tensor are larger than the file explains.

    Parameters
    ----------
    h5py : module
    content : binary file
        What the HDF5 file is read from.
    entry : h5py.Dataset
    most : int
        Bytes that a chunk may have in memory.
    """
    if entry.dtype.hasobject:
        raise ValueError(f"{entry.name} holds texts or lists of any length, not numbers")
    if entry.chunks is None:
        return
    whole = math.prod(entry.chunks) * entry.dtype.itemsize
    if whole > most:
        raise ValueError(f"{entry.name} would have chunks of {whole} bytes")
    compressed = _is_compressed(h5py, entry)
    size = _Source(content, entry.file).size
    for number in range(entry.id.get_num_chunks()):
        stored = entry.id.get_chunk_info(number)
        if stored.byte_offset is None or stored.byte_offset + stored.size > size:
            raise ValueError(f"{entry.name} has a chunk beyond the end of the file")
        if stored.filter_mask:
            raise ValueError(f"{entry.name} has a chunk without the filters of the others")
        if compressed:
            _, data = entry.id.read_direct_chunk(stored.chunk_offset)
            _check_inflated(entry, data, whole)


def _is_compressed(h5py: Any, entry: Any) -> bool:
    """Return whether gzip is among the filters of a tensor; refuse those that are not known."""
    plist = entry.id.get_create_plist()
    codes = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    gzip, order = (
        h5py.h5z.FILTER_DEFLATE,
        (
            h5py.h5z.FILTER_SHUFFLE,
            h5py.h5z.FILTER_DEFLATE,
            h5py.h5z.FILTER_FLETCHER32,
        ),
    )
    if codes != [code for code in order if code in codes]:
        raise ValueError(
            f"{entry.name} has other filters than shuffle, gzip and fletcher32, once each and in "
            "this order"
        )
    return gzip in codes


def _check_inflated(entry: Any, data: Array | bytes, most: int) -> None:
    inflating = zlib.decompressobj()
    try:
        inflated = inflating.decompress(bytes(data), most + 1)
    except zlib.error as error:
        raise ValueError(f"{entry.name} has a damaged chunk: {error}") from None
    if len(inflated) > most:
        raise ValueError(
            f"{entry.name} has a chunk that is larger than it says when it is inflated"
        )
