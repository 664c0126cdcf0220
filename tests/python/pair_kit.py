"""Small encoder-decoder models and pairs of sequences for tests."""

import numpy as np

import lstmcore as lc
from lstmcore._intake import Intake
from lstmcore.models.encoder_decoder.pairs import Pair
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.training.samples import Samples
from reference import derivative

ATTENTIONS = [None, "multiplicative", "additive"]
START, END = 1, 2


def small_model(attention, **options):
    options = {"embedding_size": 3, "units": 4, "seed": 5, **options}
    return lc.EncoderDecoder(7, 6, attention=attention, **options)


def some_rows(rng, lengths, low, high):
    return [rng.integers(low, high, size=length) for length in lengths]


def some_pairs(rng):
    """Make pairs that are ragged on both sides, with an empty source and an empty target."""
    return some_rows(rng, [3, 0, 5, 1], 1, 7), some_rows(rng, [2, 4, 0, 3], 3, 6)


def spread(model, rng, scale=0.5):
    """Give the model weights that are far from saturation and from zero."""
    model.set_weights(
        [
            rng.normal(scale=scale, size=values.shape).astype(values.dtype)
            for values in model.get_weights()
        ]
    )
    return model


def pair_of(model, x, y):
    model.compile("sgd")
    batch = model._examples(Samples(x, y), Intake()).batch(slice(None))
    assert isinstance(batch.inputs, Pair)
    return batch.inputs, batch.lengths


def greedy(model, source, most):
    """Decode the likeliest tokens, with a whole forward pass for each."""
    decoded, total = [], 0.0
    while True:
        logits = model.forward(*pair_of(model, [source], [decoded]), False, 0, True)[0]
        logs = log_softmax(logits)[0, len(decoded)]
        logs[[0, START]] = -np.inf
        token = int(logs.argmax())
        if token != END and len(decoded) == most:
            return decoded, total, False
        total += logs[token]
        if token == END:
            return decoded, total, True
        decoded.append(token)


def check_gradients(model, x, y, rng, places=12):
    """Compare all gradients of a model of float64 with finite differences.

    The loss is a sum of the outputs before the softmax with random weights.
    """
    assert model.dtype == np.float64
    model.compile("sgd")
    batch = model._examples(Samples(x, y), Intake()).batch(slice(None))

    def forward():
        model.parameters.touch()
        return model.forward(batch.inputs, batch.lengths, True, 3, True)

    outputs, _, context = forward()
    weights = rng.normal(size=outputs.shape)
    weights *= (np.arange(weights.shape[1]) < batch.lengths[:, None])[..., None]
    model.parameters.gradients[...] = np.nan
    model.backward(context, weights)
    result = {name: model.parameters.gradient(name).copy() for name in model.parameters.specs}

    def loss():
        return float((forward()[0] * weights).sum())

    for name, gradient in result.items():
        value = model.parameters.value(name)
        # A few entries of each weight suffice, since the same sums compute all of them.
        chosen = rng.permutation(value.size)[:places]
        expected = np.zeros(len(chosen))
        for at, place in enumerate(chosen):
            expected[at] = derivative(loss, value.reshape(-1)[place : place + 1])[0]
        scale = max(np.abs(gradient).max(), 1e-3)
        got = gradient.reshape(-1)[chosen]
        assert np.abs(got - expected).max() / scale < 1e-8, name


def check_layers_alone(model, x, y, rng):
    """With a single trained layer, its gradient has the same bits and all others are zero."""
    model.compile("sgd")
    batch = model._examples(Samples(x, y), Intake()).batch(slice(None))
    weights = None

    def gradients():
        nonlocal weights
        outputs, _, context = model.forward(batch.inputs, batch.lengths, True, 3, True)
        if weights is None:
            weights = rng.normal(size=outputs.shape)
            weights *= (np.arange(weights.shape[1]) < batch.lengths[:, None])[..., None]
        model.backward(context, weights)
        return {name: model.parameters.gradient(name).copy() for name in model.parameters.specs}

    every = gradients()
    for layer in model.layers:
        model.trainable = False
        layer.trainable = True
        for name, gradient in gradients().items():
            expected = every[name] if name.startswith(f"{layer.name}.") else 0 * gradient
            assert np.array_equal(gradient, expected), (layer.name, name)
    model.trainable = True
