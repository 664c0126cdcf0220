"""Second calls: continued training, changed hyper-parameters, and refused calls."""

import pickle
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.model_selection import KFold, cross_val_score

from lstmcore.regularizers import L2
from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor

# Most fits here are cut short on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ARRAY = np.random.default_rng(0).standard_normal((80, 5, 2))
SUMS = ARRAY[:, :, 0].sum(axis=1)
LABELS = (SUMS > 0).astype(int)
WAVE = np.sin(np.arange(300) / 5)


def classifier(**settings):
    return LSTMClassifier(**{"hidden_size": 8, "max_iter": 3, "random_state": 0, **settings})


def regressor(**settings):
    return LSTMRegressor(**{"hidden_size": 8, "max_iter": 3, "random_state": 0, **settings})


def forecaster(**settings):
    plain = {"window": 20, "horizon": 5, "hidden_size": 8, "max_iter": 3, "random_state": 0}
    return LSTMForecaster(**{**plain, "difference": 0, **settings})


def state(model):
    """Return everything that a call may change, for comparison."""
    attributes = dict(vars(model))
    own = attributes.pop("model_", None)
    if own is not None:
        optimizer = own.optimizer
        attributes["weights"] = own.get_weights()
        attributes["slots"] = [slot.copy() for slot in optimizer.slots.values()]
        attributes["steps"] = (optimizer.iterations, optimizer.learning_rate, own.epoch, own.seed)
    return pickle.dumps({name: attributes[name] for name in sorted(attributes)})


def refused(model, match, call):
    before = state(model)
    with pytest.raises(ValueError, match=match):
        call(model)
    assert state(model) == before


# ---- continued training --------------------------------------------------------------------------


def test_partial_fit_after_fit_learns():
    plain = {"learning_rate_init": 0.01}
    model, fresh = regressor(**plain).fit(ARRAY, SUMS), regressor(**plain)
    for _ in range(80):
        model.partial_fit(ARRAY, SUMS + 5)
        fresh.partial_fit(ARRAY, SUMS + 5)
    errors = [np.mean((one.predict(ARRAY) - SUMS - 5) ** 2) for one in (model, fresh)]
    assert errors[0] < max(2 * errors[1], 0.1)
    assert model.model_.optimizer.learning_rate == 0.01

    labels = classifier(learning_rate_init=0.01).fit(ARRAY, LABELS)
    for _ in range(40):
        labels.partial_fit(ARRAY, 1 - LABELS)
    assert labels.score(ARRAY, 1 - LABELS) > 0.9

    model = forecaster().fit(WAVE[:200])
    before = model.model_.get_weights()
    model.partial_fit(WAVE[200:])
    moves = [np.abs(a - b).max() for a, b in zip(before, model.model_.get_weights(), strict=True)]
    assert max(moves) > 1e-3


def test_partial_fit_uses_changed_parameters():
    model = regressor().fit(ARRAY, SUMS)
    model.set_params(learning_rate_init=0.5, global_clipnorm=None, alpha=0.25)
    model.partial_fit(ARRAY, SUMS)
    optimizer = model.model_.optimizer
    assert (optimizer.learning_rate, optimizer.global_clipnorm) == (0.5, None)
    assert optimizer.weight_decay == 0.25
    refused(
        model.set_params(loss="absolute_error"),
        "loss: expected 'squared_error', which the optimizer was made with",
        lambda one: one.partial_fit(ARRAY, SUMS),
    )
    refused(
        model.set_params(loss="squared_error", solver="sgd", alpha=0.0),
        "solver: expected 'adamw'",
        lambda one: one.partial_fit(ARRAY, SUMS),
    )
    warm = regressor(warm_start=True).fit(ARRAY, SUMS)
    warm.set_params(loss="absolute_error", solver="sgd", alpha=0.0).fit(ARRAY, SUMS)
    assert type(warm.model_.optimizer).__name__ == "SGD"
    warm.partial_fit(ARRAY, SUMS)


def test_the_penalty_of_a_model_is_fixed():
    model = regressor(warm_start=True).fit(ARRAY, SUMS)
    refused(
        model.set_params(solver="adam", alpha=100.0),
        r"L2 penalty: expected 0\.0, which the model was made with .* got 100\.0",
        lambda one: one.fit(ARRAY, SUMS),
    )
    model.set_params(alpha=0.0).fit(ARRAY, SUMS)
    model = regressor(warm_start=True, solver="adam", alpha=0.5).fit(ARRAY, SUMS)
    refused(
        model.set_params(solver="adamw"),
        r"L2 penalty: expected 0\.5",
        lambda one: one.fit(ARRAY, SUMS),
    )


def test_cell_options_of_a_model_are_fixed():
    options = {"peephole": True}
    model = regressor(warm_start=True, cell_options=options).fit(ARRAY, SUMS)
    options["zoneout_h"] = 0.5
    refused(model, "cell_options: expected", lambda one: one.fit(ARRAY, SUMS))
    del options["zoneout_h"]
    model.set_params(dtype=np.float32, cell_options={"peephole": True}).fit(ARRAY, SUMS)
    plain = regressor(warm_start=True).fit(ARRAY, SUMS)
    plain.set_params(cell_options={}).fit(ARRAY, SUMS)
    penalized = regressor(warm_start=True, cell_options={"bias_regularizer": L2(0.1)})
    penalized.fit(ARRAY, SUMS).set_params(cell_options={"bias_regularizer": L2(0.1)})
    penalized.fit(ARRAY, SUMS)


def test_forecaster_keeps_its_horizon_and_forecasts():
    model = forecaster(warm_start=True).fit(WAVE)
    expected = model.predict()
    refused(model.set_params(horizon=9), "horizon: expected 5, which", lambda one: one.fit(WAVE))
    refused(model, "horizon: expected 5, which", lambda one: one.partial_fit(WAVE))
    assert (model.predict()[:5] == expected).all()
    model.set_params(horizon=5, hidden_size=9, dtype="float64", alpha=0.5, scale=None)
    assert (model.predict() == expected).all()
    recursive = forecaster(warm_start=True, strategy="recursive").fit(WAVE)
    assert len(recursive.set_params(horizon=9).fit(WAVE).predict()) == 9


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_target_names_in_any_sequence(kind):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"on": np.ones(300), "wave": WAVE, "twice": 2 * WAVE})
    model = forecaster(target=kind(["wave", "twice"]), warm_start=True).fit(frame)
    assert model.fit(frame).update(frame).predict(X=frame[:5]).shape == (5, 2)


def test_training_discards_the_calibration():
    model = forecaster(warm_start=True).fit(WAVE[:200]).calibrate(WAVE[200:])
    assert model.update(WAVE[200:210]).predict_interval().shape == (5, 2)
    refused(model, "at least", lambda one: one.fit(WAVE[:10]))
    model.predict_interval()
    model.fit(WAVE[:200])
    with pytest.raises(ValueError, match="needs calibrate"):
        model.predict_interval()
    model.calibrate(WAVE[200:]).partial_fit(WAVE[200:])
    with pytest.raises(ValueError, match="needs calibrate"):
        model.predict_interval()


def test_validation_scores_are_of_the_last_fit():
    model = regressor(warm_start=True, early_stopping=True).fit(ARRAY, SUMS)
    assert len(model.validation_scores_) == 3
    model.set_params(early_stopping=False).fit(ARRAY, SUMS)
    assert model.validation_scores_ is model.best_validation_score_ is None


# ---- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("name", ["fit", "partial_fit"])
def test_refused_calls_change_nothing(name, warm_start):
    model = regressor(warm_start=warm_start).fit(ARRAY, SUMS)

    def call(*arguments):
        return lambda one: getattr(one, name)(*arguments)

    refused(model, "inconsistent", call(ARRAY, SUMS + 1e6, np.ones(3)))
    refused(model, "inconsistent", call(3 * ARRAY[:4], SUMS))
    refused(model, "NaN", call(ARRAY, np.full(80, np.nan)))
    model = classifier(warm_start=warm_start).fit(ARRAY, LABELS)
    refused(
        model,
        "inconsistent",
        call(list(ARRAY[:9]), LABELS + 3 * (name == "fit" and not warm_start)),
    )
    refused(model, "all zero", call(ARRAY, LABELS, *[None] * (name != "fit"), np.zeros(80)))

    series = forecaster(warm_start=warm_start).fit(WAVE)
    series.calibrate(WAVE)
    if name == "fit":
        refused(series, "at least 25 steps", call(WAVE[:10] + 5000))
    refused(series, "expected 200 steps like y", call(WAVE[:200] + 5000, WAVE))


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_training_that_diverges_changes_nothing(warm_start, early_stopping):
    wild = {"solver": "sgd", "alpha": 0.0, "global_clipnorm": None, "max_iter": 20}
    for model, data in (
        (regressor(**wild), (ARRAY, SUMS)),
        (forecaster(**wild), (WAVE,)),
    ):
        model.set_params(warm_start=warm_start, early_stopping=early_stopping).fit(*data)
        model.set_params(learning_rate_init=1e30)
        refused(model, "lower learning_rate_init", lambda one, data=data: one.fit(*data))
        assert np.isfinite(model.predict(*data[:-1])).all()
    fresh = regressor(**wild, learning_rate_init=1e30)
    refused(fresh, "lower learning_rate_init", lambda one: one.fit(ARRAY, SUMS))
    assert not hasattr(fresh, "model_")


@pytest.mark.parametrize("name", ["fit", "partial_fit"])
def test_an_interruption_changes_nothing(name, monkeypatch):
    def interrupt(self, epoch, logs):
        raise KeyboardInterrupt

    for model, data in ((regressor(), (ARRAY, SUMS)), (forecaster(), (WAVE,))):
        model.fit(*data)
        before = state(model)
        with monkeypatch.context() as patch:
            patch.setattr("lstmcore.sklearn.base.Watch.on_epoch_end", interrupt)
            with pytest.raises(KeyboardInterrupt):
                getattr(model, name)(*data)
        assert state(model) == before


# ---- samples held out ----------------------------------------------------------------------------


def test_undefined_validation_scores():
    one = {"early_stopping": True, "validation_fraction": 0.01}
    with pytest.raises(ValueError, match="validation_fraction: the 1 targets .* R\\^2 is undef"):
        regressor(**one).fit(ARRAY, SUMS)
    with pytest.raises(ValueError, match="validation_fraction: the 1 targets"):
        forecaster(**one, strategy="recursive").fit(WAVE[:60])
    with pytest.raises(ValueError, match="validation_fraction: the 8 targets"):
        regressor(early_stopping=True).fit(ARRAY, np.ones(80))

    model = regressor(early_stopping=True, max_iter=1).fit(ARRAY, np.arange(80.0))
    *_, held = model._hold_out(
        *(_panel(model), np.arange(80)[:, None], None), np.random.RandomState(0)
    )
    weights = np.ones(80)
    weights[held[1][:, 0]] = 0.0
    for kind, y in ((regressor, SUMS),):
        with pytest.raises(ValueError, match="sample_weight: all 8 samples that early stopping"):
            kind(early_stopping=True).fit(ARRAY, y, weights)
        with pytest.raises(ValueError, match="sample_weight: all samples that are not held out"):
            kind(early_stopping=True).fit(ARRAY, y, 1.0 - weights)
    weights = np.zeros(80)
    weights[0] = 1.0
    with pytest.raises(ValueError, match="sample_weight: all"):
        classifier(early_stopping=True).fit(ARRAY, LABELS, weights)


def _panel(model):
    from lstmcore.sklearn.inputs import read_panel

    return read_panel(model, ARRAY, reset=False)


def test_held_out_samples_are_not_used():
    model = regressor(early_stopping=True, max_iter=1).fit(ARRAY, SUMS)
    train, _, _, held = model._hold_out(
        _panel(model), np.arange(80)[:, None], None, np.random.RandomState(0)
    )
    chosen = np.setdiff1d(np.arange(80), held[1][:, 0])
    np.testing.assert_allclose(model.target_mean_, SUMS[chosen].mean())
    np.testing.assert_allclose(model.target_scale_, SUMS[chosen].std())
    assert len(train) == 72

    series, beside = np.arange(100.0) ** 2, np.arange(100.0)
    held = forecaster(early_stopping=True, difference=2, window=10, horizon=3, max_iter=1)
    held.fit([series, series[:50]], [beside, beside[:50]])
    # Of 86 and 36 windows, 9 and 4 are held out; the 2 before them, which overlap, are left out.
    steps = [75 + 12, 30 + 12]
    differences = np.concatenate([(series[2:] - series[:-2])[:count] for count in steps])
    np.testing.assert_allclose(held.target_mean_, differences.mean())
    np.testing.assert_allclose(held.target_scale_, differences.std())
    columns = np.concatenate([beside[: count + 2] for count in steps])
    np.testing.assert_allclose(held.exogenous_mean_, columns.mean())


# ---- weights and forms ---------------------------------------------------------------------------


def test_class_weights_of_all_classes():
    labels = np.arange(80) % 3
    model = classifier(class_weight={2: 5.0}).partial_fit(ARRAY, labels, classes=[0, 1, 2])
    few = labels < 2
    model.partial_fit(ARRAY[few], labels[few])
    weights = model._sample_weights(labels, None, True)
    assert (weights == np.where(labels == 2, 5.0, 1.0)).all()
    with pytest.raises(ValueError, match=r"class_weight: expected classes of \[0, 1, 2\], got 7"):
        classifier(class_weight={7: 5.0}).fit(ARRAY, labels)
    classifier(class_weight={0: 1.0, 1: 1.0, 2: 5.0}).fit(ARRAY[few], labels[few])
    with pytest.raises(ValueError, match="class_weight: .*'balnced'"):
        classifier(class_weight="balnced").fit(ARRAY, labels)
    with pytest.raises(ValueError, match=r"class_weight\[1\]"):
        classifier(class_weight={1: -1.0}).fit(ARRAY, labels)
    with pytest.raises(TypeError, match="class_weight"):
        classifier(class_weight=[1.0]).fit(ARRAY, labels)


def test_folds_of_plain_lists():
    rows = [[1.0, 2.0, 3.0]] * 8 + [[1.0, 2.0, 3.0, 4.0]] * 4
    model = LSTMClassifier(4, max_iter=1)
    scores = cross_val_score(model, rows, [0, 1] * 6, cv=KFold(3), error_score="raise")
    assert len(scores) == 3
    model.fit(rows[:8], [0, 1] * 4)
    assert (model.input_form_, model.n_features_in_) == ("table", 3)
    assert (model.predict(rows[:8]) == model.predict(np.array(rows[:8]))).all()
    assert len(model.predict(rows)) == 12
    with pytest.raises(ValueError, match="4 features"):
        model.predict(np.array(rows[8:]))


@pytest.mark.parametrize("scale", [None, "standard", "series"])
@pytest.mark.filterwarnings("error", "ignore::sklearn.exceptions.ConvergenceWarning")
def test_huge_values_are_reported(scale):
    if scale is not None:
        with pytest.raises(ValueError, match="X: expected values whose squares"):
            regressor(scale=scale, dtype="float64").fit(1e200 * ARRAY, SUMS)
    model = regressor(scale=scale).fit(ARRAY, SUMS)
    extreme = ARRAY.copy()
    extreme[0, 0, 0] = 1e250
    with pytest.raises(ValueError, match="X: expected values (that float32|whose squares)"):
        model.predict(extreme)
    with pytest.raises(ValueError, match="y: expected values whose squares"):
        regressor().fit(ARRAY, 1e200 * SUMS)
    refused(
        model, "y: expected values that float32", lambda one: one.partial_fit(ARRAY, 1e99 * SUMS)
    )


@pytest.mark.filterwarnings("error", "ignore::sklearn.exceptions.ConvergenceWarning")
def test_huge_weights_and_series():
    weights = np.where(LABELS, 1e308, 5e307)
    huge = regressor().fit(ARRAY, SUMS, weights)
    plain = regressor().fit(ARRAY, SUMS, weights / 1e308)
    np.testing.assert_allclose(huge.predict(ARRAY), plain.predict(ARRAY), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="sample_weight: expected values that float32"):
        regressor().partial_fit(ARRAY, SUMS, weights)
    with pytest.raises(ValueError, match="y: expected values whose squares"):
        forecaster().fit(1e200 * WAVE)
    model = forecaster().fit(WAVE)
    with pytest.raises(ValueError, match="y: expected values that float32"):
        model.predict(y=1e99 * WAVE)


@pytest.mark.parametrize("exogenous", ["known", "past"])
def test_windows_need_little_more_memory_than_their_size(exogenous):
    series, beside = np.tile(WAVE, 10), np.ones((3000, 5))
    model = forecaster(exogenous=exogenous, max_iter=1, batch_size=4096).fit(series, beside)
    read = model._read(series, beside, False)
    tracemalloc.start()
    try:
        inputs, targets = model._windows(read)
        weights = model._step_weights(len(inputs))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(inputs) == len(targets) == 3000 - 24
    assert weights is None or weights.shape == inputs.shape[:2]
    assert peak < 1.5 * inputs.nbytes
