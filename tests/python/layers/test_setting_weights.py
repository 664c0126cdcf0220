"""What `set_weights` of a layer refuses, and what its errors say."""

import numpy as np
import pytest

from lstmcore import layers

KERNEL, BIAS = np.zeros((3, 2)), np.zeros(2)


def built():
    layer = layers.Dense(2)
    layer(np.ones((4, 3), np.float32))
    return layer


def test_a_layer_that_is_not_built_has_no_weights():
    with pytest.raises(
        ValueError, match="layer 'head' has no weights yet, .*; call it on an array"
    ):
        layers.Dense(2, name="head").set_weights([KERNEL, BIAS])
    with pytest.raises(ValueError, match="the layer has no weights yet, .*, or build its model"):
        layers.Dense(2).set_weights([KERNEL, BIAS])


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        (layers.Dense(2), TypeError, r"a sequence of arrays, .*; pass its get_weights\(\)$"),
        ({"kernel": KERNEL, "bias": BIAS}, TypeError, r"; .*pass list\(weights.values\(\)\)$"),
        ("kernel", TypeError, "expected a sequence of arrays"),
        (3, TypeError, "expected a sequence of arrays"),
        (
            layers.Dense(2).get_weights(),
            ValueError,
            r"expected 2 arrays \(kernel, bias\), got 0, as of a layer that is not built yet",
        ),
        ([KERNEL], ValueError, r"expected 2 arrays \(kernel, bias\), got 1$"),
    ],
)
def test_what_is_no_list_of_all_weights(weights, kind, message):
    layer = built()
    before = layer.get_weights()
    with pytest.raises(kind, match=message):
        layer.set_weights(weights)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
