"""Small encoder-decoder models and pairs of sequences for tests."""

import numpy as np

import lstmcore as lc
from lstmcore._intake import Intake
from lstmcore.models.encoder_decoder.pairs import Pair
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.training.samples import Samples

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
