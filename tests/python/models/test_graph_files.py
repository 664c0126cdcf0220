"""Files of graphs: every entry is checked, and none is read that does not describe a graph."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import lstmcore as lc
from graph_kit import C, N, S, T, static_model
from lstmcore import layers


@pytest.fixture
def path(tmp_path):
    static_model("first state").save(tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def changed(path, change):
    """Write the file again with another description of its graph."""
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["lstmcore"])
    change(document["graph"])
    save_file(load_file(path), path, {"lstmcore": json.dumps(document)})


def test_what_a_file_says(path):
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["lstmcore"])
    graph = document["graph"]
    assert "layers" not in document
    assert graph["inputs"][1] == {"name": "static", "shape": [S], "dtype": None}
    assert [entry["name"] for entry in graph["layers"]] == ["dense", "dense_1", "lstm", "head"]
    assert graph["calls"][2] == {"layer": "lstm", "inputs": [0, 2, 3]}
    assert graph["outputs"] == {"head": 5}
    assert graph["by_name"] is False


def test_shared_layers_several_outputs_and_types_of_inputs(tmp_path, rng):
    words, x = lc.Input((None,), name="words", dtype="int32"), lc.Input((T, C), name="x")
    shared = layers.Dense(3, name="shared")
    y, h, _ = layers.LSTM(3, return_state=True)(layers.Embedding(9, 3, mask_zero=True)(words))
    flat = layers.Flatten()(shared(shared(x)))
    model = lc.Model({"a": words, "b": x}, {"h": h, "all": layers.Concatenate()([y, flat])})
    assert model.input_names == ["a", "b"]
    model.get_layer("shared").trainable = False
    model.metadata = {"note": "of mine"}
    model.save(tmp_path / "b.safetensors")
    again = lc.Model.load(tmp_path / "b.safetensors")
    assert again._document() == model._document()
    assert again.metadata == model.metadata
    assert not again.get_layer("shared").trainable
    given = {"a": rng.integers(1, 9, (N, 4)), "b": rng.standard_normal((N, T, C))}
    for name, values in model.predict(given).items():
        np.testing.assert_array_equal(again.predict(given)[name], values)
    with pytest.raises(ValueError, match="expected one of class Sequential, got Model"):
        lc.Sequential.load(tmp_path / "b.safetensors")


def put(entry, *keys):
    """Return a change that sets an entry of the graph."""

    def change(graph):
        for key in keys[:-1]:
            graph = graph[key]
        graph[keys[-1]] = entry

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph.pop("calls"), "graph: missing calls"),
        (put([], "more"), "graph: unknown more"),
        (put({}, "layers"), "graph: expected a list as layers"),
        (put([3], "inputs", 0, "shape"), "x.* expected|shape|weight|dense"),
        (put("a", "inputs", 0, "shape"), "graph: expected inputs with names and shapes"),
        (put("text", "inputs", 0, "dtype"), "dtype: expected"),
        (put("none", "calls", 0, "layer"), "graph: a call of an unknown layer, 'none'"),
        (put([9], "calls", 0, "inputs"), "graph: expected the number of an earlier value, got 9"),
        (put([True], "calls", 0, "inputs"), "graph: expected the number of an earlier value"),
        (put([], "calls", 0, "inputs"), "graph: expected a list of numbers of values"),
        (put([0], "calls", 3, "inputs"), "head|leads to none|expected"),
        (put({}, "outputs"), "graph: expected outputs that layers make"),
        (put({"head": 0}, "outputs"), "graph: expected outputs that layers make"),
        (put({"head": 2}, "outputs"), "leads to none|order of the graph"),
        (put(1, "by_name"), "graph: expected an object as outputs and true or false as by_name"),
        (lambda graph: graph["layers"].append(graph["layers"][0]), "'dense' appears twice"),
        (lambda graph: graph["layers"].reverse(), "calls and layers in the order of the graph"),
        (lambda graph: graph["layers"].pop(), "a call of an unknown layer, 'head'"),
        (put("Nonsense", "layers", 0, "class"), "unknown class 'Nonsense'"),
        (put(7, "layers", 0, "config", "units"), "initial_state: expected|weight"),
    ],
)
def test_damaged_descriptions(path, change, message):
    changed(path, change)
    with pytest.raises(ValueError, match=message) as error:
        lc.load(path)
    assert str(path) in str(error.value)


def test_readers_without_graphs_refuse_the_entry_by_name(path):
    """What a reader of chains, as earlier versions are, says about the document."""
    from lstmcore.models.checkpoint import COMMON_KEYS, exactly

    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["lstmcore"])
    known = {*COMMON_KEYS, "input_shape", "layers", "format", "checksum"}
    with pytest.raises(ValueError, match="metadata: unknown graph"):
        exactly("metadata", document, known, {"class_names"})
