"""Mutators make the same changes for the same seed, and files that still get into their readers."""

import json
import random
import zipfile

import pytest

from fuzz_kit import CORPUS

from mutators import archive, hdf5, json_text, plain, protobuf, safetensors_file  # isort: skip

CASES = {
    "plain": (plain, "tables"),
    "safetensors": (safetensors_file, "model_files"),
    "protobuf": (protobuf, "onnx_files"),
    "hdf5": (hdf5, "keras_files"),
    "archive": (archive, "keras_files"),
}


def seeds(folder):
    return [path.read_bytes() for path in sorted((CORPUS / folder).iterdir())]


@pytest.mark.parametrize("name", CASES)
def test_changes_follow_from_the_seed(name):
    mutator, folder = CASES[name]
    for number, data in enumerate(seeds(folder)[:6]):
        twice = [mutator.mutate(random.Random(number), data, data[::2]) for _ in range(2)]
        assert twice[0] == twice[1]
        assert isinstance(twice[0], bytes)
        several = {mutator.mutate(random.Random(k), data, b"") for k in range(20)}
        assert len(several) > 10


def test_safetensors_are_put_together_again():
    for data in seeds("model_files"):
        header, tensors = safetensors_file.split(data)
        before = header["__metadata__"]["lstmcore"]
        broken = json.loads(before)
        right, broken["checksum"] = broken["checksum"], 7
        header["__metadata__"]["lstmcore"] = json.dumps(broken)
        safetensors_file.repair(header, tensors)
        assert json.loads(header["__metadata__"]["lstmcore"])["checksum"] == right
        found = safetensors_file.split(safetensors_file.joined(header, tensors))
        assert found == (header, tensors)
    assert safetensors_file.split(b"short") is None
    assert safetensors_file.split(b"\xff" * 20) is None


def test_most_changed_safetensors_still_have_a_header_and_a_checksum():
    data = seeds("model_files")[0]
    rng = random.Random(0)
    found = [safetensors_file.split(safetensors_file.mutate(rng, data)) for _ in range(300)]
    assert sum(entry is not None for entry in found) > 200


def test_protobuf_is_read_and_written_without_a_schema():
    message = [
        [1, 0, 300],
        [2, 2, b"name"],
        [3, 2, [[1, 0, 1], [2, 5, b"abcd"]]],
        [4, 1, b"8 bytes!"],
    ]
    data = protobuf.encoded(message)
    assert data.startswith(b"\x08\xac\x02\x12\x04name\x1a")
    assert protobuf.parsed(data) == message
    assert protobuf.varint(-1) == b"\xff" * 9 + b"\x01"
    for whole in seeds("onnx_files"):
        assert protobuf.encoded(protobuf.parsed(whole)) == whole
    assert protobuf.parsed(b"\x12\x7f") is None


def test_onnx_files_stay_messages():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    data = seeds("onnx_files")[0]
    rng, read = random.Random(1), 0
    for _ in range(100):
        try:
            onnx.load_model_from_string(protobuf.mutate(rng, data))
            read += 1
        except Exception:  # of protobuf's classes
            continue
    assert read > 40


def test_archives_are_put_together_again():
    content = archive.packed([("a.json", b"{}"), ("b", b"\0" * 9)], zipfile.ZIP_STORED)
    assert archive.unpacked(content) == [("a.json", b"{}"), ("b", b"\0" * 9)]
    assert archive.unpacked(b"PK") == []


def test_json_stays_json():
    rng = random.Random(2)
    value = {"layers": [{"units": 3, "name": "a"}], "dtype": "float32", "x": [1, 2.5, None, True]}
    for _ in range(500):
        json.loads(json_text.dump(json_text.mutate(rng, value)))
    assert value["layers"] == [{"units": 3, "name": "a"}]
