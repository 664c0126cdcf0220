"""Updates of metrics in batches, and functions that become metrics."""

import numpy as np

ROWS = 60


def softmax(values):
    powers = np.exp(values)
    return powers / powers.sum(axis=-1, keepdims=True)


def in_batches(metric, y, outputs, weights=None):
    """Return the result of updates with unequal batches, one of them without rows."""
    metric.reset()
    for begin, end in ((0, 7), (7, 7), (7, 40), (40, ROWS)):
        part = slice(begin, end)
        metric.update(y[part], outputs[part], None if weights is None else weights[part])
    assert metric.result() == metric.result()  # which may be cached
    return metric.result()


class Spy:
    """A function that records its arguments."""

    def __init__(self):
        self.calls = []

    def __call__(self, y_true, y_pred):
        self.calls.append((y_true, y_pred))
        return len(y_true)


def weighted_bias(y_true, y_pred, *, sample_weight=None):
    return np.average((y_pred - y_true)[:, 0], weights=sample_weight)


def bias(y_true, y_pred):
    return (y_pred - y_true).mean()
