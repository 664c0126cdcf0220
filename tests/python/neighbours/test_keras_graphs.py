"""Functional Keras models, layers that were called with states, HDF5 files of Keras 3."""

import numpy as np
import pytest

from keras_kit import (
    LAYERS,
    MARKS,
    K,
    close,
    computing_in,
    keras,
    model_of,
    randomize,
    same_weights,
)
from lstmcore.convert import from_keras, load_keras_weights

pytestmark = MARKS


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 9, 4)).astype("float32")


def saved(model, path):
    """Save a model; Keras warns that this layout is old by printing, not by a warning."""
    model.save(path)
    return path


# ---- one output of several -----------------------------------------------------------------------


@pytest.fixture
def tree():
    """A model with two inputs, a shared LSTM, a state as an output, and a branch that merges."""
    words, other = keras.Input((None, 4), name="words"), keras.Input((2,), name="other")
    shared = K.LSTM(5, return_sequences=True, name="shared")(words)
    y, h, _ = K.LSTM(3, return_state=True, return_sequences=True, name="states")(shared)
    tags = K.Dense(6, "softmax", name="tags")(y)
    topic = K.Dense(2, name="topic")(h)
    both = K.Concatenate(name="both")([h, other])
    part = keras.Sequential([K.Dense(3, name="a"), K.Dense(4, name="b")], name="part")
    mood = part(K.LSTM(3, name="mood_lstm")(shared))
    outputs = {"tags": tags, "topic": topic, "mood": mood, "both": both}
    return randomize(keras.Model({"words": words, "other": other}, outputs))


@pytest.mark.parametrize("how", ["model", "tree.keras", "tree.h5"])
@pytest.mark.parametrize(
    ("output", "key"), [("tags", "tags"), ("topic", "topic"), ("part", "mood")]
)
def test_one_output_of_several(tree, x, tmp_path, how, output, key):
    source = tree if how == "model" else saved(tree, tmp_path / how)
    expected = tree({"words": x, "other": np.zeros((3, 2), "float32")})[key]
    close(from_keras(source, output=output).predict(x, verbose=0), expected)
    with pytest.raises(ValueError, match="Concatenate 'both': .*got 'states' and 'other'"):
        from_keras(source, output="both")


def test_layers_after_two_inputs_are_merged(tmp_path, rng):
    """Of a model that begins with a graph and ends with a chain, the chain can be converted."""
    words, tags = keras.Input((None,), name="words"), keras.Input((None, 2), name="tags")
    both = K.Concatenate(name="both")([K.Embedding(9, 3, name="vectors")(words), tags])
    y = K.Bidirectional(K.LSTM(4, return_sequences=True), name="walk")(both)
    theirs = randomize(keras.Model([words, tags], K.Dense(2, name="last")(K.LSTM(3)(y))))
    given = [rng.integers(0, 9, (3, 7)), rng.normal(size=(3, 7, 2)).astype("float32")]
    merged = keras.Model(theirs.inputs, both)(given)
    for source in (theirs, saved(theirs, tmp_path / "a.keras")):
        ours = from_keras(source, input="both")
        assert ours.input_shape == (None, None, 5)
        close(ours.predict(keras.ops.convert_to_numpy(merged), verbose=0), theirs(given))
        alone = from_keras(source, input="words", output="vectors")
        close(alone.predict(given[0], verbose=0), theirs.get_layer("vectors")(given[0]))
    with pytest.raises(
        ValueError, match="no chain of layers leads from 'tags' to 'last'|one input"
    ):
        from_keras(theirs, input="tags")
    with pytest.raises(ValueError, match="input: the source does not say what shape"):
        from_keras(saved(theirs, tmp_path / "a.h5"), input="both")
    with pytest.raises(ValueError, match="input: Functional '.*' has no layer 'letters'"):
        from_keras(theirs, input="letters")


def test_a_sequential_from_and_to_any_of_its_layers(x):
    theirs = model_of(
        [K.LSTM(5, return_sequences=True, name="a"), K.LSTM(3, name="b"), K.Dense(2, name="c")]
    )
    states = theirs.layers[0](x)
    close(from_keras(theirs, output="a").predict(x, verbose=0), states)
    after = from_keras(theirs, input="a")
    close(after.predict(keras.ops.convert_to_numpy(states), verbose=0), theirs(x))
    between = from_keras(theirs, input="a", output="b")
    assert [layer.name for layer in between.layers] == ["b"]
    for argument in ("input", "output"):
        with pytest.raises(ValueError, match=f"{argument}: Sequential '.*' has no layer 'last'"):
            from_keras(theirs, **{argument: "last"})
        with pytest.raises(ValueError, match=f"{argument}: expected None with a layer, got 'a'"):
            from_keras(theirs.layers[0], **{argument: "a"})
        with pytest.raises(TypeError, match=f"{argument}: expected the name of a layer"):
            from_keras(theirs, **{argument: 0})


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_states_that_nothing_depends_on(x, both, sequences):
    inputs = keras.Input((None, 4))
    layer = K.LSTM(5, return_state=True, return_sequences=sequences)
    y = (K.Bidirectional(layer) if both else layer)(inputs)[0]
    theirs = randomize(keras.Model(inputs, K.Dense(2)(y)))
    ours = from_keras(theirs)
    assert not ours.layers[0].return_state
    close(ours.predict(x, verbose=0), theirs(x))


def test_a_chain_has_no_cell_state():
    inputs = keras.Input((None, 4))
    _, _, c = K.LSTM(5, return_state=True, name="lstm")(inputs)
    with pytest.raises(ValueError, match="LSTM 'lstm': its output 2 is used, such as a state"):
        from_keras(keras.Model(inputs, K.Dense(2, name="end")(c)), output="end")


# ---- shortcuts -----------------------------------------------------------------------------------


def residual_model(inputs, x):
    """Add two residual blocks, the second of which has one within it."""
    y = K.Dense(4, "tanh", name="a")(K.LSTM(4, return_sequences=True, name="b")(x))
    x = K.Add(name="first")([x, y])
    y = K.Bidirectional(K.LSTM(2, return_sequences=True), name="c")(x)
    y = K.Add(name="within")([K.LayerNormalization(name="d")(y), y])
    x = K.Add(name="second")([K.Dense(4, name="e")(y), x])
    return randomize(keras.Model(inputs, K.Dense(2, name="f")(K.LSTM(3, name="g")(x))))


@pytest.mark.parametrize("how", ["model", "a.keras", "a.h5"])
def test_shortcuts(x, tmp_path, how):
    inputs = keras.Input((None, 4))
    theirs = residual_model(inputs, inputs)
    ours = from_keras(theirs if how == "model" else saved(theirs, tmp_path / how))
    assert [layer.name for layer in ours.layers] == ["first", "second", "g", "f"]
    assert [layer.name for layer in ours.layers[1].layers] == ["c", "within", "e"]
    close(ours.predict(x, verbose=0), theirs(x))


def test_shortcuts_by_plus(x, tmp_path):
    inputs = keras.Input((None, 4))
    y = inputs + K.LSTM(4, return_sequences=True)(inputs)
    theirs = randomize(keras.Model(inputs, K.LSTM(3)(K.Dense(4)(y) + y)))
    for source in (theirs, saved(theirs, tmp_path / "a.keras")):
        ours = from_keras(source)
        assert [type(layer).__name__ for layer in ours.layers] == ["Residual", "Residual", "LSTM"]
        close(ours.predict(x, verbose=0), theirs(x))
    with pytest.raises(ValueError, match="Add '.*': expected a list of at least two inputs, got 1"):
        from_keras(keras.Model(inputs, K.LSTM(3)(inputs + 1.0)))


def test_shortcuts_of_masked_steps(rng):
    inputs = keras.Input((None,), dtype="int32")
    theirs = residual_model(inputs, K.Embedding(9, 4, mask_zero=True, name="ids")(inputs))
    ids = rng.integers(1, 9, (4, 7))
    ids[np.arange(7) >= np.array([7, 3, 1, 5])[:, None]] = 0
    close(from_keras(theirs).predict(ids, verbose=0), theirs(ids))
    after = from_keras(theirs, input="ids")
    vectors = keras.ops.convert_to_numpy(theirs.get_layer("ids")(ids))
    close(after.predict(vectors, mask=ids != 0, verbose=0), theirs(ids))


def test_masks_of_functional_models(rng):
    """Keras writes the computation of a mask into the graph."""
    inputs = keras.Input((None,), dtype="int32")
    vectors = K.Embedding(9, 4, mask_zero=True)(inputs)
    y = K.Dropout(0.1)(K.Bidirectional(K.LSTM(3, return_sequences=True))(vectors))
    theirs = randomize(keras.Model(inputs, K.Dense(2)(K.GlobalAveragePooling1D()(y))))
    ids = rng.integers(1, 9, (4, 7))
    ids[np.arange(7) >= np.array([7, 3, 1, 5])[:, None]] = 0
    close(from_keras(theirs).predict(ids, verbose=0), theirs(ids))
    own = K.LSTM(3)(vectors, mask=keras.ops.not_equal(inputs, 5))
    with pytest.raises(ValueError, match="LSTM '.*': called with .*mask"):
        from_keras(keras.Model(inputs, own))


def test_sums_without_a_shortcut(x):
    inputs = keras.Input((None, 4))
    one, other = K.Dense(4, name="one")(inputs), K.Dense(4, name="other")(inputs)
    theirs = keras.Model(inputs, K.Add(name="sum")([one, other]))
    close(from_keras(theirs).predict(x, verbose=0), theirs(x))
    with pytest.raises(ValueError, match="Add 'sum': expected an input that leads to the other"):
        from_keras(theirs, output="sum")
    with pytest.raises(ValueError, match="Add 'same': layers: expected"):
        from_keras(keras.Model(inputs, K.Add(name="same")([one, one])))


# ---- layers that were first called with states ---------------------------------------------------


@pytest.mark.parametrize("name", ["LSTM", "sequences", "RNN", "stacked cells", "Bidirectional"])
def test_layers_that_were_first_called_with_states(x, name):
    layer = LAYERS[name]("float32")[0]
    count = {"stacked cells": 6, "Bidirectional": 4}.get(name, 2)
    states = [np.zeros((3, 3), "float32") for _ in range(count)]
    if name == "stacked cells":
        states = [states[:2], states[2:4], states[4:]]
    expected = layer(x, initial_state=states)
    assert "shapes_dict" in layer.get_build_config()
    randomize(layer)
    ours = from_keras(layer)
    close(ours(x), layer(x))
    assert expected.shape == ours(x).shape


# ---- HDF5 files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_hdf5_files_of_keras_3(name, tmp_path):
    with computing_in("float64"):
        theirs = model_of(LAYERS[name]("float64"), dtype="float64")
        path = saved(theirs, tmp_path / "a.h5")
        ours = from_keras(theirs)
        same_weights(from_keras(path), ours)
        assert from_keras(path)._document() == ours._document()
        other = from_keras(randomize(model_of(LAYERS[name]("float64"), dtype="float64"), 9))
        load_keras_weights(other, path)
        for one, value in zip(other.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, value, strict=True)


def test_functional_hdf5_file_of_keras_3(x, tmp_path):
    inputs = keras.Input((None, 4))
    part = keras.Sequential([K.Dense(3, name="a"), K.LSTM(4, return_sequences=True, name="b")])
    gates = K.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True)(inputs)
    theirs = randomize(keras.Model(inputs, K.Dense(2)(K.LSTM(3)(part(gates)))))
    theirs.compile("adam", "mse")
    theirs.fit(x, np.zeros((3, 2)), verbose=0)
    ours = from_keras(saved(theirs, tmp_path / "a.h5"))
    same_weights(ours, from_keras(theirs))
    close(ours.predict(x, verbose=0), theirs(x))
