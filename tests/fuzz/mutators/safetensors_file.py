"""safetensors: eight bytes with the length of a header in JSON, the header, the tensors' bytes."""

import json
import struct
import zlib

from mutators import json_text, plain

OURS = "lstmcore"
"""The entry of the metadata that holds, as JSON in a string, all about a model but its tensors."""


def mutate(random, data, other=b""):
    parts = split(data)
    if parts is None or random.random() < 0.08:
        return plain.mutate(random, data, other)
    header, tensors = parts
    try:
        return _mutated(random, header, tensors, other)
    except RecursionError:  # an earlier change has nested it deeply
        return data


def _mutated(random, header, tensors, other):
    kind = random.randrange(6)
    if kind == 0:
        tensors = plain.mutate(random, tensors, other)
    elif kind == 1:
        text = header.get("__metadata__")
        header = json_text.mutate(random, header)
        if isinstance(header, dict) and random.random() < 0.5:
            header["__metadata__"] = text
    elif kind == 2:
        _resize(random, header)
    else:
        _mutate_model(random, header)
    if random.random() < 0.9:
        repair(header, tensors)
    return joined(header, tensors)


def split(data):
    """Return the header, and the bytes of the tensors; None if there is no such header."""
    if len(data) < 8:
        return None
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        return None
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return None
    return (header, data[8 + length :]) if isinstance(header, dict) else None


def joined(header, tensors):
    text = json_text.dump(header)
    return struct.pack("<Q", len(text)) + text + tensors


def _metadata(header):
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(OURS) if isinstance(metadata, dict) else None
    return (metadata, text) if isinstance(text, str) else (None, None)


def _mutate_model(random, header):
    metadata, text = _metadata(header)
    if metadata is not None:
        metadata[OURS] = json_text.mutate_text(random, text).decode("utf-8", "replace")


def _resize(random, header):
    """Change what the header says of one tensor."""
    entries = [entry for entry in header.values() if isinstance(entry, dict) and "shape" in entry]
    if not entries:
        return
    entry = random.choice(entries)
    key = random.choice(("shape", "shape", "dtype", "data_offsets"))
    if key == "dtype":
        entry[key] = random.choice(
            ("F32", "F64", "I8", "F16", "BF16", "I64", "BOOL", "U8", "X", "")
        )
    else:
        entry[key] = json_text.mutate(random, entry.get(key))


def repair(header, tensors):
    """Enter the right checksum into the metadata of a model, if there is one."""
    metadata, text = _metadata(header)
    if metadata is None:
        return
    try:
        document = json.loads(text)
        value = 0
        for name in sorted(set(header) - {"__metadata__"}):
            begin, end = header[name]["data_offsets"]
            value = zlib.crc32(tensors[begin:end], value)
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    if isinstance(document, dict) and "checksum" in document:
        document["checksum"] = value
        metadata[OURS] = json.dumps(document, ensure_ascii=False)
