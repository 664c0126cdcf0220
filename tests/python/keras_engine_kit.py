"""Keras layers and models in pairs, Keras' own and lstmcore's, on whatever backend; needs Keras."""

import keras
import numpy as np
from keras import ops

import lstmcore.keras as lk
from lstmcore.keras import calls

BACKEND = keras.backend.backend()
N, T, C, H = 4, 6, 3, 5

# Of what Keras warns about in its own code, or its backend's.
FILTERS = (
    "ignore:__array__ implementation doesn't accept a copy keyword",
    "ignore:Layer .* was passed an input with a mask",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
)


def pair(**options):
    """Return a layer of Keras and one of lstmcore, with the same options and weights."""
    theirs, ours = keras.layers.LSTM(H, **options), lk.LSTM(H, **options)
    for layer in (theirs, ours):
        layer.build((N, T, C))
    randomize(theirs)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def randomize(thing, seed=0):
    rng = np.random.default_rng(seed)
    for variable in thing.trainable_weights:
        variable.assign(rng.normal(size=variable.shape).astype(variable.dtype) * 0.5)
    return thing


def data(dtype="float32"):
    """Return x and an initial state."""
    rng = np.random.default_rng(1)
    shapes = ((N, T, C), (N, H), (N, H))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[6], [4], [1], [3]]),
    "left": np.arange(T) >= np.array([[0], [2], [5], [3]]),
    "holes, and nothing": np.array(
        [[1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]], bool
    ),
}


def loss_of(outputs):
    """Return a loss with another weight for each element of the outputs."""
    total = 0.0
    for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
        size = int(np.prod(output.shape))
        weights = np.cos(np.arange(size)).reshape(output.shape).astype("float32")
        total += ops.sum(ops.cast(weights, output.dtype) * (output + output * output))
    return total


def _call(layer, tensors, mask, training):
    x, *state = tensors
    given = None if mask is None else ops.convert_to_tensor(mask)
    return layer(x, initial_state=state or None, mask=given, training=training)


def evaluate(layer, arrays, mask=None, training=False):
    """Return the outputs, and gradients of `loss_of` with respect to arrays and weights."""
    outputs, gradients = _EVALUATE[BACKEND](layer, arrays, mask, training)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [
        None if value is None else ops.convert_to_numpy(value) for value in (*outputs, *gradients)
    ]


def _evaluate_torch(layer, arrays, mask, training):
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    outputs = _call(layer, tensors, mask, training)
    weights = [variable.value for variable in layer.trainable_weights]
    gradients = torch.autograd.grad(loss_of(outputs), [*tensors, *weights], allow_unused=True)
    return [output.detach() for output in _several(outputs)], gradients


def _evaluate_tensorflow(layer, arrays, mask, training):
    import tensorflow as tf

    weights = [variable.value for variable in layer.trainable_weights]

    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = _call(layer, tensors, mask, training)
            loss = loss_of(outputs)
        return outputs, tape.gradient(loss, [*tensors, *weights])

    tensors = [tf.constant(array) for array in arrays]
    with Noticed() as noticed:
        outputs, gradients = run(*tensors)
    if noticed.engine and not training:  # whose second call draws other masks
        compiled_outputs, compiled_gradients = tf.function(run)(*tensors)
        close(_several(compiled_outputs), _several(outputs))
        close(compiled_gradients, gradients)
    return outputs, gradients


def _evaluate_jax(layer, arrays, mask, training):
    import jax

    trainable = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def run(arrays, trainable):
        x, *state = arrays
        outputs, _ = layer.stateless_call(
            trainable, others, x, initial_state=state or None, mask=mask, training=training
        )
        return loss_of(outputs), outputs

    compute = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
    arrays = [jax.numpy.asarray(array) for array in arrays]
    with Noticed() as noticed:
        results = jax.block_until_ready(jax.jit(compute)(arrays, trainable))
    (_, outputs), (by_arrays, by_weights) = results
    if noticed.engine:  # Keras' own loop would be compiled anew for each call outside a program
        (_, eager), gradients = compute(arrays, trainable)
        close([*_several(eager), *gradients[0]], [*_several(outputs), *by_arrays])
    return outputs, [*by_arrays, *by_weights]


_EVALUATE = {
    "torch": _evaluate_torch,
    "tensorflow": _evaluate_tensorflow,
    "jax": _evaluate_jax,
}


def penalty(layer, x):
    """Return the gradients of the squared gradient of a loss: second derivatives."""
    values = _PENALTY[BACKEND](layer, x)
    return [ops.convert_to_numpy(value) for value in values]


def _penalty_torch(layer, x):
    import torch

    tensor = torch.tensor(x, requires_grad=True)
    weights = [variable.value for variable in layer.trainable_weights]
    (first,) = torch.autograd.grad(loss_of(layer(tensor)), tensor, create_graph=True)
    return torch.autograd.grad((first**2).sum(), [tensor, *weights])


def _penalty_tensorflow(layer, x):
    import tensorflow as tf

    weights = [variable.value for variable in layer.trainable_weights]

    def run(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = loss_of(layer(x))
            first = inner.gradient(loss, x)
            square = tf.reduce_sum(first**2)
        return outer.gradient(square, [x, *weights])

    eager = run(tf.constant(x))
    close(tf.function(run)(tf.constant(x)), eager)
    return eager


def _penalty_jax(layer, x):
    import jax

    trainable = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def loss(x, trainable):
        return loss_of(layer.stateless_call(trainable, others, x)[0])

    def square(x, trainable):
        return (jax.grad(loss)(x, trainable) ** 2).sum()

    by_x, by_weights = jax.jit(jax.grad(square, argnums=(0, 1)))(jax.numpy.asarray(x), trainable)
    return [by_x, *by_weights]


_PENALTY = {
    "torch": _penalty_torch,
    "tensorflow": _penalty_tensorflow,
    "jax": _penalty_jax,
}


def _several(outputs):
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def close(actual, expected, tolerance=1e-5):
    """Assert that lists of arrays are equal up to rounding, relative to the largest entry."""
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        if one is None or other is None:
            assert one is None
            assert other is None
            continue
        one, other = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        atol = tolerance * max(1.0, abs(other).max(initial=0.0))
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


class Noticed:
    """Counts the calls of the engine inside a block, and leaves all counts as they are."""

    def __enter__(self):
        self.before = sum(lk.accelerated_calls().engine.values())
        return self

    def __exit__(self, *_):
        self.engine = sum(lk.accelerated_calls().engine.values()) - self.before


class Counted:
    """Counts the calls inside a block: of the engine, and left to Keras, by the reason."""

    def __enter__(self):
        calls.record.begin()
        return self

    def __exit__(self, *_):
        found = lk.accelerated_calls()
        self.engine = sum(found.engine.values())
        self.keras = {}
        for reasons in found.keras.values():
            for reason, count in reasons.items():
                self.keras[reason] = self.keras.get(reason, 0) + count
