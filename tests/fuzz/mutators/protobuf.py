"""Protocol buffers without a schema: fields are changed, lengths around them made right again."""

import struct

from mutators import plain

DEEPEST = 20
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def mutate(random, data, other=b""):
    if random.random() < 0.1:
        return plain.mutate(random, data, other)
    message = parsed(data)
    if not message:
        return plain.mutate(random, data, other)
    donor = parsed(other) or []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random, message, donor)
    return encoded(message)


# ---- reading and writing -------------------------------------------------------------------------
# A message is a list of [field, wire type, value], where a value of type BYTES may be a message.


def parsed(data, depth=0):
    """Return a message; None if the bytes are not one."""
    found, place = [], 0
    while place < len(data):
        key, place = _varint(data, place)
        if key is None or key >> 3 == 0:
            return None
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            if value is None:
                return None
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, place = data[place : place + size], place + size
        elif kind == BYTES:
            size, place = _varint(data, place)
            if size is None or place + size > len(data):
                return None
            value, place = data[place : place + size], place + size
            inner = parsed(value, depth + 1) if depth < DEEPEST and not _is_text(value) else None
            value = inner or value
        else:
            return None
        found.append([key >> 3, kind, value])
    return found if place == len(data) else None


def _is_text(value):
    return bool(value) and all(32 <= byte < 127 for byte in value)


def _varint(data, place):
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    return None, place


def varint(value):
    value %= 1 << 64
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def encoded(message):
    found = bytearray()
    for field, kind, value in message:
        found += varint(field << 3 | kind)
        if kind == VARINT:
            found += varint(value)
        elif kind == BYTES:
            content = encoded(value) if isinstance(value, list) else value
            found += varint(len(content)) + content
        else:
            found += value
    return bytes(found)


# ---- changes -------------------------------------------------------------------------------------


def _all(message, found=None):
    """List all fields with the messages that they are in."""
    found = [] if found is None else found
    for place, (_, _, value) in enumerate(message):
        found.append((message, place))
        if isinstance(value, list):
            _all(value, found)
    return found


def _copied(entry):
    field, kind, value = entry
    return [field, kind, [_copied(inner) for inner in value] if isinstance(value, list) else value]


def _change(random, message, donor):
    found = _all(message)
    if not found:
        return
    inside, place = random.choice(found)
    field, kind, value = inside[place]
    change = random.randrange(8)
    if change <= 2:
        inside[place][2] = _other_value(random, kind, value, found)
    elif change == 3:
        source, other = random.choice(found)
        inside[place] = [field, *_copied(source[other])[1:]]
    elif change == 4:
        del inside[place]
    elif change == 5:
        inside[place:place] = [_copied(inside[place]) for _ in range(random.choice((1, 1, 2, 40)))]
    elif change == 6:
        source, other = random.choice(_all(donor) or found)
        inside.insert(place, _copied(source[other]))
    else:
        inside[place][0] = random.choice((field + 1, max(field - 1, 1), random.randrange(1, 32)))


def _other_value(random, kind, value, found):
    if kind == VARINT:
        near = (value + 1, value - 1, value * 2)
        return random.choice((*near, random.choice(plain.INTERESTING), -1)) % (1 << 64)
    if kind == FIXED32:
        return struct.pack("<f", random.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), 2.0)))
    if kind == FIXED64:
        return struct.pack("<d", random.choice((0.0, -1.0, 1e300, float("nan"), float("inf"), 2.0)))
    texts = [
        source[place][2]
        for source, place in found
        if isinstance(source[place][2], bytes) and source[place][1] == BYTES
    ]
    if texts and random.random() < 0.5:
        return random.choice(texts)
    if isinstance(value, list):
        return plain.mutate(random, encoded(value))
    return _numbers(random, value) if len(value) % 8 == 0 and value else plain.mutate(random, value)


def _numbers(random, value):
    """Change one of several 64-bit integers, as shapes are stored."""
    numbers = list(struct.unpack(f"<{len(value) // 8}q", value))
    numbers[random.randrange(len(numbers))] = random.choice((-1, 0, 1, 2, 2**31, 2**40, 2**62))
    return struct.pack(f"<{len(numbers)}q", *numbers)
