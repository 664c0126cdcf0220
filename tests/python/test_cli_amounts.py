"""Amounts on the command line: what the loss of a model says that its outputs predict."""

import json

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import losses
from lstmcore.cli.layout import METADATA_NAME
from table_kit import numbers, report, sequence_model, succeed, write


def test_amounts_are_what_the_loss_says_that_outputs_predict(tmp_path, capsys):
    data, x = numbers(tmp_path)
    x = x.astype(np.float32)  # as columns of features are
    options = ["--key", "id", "--features", "a", "b"]
    gaussian = losses.GaussianNLL()
    for loss, units, names, meant in (
        (losses.Poisson(log_rate=True), 1, ["value"], lambda y: [np.exp(y[:, 0])]),
        (
            gaussian,
            2,
            ["value", "value_deviation"],
            lambda y: [y[:, 0], np.sqrt(gaussian.mean_and_variance(y)[1][:, 0])],
        ),
        (
            losses.Quantile([0.9, 0.4, 0.1]),
            3,
            ["value_q0.9", "value_q0.4", "value_q0.1"],
            lambda y: list(y.T),
        ),
        (
            gaussian,
            4,
            ["value_1", "value_2", "value_1_deviation", "value_2_deviation"],
            lambda y: [*y[:, :2].T, *np.sqrt(gaussian.mean_and_variance(y)[1]).T],
        ),
        ("mse", 2, ["value_1", "value_2"], lambda y: list(y.T)),
    ):
        model = sequence_model(units, dtype="float64")
        model.compile("sgd", loss)
        path = tmp_path / "model.safetensors"
        model.save(path)
        expected = meant(model.predict(x, verbose=0))
        lines = succeed(capsys, "predict", path, data, *options).splitlines()
        assert lines[0].split("\t") == ["id", *names]
        for place, line in enumerate(lines[1:]):
            found = list(map(float, line.split("\t")[1:]))
            assert found == pytest.approx([column[place] for column in expected], rel=1e-5)
        text = succeed(capsys, "predict", path, data, *options, "--json")
        first = json.loads(text.splitlines()[0])
        first.pop("key")
        values = [column[0] for column in expected]
        if len(values) == 4:
            wanted = {"values": values[:2], "deviation": values[2:]}
        elif loss == "mse":
            wanted = {"values": values}
        elif len(values) == 3:
            wanted = {"value": values[1], "q0.9": values[0], "q0.4": values[1], "q0.1": values[2]}
        else:
            wanted = dict(zip(["value", "deviation"], values, strict=False))
        assert first.keys() == wanted.keys()
        for name, value in wanted.items():
            assert first[name] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "units"),
    [
        (losses.Poisson(log_rate=True), 1),
        (losses.GaussianNLL(), 2),
        (losses.Quantile([0.1, 0.5]), 2),
    ],
)
def test_amounts_are_evaluated_as_they_are_shown(tmp_path, capsys, loss, units):
    data, x = numbers(tmp_path)
    x = x.astype(np.float32)  # as columns of features are
    model = sequence_model(units, per_step=True, dtype="float64")
    model.compile("sgd", loss)
    path = tmp_path / "model.safetensors"
    model.save(path)
    y = np.arange(12) % 2
    predicted = loss.predictions(model.predict(x, verbose=0)).reshape(12)
    options = ["--key", "id", "--features", "a", "b", "--target", "y"]
    figures = report(capsys, "evaluate", path, data, *options)
    assert figures["mae"] == pytest.approx(np.abs(predicted - y).mean(), rel=1e-12)
    assert figures["loss"] == model.evaluate(x, y.reshape(4, 3), verbose=0)


def test_deviations_of_a_forecast_are_scaled_and_not_shifted(tmp_path, capsys):
    """A model of `train`, given a head of mean and deviation for each step ahead."""
    rows = 50 + np.cumsum(np.random.default_rng(0).standard_normal(40))
    data = write(tmp_path / "sales.csv", ["sales"], [[f"{value:.3f}"] for value in rows])
    path = tmp_path / "model.safetensors"
    small = ["--horizon", 3, "--window", 6, "--units", 3, "--epochs", 1, "--quiet"]
    succeed(capsys, "train", data, "--target", "sales", "--out", path, *small)
    model = lc.load(path)
    layout = json.loads(model.metadata[METADATA_NAME])
    model.pop()
    model.add(lc.layers.Dense(6))
    loss = losses.GaussianNLL()
    model.compile("sgd", loss)
    model.save(path)
    lines = succeed(capsys, "predict", path, data).splitlines()
    assert lines[0].split("\t") == ["step", "sales", "sales_deviation"]
    values = np.array([line.split("\t")[1:] for line in lines[1:]], float)
    table = np.round(rows, 3)
    window = ((table[-6:] - table[-1]) / layout["target_scale"])[None, :, None]
    mean, variance = loss.mean_and_variance(model.predict(window, verbose=0)[0])
    scale = layout["target_scale"]
    np.testing.assert_allclose(values[:, 0], mean * scale + table[-1], rtol=1e-5)
    np.testing.assert_allclose(values[:, 1], np.sqrt(variance) * scale, rtol=1e-5)
    entry = json.loads(succeed(capsys, "predict", path, data, "--json"))
    np.testing.assert_allclose(entry["values"], values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(entry["deviation"], values[:, 1], rtol=1e-5)


def test_pooled_shares_are_classes(tmp_path, capsys):
    data, x = numbers(tmp_path)
    x = x.astype(np.float32)  # as columns of features are
    model = sequence_model(2, "softmax", per_step=True)
    model.add(lc.layers.GlobalAveragePooling1D())
    path = tmp_path / "model.safetensors"
    model.save(path)
    out = succeed(capsys, "predict", path, data, "--key", "id", "--features", "a", "b")
    assert out.splitlines()[0] == "id\tclass\tprobability"
    shares = model.predict(x, verbose=0)
    for line, row in zip(out.splitlines()[1:], shares, strict=True):
        assert line.split("\t")[1:] == [str(row.argmax()), f"{row.max():.4f}"]
