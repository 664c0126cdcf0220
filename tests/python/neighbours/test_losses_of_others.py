"""Losses compared with PyTorch's, including gradients, and with Keras'."""

import os

import numpy as np
import pytest

from lstmcore.training import losses

ROWS, UNITS = 7, 6


def draw(rng):
    logits = rng.standard_normal((ROWS, UNITS))
    powers = np.exp(logits)
    p = powers / powers.sum(axis=1, keepdims=True)
    return {
        "logits": logits,
        "softmax": p,
        "sigmoid": 1 / (1 + np.exp(-logits)),
        "numbers": rng.standard_normal((ROWS, UNITS)),
        "shares": rng.uniform(size=(ROWS, UNITS)),
        "counts": rng.integers(0, 5, (ROWS, UNITS)).astype(float),
        "labels": rng.integers(0, UNITS, ROWS),
        "distributions": p[::-1].copy(),
        "rates": np.abs(logits) + 0.1,
    }


# ---- PyTorch -----------------------------------------------------------------------------------


def torch_cases():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    f = torch.nn.functional

    def pinball(p, y):
        levels = torch.tensor([0.2, 0.5, 0.9], dtype=p.dtype)
        missing = y[:, :, None] - p.reshape(ROWS, 2, 3)
        return torch.maximum(levels * missing, (levels - 1) * missing).mean()

    def gaussian(variance):
        def loss(p, y):
            v = f.softplus(p[:, 3:]) if variance == "softplus" else p[:, 3:].exp()
            return f.gaussian_nll_loss(p[:, :3], y, v + 1e-6, full=True, eps=1e-12)

        return loss

    def focal(p, y):
        here = torch.sigmoid(p) * y + (1 - torch.sigmoid(p)) * (1 - y)
        entropy = f.binary_cross_entropy_with_logits(p, y, reduction="none")
        return ((1 - here) ** 2 * entropy).mean()

    def categorical_focal(p, y):
        log_p = f.log_softmax(p, dim=1)
        return -(0.25 * y * (1 - log_p.exp()) ** 2 * log_p).sum(dim=1).mean()

    def presence(p, y):
        absent = f.softplus(p).sum(dim=1)
        value = torch.where(y, -torch.log(-torch.expm1(-absent)), absent)
        return value.mean()

    present = np.zeros((ROWS, UNITS), bool)
    present[np.arange(ROWS), np.arange(ROWS) % UNITS] = True
    rows = [np.flatnonzero(row) for row in present]
    return {
        "mse": (losses.MeanSquaredError(), "logits", "numbers", f.mse_loss),
        "mae": (losses.MeanAbsoluteError(), "logits", "numbers", f.l1_loss),
        "huber": (
            losses.Huber(0.7),
            "logits",
            "numbers",
            lambda p, y: f.huber_loss(p, y, delta=0.7),
        ),
        "poisson": (
            losses.Poisson(log_rate=True),
            "logits",
            "counts",
            lambda p, y: f.poisson_nll_loss(p, y, log_input=True),
        ),
        "poisson of rates": (
            losses.Poisson(),
            "rates",
            "counts",
            lambda p, y: f.poisson_nll_loss(p, y, log_input=False, eps=1e-7),
        ),
        "quantiles": (losses.Quantile([0.2, 0.5, 0.9]), "logits", "two numbers", pinball),
        "gaussian": (losses.GaussianNLL(full=True), "logits", "three", gaussian("softplus")),
        "log gaussian": (
            losses.GaussianNLL("log", full=True),
            "logits",
            "three",
            gaussian("log"),
        ),
        "sparse": (
            losses.SparseCategoricalCrossentropy(True, label_smoothing=0.2),
            "logits",
            "labels",
            lambda p, y: f.cross_entropy(p, y, label_smoothing=0.2),
        ),
        "categorical": (
            losses.CategoricalCrossentropy(True, label_smoothing=0.2),
            "logits",
            "distributions",
            lambda p, y: f.cross_entropy(p, y, label_smoothing=0.2),
        ),
        "binary": (
            losses.BinaryCrossentropy(True, label_smoothing=0.2),
            "logits",
            "shares",
            lambda p, y: f.binary_cross_entropy_with_logits(p, 0.8 * y + 0.1),
        ),
        "focal": (losses.BinaryFocalCrossentropy(from_logits=True), "logits", "shares", focal),
        "categorical focal": (
            losses.CategoricalFocalCrossentropy(from_logits=True),
            "logits",
            "distributions",
            categorical_focal,
        ),
        "presence": (
            losses.PresenceCrossentropy(True),
            "sequences",
            (rows, present),
            presence,
        ),
    }


TORCH_CASES = [
    *("mse", "mae", "huber", "poisson", "poisson of rates", "quantiles", "gaussian"),
    *("log gaussian", "sparse", "categorical", "binary", "focal", "categorical focal", "presence"),
]


@pytest.mark.parametrize("name", TORCH_CASES)
def test_values_and_gradients_are_those_of_pytorch(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    cases = torch_cases()
    assert sorted(cases) == sorted(TORCH_CASES)
    loss, output_kind, target_kind, function = cases[name]
    data = draw(rng)
    data["two numbers"], data["three"] = data["numbers"][:, :2], data["numbers"][:, :3]
    data["sequences"] = rng.standard_normal((ROWS, 5, UNITS))
    y, theirs = (data[target_kind],) * 2 if isinstance(target_kind, str) else target_kind
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 2e-6)):
        outputs = data[output_kind].astype(dtype)
        theirs = theirs.astype(dtype) if theirs.dtype.kind == "f" else theirs
        p = torch.tensor(outputs, requires_grad=True)
        expected = function(p, torch.tensor(theirs))
        expected.backward()
        ours = theirs if isinstance(target_kind, str) else y
        value, gradient = loss.value_and_gradient(ours, outputs)
        assert value == pytest.approx(expected.item(), rel=tolerance)
        np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=10 * tolerance, atol=tolerance)


# ---- Keras -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is not installed")


KERAS_CASES = {
    "huber": (losses.Huber(0.7), "logits", "numbers", "Huber", {"delta": 0.7}),
    "log-cosh": (losses.LogCosh(), "logits", "numbers", "LogCosh", {}),
    "poisson": (losses.Poisson(), "rates", "counts", "Poisson", {}),
    "binary": (
        losses.BinaryCrossentropy(label_smoothing=0.1),
        "sigmoid",
        "shares",
        "BinaryCrossentropy",
        {"label_smoothing": 0.1},
    ),
    "categorical": (
        losses.CategoricalCrossentropy(label_smoothing=0.1),
        "softmax",
        "distributions",
        "CategoricalCrossentropy",
        {"label_smoothing": 0.1},
    ),
    "binary focal": (
        losses.BinaryFocalCrossentropy(True, 0.3, 1.5, label_smoothing=0.1),
        "sigmoid",
        "shares",
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1},
    ),
    "binary focal from logits": (
        losses.BinaryFocalCrossentropy(from_logits=True),
        "logits",
        "shares",
        "BinaryFocalCrossentropy",
        {"from_logits": True},
    ),
    "categorical focal": (
        losses.CategoricalFocalCrossentropy(0.4, 1.5, label_smoothing=0.1),
        "softmax",
        "distributions",
        "CategoricalFocalCrossentropy",
        {"alpha": 0.4, "gamma": 1.5, "label_smoothing": 0.1},
    ),
}


# Keras warns about its own use of NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("name", KERAS_CASES)
def test_values_are_those_of_keras(name, keras, rng):
    loss, output_kind, target_kind, kind, options = KERAS_CASES[name]
    data = draw(rng)
    y, outputs = data[target_kind].astype(np.float32), data[output_kind].astype(np.float32)
    expected = getattr(keras.losses, kind)(**options)(y, outputs)
    # Keras computes in float32.
    assert loss(y, outputs) == pytest.approx(float(expected), rel=2e-6)


def test_names_are_those_of_keras(keras):
    shared = {
        *("huber", "log_cosh", "poisson", "mse", "mae", "mean_squared_error"),
        *("mean_absolute_error", "binary_crossentropy", "categorical_crossentropy"),
        *("sparse_categorical_crossentropy", "binary_focal_crossentropy"),
        "categorical_focal_crossentropy",
    }
    for name in shared:
        assert callable(keras.losses.get(name))
    own = set(losses.NAMES) - shared
    assert own == {
        *("quantile", "pinball", "gaussian_nll", "presence_crossentropy", "crf", "ctc"),
        "sparse_categorical_focal_crossentropy",
    }
