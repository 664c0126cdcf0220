"""Batches from PyTorch's loaders and Keras' data sets."""

import os

import numpy as np
import pytest

import lstmcore as lc

os.environ.setdefault("KERAS_BACKEND", "torch")

N, T, C, SIZE = 20, 5, 3, 8


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture
def keras(torch):
    return pytest.importorskip("keras", reason="Keras is not installed")


@pytest.fixture
def data(rng):
    x = rng.standard_normal((N, T, C))
    return x, (x[:, 0, 0] > 0).astype(np.int64), rng.random(N)


def make_model():
    model = lc.Sequential([lc.layers.LSTM(4), lc.layers.Dense(2, activation="softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained_on_arrays(x, y, weights=None):
    model = make_model()
    history = model.fit(
        x,
        y,
        SIZE,
        sample_weight=weights,
        epochs=3,
        shuffle=False,
        validation_data=(x, y),
        validation_batch_size=SIZE,
        verbose=0,
    )
    return model, history.history


def check(model, history, loader, data, weighted):
    """Compare with a model that was trained on arrays, then evaluate and predict with `loader`."""
    x, y, weights = data
    reference, wanted = trained_on_arrays(x, y, weights if weighted else None)
    assert history.history["loss"] == wanted["loss"]
    for one, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert model.evaluate(loader, verbose=0) == reference.evaluate(
        x, y, SIZE, sample_weight=weights if weighted else None, verbose=0
    )
    assert np.array_equal(model.predict(loader, verbose=0), reference.predict(x, verbose=0))


class TestTorch:
    def loader(self, torch, *arrays, **options):
        tensors = [torch.from_numpy(array) for array in arrays]
        data = torch.utils.data.TensorDataset(*tensors)
        return torch.utils.data.DataLoader(data, batch_size=SIZE, **options)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_loaders_train_as_arrays_do(self, torch, weighted, data):
        loader = self.loader(torch, *data[: 3 if weighted else 2])  # float64 tensors, in lists
        model = make_model()
        history = model.fit(loader, epochs=3, validation_data=loader, verbose=0)
        check(model, history, loader, data, weighted)

    def test_predict_with_inputs_alone(self, torch, data):
        model = make_model()
        expected = model.predict(data[0], verbose=0)
        assert np.array_equal(model.predict(self.loader(torch, data[0]), verbose=0), expected)
        plain = torch.utils.data.DataLoader(torch.from_numpy(data[0]), batch_size=SIZE)
        assert np.array_equal(model.predict(plain, verbose=0), expected)

    def test_shuffling_is_up_to_the_loader(self, torch, data):
        loader = self.loader(torch, *data[:2], shuffle=True, drop_last=True)
        history = make_model().fit(loader, epochs=2, validation_data=data[:2], verbose=0)
        assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
        with pytest.raises(ValueError, match="^shuffle: expected none alongside x that yields"):
            make_model().fit(loader, shuffle=True, verbose=0)

    def test_rows_of_different_lengths(self, torch, data):
        rows = [row[: 2 + number % 4] for number, row in enumerate(data[0])]

        def collate(samples):
            return [torch.from_numpy(x) for x, _ in samples], torch.tensor([y for _, y in samples])

        loader = torch.utils.data.DataLoader(
            list(zip(rows, data[1], strict=True)), batch_size=SIZE, collate_fn=collate
        )
        reference, model = make_model(), make_model()
        wanted = reference.fit(rows, data[1], SIZE, shuffle=False, verbose=0)
        assert model.fit(loader, verbose=0).history == wanted.history

    def test_an_iterable_data_set_has_no_length(self, torch, data):
        class Numbers(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(zip(*data[:2], strict=True))

        loader = torch.utils.data.DataLoader(Numbers(), batch_size=SIZE)
        note = lc.callbacks.LambdaCallback()
        model = make_model()
        history = model.fit(loader, epochs=3, callbacks=note, verbose=0)
        assert note.params["steps"] is None
        check(model, history, loader, data, weighted=False)

    def test_data_sets_of_samples_need_a_loader(self, torch, data):
        samples = torch.utils.data.TensorDataset(torch.zeros(4, T, C), torch.zeros(4))

        class Numbers(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(samples)

        for source in (samples, Numbers()):
            for call in (make_model().fit, make_model().evaluate, make_model().predict):
                with pytest.raises(TypeError, match="^x: .* single samples.*DataLoader"):
                    call(source, verbose=0)
            with pytest.raises(TypeError, match="^validation_data: .* single samples.*DataLoader"):
                make_model().fit(*data[:2], validation_data=source, verbose=0)

    def test_a_spoilt_batch(self, torch, data):
        x = data[0].copy()
        x[11, 2, 1] = np.nan
        loader = self.loader(torch, x, data[1])
        with pytest.raises(ValueError, match=r"^batch 1: x\[3, 2, 1\] is nan"):
            make_model().fit(loader, verbose=0)

    def test_an_encoder_decoder(self, torch, rng):
        tokens = rng.integers(3, 6, (12, 4))
        loader = self.loader(torch, tokens, tokens)
        models = [lc.EncoderDecoder(6, 6, embedding_size=3, units=4) for _ in range(2)]
        for model in models:
            model.compile()
        wanted = models[0].fit(tokens, tokens, SIZE, epochs=2, shuffle=False, verbose=0)
        assert models[1].fit(loader, epochs=2, verbose=0).history == wanted.history
        found = models[1].predict(loader, verbose=0)
        assert all(map(np.array_equal, found, models[0].predict(tokens, verbose=0)))


class TestKeras:
    def test_a_data_set(self, keras, data):
        class Batches(keras.utils.PyDataset):
            epochs = 0

            def __len__(self):
                return -(-N // SIZE)

            def __getitem__(self, number):
                rows = slice(number * SIZE, (number + 1) * SIZE)
                return tuple(part[rows] for part in data[:2])

            def on_epoch_end(self):
                self.epochs += 1

        source = Batches()
        model = make_model()
        history = model.fit(source, epochs=3, validation_data=Batches(), verbose=0)
        assert source.epochs == 3
        check(model, history, source, data, weighted=False)

    def test_an_endless_data_set(self, keras, data):
        class Batches(keras.utils.PyDataset):
            @property
            def num_batches(self):
                return None

            def __getitem__(self, number):
                return tuple(part[:SIZE] for part in data[:2])

        history = make_model().fit(Batches(), steps_per_epoch=2, epochs=2, verbose=0)
        assert history.epoch == [0, 1]
        with pytest.raises(ValueError, match="^steps_per_epoch: .* does not say how many"):
            make_model().fit(Batches(), verbose=0)
