"""Zip archives: their files are changed, each in its own way, renamed, removed and repeated."""

import io
import warnings
import zipfile

from mutators import hdf5, json_text, plain

BOMB = 1 << 27
"""Zeros in a file that the archive holds in a few kilobytes."""

DATE = (1980, 1, 1, 0, 0, 0)


def mutate(random, data, other=b""):
    files = unpacked(data)
    if not files or random.random() < 0.15:
        return plain.mutate(random, data, other)
    place = random.randrange(len(files))
    name, content = files[place]
    kind = random.randrange(20)
    if kind == 0:
        del files[place]
    elif kind == 1:
        files.append((name, content))
    elif kind == 2:
        files[place] = (random.choice(("x", "../x", "/x", name + "\0", "")), content)
    elif kind == 3:
        files[place] = (name, random.choice(files)[1])
    elif kind == 4 and random.random() < 0.05:
        files[place] = (name, bytes(BOMB))
    else:
        change = json_text.mutate_text if name.endswith(".json") else hdf5.mutate
        files[place] = (name, change(random, content))
    return packed(files, zipfile.ZIP_DEFLATED if random.random() < 0.7 else zipfile.ZIP_STORED)


def unpacked(data):
    """Return pairs of names and contents; [] if the bytes are no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:  # of many classes
        return []


def packed(files, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that appear twice
        for name, data in files:
            entry = zipfile.ZipInfo(name or "empty", DATE)
            entry.compress_type = compression
            archive.writestr(entry, data)
    return content.getvalue()
