"""Training of several outputs: losses, weights, metrics, logs, callbacks, files."""

import copy

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import C, H, N, S, T, ragged
from lstmcore import layers

NAMES = ["loss", "tags_loss", "score_loss", "tags_accuracy", "score_mae"]


def model_of(seed=0, by_name=True):
    x, s = lc.Input((None, C), name="x"), lc.Input((S,), name="s")
    steps = layers.LSTM(H, return_sequences=True, name="lstm")(layers.Concatenate()([x, s]))
    tags = layers.Dense(3, "softmax", name="tags")(steps)
    score = layers.Dense(1, name="score")(layers.GlobalAveragePooling1D()(steps))
    outputs = {"tags": tags, "score": score} if by_name else [tags, score]
    model = lc.Model([x, s], outputs, seed=seed, dtype="float64")
    model.compile(
        lc.optimizers.Adam(1e-2),
        {"tags": "sparse_categorical_crossentropy", "score": "mse"},
        {"tags": "accuracy", "score": ["mae"]},
        loss_weights={"score": 0.5},
    )
    return model


@pytest.fixture
def data(rng):
    x = ragged(rng, C, [5, 2, 4] * 10)
    y = {"tags": [(row[:, 0] > 0).astype(int) for row in x], "score": [row.mean() for row in x]}
    return {"x": x, "s": rng.standard_normal((30, S))}, y


def test_the_loss_is_the_weighted_sum_of_means_over_each_outputs_rows(data):
    x, y = data
    model = model_of()
    found = model.evaluate(x, y, batch_size=7, return_dict=True)
    assert list(found) == NAMES
    outputs = model.predict(x)
    tags = np.concatenate(outputs["tags"])
    labels = np.concatenate(y["tags"])
    entropy = -np.log(tags[np.arange(len(labels)), labels]).mean()
    errors = outputs["score"][:, 0] - y["score"]
    assert found["tags_loss"] == pytest.approx(entropy, rel=1e-12)
    assert found["score_loss"] == pytest.approx((errors**2).mean(), rel=1e-12)
    assert found["loss"] == pytest.approx(entropy + 0.5 * (errors**2).mean(), rel=1e-12)
    assert found["tags_accuracy"] == pytest.approx((tags.argmax(1) == labels).mean())
    assert found["score_mae"] == pytest.approx(np.abs(errors).mean())
    assert model.evaluate(x, y) == pytest.approx(list(found.values()))


def test_training_learns_both_and_logs_everything(data):
    x, y = data
    model = model_of()
    stop = lc.callbacks.EarlyStopping("val_tags_accuracy", patience=30, restore_best_weights=True)
    history = model.fit(
        x, y, epochs=25, batch_size=5, validation_split=0.2, callbacks=stop, verbose=0
    )
    assert list(history.history) == [*NAMES, *(f"val_{name}" for name in NAMES)]
    assert history.history["tags_accuracy"][-1] > 0.9 > history.history["tags_accuracy"][0]
    assert history.history["score_loss"][-1] < 0.4 * history.history["score_loss"][0]


def test_targets_by_name_in_order_and_by_batches(data):
    x, y = data
    listed = model_of(by_name=False)
    named = model_of()
    assert named.predict(x).keys() == {"tags", "score"}
    assert isinstance(listed.predict(x), list)
    expected = named.evaluate(x, y)
    in_order = [y["tags"], y["score"]]
    assert listed.evaluate([x["x"], x["s"]], in_order) == expected
    cut = slice(0, 3)
    batch = (
        {"x": x["x"][cut], "s": x["s"][cut]},
        {"tags": y["tags"][cut], "score": y["score"][cut]},
    )
    one, other = (
        model_of().fit(source, epochs=2, verbose=0, **options).history
        for source, options in (
            (iter([batch, batch]), {"steps_per_epoch": 1}),
            ([batch], {}),
        )
    )
    assert one == other
    assert named.train_on_batch(*batch, return_dict=True).keys() == set(NAMES)


def test_weights_of_samples_for_each_output(data):
    x, y = data
    model = model_of()
    keep = np.zeros(30)
    keep[:6] = 1
    few = ({"x": x["x"][:6], "s": x["s"][:6]}, {name: values[:6] for name, values in y.items()})
    expected = model.evaluate(*few, return_dict=True)["score_loss"] * 6 / 30
    found = model.evaluate(x, y, sample_weight={"score": keep}, return_dict=True)
    assert found["score_loss"] == pytest.approx(expected)
    assert found["tags_loss"] == pytest.approx(model.evaluate(x, y, return_dict=True)["tags_loss"])
    both = model.evaluate(x, y, sample_weight=keep, return_dict=True)
    assert both["score_loss"] == pytest.approx(expected)
    assert both["tags_loss"] < found["tags_loss"]


def test_penalties_count_once():
    rates = []
    for strength in (0.0, 0.1):
        a = lc.Input((C,))
        hidden = layers.Dense(3, kernel_regularizer=lc.regularizers.L2(strength))(a)
        outputs = [layers.Dense(1, name="p")(hidden), layers.Dense(1, name="q")(hidden)]
        model = lc.Model(a, outputs, dtype="float64")
        model.compile("sgd", "mse")
        rates.append(model.evaluate(np.ones((4, C)), [np.ones(4), np.ones(4)], return_dict=True))
    kernel = model.weights["dense.kernel"]
    assert rates[1]["loss"] - rates[0]["loss"] == pytest.approx(0.1 * (kernel**2).sum())
    assert rates[1]["p_loss"] == rates[0]["p_loss"]


def test_a_file_continues_the_training_with_the_same_bits(data, tmp_path):
    x, y = data
    whole, half = model_of(), model_of()
    whole.fit(x, y, epochs=4, verbose=0)
    half.fit(x, y, epochs=2, verbose=0)
    half.save(tmp_path / "half.safetensors")
    again = lc.load(tmp_path / "half.safetensors")
    assert again._document() == half._document()
    assert again.compiled.get_config() == half.compiled.get_config()
    again.fit(x, y, epochs=4, initial_epoch=again.epoch, verbose=0)
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], values)
    assert again.evaluate(x, y) == whole.evaluate(x, y)
    assert copy.deepcopy(again).evaluate(x, y) == whole.evaluate(x, y)


def test_one_loss_or_metric_for_all():
    a, b = lc.Input((C,)), lc.Input((C,))
    model = lc.Model([a, b], [layers.Dense(1, name="p")(a), layers.Dense(2, name="q")(b)])
    model.compile("adam", "mse", "mae", loss_weights=[1.0, 2.0])
    assert model.compiled.log_names == ["loss", "p_loss", "q_loss", "p_mae", "q_mae"]
    model.compile("adam", ["mse", "mae"], [None, ["rmse"]])
    assert model.compiled.log_names == ["loss", "p_loss", "q_loss", "q_rmse"]
    model.compile(lc.optimizers.SGD(1e30), "mse")
    with pytest.raises(FloatingPointError, match="fit: the loss is"):
        model.fit([np.ones((N, C))] * 2, [np.ones(N), np.ones((N, 2))], epochs=9, verbose=0)


def test_a_loss_of_the_users_own_is_looked_at_on_each_output(rng):
    class Wrong(lc.losses.Huber):
        def elements(self, targets, outputs, need_gradient):
            losses, gradient = super().elements(targets, outputs, need_gradient)
            return losses, None if gradient is None else -gradient

    a = lc.Input((C,))
    model = lc.Model(a, [layers.Dense(1, name="p")(a), layers.Dense(1, name="q")(a)])
    model.compile("sgd", ["mse", Wrong()])
    x = rng.standard_normal((N, C))
    with pytest.raises(ValueError, match="gradient of 'Wrong' is not that of its value"):
        model.fit(x, [np.ones(N), np.ones(N)], verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": None}, "loss: expected a loss for each output, got None"),
        ({"loss": {"tags": "mse"}}, "loss: expected an entry for each output, got none for score"),
        ({"loss": {"tag": "mse", "score": "mse"}}, "got 'tag'; did you mean 'tags'"),
        ({"loss": ["mse"]}, "loss: expected a dict by name.*outputs tags, score, got 1"),
        ({"loss": 3}, "loss: expected a dict by name"),
        ({"loss": ["mse", "nonsense"]}, "output 'score': .*nonsense"),
        ({"loss": ["mse", "binary_crossentropy"]}, "output 'score': loss: BinaryCrossentropy"),
        ({"metrics": ["mae"]}, "metrics: expected a dict by name"),
        ({"metrics": {"score": "nonsense"}}, "output 'score': .*nonsense"),
        ({"loss_weights": {"score": -1.0}}, r"loss_weights\['score'\]: expected .*-1"),
        ({"loss_weights": [1.0]}, "loss_weights: expected a dict by name"),
        ({"optimizer": None}, "optimizer: expected an Optimizer or its name"),
    ],
)
def test_arguments_of_compile_that_do_not_fit(arguments, message):
    given = {"optimizer": "sgd", "loss": ["sparse_categorical_crossentropy", "mse"], **arguments}
    with pytest.raises((TypeError, ValueError), match=message):
        model_of().compile(**given)


def test_targets_that_do_not_fit(data):
    x, y = data
    model = model_of()
    for wrong, message in (
        (None, "y: expected targets, got None"),
        ({"tags": y["tags"]}, "y: expected an entry for each output, got none for score"),
        ({**y, "score": y["score"][:3]}, "output 'score': y: expected 30 entries like x, got 3"),
        ({**y, "tags": np.full((30, T), 7)}, "output 'tags': y: expected labels in 0..2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(x, wrong, verbose=0)
    with pytest.raises(ValueError, match="class_weight: expected None for a model with several"):
        model.fit(x, y, class_weight={0: 2.0}, verbose=0)
    single = lc.Input((C,))
    with pytest.raises(ValueError, match="loss_weights: expected None for a model with a single"):
        lc.Model(single, layers.Dense(1)(single)).compile("sgd", "mse", loss_weights=[1.0])
