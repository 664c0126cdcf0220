"""The same bits for any number of processes, for every kind of model."""

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import results, run
from lstmcore.distributed.session import shards_of

SIZES = (2, 3, 4)


def texts(rng, count=45):
    """Ragged rows of ids with a class each."""
    x = [rng.integers(1, 30, rng.integers(1, 12)) for _ in range(count)]
    return x, np.array([int(row.sum()) % 3 for row in x])


def tagger(metrics=("accuracy", "f1")):
    """Embedding, dropouts, both directions."""
    model = lc.Sequential(
        [
            lc.layers.Embedding(30, 6),
            lc.layers.Dropout(0.3),
            lc.layers.Bidirectional(lc.layers.LSTM(5, return_sequences=True, dropout=0.2)),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dense(3, "softmax", kernel_regularizer=lc.regularizers.L2(1e-3)),
        ],
        seed=3,
    )
    optimizer = lc.optimizers.Adam(0.01, global_clipnorm=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


def trained(model, x, y=None, **options):
    """Return everything that must be the same: weights, the optimizer's slots, figures."""
    history = model.fit(x, y, verbose=0, **options)
    slots = [slot.tobytes() for slot in model.optimizer.slots.values()]
    state = model.state or {}
    states = [part.tobytes() for pair in state.values() for part in pair]
    return model.parameters.values.tobytes(), slots, states, history.history


def check(make, shards=8, **options):
    """Train in one process and in several; return the figures, which are the same."""
    model, x, y = make()
    before = model.parameters.values.copy() if model.built else None
    alone = trained(model, x, y, distributed=lc.distributed.OneProcess(shards), **options)
    if before is not None:
        assert (before != model.parameters.values).any()
    for size in SIZES:

        def work(played):
            own, x, y = make()
            return trained(own, x, y, distributed=played, **options)

        for found in results(size, work, shards):
            assert found == alone
    return alone[-1]


@pytest.mark.parametrize("shards", [4, 7, 8])
def test_ragged_texts_with_dropout(shards):
    def make():
        return (tagger(), *texts(np.random.default_rng(0)))

    # 45 samples in batches of 16: the last has 13 rows, and each shard one to four.
    figures = check(make, shards, batch_size=16, epochs=2, validation_split=0.2)
    assert set(figures) == {"loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1"}
    assert figures["loss"][1] < figures["loss"][0]


def test_fewer_rows_than_shards():
    def make():
        return (tagger(), *texts(np.random.default_rng(1), 11))

    check(make, 8, batch_size=5, epochs=2)  # batches of 5, 5 and 1


def test_weights_of_samples_and_classes():
    random = np.random.default_rng(2)

    def make():
        return (tagger(), *texts(np.random.default_rng(0)))

    weights = random.random(45)
    weights[::5] = 0.0
    check(make, batch_size=16, sample_weight=weights, class_weight={0: 2.0, 2: 0.5})


def test_masks_and_targets_at_every_step():
    random = np.random.default_rng(3)
    x = random.standard_normal((20, 9, 2))
    y = x.cumsum(axis=1)[:, :, :1]
    mask = random.random((20, 9)) < 0.7

    def make():
        model = lc.Sequential(
            [
                lc.layers.LSTM(6, return_sequences=True, recurrent_dropout=0.2),
                lc.layers.BatchNormalization(),
                lc.layers.GaussianNoise(0.1),
                lc.layers.Dense(1),
            ],
            dtype="float64",
        )
        model.compile("rmsprop", "mse", metrics=["mae", "r2"], weighted_metrics=["mse"])
        return model, x, y

    check(make, batch_size=8, epochs=2, mask=mask, sample_weight=random.random((20, 9)))


def test_windows_and_states_that_pass_on():
    random = np.random.default_rng(4)
    x = random.standard_normal((6, 25, 2)).astype(np.float32)
    y = x.cumsum(axis=1)

    def make():
        model = lc.Sequential(
            [lc.layers.LSTM(5, return_sequences=True), lc.layers.Dense(2)], seed=1
        )
        model.compile(lc.optimizers.SGD(0.1, momentum=0.9), "huber")
        return model, x, y

    check(make, 4, tbptt=7, epochs=2, batch_size=6, stateful=True, shuffle=False)
    check(make, 4, tbptt=10, epochs=1, batch_size=4)
    ragged = [row[: 3 + 4 * place] for place, row in enumerate(x)]

    def make_ragged():
        return make()[0], ragged, [row.cumsum(axis=0) for row in ragged]

    check(make_ragged, 4, tbptt=5, batch_size=4)  # shards whose windows end earlier than others'


def test_batches_from_an_iterable():
    def make():
        x, y = texts(np.random.default_rng(5), 24)
        batches = [(x[at : at + 6], y[at : at + 6]) for at in range(0, 24, 6)]
        return tagger(), batches, None

    check(make, epochs=2, steps_per_epoch=3)


def test_running_text():
    words = lc.layers.TextVectorization(split="raw_character", standardize=None)
    text = "the same bits for any number of processes, whatever they are. " * 6
    words.adapt([text])

    def train(distributed):
        model = lc.LanguageModel(words, 8, seed=2)
        model.compile(lc.optimizers.Adam(0.01))
        history = model.fit_text(
            text, batch_size=6, window=16, validation_split=0.2, verbose=0, distributed=distributed
        )
        return model.parameters.values.tobytes(), history.history

    alone = train(lc.distributed.OneProcess(4))
    assert set(alone[1]) == {"loss", "perplexity", "val_loss", "val_perplexity"}
    for size in (2, 4):
        assert results(size, train, 4) == [alone] * size


def test_a_graph_with_two_outputs():
    random = np.random.default_rng(6)
    x = [random.standard_normal((random.integers(2, 9), 3)) for _ in range(22)]
    side = random.standard_normal((22, 2))
    y = {"kind": random.integers(0, 2, 22), "level": random.standard_normal((22, 1))}

    def make():
        sequence, static = lc.Input((None, 3), name="sequence"), lc.Input((2,), name="static")
        hidden = lc.layers.LSTM(4, dropout=0.1)(sequence)
        joined = lc.layers.Concatenate()([hidden, static])
        outputs = {
            "kind": lc.layers.Dense(2, "softmax")(joined),
            "level": lc.layers.Dense(1)(joined),
        }
        model = lc.Model({"sequence": sequence, "static": static}, outputs, seed=4)
        model.compile(
            "adam",
            {"kind": "sparse_categorical_crossentropy", "level": "mse"},
            metrics={"kind": "accuracy", "level": "mae"},
            loss_weights={"kind": 1.0, "level": 0.3},
        )
        return model, {"sequence": x, "static": side}, y

    figures = check(make, batch_size=9, epochs=2, validation_split=0.3)
    assert "val_level_mae" in figures


def test_an_encoder_and_decoder():
    random = np.random.default_rng(7)
    x = [random.integers(3, 11, random.integers(1, 7)) for _ in range(20)]
    y = [row[::-1] for row in x]

    def make():
        model = lc.EncoderDecoder(
            11,
            11,
            embedding_size=5,
            units=6,
            attention="additive",
            dropout=0.2,
            scheduled_sampling=0.3,
            seed=5,
        )
        model.compile(lc.optimizers.Adam(0.01), metrics=["accuracy"])
        return model, x, y

    check(make, 4, batch_size=8, epochs=2)


def test_sequences_of_labels():
    random = np.random.default_rng(8)
    x = [random.standard_normal((random.integers(6, 12), 2)) for _ in range(13)]
    y = [random.integers(1, 4, random.integers(1, 4)) for _ in x]

    def make():
        model = lc.Sequential(
            [lc.layers.LSTM(4, return_sequences=True), lc.layers.Dense(4, "softmax")], seed=6
        )
        model.compile("adam", lc.losses.CTC())
        return model, x, y

    check(make, 4, batch_size=5)


def test_another_number_of_shards_has_other_bits():
    weights = set()
    for shards in (4, 8):
        x, y = texts(np.random.default_rng(0))
        model = tagger()
        model.fit(x, y, verbose=0, distributed=lc.distributed.OneProcess(shards))
        weights.add(model.parameters.values.tobytes())
    assert len(weights) == 2


def test_the_number_of_shards_follows_the_batch_alone():
    rows = [1, 63, 64, 127, 128, 256, 500, 512, 4096]
    assert [shards_of(count) for count in rows] == [1, 1, 1, 1, 2, 4, 7, 8, 8]


@pytest.mark.parametrize("iterated", [False, True])
def test_shards_by_default(iterated):
    """Those of the batches, for any number of processes that has one each."""
    random = np.random.default_rng(0)
    x = random.standard_normal((300, 4, 2)).astype(np.float32)
    y = x.sum(axis=(1, 2))[:, None]

    def work(distributed):
        model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1)], seed=1)
        model.compile("adam", "mse")
        if iterated:
            batches = [(x[:200], y[:200]), (x[200:], y[200:])]
            model.fit(batches, verbose=0, distributed=distributed)
        else:
            model.fit(x, y, batch_size=200, verbose=0, distributed=distributed)
        return model.parameters.values.tobytes()

    three = work(lc.distributed.OneProcess(3))
    assert work(lc.distributed.OneProcess()) == three
    for size in (2, 3):
        assert results(size, work, None) == [three] * size
    for error in run(4, work, None):
        assert isinstance(error, ValueError)
        assert "batch_size: batches of 200 rows make 3 shards" in str(error)
        assert "4 processes" in str(error)
        assert "pass batch_size=256 or more, fewer processes, or shards=4" in str(error)
