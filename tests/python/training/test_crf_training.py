"""Models that end with a conditional random field: training, masks, weights, files, refusals."""

import numpy as np
import pytest

import lstmcore as lc

K = 3


def tagger(dtype="float32", forbidden=None, seed=1, metrics=None):
    model = lc.Sequential(
        [
            lc.layers.Embedding(12, 8),
            lc.layers.LSTM(12, return_sequences=True),
            lc.layers.Dense(K),
            lc.layers.CRF(K, forbidden),
        ],
        seed=seed,
        dtype=dtype,
    )
    model.compile(lc.optimizers.Adam(0.03), "crf", metrics=metrics)
    return model


def rows(rng, count=120):
    """Draw sequences; a tag is 0, then 1, then 2, whenever the number 0 occurs."""
    x = [rng.integers(0, 12, rng.integers(1, 9)) for _ in range(count)]
    return x, [np.cumsum(row < 4) % K for row in x]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_learns_and_comes_back_from_a_file(rng, tmp_path, dtype):
    x, y = rows(rng)
    model = tagger(dtype, forbidden=[(0, 2), (1, 0), (2, 1)], metrics=["accuracy"])
    history = model.fit(x, y, epochs=25, verbose=0, validation_split=0.2)
    assert history.history["val_accuracy"][-1] > 0.95
    tags = model.predict(x, verbose=0)
    assert [row.dtype for row in tags[:2]] == [np.int64, np.int64]
    assert [len(row) for row in tags] == [len(row) for row in x]
    right = np.concatenate(tags) == np.concatenate(y)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy == pytest.approx(right.mean())
    model.save(tmp_path / "tagger.safetensors")
    again = lc.load(tmp_path / "tagger.safetensors")
    assert again.layers[-1].forbidden == [(0, 2), (1, 0), (2, 1)]
    assert again.evaluate(x, y, verbose=0) == [loss, accuracy]
    for own, other in zip(tags, again.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(own, other)


def test_array_with_mask_equals_rows(rng):
    x, y = rows(rng, 20)
    padded, tags = np.zeros((2, 20, 8), np.int64)
    mask = np.zeros((20, 8), bool)
    for place, (ids, own) in enumerate(zip(x, y, strict=True)):
        at = np.sort(rng.permutation(8)[: len(ids)])  # with gaps
        padded[place, at], tags[place, at], mask[place, at] = ids, own, True
    tags[~mask] = -1
    first, second = tagger("float64"), tagger("float64")
    first.fit(x, y, epochs=2, shuffle=False, verbose=0)
    second.fit(padded, tags, epochs=2, shuffle=False, mask=mask, verbose=0)
    for name, value in first.weights.items():
        np.testing.assert_array_equal(second.weights[name], value)
    found = second.predict(padded, mask=mask, verbose=0)
    for row, there, own in zip(found, mask, first.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(row[there], own)


def test_weight_counts_like_copies_and_zero_like_none(rng):
    x, y = rows(rng, 12)
    model = tagger("float64", metrics=["accuracy"])
    model.build((None, None))
    once = [model.evaluate([row], [tags], verbose=0)[0] for row, tags in zip(x, y, strict=True)]
    weights = np.arange(12.0)
    wrong = [*y[:0], np.full(len(x[0]), -1), *y[1:]]  # of weight 0
    whole = model.test_on_batch(x, wrong, sample_weight=weights)[0]
    assert whole == pytest.approx((weights * once).mean(), rel=1e-12)
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(np.mean(once), rel=1e-12)


def test_frozen_layer_keeps_its_tables(rng):
    x, y = rows(rng, 30)
    model = tagger()
    model.layers[-1].trainable = False
    model.fit(x, y, epochs=2, verbose=0)
    assert not model.weights["crf.transitions"].any()
    assert model.layers[-1].frozen_size == K * K + 2 * K


def test_a_target_that_is_forbidden_is_named(rng):
    model = tagger(forbidden=[(0, 2), ("start", 1), (1, "end")])
    x = np.array([[1, 2, 3]])
    for tags, words in [
        ([0, 2, 2], r"the tag 0 followed by 2, at step 0 of the row 0"),
        ([1, 2, 2], "a sequence that begins with the tag 1"),
        ([2, 0, 1], "a sequence that ends with the tag 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.train_on_batch(x, [tags])
    model.train_on_batch(np.repeat(x, 2, axis=0), [[0, 2, 2], [2, 0, 0]], sample_weight=[0, 1])


def test_no_rows_have_no_tags():
    model = tagger()
    model.build((None, None))
    tags = model.predict(np.zeros((0, 4), int), verbose=0)
    assert tags.shape == (0, 4)
    assert tags.dtype == np.int64


def test_what_does_not_fit_is_refused(rng):
    x, y = rows(rng, 6)
    model = tagger()
    with pytest.raises(ValueError, match=r"class_weight: expected None for CRF"):
        model.fit(x, y, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match=r"sample_weight: expected"):
        model.fit(np.zeros((2, 3), int), np.zeros((2, 3), int), sample_weight=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"y: expected labels in 0\.\.2"):
        model.fit(x, [row + 1 for row in y], verbose=0)
    with pytest.raises(ValueError, match="tbptt: "):
        model.fit(x, y, tbptt=2, verbose=0)
    with pytest.raises(ValueError, match="loss: expected 'crf' for a model that ends with the CRF"):
        model.compile("adam", "sparse_categorical_crossentropy")
    plain = lc.Sequential([lc.layers.Dense(K)])
    with pytest.raises(ValueError, match="loss: 'crf' expects a model that ends with"):
        plain.compile("adam", "crf")
    inside = lc.Sequential([lc.layers.CRF(K), lc.layers.Dense(K)])
    with pytest.raises(ValueError, match="expected a CRF as the last layer"):
        inside.compile("adam", "mse")
    with pytest.raises(ValueError, match="layer 'dense': expected no layer after the CRF 'crf'"):
        inside.build((None, None, K))
