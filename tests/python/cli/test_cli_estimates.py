"""Estimates that ``lstmcore`` reports: rates, quantiles, means and standard deviations."""

import json

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.cli.layout import METADATA_NAME, Layout
from table_kit import report, run, succeed, write

OPTIONS = ["--key", "id", "--features", "a", "b"]
QUANTILES = [0.1, 0.5, 0.9]


def gaussian(outputs):
    """Return the mean and standard deviation from outputs (..., 2), as the loss defines them."""
    return outputs[..., 0], np.sqrt(np.log1p(np.exp(outputs[..., 1])) + 1e-6)


# A loss, its number of outputs for one target, the names of the estimates, their definitions, and
# the estimate that the figures of `evaluate` use.
CASES = {
    "poisson": (lc.losses.Poisson(log_rate=True), 1, ["value"], lambda o: [np.exp(o[..., 0])], 0),
    "gaussian": (lc.losses.GaussianNLL(), 2, ["mean", "standard_deviation"], gaussian, 0),
    "quantiles": (
        lc.losses.Quantile(QUANTILES),
        3,
        ["quantile_0.1", "quantile_0.5", "quantile_0.9"],
        lambda o: list(np.moveaxis(o, -1, 0)),
        1,
    ),
    "quantile": (lc.losses.Quantile(0.9), 1, ["quantile_0.9"], lambda o: [o[..., 0]], 0),
    "mse": (lc.losses.MeanSquaredError(), 1, ["value"], lambda o: [o[..., 0]], 0),
}
every_loss = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def sequence_model(loss, units, *, per_step=False, width=2):
    model = lc.Sequential(
        [
            lc.layers.Input((None, width)),
            lc.layers.LSTM(3, return_sequences=per_step),
            lc.layers.Dense(units),
        ]
    )
    model.compile("adam", loss)
    return model


def table(tmp_path, targets):
    """Write four sequences of three steps, with the targets of the steps."""
    x = np.random.default_rng(0).standard_normal((12, 2))
    rows = [
        [f"s{place // 3}", *map(repr, values.tolist()), target]
        for place, (values, target) in enumerate(zip(x, targets, strict=True))
    ]
    return write(tmp_path / "data.csv", ["id", "a", "b", "y"], rows), x.reshape(4, 3, 2)


@every_loss
@pytest.mark.parametrize("per_step", [False, True])
def test_sequences(tmp_path, capsys, case, per_step):
    loss, units, names, meaning, place = case
    targets = np.arange(12) if per_step else np.repeat(np.arange(4), 3)
    data, x = table(tmp_path, targets)
    model = sequence_model(loss, units, per_step=per_step)
    path = tmp_path / "model.safetensors"
    model.save(path)
    outputs = np.float64(model.predict(x.astype(np.float32), verbose=0)).reshape(-1, units)
    expected = meaning(outputs)

    text = succeed(capsys, "predict", path, data, *OPTIONS)
    lines = [line.split("\t") for line in text.splitlines()]
    assert lines[0] == ["id", *names]
    shown = np.array([line[1:] for line in lines[1:]], np.float64)
    np.testing.assert_allclose(shown, np.stack(expected, -1), rtol=1e-5)  # six digits

    text = succeed(capsys, "predict", path, data, *OPTIONS, "--json")
    for line, *values in zip(text.splitlines(), *expected, strict=True):
        answer = json.loads(line)
        assert answer.pop("key").startswith("s")
        assert answer == pytest.approx(dict(zip(names, values, strict=True)), rel=1e-12)

    figures = report(capsys, "evaluate", path, data, *OPTIONS, "--target", "y")
    wanted = targets if per_step else np.arange(4)
    errors = expected[place] - wanted
    assert figures["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert figures["rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-12)
    # The mean of the loss over targets, in float32.
    mean = loss(wanted[:, None], outputs)
    assert figures["loss"] == pytest.approx(mean, rel=1e-5)


@every_loss
def test_texts(tmp_path, capsys, case):
    loss, units, names, meaning, _ = case
    words = lc.layers.TextVectorization()
    words.adapt(["a good film", "a bad one"])
    for per_step in (False, True):
        model = lc.Sequential(
            [
                words,
                lc.layers.Embedding(words.vocabulary_size(), 4, mask_zero=True),
                lc.layers.LSTM(4, return_sequences=per_step),
                lc.layers.Dense(units),
            ]
        )
        model.build((None, None))
        model.compile("adam", loss)
        path = tmp_path / f"{per_step}.safetensors"
        model.save(path)
        (outputs,) = model.predict(["a good film"], verbose=0)
        rows = np.stack(meaning(np.float64(outputs)), -1)
        fields = [f"{value:.6g}" for value in rows.ravel()]
        if per_step:
            fields = [
                " ".join(
                    ",".join(fields[at : at + len(names)])
                    for at in range(0, 3 * len(names), len(names))
                )
            ]
        _, out, _ = run(capsys, "predict", path, "a good film")
        assert out == "\t".join([*fields, "a good film\n"])
        answer = json.loads(succeed(capsys, "predict", path, "a good film", "--json"))
        for entry, row in zip(
            answer["tokens"] if per_step else [answer], rows.reshape(-1, len(names)), strict=True
        ):
            assert [entry[name] for name in names] == pytest.approx(row, rel=1e-12)


@every_loss
def test_series(tmp_path, capsys, case):
    """Forecasts are changes from the last value, scaled; a standard deviation is only scaled."""
    loss, units, names, meaning, place = case
    horizon, window, scale = 2, 4, 3.0
    layout = Layout("series", "sales", target_scale=scale, window=window, horizon=horizon)
    model = sequence_model(loss, units * horizon, width=1)
    model.metadata = {METADATA_NAME: layout.to_json()}
    path = tmp_path / "model.safetensors"
    model.save(path)
    series = 50 + np.arange(12.0) ** 1.5
    data = write(tmp_path / "sales.csv", ["sales"], [[repr(value)] for value in series.tolist()])

    def forecast(start):
        seen = series[start : start + window]
        inputs = ((seen - seen[-1]) / scale).astype(np.float32)[None, :, None]
        outputs = np.float64(model.predict(inputs, verbose=0)[0])
        # All means precede all variances, but the quantiles of one step are adjacent.
        by_step = outputs.reshape(2, 2).T if "mean" in names else outputs.reshape(horizon, units)
        found = meaning(by_step)
        moved = [values * scale + seen[-1] for values in found]
        if "mean" in names:
            moved[1] = found[1] * scale
        return moved

    last = forecast(len(series) - window)
    columns = ["sales" if name == "value" else f"sales_{name}" for name in names]
    lines = [line.split("\t") for line in succeed(capsys, "predict", path, data).splitlines()]
    assert lines[0] == ["step", *columns]
    shown = np.array(lines[1:], np.float64)
    assert shown[:, 0].tolist() == [1, 2]
    np.testing.assert_allclose(shown[:, 1:], np.stack(last, -1), rtol=1e-5)  # six digits
    answer = json.loads(succeed(capsys, "predict", path, data, "--json"))
    assert list(answer) == ["values" if name == "value" else name for name in names]
    np.testing.assert_allclose(list(answer.values()), last, rtol=1e-12)

    figures = report(capsys, "evaluate", path, data)
    starts = range(len(series) - window - horizon + 1)
    errors = [
        forecast(start)[place] - series[start + window : start + window + horizon]
        for start in starts
    ]
    # The mean is taken in another order.
    assert figures["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)


def test_several_targets_are_numbered(tmp_path, capsys):
    data, _ = table(tmp_path, np.repeat(np.arange(4), 3))
    for loss, names in (
        (
            lc.losses.GaussianNLL(),
            ["mean_1", "mean_2"] + [f"standard_deviation_{n}" for n in (1, 2)],
        ),
        (
            lc.losses.Quantile([0.1, 0.9]),
            ["quantile_0.1_1", "quantile_0.1_2", "quantile_0.9_1", "quantile_0.9_2"],
        ),
        (lc.losses.MeanAbsoluteError(), ["value_1", "value_2", "value_3", "value_4"]),
    ):
        path = tmp_path / "model.safetensors"
        sequence_model(loss, 4).save(path)
        out = succeed(capsys, "predict", path, data, *OPTIONS)
        assert out.splitlines()[0].split("\t") == ["id", *names]
        status, _, err = run(capsys, "evaluate", path, data, *OPTIONS, "--target", "y")
        assert status == 1
        assert f"expected a model of one target, got one of {4 if 'value_1' in names else 2}" in err


def test_several_logits_become_probabilities(tmp_path, capsys):
    data, x = table(tmp_path, np.arange(12))
    model = sequence_model(lc.losses.BinaryCrossentropy(from_logits=True), 2)
    path = tmp_path / "model.safetensors"
    model.save(path)
    logits = np.float64(model.predict(x.astype(np.float32), verbose=0))
    out = succeed(capsys, "predict", path, data, *OPTIONS, "--json")
    shown = [json.loads(line)["values"] for line in out.splitlines()]
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-logits)), rtol=1e-12)


def test_without_a_loss_predict_prints_the_outputs(tmp_path, capsys):
    data, x = table(tmp_path, np.arange(12))
    model = sequence_model("mse", 1)
    path = tmp_path / "model.safetensors"
    model.save(path, include_optimizer=False)
    out = succeed(capsys, "predict", path, data, *OPTIONS, "--json")
    values = model.predict(x.astype(np.float32), verbose=0)[:, 0]
    assert [json.loads(line)["value"] for line in out.splitlines()] == values.tolist()


def test_estimates_undo_the_standardization_of_targets():
    outputs = np.array([[0.5, -1.0]])
    mean, deviation = gaussian(outputs)
    found = lc.losses.GaussianNLL().estimates(outputs, 10.0, 4.0)
    assert found["mean"] == pytest.approx(mean[:, None] * 4 + 10, rel=1e-15)
    assert found["standard_deviation"] == pytest.approx(deviation[:, None] * 4, rel=1e-15)
    found = lc.losses.Quantile([0.25, 0.75]).estimates(outputs, 10.0, 4.0)
    assert {name: values.item() for name, values in found.items()} == {
        "quantile_0.25": 12.0,
        "quantile_0.75": 6.0,
    }
    rates = lc.losses.Poisson(log_rate=True).estimates(outputs, 10.0, 4.0)["value"]
    assert rates == pytest.approx(np.exp(outputs) * 4 + 10, rel=1e-15)
