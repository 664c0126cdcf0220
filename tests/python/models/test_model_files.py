"""Model files are read strictly: every defect is an error, and nothing is guessed."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import lstmcore as lc
from lstmcore import layers
from lstmcore.models import model_file


@pytest.fixture
def path(tmp_path, rng):
    model = lc.Sequential(
        [layers.Embedding(7, 3), layers.LSTM(4), layers.Dense(2, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rng.integers(0, 7, (6, 5)), rng.integers(0, 2, 6), verbose=0)
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change, recompute=True):
    """Change tensors and document of a file; update the checksum if `recompute`."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["lstmcore"])
    change(tensors, document)
    if recompute and "checksum" in document:
        document["checksum"] = model_file.checksum(tensors)
    save_file(tensors, path, {"lstmcore": json.dumps(document)})


def test_the_written_format_is_the_documented_one(path):
    with safe_open(path, "numpy") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["lstmcore"])
    assert shapes == {
        "embedding.embeddings": (7, 3),
        "lstm.weight_ih_l0": (16, 3),
        "lstm.weight_hh_l0": (16, 4),
        "lstm.bias_l0": (16,),
        "dense.kernel": (4, 2),
        "dense.bias": (2,),
        "optimizer.m": (159,),
        "optimizer.v": (159,),
    }
    assert set(document) == {
        "format",
        "lstmcore",
        "dtype",
        "seed",
        "input_shape",
        "layers",
        "training",
        "checksum",
    }
    assert document["format"] == 1
    assert document["dtype"] == "float32"
    assert document["input_shape"] == [None, None]
    entries = [(layer["class"], layer["name"]) for layer in document["layers"]]
    assert entries == [("Embedding", "embedding"), ("LSTM", "lstm"), ("Dense", "dense")]
    assert document["layers"][1]["config"]["units"] == 4
    assert document["training"]["iterations"] == 1


def test_an_unchanged_file_is_read(path):
    rewrite(path, lambda tensors, document: None)
    assert lc.load(path).epoch == 1


def with_state(name, shape):
    def change(tensors, document):
        for part in "hc":
            tensors[f"state.{name}.{part}"] = np.zeros(shape, np.float32)
        document["training"]["state"] = [name]

    return change


def drop(name):
    return lambda tensors, document: tensors.pop(name)


def put(name, values):
    return lambda tensors, document: tensors.update({name: values})


def assign(*keys):
    """Return a function that sets an entry of the document: the last argument is the value."""

    def change(tensors, document):
        *way, last, value = keys
        for key in way:
            document = document[key]
        document[last] = value

    return change


STATE = {"class": "EarlyStopping", "number": 0, "state": {}, "tensors": ["best_weights"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("lstm.bias_l0"), "tensors: missing lstm.bias_l0"),
        (drop("optimizer.v"), "tensors: missing optimizer.v"),
        (put("lstm.weight_xx", np.zeros(2, np.float32)), "tensors: unknown lstm.weight_xx"),
        (
            put("dense.kernel", np.zeros((2, 4), np.float32)),
            r"dense.kernel: expected float32 of shape \(4, 2\), got float32 of shape \(2, 4\)",
        ),
        (put("dense.bias", np.zeros(2)), "dense.bias: expected float32 .* got float64"),
        (put("dense.bias", np.zeros(2, np.int32)), "dense.bias: expected F32 or F64, got I32"),
        (put("dense.bias", np.zeros(2, np.float16)), "dense.bias: expected F32 or F64, got F16"),
        (put("dense.bias", np.zeros(2, np.int8)), "dense.bias: expected F32 or F64, got I8"),
        (assign("format", 3), "written by a newer lstmcore in format 3, expected format 1 or 2"),
        (assign("format", 2), "metadata: missing quantization"),
        (assign("format", 0), "format 0, expected format 1 or 2"),
        (assign("format", "1"), "no format number"),
        (assign("format", True), "no format number"),
        (assign("lstmcore", 1), "version of the package"),
        (assign("surprise", 1), "metadata: unknown surprise"),
        (lambda tensors, document: document.pop("seed"), "metadata: missing seed"),
        (lambda tensors, document: document.pop("checksum"), "wrong checksum"),
        (assign("dtype", "float16"), "dtype: expected 'float32' or 'float64', got 'float16'"),
        (assign("dtype", "float64"), "expected float64 of shape"),
        (assign("layers", 1, "class", "GRU"), "unknown class 'GRU'"),
        (assign("layers", 1, "class", "Layer"), "unknown class 'Layer'"),
        (assign("layers", 1, "class", "Input"), "unknown class 'Input'"),
        (assign("layers", 1, "config", "units", 5), "expected float32 of shape"),
        (assign("layers", 1, "config", "units", "five"), "units: expected an integer"),
        # Such models would take gigabytes if they were built before their sizes are checked.
        (assign("layers", 1, "config", "units", 10**6), "expected float32 of shape"),
        (assign("layers", 0, "config", "input_dim", 10**12), "expected float32 of shape"),
        (assign("layers", 2, "config", "units", 10**9), "expected float32 of shape"),
        (assign("layers", 1, "config", "num_layers", 10**13), "num_layers: .* at most 4096"),
        (assign("layers", 1, "config", "num_layers", 4096), "tensors: missing lstm.weight_ih_l1"),
        (assign("layers", 1, "config", "return_sequences", "no"), "expected True or False"),
        (assign("layers", 1, "name", None), "name: expected a non-empty string"),
        (assign("layers", 1, "config", "surprise", 5), "LSTM: unknown configuration surprise"),
        (
            lambda tensors, document: document["layers"][1]["config"].pop("units"),
            "LSTM: missing configuration units",
        ),
        (assign("layers", 1, "name", "embedding"), "the name 'embedding' is taken"),
        (assign("layers", 1, "surprise", 1), "layer: unknown surprise"),
        (assign("layers", []), "expected at least one layer"),
        (assign("layers", 3), "expected lists as layers"),
        (assign("input_shape", [None]), "must|expected"),
        (assign("input_shape", [None, "x"]), "input_shape: expected an integer"),
        (assign("input_shape", [None, -3]), "input_shape: expected an integer of at least 1"),
        (assign("training", "iterations", -1), "iterations"),
        (assign("training", "iterations", True), "iterations"),
        (assign("training", "iterations", 2**80), "iterations"),
        (assign("training", "epoch", 1.0), "epoch"),
        (assign("training", "callbacks", {}), "callbacks: expected a list"),
        (assign("training", "callbacks", [{}]), "callbacks: missing class"),
        (assign("training", "callbacks", [STATE]), "tensors: missing callbacks.0.best_weights"),
        (assign("training", "callbacks", [{**STATE, "number": "0"}]), "callbacks: expected class"),
        (put("callbacks.0.best_weights", np.zeros(2)), "tensors: unknown callbacks.0.best"),
        (assign("training", "state", "lstm"), "state: expected a list of names"),
        (assign("training", "state", ["lstm"]), "tensors: missing state.lstm.h, state.lstm.c"),
        (put("state.lstm.h", np.zeros((1, 2, 4), np.float32)), "tensors: unknown state.lstm.h"),
        (with_state("walk", (1, 2, 4)), "state: expected entries for lstm, got walk"),
        (with_state("lstm", (1, 2, 3)), r"state\['lstm'\].h: expected shape \(1, 2, 4\)"),
        (with_state("lstm", (8,)), r"state\['lstm'\].h: expected shape"),
        (assign("training", "compile", "optimizer", "class", "Optimizer"), "unknown class"),
        (assign("training", "compile", "loss", {"class": "Loss", "config": {}}), "unknown class"),
        (assign("class_names", ["a"]), "class_names: expected 2 names"),
        (assign("class_names", "ab"), "expected a list as class_names"),
        (assign("training", "surprise", 1), "training: unknown surprise"),
        (assign("training", "compile", "optimizer", "class", "Adagrad"), "unknown class 'Adagrad'"),
        (assign("training", "compile", "loss", "class", "Adam"), "unknown class 'Adam'"),
        (assign("training", None), "tensors: unknown optimizer.m, optimizer.v"),
    ],
)
def test_every_defect_is_an_error(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as error:
        lc.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"format": 1, "a": ' + "[" * 200 + "]" * 200 + "}", "nested more than 64 deep"),
        ('{"format": 1, "seed": 0, "seed": 1}', "the name 'seed' appears twice"),
        ('{"format": 1, "seed": NaN}', "NaN is not a number"),
    ],
)
def test_text_that_is_not_a_document(path, text, message):
    save_file({"a": np.zeros(3, np.float32)}, path, {"lstmcore": text})
    with pytest.raises(ValueError, match=message):
        lc.load(path)


def test_a_checksum_is_an_integer(path):
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["lstmcore"])
    document["checksum"] = float(document["checksum"])
    save_file(tensors, path, {"lstmcore": json.dumps(document)})
    with pytest.raises(ValueError, match="wrong checksum"):
        lc.load(path)


@pytest.mark.parametrize("place", [5, None, b"model"])
def test_only_paths_are_accepted(place, path):
    with pytest.raises(TypeError, match="path: expected a str or a path"):
        lc.load(place)
    with pytest.raises(TypeError, match="path: expected a str or a path"):
        lc.load(path).save(place)


def test_changed_numbers_are_noticed(path):
    def change(tensors, document):
        tensors["dense.bias"][0] = np.nextafter(tensors["dense.bias"][0], np.float32(9))

    rewrite(path, change, recompute=False)
    with pytest.raises(ValueError, match="wrong checksum"):
        lc.load(path)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_file_cut_anywhere_is_an_error(path, quantized):
    if quantized:
        lc.quantize(lc.load(path)).save(path)
    content = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            lc.load(path)


def flipped(path, places, rng):
    """Write the file repeatedly, each time with one bit at one of `places` flipped."""
    content = bytearray(path.read_bytes())
    for place in places:
        bit = 1 << int(rng.integers(0, 8))
        content[place] ^= bit
        path.write_bytes(content)
        content[place] ^= bit
        yield place


def test_any_flipped_bit_of_the_numbers_is_noticed(path, rng):
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    assert len(content) - begin == 3 * 159 * 4
    for _ in flipped(path, rng.integers(begin, len(content), 100), rng):
        with pytest.raises(ValueError, match="wrong checksum"):
            lc.load(path)


def test_flipped_bits_of_the_header_never_crash(path, rng):
    begin = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    noticed = 0
    for _ in flipped(path, (*range(8), *rng.integers(8, begin, 100)), rng):
        try:
            loaded = lc.load(path)
        except ValueError:
            noticed += 1
        else:  # a different valid configuration, such as another learning rate
            assert loaded.count_params() == 159
    assert noticed > 80


def test_other_files_are_not_models(tmp_path):
    path = tmp_path / "other"
    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(ValueError, match="not an lstmcore model"):
        lc.load(path)
    save_file({"a": np.zeros(3, np.float32)}, path, {"lstmcore": "{"})
    with pytest.raises(ValueError, match="not JSON"):
        lc.load(path)
    path.write_text("not a model")
    with pytest.raises(ValueError, match="not a safetensors file"):
        lc.load(path)
    with pytest.raises(FileNotFoundError):
        lc.load(tmp_path / "missing")


def test_a_model_that_is_not_built_cannot_be_saved(tmp_path):
    model = lc.Sequential([layers.Dense(1)])
    with pytest.raises(ValueError, match="not built"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_saved_files_obey_the_umask(path):
    import os

    mask = os.umask(0o022)
    os.umask(mask)
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def places(value, within=()):
    """Yield the places of all values in a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        yield (*within, key)
        if isinstance(entry, (dict, list)):
            yield from places(entry, (*within, key))


@pytest.mark.parametrize("wrong", ["x" * 20_000, ["x" * 30] * 1000, {"x" * 20_000: 1}])
def test_messages_do_not_repeat_what_a_file_says(path, wrong):
    """A text of 20,000 letters in each place."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = file.metadata()["lstmcore"]
    refused = 0
    for place in places(json.loads(text)):
        document = json.loads(text)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = wrong
        save_file(tensors, path, {"lstmcore": json.dumps(document)})
        try:
            lc.load(path)
        except ValueError as error:
            assert len(str(error)) < 1000 + 200 + len(str(path)), place
            refused += 1
    assert refused > 50


def test_messages_do_not_repeat_the_names_of_tensors(path):
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["lstmcore"])
    tensors["x" * 20_000] = np.zeros(1, np.float32)
    document["checksum"] = model_file.checksum(tensors)
    save_file(tensors, path, {"lstmcore": json.dumps(document)})
    with pytest.raises(ValueError, match=r"tensors: unknown x{60}\.\.\.$"):
        lc.load(path)
