"""Curricula: which samples an epoch uses, beside validation, weights, ragged rows and resuming."""

import math

import numpy as np
import pytest

import lstmcore as lc

COUNT = 40


def model_of(seed=3):
    model = lc.Sequential([lc.layers.LSTM(5), lc.layers.Dense(1)], seed=seed)
    model.compile(lc.optimizers.Adam(0.01), "mse")
    return model


def data(rng, ragged=False):
    lengths = rng.integers(1, 7, COUNT) if ragged else [4] * COUNT
    x = [rng.standard_normal((length, 2)).astype("float32") for length in lengths]
    return (x if ragged else np.array(x)), rng.standard_normal((COUNT, 1)).astype("float32")


class Watched(lc.losses.MeanSquaredError):
    """Remembers the targets of each call."""

    check_gradient = False

    def __init__(self):
        self.seen = []

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        if need_gradient:
            self.seen.append(np.array(targets[:, 0]))
        return super().sum(targets, outputs, weights, scale, need_gradient)


@pytest.mark.parametrize("pace", ["root", "linear", "steps"])
def test_shares(pace):
    curriculum = lc.Curriculum([0.0], pace, start=0.2, epochs=8)
    shares = [curriculum.share(epoch) for epoch in range(12)]
    assert shares[0] == pytest.approx(0.2)
    assert shares[8:] == [1.0] * 4
    assert shares == sorted(shares)
    middle = {"root": math.sqrt(0.04 + 0.96 * 3 / 8), "linear": 0.2 + 0.8 * 3 / 8, "steps": 0.4}
    assert shares[3] == pytest.approx(middle[pace])


@pytest.mark.parametrize("pace", ["root", "linear", "steps"])
def test_shares_by_steps(pace):
    curriculum = lc.Curriculum([0.0], pace, start=0.2, steps=800)
    by_epochs = lc.Curriculum([0.0], pace, start=0.2, epochs=8)
    for epoch in range(12):
        assert curriculum.share(99, 100 * epoch) == by_epochs.share(epoch)
    assert by_epochs.share(3, 5000) == by_epochs.share(3)
    assert repr(curriculum).endswith("start=0.2, steps=800)")


def test_a_pace_of_steps_stays_with_the_easiest_for_longer(rng):
    x, _ = data(rng)
    place = np.arange(COUNT, dtype="float32")
    model = model_of()
    model.compile("adam", Watched())
    curriculum = lc.Curriculum(place, "linear", start=0.1, steps=30)
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(x, place, epochs=14, curriculum=curriculum, **options)
    seen, taken = [list(map(int, targets)) for targets in model.compiled.loss.seen], 0
    for _ in range(14):
        used = max(math.ceil(curriculum.share(0, taken) * COUNT), 4)
        batches = -(-used // 4)
        own = [place for batch in seen[taken : taken + batches] for place in batch]
        assert own == list(range(used))
        taken += batches
    assert taken == len(seen) == model.optimizer.iterations
    assert taken > 30  # so that the last epochs used all samples
    numbers = []
    paced = lc.Curriculum(place, lambda number: numbers.append(number) or 0.5, steps=True)
    model.fit(x, place, epochs=2, curriculum=paced, **options)
    assert numbers == [taken, taken + 5]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("ragged", [True, False])
def test_epochs_use_the_easiest_samples(rng, shuffle, ragged):
    x, _ = data(rng, ragged)
    difficulty = rng.permutation(COUNT).astype(float)
    difficulty[0], difficulty[1] = np.inf, -np.inf
    model = model_of()
    model.compile("adam", loss := Watched())
    curriculum = lc.Curriculum(difficulty, lambda epoch: (0.25, 0.5, 1.0)[epoch])
    place = np.argsort(np.argsort(difficulty)).astype("float32")
    model.fit(
        *(x, place),
        epochs=3,
        batch_size=4,
        shuffle=shuffle,
        curriculum=curriculum,
        verbose=0,
    )
    seen = np.concatenate(model.compiled.loss.seen)
    assert loss is model.compiled.loss
    begin = 0
    for used in (10, 20, 40):
        own = seen[begin : begin + used]
        np.testing.assert_array_equal(np.sort(own), np.arange(used))
        assert (own == np.arange(used)).all() == (not shuffle)
        begin += used
    assert begin == len(seen)


def test_an_epoch_has_a_whole_batch_and_at_most_steps_per_epoch(rng):
    x, y = data(rng)
    model = model_of()
    model.fit(x, y, batch_size=16, curriculum=lc.Curriculum(np.arange(COUNT)), verbose=0)
    assert model.optimizer.iterations == 1
    options = {"curriculum": lc.Curriculum(np.arange(COUNT), lambda epoch: 1), "verbose": 0}
    model.fit(x, y, batch_size=4, steps_per_epoch=3, **options)
    assert model.optimizer.iterations == 4


def test_all_samples_are_the_training_without_a_curriculum(rng):
    x, y = data(rng, ragged=True)
    weights = rng.uniform(0.5, 2, COUNT)
    results = []
    for curriculum in (None, lc.Curriculum(rng.standard_normal(COUNT), lambda epoch: 1.0)):
        model = model_of()
        model.fit(
            *(x, y),
            sample_weight=weights,
            epochs=2,
            batch_size=8,
            validation_split=0.25,
            curriculum=curriculum,
            verbose=0,
        )
        results.append((model.history.history["val_loss"], model.get_weights()))
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_samples_held_out_for_validation_are_never_trained_on(rng):
    x, _ = data(rng)
    model = model_of()
    model.compile("adam", Watched())
    easiest_last = lc.Curriculum(lambda x, y: -y)
    options = {"validation_split": 0.5, "curriculum": easiest_last, "epochs": 12, "verbose": 0}
    model.fit(x, np.arange(COUNT, dtype="float32"), batch_size=5, **options)
    seen = np.concatenate(model.compiled.loss.seen)
    assert seen[:5].min() >= COUNT / 2 - 5
    np.testing.assert_array_equal(np.unique(seen), np.arange(COUNT / 2))


@pytest.mark.parametrize("counted", [{"epochs": 4}, {"steps": 25}])
def test_a_resumed_training_continues_with_the_same_bits(counted, rng, tmp_path):
    x, y = data(rng, ragged=True)
    curriculum = lc.Curriculum(lambda x, y: [len(row) for row in x], "linear", **counted)
    whole, first = model_of(), model_of()
    options = {"curriculum": curriculum, "batch_size": 4, "verbose": 0}
    whole.fit(x, y, epochs=6, **options)
    first.fit(x, y, epochs=2, **options)
    first.save(tmp_path / "half.safetensors")
    again = lc.load(tmp_path / "half.safetensors")
    again.fit(x, y, epochs=6, initial_epoch=again.epoch, **options)
    assert again.optimizer.iterations == whole.optimizer.iterations
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("difficulty", "error", "words"),
    [
        (np.zeros(COUNT - 1), ValueError, r"difficulty: expected shape \(40,\), .* got \(39,\)"),
        (np.full(COUNT, np.nan), ValueError, "difficulty: expected a number .* got nan at 0"),
        (["easy"] * COUNT, TypeError, "difficulty: expected numbers"),
        (lambda x, y: y, ValueError, r"difficulty: expected shape \(40,\), .* got \(40, 1\)"),
    ],
)
def test_wrong_difficulty(rng, difficulty, error, words):
    model = model_of()
    with pytest.raises(error, match=words):
        model.fit(*data(rng), curriculum=lc.Curriculum(difficulty), verbose=0)
    assert not model.built


def test_wrong_options(rng):
    x, y = data(rng)
    with pytest.raises(ValueError, match="pace: expected one of 'root'"):
        lc.Curriculum(y, "cubic")
    with pytest.raises(ValueError, match="start: expected"):
        lc.Curriculum(y, start=0)
    with pytest.raises(ValueError, match="epochs: expected None with steps, .* got 3"):
        lc.Curriculum(y, epochs=3, steps=5)
    with pytest.raises(ValueError, match="steps: expected an integer of at least 1"):
        lc.Curriculum(y, steps=0)
    with pytest.raises(ValueError, match="steps: expected their number with pace='root'"):
        lc.Curriculum(y, steps=True)
    paced = lc.Curriculum(y[:, 0], lambda step: 2.0, steps=True)
    with pytest.raises(ValueError, match="share that pace returns for step 0: expected"):
        model_of().fit(x, y, curriculum=paced, verbose=0)
    with pytest.raises(ValueError, match="share that pace returns for epoch 0: expected"):
        model_of().fit(x, y, curriculum=lc.Curriculum(y[:, 0], lambda epoch: 0.0), verbose=0)
    with pytest.raises(TypeError, match="curriculum: expected an lstmcore.Curriculum"):
        model_of().fit(x, y, curriculum=y, verbose=0)
    with pytest.raises(ValueError, match="curriculum: expected None with stateful"):
        model_of().fit(x, y, curriculum=lc.Curriculum(y[:, 0]), stateful=True, batch_size=8)
    with pytest.raises(ValueError, match="curriculum: expected none alongside x"):
        model_of().fit([(x, y)], curriculum=lc.Curriculum(y[:, 0]), verbose=0)
