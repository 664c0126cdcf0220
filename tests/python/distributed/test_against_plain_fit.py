"""Shards compute what `fit` computes: the same bits with one shard, rounding apart with several."""

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import run


def data(rng):
    x = [rng.standard_normal((length, 3)) for length in rng.integers(2, 12, 37)]
    y = [row.cumsum(axis=0)[:, :2] for row in x]
    weights = [rng.integers(0, 3, len(row)).astype(np.float64) for row in x]
    return x, y, weights


def model_of(optimizer=None, seed=0):
    """Ragged rows in float64, with penalties and a constraint, without anything random."""
    model = lc.Sequential(
        [
            lc.layers.Conv1D(4, 2, padding="causal", activation="tanh"),
            lc.layers.LSTM(5, return_sequences=True, kernel_regularizer=lc.regularizers.L2(1e-3)),
            lc.layers.Dense(2, kernel_constraint="max_norm"),
        ],
        seed=seed,
        dtype="float64",
    )
    optimizer = optimizer or lc.optimizers.Adam(0.01, global_clipnorm=0.3)
    model.compile(optimizer, "mse", metrics=["mae", "r2"], weighted_metrics=["mse"])
    return model


def fitted(distributed, rng, optimizer=None, **options):
    x, y, weights = data(rng)
    model = model_of(optimizer)
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=3,
        verbose=0,
        sample_weight=weights,
        validation_split=0.2,
        distributed=distributed,
        **options,
    )
    return model, history.history


def test_one_shard_is_plain_fit(rng):
    seed = rng.integers(1000)
    plain, expected = fitted(None, np.random.default_rng(seed))
    one, found = fitted(lc.distributed.OneProcess(1), np.random.default_rng(seed))
    assert one.parameters.values.tobytes() == plain.parameters.values.tobytes()
    assert found == expected


@pytest.mark.parametrize("shards", [2, 5, 8, 16])
def test_several_shards_differ_by_rounding(shards, rng):
    seed = rng.integers(1000)
    plain, expected = fitted(None, np.random.default_rng(seed))
    model, found = fitted(lc.distributed.OneProcess(shards), np.random.default_rng(seed))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11)
    # Adam divides by the root of squared gradients, so rounding grows from 1e-16 to this.
    np.testing.assert_allclose(model.parameters.values, plain.parameters.values, atol=1e-11)
    assert (model.parameters.values != plain.parameters.values).any()


def test_the_gradient_is_that_of_the_mean_over_all_rows(rng):
    """One step of SGD against finite differences of the loss of the whole batch."""
    x, y, weights = data(rng)
    model = model_of(lc.optimizers.SGD(1.0))
    model.build((None, None, 3))
    before = model.parameters.values.copy()
    model.fit(
        x,
        y,
        batch_size=64,
        sample_weight=weights,
        verbose=0,
        shuffle=False,
        distributed=lc.distributed.OneProcess(4),
    )
    step = before - model.parameters.values
    # A constraint changes what it is about after the step.
    free = [name for name, spec in model.parameters.specs.items() if spec.constraint is None]

    def loss_at(values):
        model.parameters.values[:] = values
        model.parameters.touch()
        return model.evaluate(x, y, 64, 0, weights, return_dict=True)["loss"]

    begin, checked = 0, 0
    for name, spec in model.parameters.specs.items():
        size = int(np.prod(spec.shape))
        if name in free:
            for place in rng.choice(size, min(size, 3), replace=False):
                moved = before.copy()
                moved[begin + place] += 1e-6
                above = loss_at(moved)
                moved[begin + place] -= 2e-6
                slope = (above - loss_at(moved)) / 2e-6
                assert step[begin + place] == pytest.approx(slope, rel=1e-5, abs=1e-8)
                checked += 1
        begin += size
    assert checked > 10


def test_moving_averages_go_to_the_mean_of_the_shards(rng):
    x, y = rng.standard_normal((6, 4, 2)), rng.standard_normal((6, 4, 2))

    def averages(distributed, rows):
        model = lc.Sequential([lc.layers.BatchNormalization(momentum=0.75)], dtype="float64")
        model.compile("sgd", "mse")
        model.fit(x[rows], y[rows], 6, shuffle=False, verbose=0, distributed=distributed)
        return model.weights["batch_normalization.moving_mean"]

    found = averages(lc.distributed.OneProcess(2), slice(None))
    halves = [averages(None, slice(0, 3)), averages(None, slice(3, 6))]
    np.testing.assert_allclose(found, np.mean(halves, axis=0), rtol=1e-13)
    np.testing.assert_allclose(found, 0.25 * x.mean(axis=(0, 1)), rtol=1e-13)


def test_a_step_that_would_spoil_the_weights_is_refused(rng):
    x, y = rng.standard_normal((8, 4, 2)), rng.standard_normal((8, 2))
    y[3] = 1e200
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(2)], dtype="float64")
    model.compile("sgd", "mse")
    model.build((None, None, 2))
    before = model.parameters.values.copy()
    with pytest.raises(FloatingPointError, match="the loss is inf in step 1 of the optimizer"):
        model.fit(x, y, 8, verbose=0, distributed=lc.distributed.OneProcess(4))
    assert model.parameters.values.tobytes() == before.tobytes()
    stopping = lc.callbacks.TerminateOnNaN()
    with np.errstate(all="ignore"):
        history = model.fit(x, y, 8, 3, 0, stopping, distributed=lc.distributed.OneProcess(4))
    assert history.epoch == [0]
    assert history.stop_reason == "the loss was not a finite number"


def test_large_gradients_of_embeddings_are_looked_at_too():
    """Each shard's is known to be finite, their sum is not."""
    model = lc.Sequential(
        [
            lc.layers.Embedding(3, 1, name="words"),
            lc.layers.GlobalAveragePooling1D(),
            lc.layers.Dense(1, use_bias=False, name="factor"),
        ]
    )
    model.compile(lc.optimizers.SGD(1e-30), "mae")
    model.build((None, None))
    model.set_weights([np.zeros((3, 1)), np.full((1, 1), 5.0)])
    before = model.parameters.values.copy()
    ids, y = np.ones((64, 1), int), np.full((64, 1), -1.0)
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="a gradient of the"):
        model.fit(
            ids,
            y,
            64,
            verbose=0,
            sample_weight=np.full(64, 3e38),  # over 64 rows and times 5: 2e37 a shard
            distributed=lc.distributed.OneProcess(64),
        )
    assert model.parameters.values.tobytes() == before.tobytes()


def test_refused_arguments():
    model = model_of()
    x = np.zeros((4, 3, 3))
    y = np.zeros((4, 3, 2))
    with pytest.raises(TypeError, match=r"distributed: expected lstmcore.distributed.MPI\(\)"):
        model.fit(x, y, distributed="mpi")
    for wrong in (0, -1, 2.5):
        with pytest.raises((TypeError, ValueError), match="shards"):
            lc.distributed.OneProcess(wrong)
    options = lc.distributed.OneProcess(4)
    assert repr(options) == "OneProcess(shards=4)"
    with pytest.raises(AttributeError, match="fixed when the object is made"):
        options.shards = 8


def test_metrics_that_cannot_merge_are_named(rng):
    class Rows(lc.metrics.Metric):
        def reset(self):
            self.rows = 0

        def accumulate(self, targets, outputs, weights):
            self.rows += len(outputs)

        def result(self):
            return float(self.rows)

    model = model_of()
    model.compile("sgd", "mse", metrics=[Rows("rows")])
    x, y, _ = data(rng)
    with pytest.raises(ValueError, match="metrics: 'rows' cannot be gathered .* and merge"):
        model.fit(x, y, verbose=0, distributed=lc.distributed.OneProcess())
    assert not model.built


@pytest.mark.parametrize(
    ("sequences", "normalized", "expected"),
    [
        (False, False, "forward backward " * 4),
        (True, False, "forward " * 4 + "backward " * 4),  # the mean counts steps of all shards
        (False, True, "forward " * 4 + "backward " * 4),  # moving averages are those of all
    ],
)
def test_the_tape_of_a_shard_is_freed_before_the_next(sequences, normalized, expected, rng):
    layers = [lc.layers.LSTM(3, return_sequences=sequences), lc.layers.Dense(1)]
    if normalized:
        layers.insert(1, lc.layers.BatchNormalization())
    model = lc.Sequential(layers)
    model.compile("adam", "mse")
    model.build((None, 5, 2))
    seen, forward, backward = [], model._forward_from, model.backward
    model._forward_from = lambda *given: seen.append("forward") or forward(*given)
    model.backward = lambda *given: seen.append("backward") or backward(*given)
    x = rng.standard_normal((8, 5, 2)).astype(np.float32)
    y = x[:, :, :1] if sequences else x[:, 0, :1]
    model.fit(x, y, verbose=0, distributed=lc.distributed.OneProcess(4))
    assert seen == expected.split()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stateful_validation_refuses_a_batch_of_another_size(processes):
    """As plain `fit` does, though none of the shards has more rows than before."""
    random = np.random.default_rng(0)
    x = random.standard_normal((8, 6, 2)).astype(np.float32)
    y = x.sum(axis=2, keepdims=True)

    def train(distributed):
        model = lc.Sequential([lc.layers.LSTM(3, return_sequences=True), lc.layers.Dense(1)])
        model.compile("sgd", "mse")
        held_out = Uneven([(x[:4], y[:4]), (x[4:7], y[4:7])])
        model.fit(x, y, 4, 1, 0, stateful=True, validation_data=held_out, distributed=distributed)

    with pytest.raises(ValueError, match="expected a batch of 4 rows") as plain:
        train(None)
    for error in run(processes, train, shards=8):
        assert str(plain.value) in str(error)  # one may quote the other


class Uneven(list):
    """Batches, as a sequence of them."""
