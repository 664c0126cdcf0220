"""`fit` checks a user's loss before training: no mixing of rows, and a correct gradient."""

import re

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers, losses
from lstmcore.training import fitting
from lstmcore.training.losses import Loss, SequenceLoss


def squares(y, p):
    return ((y - p) ** 2).mean(axis=-1)


def slope(y, p):
    return 2 * (p - y) / p.shape[-1]


def mixed(y, p):
    """Mix rows by mistake: (M, 1) and (M,) are broadcast to (M, M)."""
    return ((y - p[:, 0]) ** 2).mean(-1)


def model_of(loss, units=1, activation=None, **options):
    model = lc.Sequential([layers.LSTM(4, **options), layers.Dense(units, activation)], seed=0)
    model.compile(lc.optimizers.Adam(1e-2), loss)
    return model


@pytest.fixture
def x(rng):
    return rng.standard_normal((40, 6, 3))


@pytest.fixture
def y(x):
    return x.sum(axis=(1, 2))


WRONG = {
    "sign": lambda y, p: -slope(y, p),
    "half": lambda y, p: slope(y, p) / 2,
    "offset": lambda y, p: slope(y, p) + 0.5,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_refused_before_anything_is_trained(x, y, name):
    model = model_of(losses.Function(squares, WRONG[name], name))
    model.build((None, None, 3))
    before = model.get_weights()
    for targets in (y, 1e-6 * y, 1e4 * y):  # in any unit
        if name == "offset" and targets[0] == 1e4 * y[0]:
            continue  # negligible compared with gradients of 10,000
        with pytest.raises(
            ValueError, match=rf"^loss: the gradient of '{name}' is not that of its"
        ):
            model.fit(x, targets, verbose=0)
    assert model.optimizer.iterations == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_error_says_where_and_what(x, y):
    model = model_of(losses.Function(squares, WRONG["sign"], "sign"))
    message = (
        r"where y_pred is (\S+), expected (\S+) from finite differences, got (\S+); "
        r"losses\.check_gradient compares .* losses\.Function\(\.\.\., check_gradient=False\)$"
    )
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(x, y, verbose=0)
    found = re.search(message, str(caught.value))
    assert found is not None
    output, expected, got = map(float, found.groups())
    assert got == -expected
    row = int(np.abs(model.predict(x)[:, 0] - output).argmin())
    assert 2 * (output - y[row]) == pytest.approx(expected, rel=1e-5)  # shown with six digits


@pytest.mark.parametrize("order", ["as they come", "sorted"])
def test_rows_that_are_mixed_are_refused(x, y, order):
    if order == "sorted":  # the first batch has only one target value
        y = np.sort(y > 0)
    model = model_of(losses.Function(mixed, slope, "mixed"))
    message = r"^loss: expected 'mixed' to return a loss for each row .* y_true\[:, 0\] - y_pred\["
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(iter([(x, y[::-1])]), verbose=0)
    tagger = model_of(losses.Function(mixed, slope, "mixed"), return_sequences=True)
    with pytest.raises(ValueError, match=message):
        tagger.fit(list(x), list(x[:, :, :1]), verbose=0)
    with pytest.raises(ValueError, match=message):
        tagger.fit(x, x[:, :, :1], tbptt=2, verbose=0)


def test_a_gradient_divided_by_the_rows_is_refused(x, y):
    loss = losses.Function(squares, lambda y, p: slope(y, p) / len(p), "mean")
    with pytest.raises(
        ValueError, match="its gradient depends on the other rows.* by their number"
    ):
        model_of(loss).fit(x, y, verbose=0)


def pinball(y, p):
    return np.maximum(0.9 * (y - p), 0.1 * (p - y)).mean(axis=-1)


def log_loss(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=-1)


def demanding(y, p):
    if (p > 1).any() or (p < 0).any():
        raise ValueError("no probabilities")
    return log_loss(y, p)


def log_slope(y, p):
    return (p - y) / (p * (1 - p))


RIGHT = {
    "squares": (squares, slope, None),
    "kink": (pinball, lambda y, p: np.where(y > p, -0.9, 0.1), None),
    "kink at every output": (pinball, lambda y, p: np.where(y > p, -0.9, 0.1), "relu"),
    "float32": (
        lambda y, p: squares(y, p).astype(np.float32),
        lambda y, p: slope(y, p).astype(np.float32),
        None,
    ),
    "two rows at least": (lambda y, p: (y.squeeze() - p.squeeze()) ** 2, slope, None),
    "steep": (log_loss, log_slope, "sigmoid"),
    "refuses": (demanding, log_slope, "sigmoid"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_correct_losses_train_as_without_the_check(x, y, name, monkeypatch):
    function, gradient, activation = RIGHT[name]
    targets = (y > 0).astype(float) if activation else y
    if name == "kink at every output":
        targets = np.zeros_like(y)
    fitted = []
    for checked in (True, False):
        if not checked:
            monkeypatch.setattr(fitting, "look_at_loss", lambda *_: None)
        model = model_of(losses.Function(function, gradient, "own"), activation=activation)
        if activation == "sigmoid":  # near 0 and 1, as after long training
            model.build((None, None, 3))
            model.layers[-1].set_weights([10 * model.layers[-1].weights["kernel"], np.zeros(1)])
        model.fit(x, targets, batch_size=8, epochs=2, verbose=0)
        fitted.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*fitted, strict=True))


def test_a_gradient_that_differs_on_purpose(x, y):
    loss = losses.Function(squares, WRONG["half"], "half", check_gradient=False)
    assert repr(loss).endswith("check_gradient=False)")
    model_of(loss).fit(x, y, verbose=0)
    with pytest.raises(TypeError, match="check_gradient: expected True or False"):
        losses.Function(squares, slope, check_gradient=1)


class Wrong(Loss):
    """A user's loss class."""

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        gradient = scale * (targets - outputs) if need_gradient else None
        return float(((targets - outputs) ** 2).sum()), gradient


class WrongOfSequences(SequenceLoss):
    def sum_sequences(
        self,
        targets,
        target_lengths,
        outputs,
        lengths,
        weights=None,
        scale=1.0,
        need_gradient=False,
    ):
        valid = (np.arange(outputs.shape[1]) < lengths[:, None])[..., None]
        off = (outputs - target_lengths[:, None, None]) * valid
        gradient = np.asarray(scale * off, outputs.dtype) if need_gradient else None
        return float((off**2).sum()), gradient


def test_user_classes_are_checked_too(x, y):
    with pytest.raises(ValueError, match=r"gradient of 'Wrong' .* check_gradient = False in"):
        model_of(Wrong()).fit(x, y, verbose=0)
    model = model_of(WrongOfSequences(), 3, return_sequences=True)
    labels = [[1], [0, 2]] * 20
    with pytest.raises(ValueError, match="gradient of 'WrongOfSequences' is not"):
        model.fit(x, labels, verbose=0)

    class Meant(WrongOfSequences):
        check_gradient = False

    model_of(Meant(), 3, return_sequences=True).fit(x, labels, verbose=0)


def test_rows_of_weight_0_are_not_checked(x, y):
    def own(y, p):
        return np.where(y > 100, np.inf, squares(y, p)[:, None])[
            :, 0
        ]  # infinite where the weight is 0

    y[::2] = 1000.0
    weight = (y < 100).astype(float)
    model = model_of(losses.Function(own, WRONG["sign"]))
    with pytest.raises(ValueError, match="gradient of 'own' is not"):
        model.fit(x, y, sample_weight=weight, verbose=0)


def test_the_losses_of_the_package_are_not_checked(x, y, monkeypatch):
    called = []
    monkeypatch.setattr(lc.losses.MeanSquaredError, "check_gradient", property(called.append))
    model_of("mse").fit(x, y, verbose=0)
    assert not called
