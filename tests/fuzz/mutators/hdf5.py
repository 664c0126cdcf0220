"""HDF5, by its bytes: words next to its signatures, addresses and sizes are exchanged."""

import re
import struct

from mutators import plain

SIGNATURES = re.compile(rb"\x89HDF|TREE|HEAP|SNOD|GCOL|OHDR|OCHK|FRHP|BTHD|BTLF|FHDB")
NEAR = 96  # bytes after a signature that say how large something is and where it lies


def mutate(random, data, other=b""):
    if random.random() < 0.4:
        return plain.mutate(random, data, other)
    changed = bytearray(data)
    places = [found.start() for found in SIGNATURES.finditer(data)]
    for _ in range(random.choice((1, 1, 2, 3))):
        base = random.choice(places) if places and random.random() < 0.7 else 0
        reach = NEAR if base or random.random() < 0.3 else max(len(data) - 8, 1)
        place = base + random.randrange(0, reach) // 8 * 8
        if place + 8 > len(changed):
            continue
        changed[place : place + 8] = _word(random, data, changed[place : place + 8])
    return bytes(changed)


def _word(random, data, word):
    """Return eight other bytes: a near number, an interesting one, or a word of the file."""
    (value,) = struct.unpack("<Q", word)
    kind = random.randrange(4)
    if kind == 0:
        value += random.choice((-8, -1, 1, 8, 256))
    elif kind == 1:
        value = random.choice(plain.INTERESTING)
    elif kind == 2 and len(data) >= 16:
        (value,) = struct.unpack_from(
            "<Q", data, random.randrange(len(data) // 8) * 8 % (len(data) - 7)
        )
    else:  # only one of its bytes
        value ^= random.randrange(256) << (8 * random.randrange(8))
    return struct.pack("<Q", value % (1 << 64))
