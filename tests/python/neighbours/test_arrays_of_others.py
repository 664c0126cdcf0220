"""Tensors, series and frames of PyTorch, pandas and polars in place of arrays."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore._arrays import as_array


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas", reason="pandas is not installed")


@pytest.fixture
def polars():
    return pytest.importorskip("polars", reason="polars is not installed")


CONFIG = lc.LSTMConfig(3, 5)


def make_model(width=2, loss="sparse_categorical_crossentropy"):
    activation = None if loss == "mse" else "softmax"
    model = lc.Sequential(
        [lc.layers.LSTM(4), lc.layers.Dense(width, activation=activation)], seed=0
    )
    model.compile("adam", loss)
    return model


class TestTorch:
    def test_no_copy(self, torch):
        x = torch.randn(4, 6, 3)
        assert as_array(x, "x").ctypes.data == x.data_ptr()
        assert as_array(x.transpose(0, 1), "x").ctypes.data == x.data_ptr()

    def test_functions(self, torch, rng):
        weights = F.init_weights(CONFIG, seed=0)
        x = rng.standard_normal((2, 4, 3)).astype(np.float32)
        expected, _ = F.lstm(x, weights, CONFIG, lengths=[4, 2])
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        y, _ = F.lstm(torch.from_numpy(x), tensors, CONFIG, lengths=torch.tensor([4, 2]))
        assert type(y) is np.ndarray
        assert np.array_equal(y, expected)

    def test_tensors_that_require_gradients(self, torch):
        x = torch.zeros(1, 2, 3, requires_grad=True)
        with pytest.raises(TypeError, match=r"^x: expected .*detach"):
            F.lstm(x, F.init_weights(CONFIG, seed=0), CONFIG)

    def test_types_that_numpy_lacks(self, torch):
        x = torch.zeros(1, 2, 3, dtype=torch.bfloat16)
        message = (
            r"^x: expected an array that NumPy can read.* NumPy has no bfloat16; .*\.float\(\)"
        )
        with pytest.raises(TypeError, match=message):
            F.lstm(x, F.init_weights(CONFIG, seed=0), CONFIG)
        model = make_model()
        with pytest.raises(TypeError, match=message):
            model.predict(x, verbose=0)
        with pytest.raises(TypeError, match=message.replace("bfloat16", "float8_e5m2")):
            model.predict(x.to(torch.float8_e5m2), verbose=0)
        assert model.predict(x.float(), verbose=0).shape == (1, 2)
        halves = model.predict(x.half(), verbose=0)  # a type that NumPy has
        np.testing.assert_array_equal(halves, model.predict(x.float(), verbose=0))

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
    def test_sparse_tensors(self, torch):
        x = torch.eye(3)
        model = lc.Sequential([lc.layers.Dense(1)])
        for thing in (x.to_sparse(), x.to_sparse_csr()):
            with pytest.raises(TypeError, match=r"^x: expected a dense .* pass \.to_dense\(\)$"):
                model.predict(thing, verbose=0)
            assert model.predict(thing.to_dense(), verbose=0).shape == (3, 1)

    def test_tensors_with_a_pending_negation(self, torch):
        weights = F.init_weights(CONFIG, seed=0)
        x = torch.randn(2, 4, 3, dtype=torch.complex64).conj().imag
        assert x.is_neg()
        assert np.array_equal(F.lstm(x, weights, CONFIG)[0], F.lstm(x.clone(), weights, CONFIG)[0])


class TestSciPy:
    @pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "dok", "lil"])
    @pytest.mark.parametrize("interface", ["array", "matrix"])
    def test_sparse(self, kind, interface):
        sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
        x = getattr(sparse, f"{kind}_{interface}")(np.eye(4))
        model = lc.Sequential([lc.layers.Dense(1)])
        model.compile("sgd", "mse")
        message = r"^x: expected a dense array, got a sparse .*; pass \.toarray\(\)$"
        for call in (model.predict, lambda x: model.fit(x, [[1]] * 4), model.evaluate):
            with pytest.raises(TypeError, match=message):
                call(x)
        with pytest.raises(TypeError, match=message.replace("x", "y", 1)):
            model.fit(np.eye(4), x)
        assert model.predict(x.toarray(), verbose=0).shape == (4, 1)


class TestPandas:
    def test_targets_and_weights(self, pandas, rng):
        x = rng.standard_normal((8, 5, 3)).astype(np.float32)
        y, weight = rng.integers(0, 2, 8), rng.random(8)
        # The index is unordered: the order of rows counts, not the labels.
        index = rng.permutation(8)
        expected = make_model()
        expected.fit(x, y, sample_weight=weight, epochs=2, verbose=0)
        model = make_model()
        model.fit(
            x,
            pandas.Series(y, index=index),
            sample_weight=pandas.Series(weight, index=index),
            epochs=2,
            verbose=0,
        )
        assert np.array_equal(model.predict(x), expected.predict(x))

    def test_a_frame_for_each_sequence(self, pandas, rng):
        rows = [rng.standard_normal((steps, 3)).astype(np.float32) for steps in (4, 2, 5)]
        frames = [pandas.DataFrame(row, columns=list("abc")) for row in rows]
        model = make_model()
        assert np.array_equal(model.predict(frames), model.predict(rows))

    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_frames_of_one_call_have_the_same_columns(self, kind, request, rng):
        library = request.getfixturevalue(kind)

        def frame(names):
            return library.DataFrame({name: rng.standard_normal(4) for name in names})

        def frames(*names):
            return [np.zeros((4, 2)), *map(frame, names)]

        y, model, layer = np.zeros(4), make_model(1, "mse"), lc.layers.LSTM(3)
        for odd in ("ba", "ac"):
            x, where = frames("ab", "ab", odd), rf"x\[3\]: .* column {'01'[odd == 'ac']} is "
            wrong = pytest.raises(ValueError, match=rf"^{where}")
            for call in (model.predict, lambda x: model.fit(x, y, verbose=0)):
                with wrong:
                    call(x)
            with wrong:
                model.evaluate(x, y, verbose=0)
            with pytest.raises(ValueError, match=r"^inputs\[2\]: .*'[ab]', got '[bc]'"):
                layer(x[1:])
            data = (frames(odd), y[:2])
            with pytest.raises(ValueError, match=r"^validation_data: x\[1\]: expected the columns"):
                model.fit(frames("ab"), y[:2], validation_data=data, verbose=0)
            with pytest.raises(ValueError, match=r"^batch 1: x\[1\]: expected the columns"):
                model.fit([(frames("ab"), y[:2]), (frames(odd), y[:2])].__iter__(), verbose=0)
        tagger = lc.Sequential([lc.layers.LSTM(2, return_sequences=True)])
        tagger.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"^y\[2\]: expected the columns"):
            tagger.fit(np.zeros((3, 4, 2)), frames("ab", "ba"), verbose=0)
        # The column names of x and y need not agree, nor those of different calls.
        tagger.fit(frames("ab", "ab"), frames("ba", "ba"), verbose=0)
        assert model.predict(frames("ab", "ab")[1:]).shape == (2, 1)
        assert model.predict(frames("ba", "ba")[1:]).shape == (2, 1)

    def test_columns_without_names_are_not_compared(self, pandas, rng):
        rows = [rng.standard_normal((4, 3)) for _ in range(2)]
        named = pandas.DataFrame(rows[0], columns=list("abc"))
        model = make_model()
        x = [named, pandas.DataFrame(rows[1])]
        assert np.array_equal(model.predict(x), model.predict(rows))
        with pytest.raises(ValueError, match=r"x\[1\]: .*column 0 is 'a', got 2"):
            model.predict([named, pandas.DataFrame(rows[1])[[2, 1, 0]]])

    def test_a_frame_of_targets(self, pandas, rng):
        x = rng.standard_normal((8, 5, 3)).astype(np.float32)
        y = rng.standard_normal((8, 2)).astype(np.float32)
        model = make_model(loss="mse")
        loss = model.evaluate(x, y, verbose=0)
        assert model.evaluate(x, pandas.DataFrame(y), verbose=0) == loss

    def test_a_frame_of_ids(self, pandas, rng):
        ids = rng.integers(1, 9, (4, 6))
        model = lc.Sequential([lc.layers.Embedding(9, 3), lc.layers.LSTM(4)], seed=0)
        expected = model.predict(ids)
        assert np.array_equal(model.predict(pandas.DataFrame(ids)), expected)
        assert np.array_equal(model.predict(pandas.Series(list(ids))), expected)
        nullable = pandas.DataFrame(ids).astype("Int64")
        assert np.array_equal(model.predict(nullable), expected)

    def test_texts(self, pandas):
        texts = ["good film", "bad film", "a good one"]
        vectorize = lc.layers.TextVectorization()
        vectorize.adapt(pandas.Series(texts))
        model = lc.Sequential(
            [vectorize, lc.layers.Embedding(20, 3), lc.layers.LSTM(4)],
            seed=0,
        )
        assert np.array_equal(model.predict(pandas.Series(texts)), model.predict(texts))

    @pytest.mark.parametrize("kind", ["Int64", "Float32", "category"])
    def test_missing_values(self, pandas, kind):
        column = pandas.Series([1, None, 0], dtype=kind)
        x = np.zeros((3, 2, 3), np.float32)
        with pytest.raises(ValueError, match=r"^y: expected a value in every place, got 1 missing"):
            make_model().fit(x, column, verbose=0)

    def test_nullable_types_without_missing_values(self, pandas, rng):
        rows = [rng.standard_normal((4, 3)).astype(np.float32)]
        frame = pandas.DataFrame(rows[0], columns=["a", "a", "b"]).astype("Float32")
        model = make_model()
        assert np.array_equal(model.predict([frame]), model.predict(rows))

    def test_mixed_columns(self, pandas):
        frame = pandas.DataFrame({"a": [1.0], "b": ["x"], "c": [2.0]})
        with pytest.raises(TypeError, match=r"^x\[0\]: column 'b': expected numbers, got 'x'"):
            make_model().predict([frame])
        days = pandas.DataFrame({"a": [1.0], "when": pandas.to_datetime(["2020-01-01"])})
        for spoilt in (days, days[["when"]], days.assign(when=days["when"].astype(object))):
            with pytest.raises(TypeError, match=r"^x\[0\]: column 'when': .* dates.* the hour"):
                make_model().predict([spoilt])
        with pytest.raises(TypeError, match="^x: column 'when': expected numbers, got dates"):
            make_model().predict(days)
        with pytest.raises(TypeError, match="^y: expected numbers, got dates"):
            make_model().fit(np.zeros((1, 2, 3)), days["when"], verbose=0)
        late = pandas.DataFrame({"when": days["when"] - days["when"]})
        with pytest.raises(TypeError, match="^y: column 'when': expected numbers, got durations"):
            make_model(1, "mse").fit(np.zeros((1, 2, 3)), late, verbose=0)

    @pytest.mark.parametrize("kind", ["float64", "Float64", "object", "int64", "Int64", "boolean"])
    def test_columns_of_all_types_of_numbers(self, pandas, kind, rng):
        rows = rng.integers(0, 2, (6, 4, 3)).astype(np.float32)
        frames = [pandas.DataFrame(row, columns=list("abc")).astype(kind) for row in rows]
        mixed = [frame.assign(b=frame["b"].astype("float32")) for frame in frames]
        y, weight = rows[:, 0, 0], rows[:, 1, 0] + 1
        expected, model = make_model(), make_model()
        expected.fit(list(rows), y, sample_weight=weight, verbose=0)
        model.fit(
            frames, pandas.Series(y).astype(kind), sample_weight=pandas.Series(weight), verbose=0
        )
        wanted = expected.predict(list(rows))
        assert np.array_equal(model.predict(frames), wanted)
        assert np.array_equal(model.predict(mixed), wanted)

    def test_nan_is_refused_with_its_place(self, pandas):
        frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [0.5, np.nan]})
        with pytest.raises(ValueError, match=r"^x\[1\]\[1, 'b'\] is nan"):
            make_model().predict([frame.fillna(0.0), frame])

    def test_numbers_written_as_strings(self, pandas):
        for column in (pandas.Series(["0", "1"]), pandas.Series(["0", "1"], dtype="category")):
            with pytest.raises(
                TypeError, match="^y: expected numbers, .*; convert digits to numbers"
            ):
                make_model().fit(np.zeros((2, 2, 3)), column, verbose=0)


class TestPolars:
    def test_no_copy(self, polars):
        values = np.arange(4, dtype=np.float32)
        column = polars.Series(values)
        first, second = (as_array(column, "y") for _ in range(2))
        assert np.shares_memory(first, second)

    def test_targets(self, polars, rng):
        x = rng.standard_normal((8, 5, 3)).astype(np.float32)
        y = rng.integers(0, 2, 8)
        model = make_model()
        assert model.evaluate(x, polars.Series(y), verbose=0) == model.evaluate(x, y, verbose=0)

    def test_a_frame_for_each_sequence(self, polars, rng):
        rows = [rng.standard_normal((steps, 3)).astype(np.float32) for steps in (4, 2, 5)]
        frames = [polars.DataFrame(row, schema=list("abc")) for row in rows]
        model = make_model()
        assert np.array_equal(model.predict(frames), model.predict(rows))

    def test_missing_values(self, polars):
        frames = [polars.DataFrame({"a": [1.0, None], "b": [2.0, 3.0], "c": [None, 1.0]})]
        with pytest.raises(ValueError, match=r"^x\[0\]: .* in every place, got 2 missing"):
            make_model().predict(frames)

    def test_columns_that_are_not_numbers(self, polars):
        frame = polars.DataFrame({"a": [1.0], "when": ["2020-01-01"]})
        with pytest.raises(TypeError, match=r"^x\[0\]: column 'when': expected numbers, got .*str"):
            make_model().predict([frame])
        days = frame.with_columns(polars.col("when").str.to_date())
        with pytest.raises(TypeError, match=r"^x\[0\]: column 'when': expected numbers, got dates"):
            make_model().predict([days])
        whole = polars.DataFrame({"a": [1, 2], "b": [True, False], "c": [0.5, 1.5]})
        rows = np.array([[[1, 1, 0.5], [2, 0, 1.5]]], np.float32)
        model = make_model()
        assert np.array_equal(model.predict([whole]), model.predict(list(rows)))

    def test_a_column_of_rows(self, polars):
        rows = [[1, 2, 3], [4, 5]]
        model = lc.Sequential([lc.layers.Embedding(9, 3), lc.layers.LSTM(4)], seed=0)
        expected = model.predict(rows)
        assert np.array_equal(model.predict(polars.Series(rows)), expected)

    def test_texts(self, polars):
        texts = ["good film", "bad film"]
        vectorize = lc.layers.TextVectorization()
        vectorize.adapt(polars.Series(texts))
        model = lc.Sequential([vectorize, lc.layers.Embedding(20, 3), lc.layers.LSTM(4)], seed=0)
        assert np.array_equal(model.predict(polars.Series(texts)), model.predict(texts))
