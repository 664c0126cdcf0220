"""How the estimators preprocess sequences, compared with plain loops."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from lstmcore.sklearn import LSTMClassifier, LSTMRegressor
from lstmcore.sklearn.inputs import Panel

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_size": 2, "max_iter": 1, "random_state": 0}
RANDOM = np.random.default_rng(0)
# Lengths: a multiple of the patch size 3, one more, one less than a multiple, and one step.
ROWS = [RANDOM.standard_normal((length, 2)) for length in (6, 7, 8, 1)]
EVEN = RANDOM.standard_normal((4, 7, 2))


def panel(rows):
    lengths = np.array([len(row) for row in rows])
    return Panel(np.concatenate(rows), lengths, "list")


@pytest.mark.parametrize("rows", [ROWS, list(EVEN)], ids=["ragged", "even"])
def test_patches(rows):
    assert panel(rows).patched(1).inputs() is not None
    made = panel(rows).patched(3)
    assert made.lengths.tolist() == [-(-len(row) // 3) for row in rows]
    for row, patches in zip(rows, made.inputs(), strict=True):
        for number, patch in enumerate(patches):
            steps = [row[min(3 * number + step, len(row) - 1)] for step in range(3)]
            np.testing.assert_array_equal(patch, np.concatenate(steps))


def test_slopes_and_positions():
    slopes, positions = panel(ROWS).slopes(), panel(ROWS).positions()
    begin = 0
    for row in ROWS:
        for step in range(len(row)):
            before, after = max(step - 1, 0), min(step + 1, len(row) - 1)
            rise = (row[after] - row[before]) / max(after - before, 1)
            np.testing.assert_allclose(slopes[begin + step], rise, rtol=0, atol=1e-15)
        part = positions[begin : begin + len(row), 0]
        if len(row) > 1:
            np.testing.assert_allclose(part[[0, -1]], [-np.sqrt(3), np.sqrt(3)], rtol=1e-15)
            np.testing.assert_allclose(np.diff(part), 2 * np.sqrt(3) / (len(row) - 1), rtol=1e-12)
        else:
            assert part.tolist() == [0.0]
        begin += len(row)
    wide = panel(ROWS).beside(slopes)
    assert wide.values.shape == (22, 4)
    assert wide.lengths is not None


@pytest.mark.parametrize("scale", ["standard", "series", None])
def test_inputs_of_the_model(scale):
    rows = [1e3 * row + 1e5 for row in ROWS[:3]]
    model = LSTMClassifier(**SMALL, scale=scale, patch_size=2).fit(rows, [0, 1, 0])
    inputs = model._model_inputs(panel(rows))
    assert [one.shape for one in inputs] == [(3, 9), (4, 9), (4, 9)]
    steps = np.concatenate([one[:, :8].reshape(-1, 2, 4)[:3].reshape(-1, 4) for one in inputs])
    if scale == "standard":
        np.testing.assert_allclose(
            steps[:6, :2], (rows[0] - model.input_mean_) / model.input_scale_, rtol=1e-4, atol=1e-5
        )
    slopes = np.gradient(steps[:6, :2], axis=0) / model.slope_scale_
    np.testing.assert_allclose(steps[:6, 2:], slopes, rtol=1e-3, atol=1e-3 * np.abs(slopes).max())
    if scale is None:
        assert model.slope_scale_.tolist() == [1.0, 1.0]
    assert inputs[0][0, 8] == -inputs[0][-1, 8] == np.float32(-np.sqrt(3))


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_the_longest_sequence_determines_the_patch_size(kind):
    for longest, size in ((1, 1), (64, 1), (65, 2), (128, 2), (129, 3)):
        rows = [np.ones(longest), np.ones(1)]
        model = kind(**SMALL).fit(rows, [0, 1])
        assert model.patch_size_ == size
        # Longer sequences are later divided into the same patches.
        assert len(model.predict([np.ones(500)])) == 1
    model = kind(**SMALL, patch_size=5).fit(rows, [0, 1])
    assert model.patch_size_ == 5
    assert pickle.loads(pickle.dumps(model)).predict(rows).tolist() == model.predict(rows).tolist()
    expected = model.predict(rows)
    model.set_params(patch_size=1, slopes=False, positions=False)
    assert (model.predict(rows) == expected).all()
    with pytest.raises(ValueError, match="patch_size: expected 5, which the model was made with"):
        model.set_params(warm_start=True).fit(rows, [0, 1])


def test_preprocessing_can_be_turned_off():
    model = LSTMClassifier(**SMALL, slopes=False, positions=False, patch_size=1, scale=None)
    model.fit(EVEN, [0, 1, 0, 1])
    assert not hasattr(model, "slope_scale_")
    np.testing.assert_array_equal(model._model_inputs(panel(list(EVEN))), EVEN.astype(np.float32))
    # Nothing from an earlier fit remains.
    model.set_params(slopes=True, scale="standard").fit(EVEN, [0, 1, 0, 1])
    assert hasattr(model, "slope_scale_")
    assert not hasattr(model.set_params(slopes=False).fit(EVEN, [0, 1, 0, 1]), "slope_scale_")


def test_positions_show_when_something_happens():
    """The label is the time of a bump, which the maximum over time does not show."""
    time = np.arange(30.0)
    centres = np.random.default_rng(1).uniform(5, 25, 100)
    rows = np.exp(-(((time - centres[:, None]) / 2) ** 2))
    labels = centres > 15
    model = LSTMClassifier(8, max_updates=150, random_state=0).fit(rows[:60], labels[:60])
    assert model.score(rows[60:], labels[60:]) > 0.9


def test_a_single_sequence_is_recognized():
    model = LSTMClassifier(**SMALL).fit(EVEN, [0, 1, 0, 1])
    for call in (model.predict, model.predict_proba, lambda x: model.score(x, [0])):
        with pytest.raises(
            ValueError, match=r"shape \(7, 2\); for a single sequence pass X\[None\]"
        ):
            call(EVEN[0])
    with pytest.raises(ValueError, match=r"expected one sequence like y, got 7 .* X\[None\]"):
        LSTMRegressor(**SMALL).fit(EVEN[0], [1.0])
