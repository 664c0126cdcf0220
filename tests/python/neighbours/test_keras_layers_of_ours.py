"""Layers that shape, scale, mask and normalize, against Keras 3: values, gradients, training."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

import lstmcore as lc  # noqa: E402
from lstmcore import layers  # noqa: E402
from lstmcore.convert import from_keras, load_keras_weights, to_keras  # noqa: E402
from lstmcore.layers.functions import ACTIVATIONS  # noqa: E402

K = keras.layers
BACKEND = keras.backend.backend()

pytestmark = [  # Keras warns about its own use of NumPy and of masks
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
]


def close(ours, theirs, tolerance=3e-6):
    """Compare float32 results, relative to the largest entry; sums have another order."""
    ours, theirs = (keras.ops.convert_to_numpy(values) for values in (ours, theirs))
    assert ours.shape == theirs.shape
    atol = tolerance * max(1.0, abs(theirs).max(initial=0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def randomize(model, seed=0):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "float" not in str(variable.dtype):
            continue
        values = rng.normal(size=variable.shape) * 0.4
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
    for layer in model.layers:
        if isinstance(layer, K.Normalization):
            layer.finalize_state()
    return model


def model_of(stack, shape=(9, 4)):
    return randomize(keras.Sequential([keras.Input(shape), *stack]))


DATA = (np.random.default_rng(8).normal(size=(30, 9, 4)) * [1, 2, 3, 4] + 5).astype("float32")

# Keras' layers, on sequences of nine steps of four features.
LAYERS = {
    "BatchNormalization": lambda: [K.BatchNormalization(momentum=0.9, epsilon=0.01)],
    "no center": lambda: [K.BatchNormalization(center=False)],
    "no scale": lambda: [K.BatchNormalization(scale=False, center=False)],
    "of vectors": lambda: [K.LSTM(3), K.BatchNormalization(), K.Dense(2)],
    "Normalization": lambda: [K.Normalization()],
    "of steps": lambda: [K.Normalization(axis=(1, 2))],
    "given": lambda: [K.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[2.0] * 4)],
    "given, one": lambda: [K.Normalization(axis=None, mean=1.0, variance=4.0, invert=True)],
    "Rescaling": lambda: [K.Rescaling(1 / 255, offset=-0.5)],
    "Rescaling each": lambda: [K.Rescaling([1.0, 2.0, 3.0, 4.0], np.arange(4.0))],
    "SimpleRNN": lambda: [K.SimpleRNN(5, return_sequences=True), K.SimpleRNN(3, activation="relu")],
    "SimpleRNN, options": lambda: [
        K.SimpleRNN(5, use_bias=False, return_sequences=True, go_backwards=True),
        K.SimpleRNN(3, bias_initializer="ones", kernel_regularizer="l2"),
    ],
    "SimpleRNN, both directions": lambda: [
        K.Bidirectional(K.SimpleRNN(3, return_sequences=True)),
        K.Bidirectional(K.SimpleRNN(4), merge_mode="sum"),
    ],
    "SimpleRNN, masked": lambda: [K.Masking(), K.SimpleRNN(3, return_sequences=True)],
    "Masking": lambda: [K.Masking(), K.LSTM(3, return_sequences=True), K.LSTM(2)],
    "Flatten": lambda: [K.LSTM(3, return_sequences=True), K.Flatten(), K.Dense(2)],
    "Reshape": lambda: [K.Reshape((-1, 2)), K.LSTM(3), K.Reshape((3, 1))],
    "Permute": lambda: [K.Permute((2, 1)), K.LSTM(3)],
    "RepeatVector": lambda: [K.LSTM(3), K.RepeatVector(5), K.LSTM(2, return_sequences=True)],
    "SpatialDropout1D": lambda: [K.SpatialDropout1D(0.3), K.LSTM(3)],
    "GaussianNoise": lambda: [K.GaussianNoise(0.3, seed=4), K.LSTM(3)],
    "AveragePooling1D": lambda: [K.AveragePooling1D(3, 2)],
    "AveragePooling1D, same": lambda: [K.AveragePooling1D(3, 1, "same")],
    "pixels": lambda: [
        K.Reshape((9, 2, 2)),
        K.TimeDistributed(K.Conv1D(3, 2)),
        K.TimeDistributed(K.Flatten()),
        K.LSTM(3),
    ],
    "ELU": lambda: [K.ELU(0.5), K.LSTM(2)],
    "LeakyReLU": lambda: [K.LeakyReLU(0.1), K.LSTM(2)],
}

ONLY_INTO_OURS = {
    "ReLU": lambda: [K.ReLU(), K.LSTM(2)],
    "ReLU6": lambda: [K.ReLU(max_value=6.0)],
    "leaky ReLU": lambda: [K.ReLU(negative_slope=0.2)],
    "Softmax": lambda: [K.Softmax()],
    "Activation": lambda: [K.LSTM(3), K.Activation("swish")],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same(name, tmp_path):
    theirs = model_of(LAYERS[name]())
    ours = from_keras(theirs)
    x = DATA[:3]
    close(ours.predict(x), theirs(x))
    theirs.save(tmp_path / "a.keras")
    theirs.save_weights(tmp_path / "a.weights.h5")
    other = from_keras(tmp_path / "a.keras")
    for one, value in ours.weights.items():
        np.testing.assert_array_equal(other.weights[one], value)
    for source in (theirs, tmp_path / "a.keras", tmp_path / "a.weights.h5"):
        other.set_weights([value + 1 for value in ours.get_weights()])
        load_keras_weights(other, source)
        np.testing.assert_array_equal(other.predict(x), ours.predict(x))
    back = to_keras(ours, tmp_path / "b.keras")
    close(ours.predict(x), back(x))
    assert from_keras(back)._document() == ours._document()
    close(ours.predict(x), keras.saving.load_model(tmp_path / "b.keras")(x))
    ours.save(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(lc.load(tmp_path / "c.safetensors").predict(x), ours.predict(x))


@pytest.mark.parametrize("axis", [-1, None, (1, 2)])
def test_adapt_computes_the_same(axis):
    theirs, ours = K.Normalization(axis), layers.Normalization(axis)
    theirs.adapt(DATA)
    ours.adapt(DATA)
    close(ours(DATA[:3]), theirs(DATA[:3]))
    close(from_keras(theirs)(DATA[:3]), theirs(DATA[:3]))
    close(ours(DATA[:3]), to_keras(ours)(DATA[:3]))


@pytest.mark.skipif(BACKEND == "torch", reason="Keras on PyTorch repeats the last step")
@pytest.mark.parametrize(("size", "strides"), [(2, 2), (4, 3), (4, 1)])
def test_uneven_padding_of_means(size, strides):
    theirs = model_of([K.AveragePooling1D(size, strides, "same")])
    close(from_keras(theirs).predict(DATA[:3]), theirs(DATA[:3]))


@pytest.mark.parametrize("name", ONLY_INTO_OURS)
def test_layers_that_become_activations(name):
    theirs = model_of(ONLY_INTO_OURS[name]())
    ours = from_keras(theirs)
    x = DATA[:3] - 5
    close(ours.predict(x), theirs(x))
    close(to_keras(ours)(x), theirs(x))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "hard_swish"])
def test_activations(name):
    x = np.linspace(-8, 8, 3 * 9 * 4, dtype="float32").reshape(3, 9, 4)
    alone = [[K.Activation(name)]] if name != "linear" else []  # which nothing need do
    for stack in (*alone, [K.Dense(4, name)], [K.Conv1D(3, 2, activation=name)]):
        theirs = model_of(stack)
        ours = from_keras(theirs)
        close(ours.predict(x), theirs(x))
        close(to_keras(ours)(x), theirs(x))
    joined = from_keras(model_of([K.Dense(4), K.Activation(name)]))
    assert len(joined.layers) == 1


@pytest.mark.parametrize("name", [*LAYERS, *ONLY_INTO_OURS])
@pytest.mark.skipif(BACKEND != "torch", reason="gradients are PyTorch's")
def test_gradients_are_those_of_autograd(name):
    import torch

    theirs = model_of({**LAYERS, **ONLY_INTO_OURS}[name]())
    if name in ("SpatialDropout1D", "GaussianNoise"):
        pytest.skip("Keras draws other numbers")
    ours = from_keras(theirs)
    x = torch.tensor(DATA[:3] - 5, requires_grad=True)
    y = theirs(x, training=True)
    outputs, lengths, contexts = DATA[:3] - 5, None, []
    for layer in ours.layers:
        outputs, lengths, context = layer.forward(outputs, lengths, True, 0)
        contexts.append(context)
    close(outputs, y.detach())
    dy = np.random.default_rng(3).normal(size=outputs.shape).astype("float32")
    y.backward(torch.tensor(dy))
    ours._follow_trainable()
    gradient = dy
    for layer, context in zip(ours.layers[::-1], contexts[::-1], strict=True):
        gradient = layer.backward(context, gradient)
    close(gradient, x.grad, 2e-5)
    expected = [v.value.grad.numpy() for v in theirs.trainable_variables]
    found = [  # the matrices of recurrent layers are transposed
        ours.parameters.gradient(key).T if ".weight_" in key else ours.parameters.gradient(key)
        for key, spec in ours.parameters.specs.items()
        if spec.trainable
    ]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 2e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_training_with_batch_normalization(masked):
    """Steps of the optimizer, batch statistics and moving averages are Keras', masks included."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 9, 4)).astype("float32")
    if masked:
        x[np.arange(9) >= np.array([9, 3, 5, 1, 7, 2])[:, None]] = 0
    y = rng.normal(size=(6, 1)).astype("float32")
    begin = [K.Masking()] if masked else []
    theirs = model_of(
        [*begin, K.BatchNormalization(momentum=0.7), K.LSTM(3), K.BatchNormalization(), K.Dense(1)]
    )
    ours = from_keras(theirs)
    theirs.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    ours.compile(lc.optimizers.SGD(0.05), "mse")
    for _ in range(4):
        assert float(ours.train_on_batch(x, y)) == pytest.approx(
            float(theirs.train_on_batch(x, y)), rel=2e-4
        )
    after = from_keras(theirs)
    for name, value in ours.weights.items():
        np.testing.assert_allclose(value, after.weights[name], rtol=2e-3, atol=2e-4)
    close(ours.predict(x), theirs(x, training=False), 1e-3)


PADDINGS = {
    "right": np.arange(9) < np.array([9, 3, 5])[:, None],
    "left": np.arange(9) >= np.array([0, 6, 4])[:, None],
    "gaps": np.random.default_rng(0).random((3, 9)) < 0.5,
}


@pytest.mark.parametrize("side", PADDINGS)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_masking(side, value):
    x = DATA[:3].copy()
    x[~PADDINGS[side]] = value
    for rest in (
        [K.LSTM(3)],
        [K.Bidirectional(K.LSTM(3)), K.Dense(2, "gelu")],
        [K.LSTM(3, return_sequences=True), K.BatchNormalization(), K.GlobalAveragePooling1D()],
        [K.LSTM(3), K.RepeatVector(4), K.LSTM(2, return_sequences=True)],
    ):
        theirs = model_of([K.Masking(value), *rest], (None, 4))
        ours = from_keras(theirs)
        close(ours.predict(x), theirs(x), 1e-5)
        close(ours.predict(x), to_keras(ours)(x), 1e-5)


@pytest.mark.parametrize(
    "layer", [K.Flatten(), K.Permute((2, 1)), K.Reshape((3, 9)), K.AveragePooling1D(2)]
)
def test_layers_that_end_a_mask_in_keras_are_refused_after_it(layer):
    theirs = model_of([K.Masking(), K.LSTM(3, return_sequences=True), layer])
    with pytest.raises(ValueError, match=f"after a mask, Keras' {type(layer).__name__} treats"):
        from_keras(theirs)


def test_masking_elsewhere_is_refused():
    theirs = model_of([K.Dense(3), K.Masking(), K.LSTM(3)])
    with pytest.raises(ValueError, match="Masking must come first"):
        from_keras(theirs)


@pytest.mark.parametrize("sequences", [False, True])
def test_two_outputs(sequences):
    x = DATA[:3]
    theirs = K.Bidirectional(K.LSTM(3, return_sequences=sequences), merge_mode=None)
    expected = theirs(x)
    ours = from_keras(theirs)
    assert ours.merge_mode is None
    for one, other in zip(ours(x), expected, strict=True):
        close(one, other)
    for one, other in zip(ours(x), to_keras(ours)(x), strict=True):
        close(one, other)


def test_stateful_in_both_directions():
    stack = [K.Bidirectional(K.LSTM(3, return_sequences=True, stateful=True))]
    theirs = randomize(keras.Sequential([keras.Input(batch_shape=(3, 9, 4)), *stack]))
    ours = from_keras(theirs)
    expected = np.concatenate(
        [keras.ops.convert_to_numpy(theirs(DATA[at : at + 3])) for at in (0, 3, 6)]
    )
    close(ours.predict(DATA[:9], batch_size=3), expected)
    back = to_keras(ours, batch_size=3)
    assert back.layers[0].stateful


def test_frozen_layers(tmp_path):
    theirs = model_of([K.BatchNormalization(), K.SpatialDropout1D(0.5), K.LSTM(2)])
    theirs.layers[0].trainable = False
    ours = from_keras(theirs)
    assert not ours.layers[0].trainable
    ours.layers[1].trainable = False
    back = to_keras(ours, tmp_path / "a.keras")
    assert not back.layers[0].trainable
    x = DATA[:3]
    ours(x, training=True)
    close(ours.predict(x), theirs(x))


def test_options_that_have_no_counterpart():
    for make, message in (
        (lambda: K.BatchNormalization(axis=1), "expected axis=-1, got 1"),
        (lambda: K.BatchNormalization(renorm=True), "expected renorm=False"),
        (lambda: K.ReLU(threshold=1.0), "expected threshold=0.0"),
        (lambda: K.ReLU(max_value=3.0), "expected max_value None, or 6"),
        (lambda: K.Softmax(axis=1), "expected axis=-1"),
        (lambda: K.Activation("celu"), "expected activation to be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            from_keras(model_of([make()]))
    for layer, message in (
        (layers.GaussianNoise(2.0), "stddev: Keras' GaussianNoise has at most 1"),
        (layers.Activation("hard_sigmoid", alpha=0.2), "alpha: Keras has no hard_sigmoid with one"),
    ):
        layer(DATA)
        with pytest.raises(ValueError, match=message):
            to_keras(layer)
