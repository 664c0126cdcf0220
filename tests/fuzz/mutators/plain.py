"""Bytes without a known structure."""

import struct

INTERESTING = (
    *(0, 1, 2, 3, 4, 7, 8, 16, 63, 64, 65, 127, 128, 255, 256, 1000, 4096, 65535, 65536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
"""Numbers at which sizes overflow, or that are common in formats."""

WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def mutate(random, data, other=b""):
    """Make one to four small changes; `other` is a further input to take parts from."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        random.choice(CHANGES)(random, data, other)
    return bytes(data)


def _place(random, data):
    return random.randrange(len(data)) if data else 0


def _flip(random, data, other):
    if data:
        data[_place(random, data)] ^= 1 << random.randrange(8)


def _set(random, data, other):
    if data:
        data[_place(random, data)] = random.randrange(256)


def _number(random, data, other):
    width = random.choice(tuple(WIDTHS))
    place = _place(random, data)
    if place + width <= len(data):
        value = random.choice(INTERESTING) % (1 << (8 * width))
        data[place : place + width] = struct.pack("<" + WIDTHS[width], value)


def _nudge(random, data, other):
    if data:
        place = _place(random, data)
        data[place] = (data[place] + random.choice((-1, 1))) % 256


def _remove(random, data, other):
    place = _place(random, data)
    del data[place : place + random.randrange(1, 17)]


def _repeat(random, data, other):
    place = _place(random, data)
    part = data[place : place + random.randrange(1, 33)]
    data[place:place] = part * random.choice((1, 1, 2, 10))


def _insert(random, data, other):
    place = _place(random, data)
    data[place:place] = random.randbytes(random.randrange(1, 9))


def _cut(random, data, other):
    del data[_place(random, data) :]


def _copy(random, data, other):
    source = other if other and random.random() < 0.5 else bytes(data)
    if source and data:
        begin = random.randrange(len(source))
        part = source[begin : begin + random.randrange(1, 65)]
        place = _place(random, data)
        data[place : place + len(part)] = part


CHANGES = (_flip, _flip, _set, _number, _number, _nudge, _remove, _repeat, _insert, _cut, _copy)
