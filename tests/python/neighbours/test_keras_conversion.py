"""Models, layers and weights from and to Keras 3: the same values and the same outputs."""

import os
import runpy
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

from keras.src.backend.common import dtypes  # noqa: E402

import lstmcore as lc  # noqa: E402
from lstmcore.convert import from_keras, load_keras_weights, to_keras  # noqa: E402

K = keras.layers
GOLDEN = Path(__file__).parents[2] / "golden"

pytestmark = [  # Keras warns about its own use of NumPy and of masks
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
]

# Relative to the largest entry, since Keras sums in another order.
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}


def close(ours, theirs):
    theirs = keras.ops.convert_to_numpy(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    atol = TOLERANCES[ours.dtype.name] * max(1.0, abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@contextmanager
def computing_in(dtype):
    """Let Keras compute in `dtype`; with most backends its products are float32 at best."""
    keras.config.dtype_policy()  # created on first use
    before, types = keras.config.floatx(), dtypes.BIT64_TO_BIT32_DTYPE
    shortened = types["float64"]
    keras.config.set_floatx(dtype)
    types["float64"] = dtype
    try:
        yield
    finally:
        types["float64"] = shortened
        keras.config.set_floatx(before)


@pytest.fixture
def double():
    with computing_in("float64"):
        yield


def randomize(thing, seed=0):
    rng = np.random.default_rng(seed)
    for variable in thing.weights:
        variable.assign(rng.normal(size=variable.shape) * 0.4)
    return thing


def model_of(layers, shape=(None, 4), dtype="float32"):
    return randomize(keras.Sequential([keras.Input(shape, dtype=dtype), *layers]))


def same_weights(one, other):
    assert list(one.weights) == list(other.weights)
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name], strict=True)


# Keras layers for sequences of four features, in dtype d.
LAYERS = {
    "LSTM": lambda d: [K.LSTM(3, dtype=d)],
    "sequences": lambda d: [K.LSTM(3, return_sequences=True, dtype=d)],
    "backwards": lambda d: [K.LSTM(3, return_sequences=True, go_backwards=True, dtype=d)],
    "no bias": lambda d: [K.LSTM(3, use_bias=False, unroll=False, dtype=d)],
    "training options": lambda d: [
        K.LSTM(
            3,
            dropout=0.1,
            recurrent_dropout=0.2,
            unit_forget_bias=False,
            kernel_initializer="he_normal",
            recurrent_initializer=keras.initializers.VarianceScaling(2.0),
            kernel_regularizer=keras.regularizers.L1(0.1),
            recurrent_regularizer=keras.regularizers.L1L2(0.1, 0.2),
            bias_regularizer="l2",
            kernel_constraint=keras.constraints.MaxNorm(3.0),
            seed=5,
            dtype=d,
        )
    ],
    "RNN": lambda d: [K.RNN(K.LSTMCell(3, dtype=d), return_sequences=True, dtype=d)],
    "stacked cells": lambda d: [
        K.RNN(
            K.StackedRNNCells([K.LSTMCell(3, use_bias=False, dtype=d) for _ in range(3)], dtype=d),
            dtype=d,
        )
    ],
    "Bidirectional": lambda d: [K.Bidirectional(K.LSTM(3, dtype=d), dtype=d)],
    "sum": lambda d: [
        K.Bidirectional(K.LSTM(3, return_sequences=True, dtype=d), merge_mode="sum", dtype=d)
    ],
    "mul": lambda d: [
        K.Bidirectional(K.LSTM(3, return_sequences=True, dtype=d), merge_mode="mul", dtype=d)
    ],
    "ave": lambda d: [
        K.Bidirectional(
            K.RNN(K.LSTMCell(3, dtype=d), return_sequences=True, dtype=d),
            merge_mode="ave",
            dtype=d,
        )
    ],
    "backward layer": lambda d: [
        K.Bidirectional(
            K.LSTM(3, return_sequences=True, seed=1, dtype=d),
            backward_layer=K.LSTM(3, return_sequences=True, go_backwards=True, seed=2, dtype=d),
            dtype=d,
        )
    ],
    "Dense": lambda d: [K.Dense(5, "softmax", dtype=d)],
    "Dense and Activation": lambda d: [
        K.Dense(5, use_bias=False, dtype=d),
        K.Activation("tanh", dtype=d),
    ],
    "TimeDistributed and Activation": lambda d: [
        K.TimeDistributed(K.Dense(5, dtype=d), dtype=d),
        K.Activation("relu", dtype=d),
    ],
    "TimeDistributed": lambda d: [K.TimeDistributed(K.Dense(5, "relu", dtype=d), dtype=d)],
    "Conv1D": lambda d: [K.Conv1D(5, 3, strides=2, activation="relu", dtype=d)],
    "causal": lambda d: [K.Conv1D(5, 2, padding="causal", dilation_rate=3, dtype=d)],
    "same": lambda d: [K.Conv1D(5, 4, padding="same", strides=3, use_bias=False, dtype=d)],
    "MaxPooling1D": lambda d: [K.MaxPooling1D(3, 2, "same", dtype=d)],
    "GlobalMaxPooling1D": lambda d: [K.GlobalMaxPooling1D(dtype=d)],
    "GlobalAveragePooling1D": lambda d: [K.GlobalAveragePooling1D(dtype=d)],
    "LayerNormalization": lambda d: [K.LayerNormalization(epsilon=1e-4, dtype=d)],
    "no gamma": lambda d: [K.LayerNormalization(scale=False, axis=2, dtype=d)],
    "no beta": lambda d: [K.LayerNormalization(center=False, dtype=d)],
    "Dropout": lambda d: [K.Dropout(0.5, seed=2, dtype=d)],
}


# All in float64, where rounding cannot hide a mistake; one of each kind in float32.
CASES = [(name, "float64") for name in LAYERS] + [
    (name, "float32") for name in ("LSTM", "Bidirectional", "Dense", "Conv1D", "no beta")
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_layers_compute_the_same(name, dtype, tmp_path):
    with computing_in(dtype):
        check_layers(name, dtype, tmp_path)


def check_layers(name, dtype, tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype(dtype)
    theirs = model_of(LAYERS[name](dtype), dtype=dtype)
    ours = from_keras(theirs)
    assert ours.dtype == dtype
    close(ours.predict(x), theirs(x))
    # Through a file, read without Keras.
    theirs.save(tmp_path / "a.keras")
    same_weights(from_keras(tmp_path / "a.keras"), ours)
    # Into a model with other values, from either file.
    theirs.save_weights(tmp_path / "a.weights.h5")
    for source in (theirs, tmp_path / "a.keras", tmp_path / "a.weights.h5"):
        other = from_keras(randomize(model_of(LAYERS[name](dtype), dtype=dtype), 9))
        load_keras_weights(other, source)
        for one, value in zip(other.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, value, strict=True)
    # And back.
    back = to_keras(ours, tmp_path / "b.keras")
    close(ours.predict(x), back(x))
    same_weights(from_keras(tmp_path / "b.keras"), ours)
    again = from_keras(back)
    assert again._document() == ours._document()
    close(ours.predict(x), keras.saving.load_model(tmp_path / "b.keras")(x))
    to_keras(ours, tmp_path / "b.weights.h5")
    back.load_weights(tmp_path / "b.weights.h5")
    # A single layer.
    layer = from_keras(theirs.layers[0])
    if len(theirs.layers) == 1:
        close(np.asarray(layer(x)), theirs(x))
        alone = to_keras(layer)
        close(layer(x), alone(x))


@pytest.mark.parametrize(
    "name",
    ["linear", "tanh", "sigmoid", "relu", "softsign", "softplus", "elu", "leaky_relu"],
)
@pytest.mark.usefixtures("double")
def test_activations(name):
    x = np.random.default_rng(1).normal(size=(2, 5, 4))
    layer = K.LSTM(3, activation=name, recurrent_activation="hard_sigmoid", dtype="float64")
    theirs = model_of([layer], dtype="float64")
    ours = from_keras(theirs)
    close(ours.predict(x), theirs(x))
    back = to_keras(ours)
    assert back.layers[0].activation is theirs.layers[0].activation
    assert back.layers[0].recurrent_activation is theirs.layers[0].recurrent_activation


@pytest.mark.parametrize("inner", ["LSTM", "sequences", "Bidirectional", "sum", "stacked cells"])
def test_masked_ids(inner):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (4, 7))
    lengths = np.array([7, 3, 1, 5])
    ids[np.arange(7) >= lengths[:, None]] = 0
    layers = [K.Embedding(9, 4, mask_zero=True), *LAYERS[inner]("float32")]
    sequences = inner in ("sequences", "sum")
    if sequences:
        layers += [K.LayerNormalization(), K.GlobalAveragePooling1D()]
    theirs = model_of([*layers, K.Dense(2)], (None,), "int32")
    ours = from_keras(theirs)
    close(ours.predict(ids), theirs(ids))
    # Padding is ignored: separate rows have the same results.
    rows = [row[:length] for row, length in zip(ids, lengths, strict=True)]
    np.testing.assert_array_equal(ours.predict(ids), ours.predict(rows))
    close(ours.predict(ids), to_keras(ours)(ids))


def test_functional_chain(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    inputs = keras.Input((None, 4))
    y = K.LSTM(5, return_sequences=True)(inputs)
    y = K.Dropout(0.2)(y)
    inner = keras.Sequential([K.Dense(3, name="a"), K.LSTM(4, return_sequences=True, name="b")])
    y = K.LSTM(3)(inner(y))
    theirs = randomize(keras.Model(inputs, K.Dense(2)(y)))
    theirs.compile("adam", "mse", metrics=["mae"])
    theirs.fit(x, np.zeros((3, 2)), verbose=0)  # so that the file holds the optimizer's tensors too
    ours = from_keras(theirs)
    close(ours.predict(x), theirs(x))
    theirs.save(tmp_path / "a.keras")
    same_weights(from_keras(tmp_path / "a.keras"), ours)


def test_functional_within_sequential(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    inputs = keras.Input((None, 4))
    inner = keras.Model(inputs, K.LSTM(3, return_sequences=True)(K.Dense(5)(inputs)), name="part")
    theirs = model_of([K.LSTM(4, return_sequences=True), inner, K.LSTM(2), K.Dense(5)])
    theirs.save(tmp_path / "a.keras")
    ours = from_keras(tmp_path / "a.keras")
    close(ours.predict(x), theirs(x))
    same_weights(from_keras(theirs), ours)


def test_layers_without_weights_are_counted(tmp_path):
    theirs = model_of([K.TimeDistributed(K.Dropout(0.5)), K.TimeDistributed(K.Dense(3))])
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = from_keras(theirs)
    before = ours.get_weights()
    ours.set_weights([0 * value for value in before])
    load_keras_weights(ours, tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(ours.get_weights()[0], before[0], strict=True)


def test_weights_of_models_that_are_refused(tmp_path):
    """Where Keras takes padding for data there is no counterpart, but weights can be loaded."""
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    x[0, :4] = x[1, 5:] = x[2, 3] = 0
    theirs = model_of([K.Masking(), K.LSTM(3, return_sequences=True), K.LSTM(2), K.Dense(5)])
    theirs.save_weights(tmp_path / "a.weights.h5")
    layers = lc.layers
    ours = lc.Sequential(
        [
            layers.Input((None, 4)),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(2),
            layers.Dense(5),
        ]
    )
    load_keras_weights(ours, tmp_path / "a.weights.h5")
    close(ours.predict(x, mask=(x != 0).any(axis=-1)), theirs(x))
    theirs = model_of([K.Embedding(9, 4, mask_zero=True), K.Conv1D(3, 2)], (None,), "int32")
    ours = lc.Sequential(
        [layers.Input((None,)), layers.Embedding(9, 4, mask_zero=True), layers.Conv1D(3, 2)]
    )
    load_keras_weights(ours, theirs)
    ids = np.array([[1, 2, 3, 8]])  # without padding
    close(ours.predict(ids), theirs(ids))


def test_example(tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[3] / "examples" / "python" / "convert_keras.py"
    destination = tmp_path / "model.safetensors"
    source = GOLDEN / "keras_model.keras"
    monkeypatch.setattr("sys.argv", ["convert", str(source), str(destination), "--compare"])
    runpy.run_path(str(path), run_name="__main__")
    assert "greatest difference from Keras" in capsys.readouterr().out
    assert lc.load(destination).built


def test_conversion_does_not_add_the_forget_bias_again():
    model = lc.Sequential([lc.layers.Input((None, 4)), lc.layers.LSTM(3, forget_bias=2.0)])
    theirs = to_keras(model)
    assert theirs.layers[0].cell.unit_forget_bias
    for one, other in zip(model.get_weights(), from_keras(theirs).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*_model.safetensors")), ids=lambda p: p.stem)
def test_golden_models_become_keras_models_or_say_why_not(path):
    model = lc.load(path)
    if path.stem in ("stream_model", "rounding_model"):
        theirs = to_keras(model)
        assert len(theirs.get_weights()) == len(model.get_weights())
        return
    with pytest.raises(ValueError, match=r"^layer '"):
        to_keras(model)


@pytest.mark.usefixtures("double")
def test_stack_is_several_keras_layers(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4))
    layers = lc.layers
    for layer in (
        layers.LSTM(3, num_layers=3, dropout=0.5, return_sequences=True, input_dropout=0.1),
        layers.LSTM(3, num_layers=2, go_backwards=True, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3, num_layers=2), merge_mode="sum"),
        layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)])),
    ):
        alone = layer(x)
        theirs = to_keras(layer)
        close(alone, theirs(x))
        ours = lc.Sequential([lc.layers.Input((None, 4)), layer, layers.Dense(2)], dtype="float64")
        theirs = to_keras(ours, tmp_path / "a.weights.h5")
        close(ours.predict(x), theirs(x))
        before = ours.get_weights()
        ours.set_weights([0 * value for value in before])
        load_keras_weights(ours, tmp_path / "a.weights.h5")
        for one, other in zip(before, ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_cell_and_state():
    x = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    cell = K.LSTMCell(3)
    cell.build((None, 4))
    ours = from_keras(randomize(cell))
    h, (_, c) = ours(x)
    zeros = np.zeros((2, 3), "float32")
    expected, (_, expected_c) = cell(x, [zeros, zeros])
    close(h, expected)
    close(c, expected_c)
    close(h, to_keras(ours)(x, [zeros, zeros])[0])

    layer = K.LSTM(3, return_state=True)
    layer.build((None, None, 4))
    ours = from_keras(randomize(layer))
    for one, other in zip(ours(x[:, None]), layer(x[:, None]), strict=True):
        close(one, other)


def test_stateful():
    x = np.random.default_rng(1).normal(size=(2, 6, 4)).astype("float32")
    theirs = keras.Sequential([keras.Input(batch_shape=(2, None, 4)), K.LSTM(3, stateful=True)])
    ours = from_keras(randomize(theirs))
    assert ours.layers[0].stateful
    theirs(x[:, :3])
    _, state = ours.predict(x[:, :3], return_state=True)
    close(ours.predict(x[:, 3:], 2, state=state), theirs(x[:, 3:]))
    back = to_keras(ours, batch_size=2)
    assert back.layers[0].stateful
    with pytest.raises(ValueError, match="batch_size: expected a number for stateful layers"):
        to_keras(ours)


def chain(layers, shape=(None, 4)):
    return lambda: keras.Sequential([keras.Input(shape), *layers()])


def twice():
    inputs = keras.Input((None, 4))
    layer = K.LSTM(4, return_sequences=True)
    return keras.Model(inputs, layer(layer(inputs)))


def branches():
    inputs = keras.Input((None, 4))
    y = K.LSTM(4)(inputs)
    return keras.Model(inputs, K.Add()([y, K.Dense(4)(y)]))


def side():
    inputs = keras.Input((None, 4))
    y, h, _ = K.LSTM(4, return_state=True)(inputs)
    return keras.Model(inputs, [y, h])


def forced():
    inputs = keras.Input((None, 4))
    return keras.Model(inputs, K.Dropout(0.5)(inputs, training=True))


class OwnLSTM(K.LSTM):
    pass


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm = K.LSTM(3)

    def call(self, x):
        return self.lstm(x)


REFUSED = {
    "GRU": (chain(lambda: [K.GRU(3)]), "GRU 'gru.*only LSTMs"),
    "subclass": (chain(lambda: [OwnLSTM(3)]), "OwnLSTM.*custom class"),
    "activation": (chain(lambda: [K.LSTM(3, activation="gelu")]), "activation.*'gelu'"),
    "dense activation": (chain(lambda: [K.Dense(3, "celu")]), "Dense.*activation.*'celu'"),
    "object": (chain(lambda: [K.LSTM(3, activation=K.LeakyReLU())]), "activation.*LeakyReLU"),
    "regularizer": (
        chain(lambda: [K.Dense(3, kernel_regularizer=keras.regularizers.OrthogonalRegularizer())]),
        "kernel_regularizer.*OrthogonalRegularizer",
    ),
    "constraint": (
        chain(lambda: [K.LSTM(3, recurrent_constraint="non_neg")]),
        "recurrent_constraint.*NonNeg",
    ),
    "axis of a constraint": (
        chain(lambda: [K.Dense(3, kernel_constraint=keras.constraints.MaxNorm(axis=1))]),
        "kernel_constraint.*axis=0",
    ),
    "activity": (
        chain(lambda: [K.LSTM(3, activity_regularizer="l2")]),
        "activity_regularizer",
    ),
    "merge": (
        chain(lambda: [K.Bidirectional(K.LSTM(3), merge_mode=None)]),
        "merge_mode=None",
    ),
    "backward layer": (
        chain(
            lambda: [
                K.Bidirectional(
                    K.LSTM(3),
                    backward_layer=K.LSTM(3, go_backwards=True, activation="relu"),
                )
            ]
        ),
        "Bidirectional.*another activation",
    ),
    "bidirectional stack": (
        chain(lambda: [K.Bidirectional(K.RNN([K.LSTMCell(3), K.LSTMCell(3)]))]),
        "stack of cells in each direction",
    ),
    "units": (chain(lambda: [K.RNN([K.LSTMCell(3), K.LSTMCell(4)])]), "same units"),
    "dropout of cells": (
        chain(lambda: [K.RNN([K.LSTMCell(3), K.LSTMCell(3, dropout=0.1)])]),
        "StackedRNNCells.*dropout",
    ),
    "return_state": (side, "functional.*output_layers"),
    "groups": (chain(lambda: [K.Conv1D(4, 2, groups=2)]), "groups=1, got 2"),
    "keepdims": (chain(lambda: [K.GlobalMaxPooling1D(keepdims=True)]), "keepdims=False"),
    "channels": (
        chain(lambda: [K.MaxPooling1D(data_format="channels_first")], (4, 4)),
        "data_format='channels_last'",
    ),
    "axis": (chain(lambda: [K.LayerNormalization(axis=1)], (4, 4)), "axis=-1, got 1"),
    "half": (chain(lambda: [K.Dense(3, dtype="float16")]), "float32 or float64, got 'float16'"),
    "mixed": (chain(lambda: [K.Dense(3, dtype="mixed_float16")]), "got 'mixed_float16'"),
    "two types": (
        chain(lambda: [K.Dense(3), K.Dense(3, dtype="float64")]),
        "one dtype, got float32, float64",
    ),
    "mask": (
        chain(lambda: [K.Embedding(9, 4, mask_zero=True), K.GlobalMaxPooling1D()], (None,)),
        "GlobalMaxPooling1D treats padding as data.*use load_keras_weights",
    ),
    "mask backwards": (
        chain(
            lambda: [
                K.Embedding(9, 4, mask_zero=True),
                K.LSTM(3, go_backwards=True, return_sequences=True),
            ],
            (None,),
        ),
        "go_backwards and return_sequences",
    ),
    "twice": (twice, "used once, got 2 times"),
    "branches": (branches, "Add"),
    "forced": (forced, "Dropout.*training"),
    "no chain": (OwnModel, "OwnModel"),
    "unbuilt": (lambda: keras.Sequential([K.Dense(3)]), "not built"),
    "unbuilt layer": (lambda: K.LSTM(3), "LSTM: the layer is not built"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_counterpart_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?i){message}"):
        from_keras(make())


@pytest.mark.parametrize("name", ["regularizer", "constraint", "activity"])
def test_options_of_training_can_be_left_out(name):
    theirs = randomize(REFUSED[name][0]())
    x = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
    close(from_keras(theirs, training=False).predict(x), theirs(x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lc.layers.LSTM(3, peephole=True), "layer 'l': config: Keras' LSTM.*peephole=True"),
        (lc.layers.LSTM(3, proj_size=2, cell_clip=1.0), "cell_clip=1.0, proj_size=2"),
        (lc.layers.LSTM(3, output_activation="relu"), "output_activation"),
        (lc.layers.LSTM(3, activation=lc.Activation("elu", 0.5)), "activation: Keras has no name"),
        (lc.layers.LSTM(3, recurrent_trainable=False), "recurrent_trainable"),
        (lc.layers.LSTM(3, num_layers=2, share_recurrent=True), "share_recurrent"),
        (lc.layers.Attention("additive", 3), "Keras has no Attention"),
        (lc.layers.Residual([lc.layers.Dense(4)]), "Keras has no Residual"),
        (lc.layers.Conv1D(3, 2, 2, dilation_rate=2), "both strides and dilation_rate"),
    ],
)
def test_options_that_keras_lacks_are_named(layer, message):
    layer.name = "l"
    model = lc.Sequential([lc.layers.Input((None, 4)), layer])
    with pytest.raises(ValueError, match=f"layer 'l'.*{message}|{message}"):
        to_keras(model)


def test_wrong_arguments(tmp_path):
    model = lc.Sequential([lc.layers.LSTM(3)])
    with pytest.raises(ValueError, match="not built"):
        to_keras(model)
    with pytest.raises(ValueError, match="not built"):
        load_keras_weights(model, tmp_path / "a.keras")
    with pytest.raises(ValueError, match="not built"):
        to_keras(lc.layers.LSTM(3))
    model.build((None, None, 4))
    with pytest.raises(ValueError, match="expected .keras or .weights.h5, got 'a.h5'"):
        to_keras(model, tmp_path / "a.h5")
    with pytest.raises(ValueError, match="path: expected None for a layer"):
        to_keras(model.layers[0], tmp_path / "a.keras")
    with pytest.raises(TypeError, match="model: expected a Sequential or a layer"):
        to_keras(3)
    with pytest.raises(TypeError, match="training: expected True or False"):
        from_keras(model, training=1)
    with pytest.raises(TypeError, match="source: expected a Keras object or the path"):
        from_keras(3)
    with pytest.raises(ValueError, match="batch_size: expected None"):
        to_keras(model, batch_size=3)


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    model_of([K.LSTM(3, return_sequences=True), K.LSTM(3), K.Dense(2)]).save_weights(path)
    layers = lc.layers
    ours = lc.Sequential(
        [layers.Input((None, 4)), layers.LSTM(5), layers.Dense(2), layers.Dense(2, use_bias=False)]
    )
    before = ours.get_weights()
    with pytest.raises(ValueError, match="source: missing") as error:
        load_keras_weights(ours, path)
    for part in (
        "missing layers/dense_1/vars/0 (2, 2)",
        "unexpected layers/lstm_1/cell/vars/2 (12,)",
        "layers/lstm/cell/vars/0: expected shape (4, 20), got (4, 12)",
        "layers/dense/vars/0: expected shape (5, 2), got (3, 2)",
    ):
        assert part in str(error.value)
    double = from_keras(model_of([K.Dense(2)]))
    with pytest.raises(TypeError, match="expected float32, got float64"):
        load_keras_weights(double, model_of([K.Dense(2, dtype="float64")]))
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="use load_keras_weights"):
        from_keras(path)


def test_names_of_the_layers_of_a_stack_are_unique():
    stack = [
        lc.layers.LSTM(3, num_layers=2, return_sequences=True, name="lstm"),
        lc.layers.Dense(2, name="lstm_0"),
    ]
    model = lc.Sequential(stack)
    model.build((None, None, 4))
    made = to_keras(model)
    names = [layer.name for layer in made.layers]
    assert len(set(names)) == 3
    assert names[2] == "lstm_0"
    x = np.ones((2, 5, 4), np.float32)
    close(model.predict(x, verbose=0), made.predict(x, verbose=0))
    model = lc.Sequential([lc.layers.Dense(2, name="a/b")])
    model.build((None, 4))
    with pytest.raises(ValueError, match="layer 'a/b': Keras has no names with a '/'"):
        to_keras(model)


def test_cells_of_a_stack_must_be_alike():
    stack = K.RNN([K.LSTMCell(3), K.LSTMCell(4)])
    stack.build((None, None, 2))
    with pytest.raises(ValueError, match="expected|units"):
        from_keras(stack)


def test_dropout_has_the_same_name():
    layers = lc.layers
    for ours in (layers.LSTM(3, dropout=0.25), layers.RNN(layers.LSTMCell(3, dropout=0.25))):
        ours(np.zeros((1, 2, 4), np.float32))
        theirs = to_keras(ours)
        assert theirs.get_config().get("dropout", 0.25) == theirs.cell.dropout == 0.25
        back = from_keras(theirs)
        assert back.get_config()["name"] == theirs.name
        cell = back.cells[0]
        assert (cell.dropout, getattr(back, "dropout", 0.25)) == (0.25, 0.25)


# ---- frozen layers -------------------------------------------------------------------------------


def some_frozen():
    """Make layers that are frozen themselves, with a container, in part, or not at all."""
    inner = keras.Sequential([K.Dense(3, name="in_frozen"), K.Dropout(0.1)], name="inner")
    inner.trainable = False
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            K.LSTM(3, return_sequences=True, trainable=False, name="lstm"),
            K.Bidirectional(K.LSTM(2, return_sequences=True), name="both"),
            K.TimeDistributed(K.Dense(3), name="each"),
            K.RNN(
                [K.LSTMCell(3, trainable=False), K.LSTMCell(3)], return_sequences=True, name="rnn"
            ),
            inner,
            K.Dense(2, name="head"),
        ]
    )
    model.get_layer("each").layer.trainable = False
    model.get_layer("both").trainable = False
    return model


@pytest.mark.parametrize("how", ["model", "file"])
def test_layers_frozen_in_keras_are_frozen_here(how, tmp_path):
    theirs = some_frozen()
    if how == "file":
        theirs.save(tmp_path / "model.keras")
    ours = from_keras(theirs if how == "model" else tmp_path / "model.keras")
    ours._follow_trainable()
    trained = sum(
        values.size for name, values in ours.weights.items() if name not in ours.parameters.frozen
    )
    assert trained == sum(int(np.prod(part.shape)) for part in theirs.trainable_weights)
    prefixes = ("lstm.", "both.", "each.", "in_frozen.")
    assert ours.parameters.frozen == {
        name
        for name in ours.weights
        if name.startswith(prefixes) or (name.startswith("rnn.") and name.endswith("_l0"))
    }
    # And back to Keras.
    back = to_keras(ours)
    count = sum(int(np.prod(part.shape)) for part in back.trainable_weights)
    assert count == trained
    assert back.get_layer("lstm").trainable is back.get_layer("both").trainable is False
    assert back.get_layer("head").trainable is True


def test_frozen_penalties():
    """Keras does not add them to the loss, and neither does this package."""
    theirs = keras.Sequential(
        [
            keras.Input((4,)),
            K.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5), trainable=False),
            K.Dense(1, kernel_regularizer=keras.regularizers.L1(0.25)),
        ]
    )
    ours = from_keras(theirs)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    y = np.ones((6, 1), "float32")
    ours.compile("sgd", "mse")
    predicted = theirs.predict(x, verbose=0)
    rest = float(np.mean((predicted - y) ** 2))
    expected = rest + sum(float(keras.ops.convert_to_numpy(loss)) for loss in theirs.losses)
    assert len(theirs.losses) == 1
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=2e-6)
