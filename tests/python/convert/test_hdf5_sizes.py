"""What HDF5 files declare is compared with what they hold before memory is taken for it."""

import re
import struct
import zlib

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

from fuzz_kit import CORPUS  # noqa: E402
from keras2_kit import dense, first_shape, lstm, sequential, write  # noqa: E402
from lstmcore.convert import from_keras  # noqa: E402
from lstmcore.convert._hdf5_sizes import check_attribute, check_chunks  # noqa: E402

MUCH = (1 << 32) - 1


def model(path):
    rng = np.random.default_rng(0)
    layers = first_shape([lstm(rng, "lstm", 2, 2), dense(rng, "dense", 1, 2)], None, 2)
    return write(path, layers, sequential("model", layers).document)


def attribute_checked(path, name, group="/"):
    with path.open("rb") as content, h5py.File(content, "r") as file:
        check_attribute(h5py, content, file[group], name)
        return file[group].attrs[name]


def longer(path, text, length):
    """Change the length that a file declares for a text of variable length."""
    data = bytearray(path.read_bytes())
    heaps = {found.start() for found in re.finditer(b"GCOL", data)}
    places = [
        place
        for heap in heaps
        for place in range(len(data) - 16)
        if struct.unpack_from("<IQ", data, place) == (len(text), heap)
    ]
    assert places
    for place in places:
        struct.pack_into("<I", data, place, length)
    path.write_bytes(data)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("tracked", [False, True])
def test_texts_longer_than_the_file(tmp_path, libver, tracked):
    """In both forms of headers, also behind others, where they are continued elsewhere."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver, track_order=tracked) as file:
        group = file.create_group("group", track_order=tracked)
        for number in range(4):
            group.attrs[f"before{number}"] = np.arange(50)
        group.attrs["text"] = b"0123456789"
        group.attrs.create("names", ["a", "bc"], dtype=h5py.string_dtype())
    assert attribute_checked(path, "text", "group") in (b"0123456789", "0123456789")
    assert list(attribute_checked(path, "names", "group")) == ["a", "bc"]
    assert attribute_checked(path, "before3", "group")[3] == 3
    if libver == "latest" or tracked:
        return  # its checksums find what is changed
    longer(path, "0123456789", MUCH)
    with pytest.raises(ValueError, match="'text' would have 4294967295 bytes, in a file of"):
        attribute_checked(path, "text", "group")


def test_attributes_outside_the_header(tmp_path):
    """Many attributes move into a heap, which is not read here; Keras writes few."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(20):
            file.attrs[f"text{number}"] = "abc"
        file.attrs["number"] = 3
    with pytest.raises(ValueError, match="'text3' is stored in a way that is not read"):
        attribute_checked(path, "text3")
    assert attribute_checked(path, "number") == 3


def test_attributes_that_are_no_texts(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["flag"] = True
        file.attrs.create("pair", np.array([("x", 1)], [("a", h5py.string_dtype()), ("b", "i4")]))
    for name in ("flag", "pair"):
        with pytest.raises(ValueError, match=f"its attribute '{name}' is neither a text nor"):
            attribute_checked(path, name)


def test_models_with_such_texts(tmp_path):
    path = model(tmp_path / "a.h5")
    assert from_keras(path).built
    with h5py.File(path, "r") as file:
        version = str(file.attrs["keras_version"])
    longer(path, version, 1 << 30)
    with pytest.raises(ValueError, match=r"would have 1073741824 bytes, in a file of \d+ bytes"):
        from_keras(path)


def test_the_find_is_refused():
    with pytest.raises(ValueError, match=r"attribute '\w+' would have 4294967295 bytes"):
        from_keras(CORPUS / "keras_files" / "find_text_of_4_gib.h5")


def test_heaps_over_which_the_library_would_walk_for_ever(tmp_path):
    """A free part that ends before the heap does, and zeros behind it."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["text"] = b"0123456789"
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    free = heap + 16 + 16 + 16  # behind the head and the text
    (size,) = struct.unpack_from("<Q", data, free + 8)
    assert size == 4096 - 48
    struct.pack_into("<Q", data, free + 8, size - 200)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="its attribute 'text' lies in a damaged heap"):
        attribute_checked(path, "text")


def test_the_find_that_hung_is_refused():
    with pytest.raises(ValueError, match=r"its attribute '\w+' lies in a damaged heap"):
        from_keras(CORPUS / "keras_files" / "find_heap_without_end.h5")


# ---- chunks --------------------------------------------------------------------------------------


def checked(path, most=1 << 20):
    with path.open("rb") as content, h5py.File(content, "r") as file:
        check_chunks(h5py, content, file["x"], most)
        return file["x"][()]


def stored(path, x, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (8, 8)},
        {"chunks": (8, 8), "compression": "gzip"},
        {"chunks": (7, 5), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (8, 8), "fletcher32": True},
    ],
)
def test_tensors_in_chunks_are_read(tmp_path, options):
    x = np.random.default_rng(0).normal(size=(20, 20))
    np.testing.assert_array_equal(checked(stored(tmp_path / "a.h5", x, **options)), x)


def test_chunks_that_are_too_large(tmp_path):
    path = stored(tmp_path / "a.h5", np.zeros((600, 600), np.float32), chunks=(600, 600))
    with pytest.raises(ValueError, match="x would have chunks of 1440000 bytes"):
        checked(path)


def test_a_chunk_that_grows_when_it_is_inflated(tmp_path):
    """A stream of a megabyte of zeros in the place of a chunk of 64 bytes."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        entry = file.create_dataset("x", (8,), "f8", chunks=(8,), compression="gzip")
        entry.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 20)))
    with pytest.raises(ValueError, match="x has a chunk that is larger than it says"):
        checked(path)
    with h5py.File(path, "r+") as file:
        file["x"].id.write_direct_chunk((0,), b"no stream")
    with pytest.raises(ValueError, match="x has a damaged chunk"):
        checked(path)


def test_filters_that_are_not_known(tmp_path):
    path = stored(tmp_path / "a.h5", np.zeros(100), chunks=(10,), compression="lzf")
    with pytest.raises(ValueError, match="x has other filters than shuffle, gzip and fletcher32"):
        checked(path)


def test_chunks_that_skip_filters(tmp_path):
    path = stored(tmp_path / "a.h5", np.zeros(8), chunks=(8,), compression="gzip")
    with h5py.File(path, "r+") as file:
        file["x"].id.write_direct_chunk((0,), bytes(64), filter_mask=1)
    with pytest.raises(ValueError, match="a chunk without the filters of the others"):
        checked(path)


def test_chunks_beyond_the_end(tmp_path):
    path = stored(tmp_path / "a.h5", np.arange(8.0), chunks=(8,))
    with h5py.File(path, "r") as file:
        place = file["x"].id.get_chunk_info(0).byte_offset
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<Q", place), struct.pack("<Q", len(data) - 8)))
    with pytest.raises(ValueError, match="x has a chunk beyond the end of the file"):
        checked(path)


def test_texts_as_tensors(tmp_path):
    path = stored(tmp_path / "a.h5", ["a", "b"], dtype=h5py.string_dtype())
    with pytest.raises(ValueError, match="x holds texts or lists of any length, not numbers"):
        checked(path)
