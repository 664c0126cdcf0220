"""Files of Keras 2: what they predict is what its layers compute, in plain NumPy."""

import json

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

import keras2_kit as kit  # noqa: E402
import lstmcore as lc  # noqa: E402
from lstmcore import cli  # noqa: E402
from lstmcore.convert import from_keras, load_keras_weights  # noqa: E402

# Relative to values near 1; only the order of the sums differs.
TOLERANCE = 1e-12


def same(model, x, expected):
    found = model.predict(x, verbose=0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def both_ways(rng, gate="hard_sigmoid", make=kit.lstm, sequences=True):
    options = {"sequences": sequences, **({"gate": gate} if make is kit.lstm else {})}
    ahead = make(rng, "lstm_1", 3, 4, **options)
    return kit.bidirectional(
        "bidirectional_1", ahead, make(rng, "lstm_1", 3, 4, backwards=True, **options)
    )


@pytest.fixture
def x(rng):
    return rng.normal(size=(5, 7, 4))


@pytest.fixture
def tagger(rng):
    """A model of ids with everything that a usual one has."""
    return [
        kit.embedding(rng, "embedding_1", 9, 4),
        both_ways(rng),
        kit.dropout("dropout_1"),
        kit.lstm(rng, "lstm_2", 5, 6, gate="sigmoid", sequences=True),
        kit.time_distributed("time_distributed_1", kit.dense(rng, "dense_1", 3, 5, "softmax")),
    ]


# ---- whole models --------------------------------------------------------------------------------


def as_list(made):
    """Before Keras 2.2.3, a Sequential model had no name."""
    return {**made.document, "config": made.document["config"]["layers"]}


def as_tensorflow(made):
    """TensorFlow 2 has an InputLayer, policies for dtypes, and objects for tuples."""
    layers = json.loads(json.dumps(made.document["config"]["layers"]))
    for layer in layers:
        if layer["config"]["dtype"] == "float64":
            layer["config"]["dtype"] = {"class_name": "Policy", "config": {"name": "float64"}}
    shape = {"class_name": "__tuple__", "items": [None, 7]}
    options = {"batch_input_shape": shape, "dtype": "float64", "sparse": False, "ragged": False}
    start = {"class_name": "InputLayer", "config": {"name": "embedding_input", **options}}
    config = {
        **{"name": "sequential", "layers": [start, *layers]},
        "build_input_shape": {"class_name": "TensorShape", "items": [None, 7]},
    }
    return {"class_name": "Sequential", "config": config}


FORMS = {
    "2.1.6": as_list,
    "2.3.1": lambda made: made.document,
    "2.2.4-tf": as_tensorflow,
    "2.11.0": as_tensorflow,
}


@pytest.mark.parametrize("version", FORMS)
@pytest.mark.parametrize("chunk", [None, 2])
def test_whole_model(tmp_path, rng, tagger, version, chunk):
    made = kit.sequential("sequential_1", tagger)
    path = kit.write(
        tmp_path / "model.h5", tagger, FORMS[version](made), version=version, chunk=chunk
    )
    model = from_keras(path)
    names = ["embedding_1", "bidirectional_1", "dropout_1", "lstm_2", "time_distributed_1"]
    assert [layer.name for layer in model.layers] == names
    assert model.input_shape == (None, 7)
    ids = rng.integers(0, 9, (5, 7))
    same(model, ids, made.run(ids))
    lstm = model.get_layer("lstm_2")
    assert (lstm.dropout, lstm.recurrent_dropout) == (0.1, 0.2)
    assert (lstm.kernel_regularizer.l1, lstm.kernel_regularizer.l2) == (0.0, 0.01)
    assert lstm.kernel_initializer == "glorot_uniform"
    # The weights alone, out of the same file.
    before = model.get_weights()
    model.set_weights([0 * value for value in before])
    load_keras_weights(model, path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_the_ending_does_not_matter(tmp_path, tagger, rng):
    """Keras 2 wrote HDF5 for .hdf5 and .keras, too."""
    made = kit.sequential("model", tagger)
    ids = rng.integers(0, 9, (2, 7))
    for name in ("model.hdf5", "model.keras", "model"):
        same(from_keras(kit.write(tmp_path / name, tagger, made.document)), ids, made.run(ids))


def test_slope_of_hard_sigmoid(tmp_path, rng, x):
    layers = kit.first_shape([kit.lstm(rng, "lstm", 3, 4)], None, 4)
    made = kit.sequential("model", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, made.document))
    assert model.layers[0].recurrent_activation == lc.Activation("hard_sigmoid", 0.2, 0.5)
    same(model, x, made.run(x))
    # Keras 3 can write the same layout, and means x / 6 + 0.5.
    model = from_keras(kit.write(tmp_path / "b.h5", layers, keras_3_form(made), version="3.8.0"))
    assert model.layers[0].recurrent_activation == lc.Activation("hard_sigmoid", 1 / 6, 0.5)


def keras_3_form(made):
    """Describe a model of one LSTM in the words of Keras 3."""
    layers = json.loads(json.dumps(made.document["config"]["layers"]))
    for name in ("batch_input_shape", "implementation", "time_major"):
        del layers[0]["config"][name]
    config = {"name": "model", "layers": layers, "build_input_shape": [None, None, 4]}
    return {"class_name": "Sequential", "config": config}


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_cudnn(tmp_path, rng, x, both, sequences):
    made = (
        both_ways(rng, make=kit.cudnn, sequences=sequences)
        if both
        else kit.cudnn(rng, "cu_dnnlstm_1", 3, 4, sequences=sequences)
    )
    layers = kit.first_shape([made, kit.dense(rng, "dense_1", 2, 6 if both else 3)], None, 4)
    whole = kit.sequential("model", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))
    same(model, x, whole.run(x))
    # Weights alone say that they are cuDNN's by the size of their bias.
    before = model.get_weights()
    model.set_weights([0 * value for value in before])
    load_keras_weights(model, kit.write(tmp_path / "weights.h5", layers))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_stateful_with_a_fixed_batch(tmp_path, rng, x):
    made = kit.lstm(rng, "lstm", 3, 4).with_options(stateful=True, batch_input_shape=[5, None, 4])
    whole = kit.sequential("model", [made])
    model = from_keras(kit.write(tmp_path / "a.h5", [made], whole.document))
    assert model.layers[0].stateful
    _, state = model.predict(x[:, :3], return_state=True, verbose=0)
    np.testing.assert_allclose(
        model.predict(x[:, 3:], state=state, batch_size=5, verbose=0), made.run(x), atol=TOLERANCE
    )


def test_float32(tmp_path, rng, x):
    layers = kit.first_shape([kit.lstm(rng, "lstm", 3, 4)], None, 4)
    single = [
        made.with_options(dtype="float32")._replace(
            weights={name: value.astype("f4") for name, value in made.weights.items()}
        )
        for made in layers
    ]
    whole = kit.sequential("model", single)
    model = from_keras(kit.write(tmp_path / "a.h5", single, whole.document))
    found = model.predict(x, verbose=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, layers[0].run(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("whole", [False, True])
def test_convolutions_of_theano(tmp_path, rng, x, whole):
    """Theano's walk backwards over the kernel, so the kernels in its files are turned around."""
    layers = kit.first_shape(
        [kit.convolution(rng, "conv1d", 3, 2, 4), kit.lstm(rng, "lstm", 3, 3, gate="sigmoid")], 7, 4
    )
    made = kit.sequential("model", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, made.document))
    same(model, x, made.run(x))
    turned = {name: value[::-1] for name, value in list(layers[0].weights.items())[:1]}
    stored = [layers[0]._replace(weights={**layers[0].weights, **turned}), layers[1]]
    path = kit.write(tmp_path / "b.h5", stored, made.document if whole else None, backend="theano")
    if whole:
        model = from_keras(path)
    else:
        model.set_weights([0 * value for value in model.get_weights()])
        load_keras_weights(model, path)
    same(model, x, made.run(x))


@pytest.mark.parametrize("axis", [-1, 2, [2]])
def test_last_axis_counted_from_the_start(tmp_path, rng, x, axis):
    layers = kit.first_shape(
        [
            kit.lstm(rng, "lstm", 3, 4, sequences=True),
            kit.layer_norm(rng, "norm", 3, axis),
            kit.lstm(rng, "lstm_1", 2, 3),
            kit.layer_norm(rng, "norm_1", 2, 1),
        ],
        7,
        4,
    )
    whole = kit.sequential("model", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))
    same(model, x, whole.run(x))


def test_axis_of_steps_is_refused(tmp_path, rng):
    """Even if there are as many steps as features, so that the shapes fit."""
    layers = kit.first_shape([kit.layer_norm(rng, "norm", 4, 1)], 4, 4)
    whole = kit.sequential("model", layers)
    with pytest.raises(ValueError, match="LayerNormalization 'norm': expected axis=-1, got 1"):
        from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))


@pytest.mark.skipif(not hasattr(lc.layers, "Masking"), reason="needs the layer Masking")
def test_masking(tmp_path, rng, x):
    options = {"name": "masking", **kit.COMMON, "mask_value": -1.0}
    mask = kit.Made({"class_name": "Masking", "config": options}, {}, lambda x: x)
    layers = kit.first_shape([mask, kit.lstm(rng, "lstm", 3, 4)], None, 4)
    whole = kit.sequential("model", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))
    expected = layers[1].run(x[:, :5])
    x[:, 5:] = -1.0
    same(model, x, expected)


# ---- functional and nested models ----------------------------------------------------------------


def test_functional_chain(tmp_path, rng, x):
    layers = [both_ways(rng), kit.lstm(rng, "lstm_2", 3, 6), kit.dense(rng, "dense_1", 2, 3)]
    whole = kit.functional("model_1", layers, (7, 4))
    model = from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))
    assert model.input_shape == (None, 7, 4)
    same(model, x, whole.run(x))


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_nested_models(tmp_path, rng, x, kind):
    """The weights of a nested model are in one list, those that were trained first."""
    inner = [
        kit.lstm(rng, "lstm_1", 4, 4, sequences=True).with_options(trainable=False),
        both_ways(rng),
        kit.dense(rng, "dense_1", 4, 6).with_options(trainable=False),
    ]
    if kind == "sequential":
        part = kit.sequential("part", kit.first_shape(inner, 7, 4))
    else:
        part = kit.functional("part", inner, (7, 4))
    assert next(iter(part.weights)).startswith("bidirectional_1")
    layers = [part, kit.lstm(rng, "lstm_2", 2, 4)]
    whole = kit.sequential("whole", layers)
    model = from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))
    names = ["lstm_1", "bidirectional_1", "dense_1", "lstm_2"]
    assert [layer.name for layer in model.layers] == names
    assert [layer.trainable for layer in model.layers] == [False, True, False, True]
    same(model, x, whole.run(x))
    before = model.get_weights()
    model.set_weights([0 * value for value in before])
    load_keras_weights(model, kit.write(tmp_path / "weights.h5", layers))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_shortcuts(tmp_path, rng, x):
    """An Add of an input and of what layers make of it is a Residual."""
    layers = [
        kit.lstm(rng, "lstm", 4, 4, sequences=True),
        kit.dense(rng, "dense", 4, 4),
        kit.lstm(rng, "lstm_1", 3, 4),
    ]
    document = kit.functional("model", layers, (7, 4)).document
    config = document["config"]
    add = {"name": "add", "trainable": True, "dtype": "float64"}
    entry = {"class_name": "Add", "name": "add", "config": add}
    config["layers"].append({**entry, "inbound_nodes": kit.call("dense", "model_input")})
    config["layers"][3]["inbound_nodes"] = kit.call("add")
    model = from_keras(kit.write(tmp_path / "a.h5", layers, document))
    assert [layer.name for layer in model.layers] == ["add", "lstm_1"]
    assert [layer.name for layer in model.layers[0].layers] == ["lstm", "dense"]
    same(model, x, layers[2].run(x + layers[1].run(layers[0].run(x))))


def two_outputs(rng):
    """Make a functional model with a shared beginning, and functions for both outputs."""
    layers = [
        kit.lstm(rng, "lstm", 3, 4),
        kit.dense(rng, "topic", 2, 3),
        kit.dense(rng, "mood", 5, 3),
    ]
    document = kit.functional("model", layers, (7, 4)).document
    config = document["config"]
    config["layers"][3]["inbound_nodes"] = kit.call("lstm")
    config["output_layers"] = [["topic", 0, 0], ["mood", 0, 0]]
    return layers, document


def test_errors_about_arguments_name_them_first(tmp_path, rng):
    """Not the file, which may hold what it likes."""
    layers = [kit.lstm(rng, "lstm", 3, 4)]
    whole = kit.functional("model_1", layers, (7, 4))
    path = kit.write(tmp_path / "a.h5", layers, whole.document)
    for argument in ("input", "output"):
        with pytest.raises(ValueError, match=f"^{argument}: Model 'model_1' has no layer 'x'"):
            from_keras(path, **{argument: "x"})
    model = lc.Sequential([lc.layers.Input((7, 4)), lc.layers.LSTM(5)])
    with pytest.raises(ValueError, match="^source: ") as caught:
        load_keras_weights(model, path)
    assert str(path) not in str(caught.value)
    layers = [kit.lstm(rng, "x" * 2000, 3, 4)]
    with pytest.raises(ValueError, match="^source: ") as caught:
        load_keras_weights(model, kit.write(tmp_path / "b.h5", layers))
    assert len(str(caught.value)) < 2000


def test_several_outputs(tmp_path, rng, x):
    layers, document = two_outputs(rng)
    path = kit.write(tmp_path / "a.h5", layers, document)
    state = layers[0].run(x)
    both = from_keras(path)
    assert both.output_names == ["topic", "mood"]
    for made, found in zip(layers[1:], both.predict(x), strict=True):
        np.testing.assert_allclose(found, made.run(state), rtol=1e-5, atol=1e-6)
    for made in layers[1:]:
        model = from_keras(path, output=made.name)
        assert [layer.name for layer in model.layers] == ["lstm", made.name]
        same(model, x, made.run(state))
    same(from_keras(path, output="lstm"), x, state)
    with pytest.raises(ValueError, match="has no layer 'tone'; expected one of model_input, lstm"):
        from_keras(path, output="tone")


def test_states_that_are_used(tmp_path, rng, x):
    """An LSTM's last h is its output; its c makes a graph."""
    lstm = kit.lstm(rng, "lstm", 3, 4, sequences=True).with_options(return_state=True)
    layers = [lstm, kit.dense(rng, "dense", 2, 3)]
    document = kit.functional("model", layers, (7, 4)).document
    node = document["config"]["layers"][2]["inbound_nodes"][0][0]
    steps = lstm.run(x)
    for output, expected in ((0, steps), (1, steps[:, -1])):
        node[2] = output
        model = from_keras(kit.write(tmp_path / f"{output}.h5", layers, document))
        same(model, x, layers[1].run(expected))
    node[2] = 2
    graph = from_keras(kit.write(tmp_path / "2.h5", layers, document))
    assert isinstance(graph, lc.Model)
    assert graph.get_layer("lstm").return_state


# ---- .keras files of Keras 2 ---------------------------------------------------------------------


@pytest.mark.parametrize("root", ["layers", "_layer_checkpoint_dependencies"])
def test_archives(tmp_path, rng, x, root):
    """A second visit of each layer with weights used up a number of its name."""
    layers = kit.first_shape(
        [
            kit.time_distributed("td_1", kit.dropout("dropout")),
            kit.time_distributed("td_2", kit.dense(rng, "dense", 3, 4)),
            kit.lstm(rng, "lstm", 3, 3, sequences=True),
            kit.time_distributed("td_3", kit.dense(rng, "dense_1", 3, 3)),
            kit.lstm(rng, "lstm_1", 2, 3),
        ],
        None,
        4,
    )
    numbers = {"layers": (1, 0, 2, 1), "_layer_checkpoint_dependencies": (1, 0, 3, 2)}[root]
    tensors = {}
    for made, number in zip(layers[1:], numbers, strict=True):
        kind = "time_distributed" if made.name.startswith("td") else "lstm"
        within = "layer" if kind == "time_distributed" else "cell"
        name = f"{kind}_{number}" if number else kind
        for index, value in enumerate(made.weights.values()):
            tensors[f"{root}/{name}/{within}/vars/{index}"] = value
    tensors["optimizer/vars/0"] = np.zeros(3)
    whole = kit.sequential("model", layers)
    path = kit.write_archive(tmp_path / "model.keras", whole.document, tensors)
    model = from_keras(path)
    same(model, x, whole.run(x))
    before = model.get_weights()
    model.set_weights([0 * value for value in before])
    load_keras_weights(model, path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


# ---- weights alone -------------------------------------------------------------------------------


def test_weights_alone(tmp_path, rng, tagger):
    path = kit.write(tmp_path / "weights.h5", tagger)
    with pytest.raises(ValueError, match="holds weights without their layers; .*use load_keras_w"):
        from_keras(path)
    layers = lc.layers
    gates = lc.Activation("hard_sigmoid", 0.2, 0.5)
    model = lc.Sequential(
        [
            layers.Input((7,)),
            layers.Embedding(9, 4),
            layers.Bidirectional(layers.LSTM(3, recurrent_activation=gates, return_sequences=True)),
            layers.LSTM(5, return_sequences=True),
            layers.TimeDistributed(layers.Dense(3, activation="softmax")),
        ],
        dtype="float64",
    )
    load_keras_weights(model, path)
    ids = rng.integers(0, 9, (5, 7))
    same(model, ids, kit.run_all(tagger)(ids))


def test_weights_of_other_layers_are_named(tmp_path, rng):
    layers = [kit.lstm(rng, "lstm_1", 3, 4), kit.dense(rng, "dense_1", 2, 3)]
    counter = {"dense_1/count:0": np.int64(3)}  # which some layers have, and nothing needs
    extra = {**layers[1].weights, **counter, "dense_1/scale:0": np.zeros(7)}
    path = kit.write(tmp_path / "weights.h5", [layers[0], layers[1]._replace(weights=extra)])
    model = lc.Sequential(
        [lc.layers.Input((None, 4)), lc.layers.LSTM(5), lc.layers.Dense(2), lc.layers.Dense(2)],
        dtype="float64",
    )
    before = model.get_weights()
    with pytest.raises(ValueError, match="source: ") as error:
        load_keras_weights(model, path)
    for part in (
        "lstm.weight_ih_l0: expected shape (4, 20), got (4, 12)",
        "dense_1.kernel: expected shape (2, 2), got (7,)",
        "missing dense_1.bias (2,)",
    ):
        assert part in str(error.value)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    short = lc.Sequential([lc.layers.Input((None, 4)), lc.layers.LSTM(3)], dtype="float64")
    with pytest.raises(ValueError, match=r"unexpected dense_1/dense_1/kernel:0 \(3, 2\)"):
        load_keras_weights(short, path)
    long = lc.Sequential(
        [lc.layers.Input((None, 4)), lc.layers.LSTM(3), lc.layers.Dense(2), lc.layers.Dense(1)],
        dtype="float64",
    )
    path = kit.write(tmp_path / "other.h5", layers)
    with pytest.raises(ValueError, match=r"missing dense_1.kernel \(2, 1\)"):
        load_keras_weights(long, path)


# ---- refused -------------------------------------------------------------------------------------


def one_lstm(rng, **options):
    made = kit.lstm(rng, "lstm", 3, 4).with_options(batch_input_shape=[None, 7, 4], **options)
    return [made], kit.sequential("model", [made]).document


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_major": True}, "LSTM 'lstm': has no counterpart for time_major=True"),
        ({"activation": "mish"}, "LSTM 'lstm': expected activation to be one of"),
        ({"dtype": "float16"}, "expected dtype float32 or float64, got 'float16'"),
        ({"batch_input_shape": None}, "the model is not built"),
    ],
)
def test_options_without_a_counterpart(tmp_path, rng, options, message):
    layers, document = one_lstm(rng)
    config = document["config"]["layers"][0]["config"]
    config.update(options)
    with pytest.raises(ValueError, match=message):
        from_keras(kit.write(tmp_path / "a.h5", layers, document))


def test_hard_sigmoid_of_a_dense_layer_has_another_slope(tmp_path, rng):
    layers = kit.first_shape(
        [kit.dense(rng, "dense", 2, 4).with_options(activation="hard_sigmoid")], 4
    )
    whole = kit.sequential("model", layers)
    with pytest.raises(ValueError, match=r"Dense 'dense': expected activation .*0\.2"):
        from_keras(kit.write(tmp_path / "a.h5", layers, whole.document))


@pytest.mark.parametrize("version", ["1.2.2", "", "4.0.0"])
def test_other_versions(tmp_path, rng, version):
    layers, document = one_lstm(rng)
    path = kit.write(tmp_path / "a.h5", layers, document, version=version)
    with pytest.raises(ValueError, match=f"expected a file of Keras 2 or 3, got Keras '{version}'"):
        from_keras(path)


def test_models_that_branch(tmp_path, rng):
    layers, document = two_outputs(rng)
    config = document["config"]
    options = {"name": "add", "trainable": True}
    config["layers"].append(
        {
            **{"class_name": "Add", "name": "add", "config": options},
            "inbound_nodes": kit.call("topic", "mood"),
        }
    )
    config["output_layers"] = [["add", 0, 0]]
    with pytest.raises(ValueError, match="Add 'add': expected inputs of the same width, got 2, 5"):
        from_keras(kit.write(tmp_path / "a.h5", layers, document))
    del config["layers"][-1]
    config["output_layers"] = [["topic", 0, 0]]
    with pytest.raises(ValueError, match="the outputs do not depend on mood"):
        from_keras(kit.write(tmp_path / "b.h5", layers, document))
    config["layers"][1]["inbound_nodes"][0][0][3]["initial_state"] = [["mood", 0, 0]]
    with pytest.raises(ValueError, match="LSTM 'lstm': called with initial_state"):
        from_keras(kit.write(tmp_path / "c.h5", layers, document), output="topic")


def damaged(change):
    def make(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def move(file):
    file.move("model_weights/lstm/lstm/bias:0", "model_weights/lstm/lstm/other:0")


def link(file):
    del file["model_weights/lstm/lstm/bias:0"]
    file["model_weights/lstm/lstm/bias:0"] = h5py.SoftLink("/model_weights/lstm/lstm/kernel:0")


def top_level(file):
    group = file["model_weights"].create_group("top_level_model_weights")
    group.attrs["weight_names"] = [b"own:0"]
    group["own:0"] = np.zeros(3)


def set_config(value):
    return lambda file: file.attrs.__setitem__("model_config", value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (move, "its weights cannot be read"),
        (link, "lstm/lstm/bias:0 is a link"),
        (top_level, r"unexpected top_level_model_weights/own:0 \(3,\)"),
        (
            lambda file: file["model_weights/lstm"].attrs.__delitem__("weight_names"),
            "missing lstm.",
        ),
        (lambda file: file.__delitem__("model_weights/lstm"), "its weights cannot be read"),
        (set_config(b"{"), "model_config is not JSON"),
        (set_config(b"[]"), "model_config is not an object"),
        (set_config(7), "model_config is not JSON"),
        (set_config(b'{"class_name": "Sequential"}'), "not one that Keras writes"),
        (set_config(b'{"class_name": "Own", "config": {}}'), "Own: expected a Sequential"),
        (set_config(b'{"class_name": "Sequential", "config": []}'), "not built|at least one"),
        (set_config(b'{"class_name": "Sequential", "config": [[]]}'), "not one that Keras writes"),
    ],
)
def test_damaged_files(tmp_path, rng, change, message):
    layers, document = one_lstm(rng)
    path = kit.write(tmp_path / "a.h5", layers, document)
    damaged(change)(path)
    with pytest.raises(ValueError, match=message):
        from_keras(path)


@pytest.mark.parametrize(("layers", "weights"), [(25_000, 25_000), (2, 1), (1, 2)])
def test_names_that_stand_in_a_list_again_and_again(tmp_path, layers, weights):
    """Each layer's list would be read for each time that the layer is named."""
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([b"a"] * layers)
        group = root.create_group("a")
        group.create_dataset("w", data=np.ones(3, np.float32))
        group.attrs["weight_names"] = np.array([b"w"] * weights)
        file.attrs["model_config"] = "{}"
    name = "layer_names" if layers > 1 else "weight_names"
    with pytest.raises(ValueError, match=f"{name}: expected distinct names, got '[aw]' more than"):
        from_keras(path)


def test_no_file_of_keras(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="expected a file of Keras, .keras, .h5 or .weights.h5"):
        from_keras(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ValueError, match="holds weights without their layers"):
        from_keras(path)


# ---- the command line ----------------------------------------------------------------------------


def test_command_line(tmp_path, rng, tagger, capsys):
    made = kit.sequential("model", tagger)
    ids = rng.integers(0, 9, (5, 7))
    whole = kit.write(tmp_path / "model.h5", tagger, made.document)
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert cli.main(["convert", str(whole), str(first)]) == 0
    same(lc.load(first), ids, made.run(ids))
    alone = kit.write(tmp_path / "weights.hdf5", tagger)
    assert cli.main(["convert", str(alone), str(second), "--like", str(first)]) == 0
    same(lc.load(second), ids, made.run(ids))
    capsys.readouterr()
    assert cli.main(["convert", str(alone), str(second)]) == 1
    assert "holds weights without their layers" in capsys.readouterr().err
