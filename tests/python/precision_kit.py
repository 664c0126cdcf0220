"""Precisions and what computes in them."""

import functools

import numpy as np

import lstmcore as lc
from lstmcore import functional as F

PRECISIONS = ("fp32", "bf16x3", "bf16x2", "bf16", "int8", "auto")

CONFIG = lc.LSTMConfig(20, 130, num_layers=2)  # H is large enough for "auto", and not whole vectors


@functools.cache
def drawn(config):
    return F.init_weights(config, 3, "float64")


def inputs(config, rng, rows=9, steps=7):
    return rng.standard_normal((rows, steps, config.input_size)).astype(np.float32)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
