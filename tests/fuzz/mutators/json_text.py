"""JSON: its values are exchanged, removed, repeated and nested; the text stays JSON, mostly."""

import copy
import json

from mutators import plain

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e-5, 1e308, -1e308),
    *(2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**400),
    *("", "a", "tanh", "\u0000", "\ud800", "é", "x" * 300, "../x", [], {}, [0], [[]], [None]),
    *({"a": 1}, [[[[[]]]]], "float32", "float64", "Dense", "LSTM"),
)

NAMES = ("", "a", "class", "class_name", "config", "name", "units", "layers", "__proto__")


def mutate_text(random, text):
    """Change a JSON text; one that cannot be parsed is changed byte by byte."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return plain.mutate(random, text if isinstance(text, bytes) else text.encode())
    try:
        changed = dump(mutate(random, value))
    except RecursionError:
        return text if isinstance(text, bytes) else text.encode()
    return plain.mutate(random, changed) if random.random() < 0.05 else changed


def dump(value):
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutate(random, value):
    """Return another value that JSON can hold."""
    try:
        value = copy.deepcopy(value)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            value = _changed(random, value)
    except RecursionError:  # an earlier change has nested it deeply
        pass
    return value


def places(value, found=None):
    """List all containers with a key or index of each of their entries."""
    found = [] if found is None else found
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        found.append((value, key))
        if isinstance(entry, (dict, list)):
            places(entry, found)
    return found


def _changed(random, value):
    found = places(value) if isinstance(value, (dict, list)) else []
    if not found:
        return copy.deepcopy(random.choice(VALUES))
    container, key = random.choice(found)
    current = container[key]
    kind = random.randrange(8)
    if kind <= 1:
        container[key] = copy.deepcopy(random.choice(VALUES))
    elif kind == 2:
        container[key] = _near(random, current)
    elif kind == 3:
        source, place = random.choice(found)
        container[key] = copy.deepcopy(source[place])
    elif kind == 4:
        del container[key]
    elif kind == 5:
        _repeat(random, container, key)
    elif kind == 6:
        _rename(random, container, key, found)
    else:
        container[key] = _nested(random, current)
    return value


def _near(random, value):
    """Return a value of the same type that is close to this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = (value - 1, value + 1, -value, 2 * value)
        small = (value << 20, float(value)) if value.bit_length() < 200 else ()
        return random.choice((*near, *small))
    if isinstance(value, float):
        whole = int(value) if abs(value) < 1e9 else 0
        return random.choice((-value, value + 1, value * 1e30, whole))
    if isinstance(value, str):
        return random.choice((value[:-1], value + "_", value.upper(), value[::-1]))
    if isinstance(value, list):
        return random.choice((value[:-1], value[::-1], value[1:]))
    return dict(list(value.items())[:-1]) if isinstance(value, dict) else value


def _repeat(random, container, key):
    entry = copy.deepcopy(container[key])
    if isinstance(container, list):
        container[key:key] = [copy.deepcopy(entry) for _ in range(random.choice((1, 1, 3, 30)))]
    else:
        container[random.choice(NAMES)] = entry


def _rename(random, container, key, found):
    if isinstance(container, dict):
        names = [name for _, name in found if isinstance(name, str)]
        container[random.choice((*names, *NAMES))] = container.pop(key)
    else:
        random.shuffle(container)


def _nested(random, value):
    for _ in range(random.choice((1, 1, 2, 70, 250))):
        value = [value] if random.random() < 0.5 else {random.choice(NAMES): value}
    return value
