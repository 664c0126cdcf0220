"""Sequential: structure, weights, inputs and outputs."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

LENGTHS = [4, 1, 7, 3, 3, 6, 2]


def tagger(seed=0, dtype="float32", **options):
    """Make a model that predicts a class for each token."""
    return lc.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Dense(2, activation="softmax", **options),
        ],
        seed=seed,
        dtype=dtype,
    )


def classifier(seed=0):
    return lc.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.LSTM(3),
            layers.Dense(2, activation="softmax"),
        ],
        seed=seed,
    )


def ragged_ids(rng):
    return [rng.integers(1, 9, length) for length in LENGTHS]


def padded_ids(rows):
    ids = np.zeros((len(rows), max(LENGTHS)), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return ids


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_predictions_come_in_order_and_do_not_depend_on_the_batch(batch_size, rng):
    rows = ragged_ids(rng)
    model = classifier()
    together = model.predict(rows, batch_size=batch_size)
    alone = np.concatenate([model.predict(row[None]) for row in rows])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(model.predict(padded_ids(rows), batch_size), alone)


def test_ragged_predictions_with_a_time_axis_are_a_list(rng):
    rows = ragged_ids(rng)
    model = tagger()
    predictions = model.predict(rows, batch_size=3)
    assert [len(values) for values in predictions] == LENGTHS
    padded = model.predict(padded_ids(rows))
    for place, values in enumerate(predictions):
        np.testing.assert_array_equal(values, padded[place, : len(values)])


def test_ragged_values(rng):
    rows = [rng.standard_normal((length, 3)).astype(np.float32) for length in LENGTHS]
    model = lc.Sequential([layers.LSTM(4), layers.Dense(1)])
    together = model.predict(rows)
    np.testing.assert_array_equal(
        together, np.concatenate([model.predict(row[None]) for row in rows])
    )
    as_lists = [row.tolist() for row in rows]
    np.testing.assert_array_equal(model.predict(as_lists), together)


def test_a_ragged_row_may_be_padded_too(rng):
    model = classifier()
    np.testing.assert_array_equal(model.predict([[1, 2, 0], [3]]), model.predict([[1, 2], [3]]))


def test_nothing_to_predict(rng):
    assert tagger().predict(np.zeros((0, 5), int)).shape == (0, 5, 2)
    assert classifier().predict(np.zeros((0, 5), int)).shape == (0, 2)


def test_rows_without_steps_have_a_prediction():
    model = classifier()
    empty, filled = model.predict([[], [1, 2]])
    # With a state of zeros, the output is softmax(bias) = (1/2, 1/2).
    np.testing.assert_array_equal(empty, np.float32([0.5, 0.5]))
    np.testing.assert_array_equal(model.predict([[1, 2]])[0], filled)


def test_calling_a_model_predicts(rng):
    ids = padded_ids(ragged_ids(rng))
    model = tagger()
    np.testing.assert_array_equal(model(ids), model.predict(ids))


def test_strings_are_accepted_if_the_first_layer_takes_them():
    texts = ["a b c", "b", "c a", ""]
    words = layers.TextVectorization()
    words.adapt(texts)
    model = lc.Sequential(
        [words, layers.Embedding(words.vocabulary_size(), 3), layers.LSTM(2), layers.Dense(1)]
    )
    together = model.predict(texts)
    np.testing.assert_array_equal(model.predict(np.array(texts)), together)
    # Padding to the longest text of the batch changes nothing, even without mask_zero.
    for text, values in zip(texts, together, strict=True):
        np.testing.assert_array_equal(model.predict([text])[0], values)


def test_names_are_unique_and_begin_the_names_of_weights():
    model = lc.Sequential(
        [
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(3, return_sequences=True, name="middle"),
            layers.LSTM(3, return_sequences=True),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1),
        ]
    )
    names = ["lstm", "middle", "lstm_1", "global_max_pooling1d", "dense"]
    assert [layer.name for layer in model.layers] == names
    model.build((None, None, 2))
    assert list(model.weights)[:4] == [
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "lstm.bias_l0",
        "middle.weight_ih_l0",
    ]


def test_all_weights_are_parts_of_one_array():
    model = tagger()
    model.build((None, None))
    parameters = model.parameters
    assert all(np.shares_memory(view, parameters.values) for view in model.weights.values())
    flat = np.concatenate([view.ravel() for view in model.weights.values()])
    np.testing.assert_array_equal(flat, parameters.values)
    assert parameters.gradients.shape == parameters.values.shape == (model.count_params(),)


def test_weights_can_be_read_and_set(rng):
    ids = padded_ids(ragged_ids(rng))
    first, second = tagger(seed=1), tagger(seed=2)
    assert (first.predict(ids) != second.predict(ids)).any()
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(second.predict(ids), first.predict(ids))
    bias = np.float32([1, -1])
    second.set_weights({"dense.bias": bias})
    np.testing.assert_array_equal(second.weights["dense.bias"], bias)
    assert (first.predict(ids) != second.predict(ids)).any()


def test_the_seed_determines_everything():
    one, same, other = tagger(1), tagger(1), tagger(2)
    for model in (one, same, other):
        model.build((None, None))
    np.testing.assert_array_equal(one.parameters.values, same.parameters.values)
    assert (one.parameters.values != other.parameters.values).any()


def test_both_element_types_start_with_the_same_values():
    single, double = tagger(), tagger(dtype="float64")
    single.build((None, None))
    double.build((None, None))
    assert double.predict(np.array([[1, 2]])).dtype == np.float64
    np.testing.assert_array_equal(
        single.parameters.values, double.parameters.values.astype(np.float32)
    )


def test_a_declared_input_builds_at_once():
    model = lc.Sequential([layers.Input((None, 3)), layers.LSTM(2), layers.Dense(1)])
    assert model.built
    assert model.input_shape == (None, None, 3)
    assert model.output_shape == (None, 1)
    assert len(model.layers) == 2
    fixed = lc.Sequential([layers.Input((4, 3)), layers.LSTM(2)])
    with pytest.raises(ValueError, match=r"expected shape \(N, 4, 3\), got \(2, 5, 3\)"):
        fixed.predict(np.zeros((2, 5, 3), np.float32))
    assert fixed.predict([np.zeros((2, 3), np.float32)]).shape == (1, 2)


def test_layers_can_be_added_one_by_one():
    model = lc.Sequential()
    model.add(layers.LSTM(2))
    model.add(layers.Dense(1))
    assert model.predict(np.zeros((1, 2, 3), np.float32)).shape == (1, 1)


def test_a_layer_called_before_keeps_its_weights():
    layer = layers.Dense(2)
    x = np.float32([[1, 2, 3]])
    alone = layer(x)
    model = lc.Sequential([layer], seed=5)
    np.testing.assert_array_equal(model.predict(x), alone)


def test_summary_counts_every_parameter():
    model = tagger()
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[-1] == "Not built yet"
    model.build((None, None))
    lines.clear()
    model.summary(print_fn=lines.append)
    # 9 * 4; 2 * 4 * 3 * (4 + 3 + 1); 6 * 2 + 2.
    assert lines[-1] == f"Parameters: {36 + 192 + 14}"
    assert [line.split()[-1] for line in lines[2:5]] == ["36", "192", "14"]
    assert "bidirectional (Bidirectional)" in lines[3]
    assert "(None, None, 6)" in lines[3]


def test_summary_counts_frozen_parameters():
    model = lc.Sequential([layers.LSTM(3, recurrent_trainable=False)])
    model.build((None, None, 2))
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[-1] == f"Parameters: {12 * (2 + 3 + 1)} (36 trained, 36 frozen)"


def test_many_threads_may_predict_at_once(rng):
    ids = rng.integers(1, 9, (40, 7))
    model = tagger()
    expected = model.predict(ids)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(model.predict, [ids] * 12):
            np.testing.assert_array_equal(result, expected)


def run_python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )


def test_importing_loads_only_what_is_needed():
    code = """
import sys, lstmcore
late = ["tqdm", "safetensors"]
late += ["lstmcore." + name for name in ("sequential", "model", "layers", "training")]
assert not set(late) & set(sys.modules), set(late) & set(sys.modules)
lstmcore.Sequential, lstmcore.optimizers.Adam
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_a_missing_engine_is_explained(tmp_path):
    package = tmp_path / "lstmcore"
    package.mkdir()
    (package / "__init__.py").write_bytes(Path(lc.__file__).read_bytes())
    # Remove the finder of an editable install, which is an object among classes and comes first.
    code = "import sys; sys.meta_path = [f for f in sys.meta_path if isinstance(f, type)]"
    result = run_python(f"{code}; import lstmcore", cwd=tmp_path)
    assert result.returncode != 0
    assert "ImportError: lstmcore's compiled engine is missing" in result.stderr
    assert "pip install . in its source tree" in result.stderr
    assert "make wheel" in result.stderr


def test_public_names_exist():
    assert set(lc.__all__) <= set(dir(lc))
    for name in lc.__all__:
        assert getattr(lc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lc.nothing
