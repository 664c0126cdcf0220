"""Graphs of layers: what they compute, take and return, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import C, H, N, S, T, ragged, static_model
from lstmcore import layers


def same(one, other):
    np.testing.assert_array_equal(one, other, strict=True)


def stack():
    return [
        layers.LSTM(H, return_sequences=True, dropout=0.2),
        layers.Dropout(0.3),
        layers.Dense(3, "softmax"),
    ]


@pytest.mark.parametrize("rows", ["array", "ragged"])
def test_a_chain_is_a_sequential_bit_by_bit(rows, rng):
    plain = lc.Sequential([layers.Input((None, C)), *stack()], seed=3)
    x = y = lc.Input((None, C))
    for layer in stack():
        y = layer(y)
    graph = lc.Model(x, y, seed=3)
    assert list(graph.weights) == list(plain.weights)
    given = rng.standard_normal((20, T, C)) if rows == "array" else ragged(rng, C, [3, 5, 1, 4] * 5)
    targets = [rng.integers(0, 3, len(row)) for row in given]
    for model in (plain, graph):
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    histories = [
        model.fit(given, targets, 4, epochs=3, validation_split=0.2, verbose=0).history
        for model in (plain, graph)
    ]
    assert histories[0] == histories[1]
    for name, values in plain.weights.items():
        same(graph.weights[name], values)
    for one, other in zip(graph.predict(given), plain.predict(given), strict=True):
        same(one, other)
    assert graph.evaluate(given, targets) == plain.evaluate(given, targets)


def test_the_same_values_in_every_form(rng):
    model = static_model("first state", "float32")
    sequence, static = rng.standard_normal((N, T, C)), rng.standard_normal((N, S))
    expected = model.predict([sequence, static])
    assert expected.shape == (N, 1)
    assert expected.dtype == np.float32
    same(model.predict({"static": static, "sequence": sequence}), expected)
    same(model.predict((list(sequence), static.tolist()), batch_size=2), expected)
    same(model([sequence, static]), expected)
    batches = [(([sequence[:2], static[:2]]),), (([sequence[2:], static[2:]]),)]
    same(model.predict(iter(batches)), expected)
    same(model.predict(iter([{"sequence": sequence, "static": static}])), expected)
    same(model.predict([sequence, static], batch_size=2, steps=1), expected[:2])
    assert model.predict([sequence[:0], static[:0]]).shape == (0, 1)


@pytest.mark.parametrize("how", ["every step", "first state", "before the head"])
def test_rows_of_different_lengths_are_as_if_alone(how, rng):
    model = static_model(how, "float32")
    rows, static = ragged(rng), rng.standard_normal((N, S))
    together = model.predict([rows, static])
    padded = np.full((N, T, C), np.nan)
    mask = np.zeros((N, T), bool)
    for at, row in enumerate(rows):
        same(together[at], model.predict([row[None], static[at : at + 1]])[0])
        mask[at, T - len(row) :] = True  # padding on the left
        padded[at, T - len(row) :] = row
    same(model.predict([padded, static], mask=mask), together)
    same(model.predict([padded, static], mask={"sequence": mask}), together)


def test_a_mask_with_outputs_at_every_step(rng):
    sequence, static = lc.Input((None, C), name="sequence"), lc.Input((S,), name="static")
    both = layers.Concatenate()([sequence, static])
    steps = layers.Dense(2, name="steps")(layers.LSTM(H, return_sequences=True)(both))
    model = lc.Model([sequence, static], {"steps": steps, "end": layers.LSTM(2, name="end")(steps)})
    x, static = rng.standard_normal((N, T, C)), rng.standard_normal((N, S))
    mask = rng.random((N, T)) > 0.4
    mask[0] = False
    rows = [x[n][mask[n]] for n in range(N)]
    found, expected = model.predict([x, static], mask=mask), model.predict([rows, static])
    same(found["end"], expected["end"])
    for n in range(N):
        same(found["steps"][n][mask[n]], expected["steps"][n])
        assert not found["steps"][n][~mask[n]].any()
    targets = {"steps": rng.standard_normal((N, T, 2)), "end": rng.standard_normal((N, 2))}
    model.compile("sgd", "mse")
    masked = model.test_on_batch([x, static], targets, mask=mask)
    targets["steps"] = [targets["steps"][n][mask[n]] for n in range(N)]
    assert masked == model.test_on_batch([rows, static], targets)


def test_padding_that_layers_find_ends_rows_in_every_branch(rng):
    words, other = lc.Input((None,), name="words"), lc.Input((None, C), name="other")
    both = layers.Concatenate()([layers.Embedding(9, H, mask_zero=True)(words), other])
    model = lc.Model([words, other], layers.GlobalAveragePooling1D()(both))
    ids, x = np.array([[1, 2, 3, 0], [4, 0, 0, 0]]), rng.standard_normal((2, 4, C))
    found = model.predict([ids, x])
    same(found[:1], model.predict([ids[:1, :3], x[:1, :3]]))
    same(found[1:], model.predict([ids[1:, :1], x[1:, :1]]))
    marked = lc.Input((None, C), name="marked")
    y = layers.LSTM(H)(layers.Masking(9.0)(marked))
    masking = lc.Model(
        [marked, words],
        layers.Add()([y, layers.LSTM(H)(layers.Embedding(9, H, mask_zero=True)(words))]),
    )
    gaps = x.copy()
    gaps[0, 1] = gaps[1, 2:] = 9.0
    expected = masking.predict([[x[0, [0, 2, 3]], x[1, :2]], [[1, 2, 3], [4]]])
    same(masking.predict([gaps, ids]), expected)


def test_names_shapes_summary_and_repr():
    model = static_model("first state")
    assert model.input_names == ["sequence", "static"]
    assert model.output_names == ["head"]
    assert model.input_shape == [(None, None, C), (None, S)]
    assert model.output_shape == (None, 1)
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "lstm", "head"]
    lines = []
    model.summary(lines.append)
    assert any(
        "lstm (LSTM)" in line and "sequence (Input), dense, dense_1" in line for line in lines
    )
    assert "4 layers" in repr(model)
    assert "sequence (N, T, 3), static (N, 2) -> head (N, 1), float64" in repr(model)
    unnamed = lc.Input((2,)), lc.Input((2,))
    added = lc.Model(unnamed, [layers.Add()(unnamed), layers.Subtract()(unnamed)])
    assert added.input_names == ["input", "input_1"]
    assert added.output_names == ["add", "subtract"]
    assert repr(lc.Input((None, 3), name="a", dtype="float32")) == (
        "Input((None, 3), name='a', dtype='float32')"
    )


def test_layers_are_found_frozen_and_filled_as_in_any_model(rng, tmp_path):
    model, other = static_model("first state"), static_model("first state")
    other.set_weights([weight + 1 for weight in other.get_weights()])
    assert model.get_layer("lstm") is model.layers[2]
    assert model.load_weights(other).loaded == ["dense", "dense_1", "lstm", "head"]
    same(model.weights["head.kernel"], other.weights["head.kernel"])
    other.save(tmp_path / "a.safetensors")
    model.trainable = False
    assert not model.trainable
    model.get_layer("head").trainable = True
    model.compile("sgd", "mse")
    before = model.weights["lstm.weight_hh_l0"].copy()
    x, y = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))], rng.standard_normal(N)
    model.fit(x, y, verbose=0)
    same(model.weights["lstm.weight_hh_l0"], before)
    assert (model.weights["head.kernel"] != other.weights["head.kernel"]).all()
    assert model.load_weights(tmp_path / "a.safetensors").unused == []
    same(model.weights["head.kernel"], other.weights["head.kernel"])


def test_copies_are_equal_and_independent(rng):
    model = static_model("every step")
    x = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))]
    expected = model.predict(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(twin.predict(x), expected)
        twin.set_weights([np.zeros_like(weight) for weight in twin.get_weights()])
        assert not twin.predict(x).any()
        same(model.predict(x), expected)


def test_a_quantized_graph(rng, tmp_path):
    model = static_model("first state", "float32")
    x = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))]
    small = lc.quantize(model)
    report = lc.quantization_report(model, small, x)
    assert report.rows == N
    assert 0 < report.relative_rms < 0.1
    small.save(tmp_path / "small.safetensors")
    same(lc.load(tmp_path / "small.safetensors").predict(x), small.predict(x))


# ---- what is refused ----------------------------------------------------------------------------

SEQUENCE, STATIC = np.zeros((N, T, C)), np.zeros((N, S))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([SEQUENCE], "x: expected a dict by name or a list .* sequence, static, got 1 entries"),
        (SEQUENCE, "x: expected a dict by name or a list with one entry .*2 inputs"),
        ({"sequence": SEQUENCE}, "x: expected the inputs sequence, static, got none for static"),
        ({"sequence": SEQUENCE, "statik": STATIC}, "got 'statik'; did you mean 'static'"),
        ([SEQUENCE, STATIC[:1]], r"x\['static'\]: expected 3 samples like x\['sequence'\], got 1"),
        ([SEQUENCE, np.zeros((N, 7))], r"x\['static'\]: expected shape .N, 2., got .3, 7."),
        ([SEQUENCE[..., 0], STATIC], r"x\['sequence'\]: expected shape"),
        ([SEQUENCE * np.nan, STATIC], r"x\['sequence'\]"),
    ],
)
def test_data_that_does_not_fit(x, message):
    model = static_model("first state")
    with pytest.raises(ValueError, match=message):
        model.predict(x)


def test_branches_that_meet_must_have_the_same_steps(rng):
    a, b = lc.Input((None, C), name="a"), lc.Input((None, C), name="b")
    model = lc.Model([a, b], layers.LSTM(2)(layers.Add(name="meet")([a, b])))
    with pytest.raises(ValueError, match="layer 'meet': .*same steps, got 5 and 4 in row 0"):
        model.predict([ragged(rng), ragged(rng, C, [4, 2, 4])])
    with pytest.raises(ValueError, match="layer 'meet': .*as many steps, got 5 and 4"):
        model.predict([np.zeros((N, 5, C)), np.zeros((N, 4, C))])
    with pytest.raises(ValueError, match="layer 'meet': .*rows of a list beside an array"):
        model.predict([ragged(rng), np.zeros((N, 5, C))])
    with pytest.raises(ValueError, match="mask: expected a dict by name .*a, b"):
        model.predict([SEQUENCE, SEQUENCE], mask=np.ones((N, T), bool))


def x_of(*shape):
    return lc.Input(shape)


REFUSED = {
    "the same input twice": lambda x: lc.Model([x, x], layers.LSTM(2)(x)),
    "an input that leads nowhere": lambda x: lc.Model([x, x_of(2)], layers.LSTM(2)(x)),
    "an input that is missing": lambda x: lc.Model(x_of(2), layers.LSTM(2)(x)),
    "no output": lambda x: lc.Model(x, []),
    "an input as output": lambda x: lc.Model(x, x),
    "an array as output": lambda x: lc.Model(x, np.zeros(3)),
    "a layer as input": lambda x: lc.Model(layers.Dense(2), layers.LSTM(2)(x)),
    "a single input to merge": lambda x: layers.Add()([x]),
    "a merge without a list": lambda x: layers.Add()(x),
    "widths that differ": lambda x: layers.Add()([x, x_of(None, 7)]),
    "steps side by side": lambda x: layers.Concatenate(1)([x, x]),
    "an array beside a symbol": lambda x: layers.Add()([x, np.zeros((2, T, C))]),
    "two inputs for one": lambda x: layers.Dense(2)([x, x]),
    "states of another width": lambda x: layers.LSTM(H)(x, initial_state=[x_of(2), x_of(2)]),
    "one state of two": lambda x: layers.LSTM(H)(x, initial_state=[x_of(H)]),
    "lengths of symbols": lambda x: layers.LSTM(H)(x, lengths=[1, 2]),
    "training of symbols": lambda x: layers.Dropout(0.5)(x, training=True),
    "a stateful layer": lambda x: layers.LSTM(H, stateful=True)(x),
    "an inner Masking": lambda x: lc.Model(x, layers.Masking()(layers.Dense(2)(x))),
    "a cell": lambda x: lc.Model(i := x_of(2), layers.LSTMCell(2)(i)),
    "inner ids": lambda x: lc.Model(x, layers.Embedding(3, 2)(layers.LSTM(2)(x))),
    "a name twice": lambda x: lc.Model(x, layers.Dense(2, name="a")(layers.Dense(2, name="a")(x))),
    "a query that is missing": lambda x: layers.Attention(query_size=2)(x),
    "a query too many": lambda x: layers.Attention()(x, x_of(2)),
    "a type that does not fit": lambda x: lc.Model(
        i := lc.Input((None, C), dtype="int32"), layers.LSTM(2)(i)
    ),
    "another width of a shared layer": lambda x: (
        shared := layers.Dense(2),
        shared(x),
        shared(x_of(None, 7)),
    ),
}


MESSAGES = {
    "the same input twice": "inputs: expected different inputs, got the same one twice",
    "an input that leads nowhere": "inputs: 'input' leads to none of the outputs",
    "an input that is missing": r"inputs: expected Input\(.*\) among them, since the outputs",
    "no output": "outputs: expected at least one symbol, got none",
    "an input as output": r"outputs: expected the output of a layer, got Input\(.*, an input",
    "an array as output": "outputs: expected what layers return when they are called on symbols",
    "a layer as input": r"inputs: expected what Input\(shape\) returns, got Dense",
    "a single input to merge": "Add: expected a list of at least two inputs, got 1",
    "a merge without a list": "Add: expected a list of at least two inputs, got 1",
    "widths that differ": "Add: expected inputs of the same width, got 3, 7; Concatenate joins",
    "steps side by side": "axis: expected -1, the axis of features, got 1",
    "an array beside a symbol": r"Add: expected only symbols, such as Input\(shape\), got an array",
    "two inputs for one": "Dense: expected one input, got 2",
    "states of another width": "initial_state: expected h and c of each layer and direction",
    "one state of two": "initial_state: expected h and c of each layer and direction, of shapes",
    "lengths of symbols": "LSTM: lengths is for calling the layer on arrays",
    "training of symbols": "Dropout: training is for calling the layer on arrays",
    "a stateful layer": "LSTM: expected stateful=False in a graph",
    "an inner Masking": "layer 'masking': Masking must take an input",
    "a cell": "LSTMCell: computes one step; in a model wrap it",
    "inner ids": "layer 'embedding': takes token ids, so it must take an input",
    "a name twice": "layers: the name 'a' is taken",
    "a query that is missing": "query: expected one, since the layer has query_size",
    "a query too many": "query: expected none, since the layer has no query_size",
    "a type that does not fit": "'input': expected dtype to be float32 or float64.* got 'int32'",
    "another width of a shared layer": r"Dense: expected inputs of shape \(N, T, 3\) like those of",
}


@pytest.mark.parametrize("what", REFUSED)
def test_graphs_that_are_refused(what):
    with pytest.raises((TypeError, ValueError), match=MESSAGES[what]):
        REFUSED[what](lc.Input((None, C), name="x"))


def test_a_layer_is_in_one_model(rng):
    x = lc.Input((None, C))
    lstm = layers.LSTM(H)
    model = lc.Model(x, lstm(x))
    with pytest.raises(ValueError, match="belongs to a model already; give it a copy"):
        lstm(lc.Input((None, C)))
    copied = lstm.copy()
    again = lc.Input((None, C))
    twin = lc.Model(again, copied(again))
    given = rng.standard_normal((N, T, C))
    same(twin.predict(given), model.predict(given))
    with pytest.raises(ValueError, match="twice|belongs"):
        lc.Sequential([lstm]).build((None, None, C))


def test_a_symbol_is_not_an_array():
    x = lc.Input((None, C))
    y = layers.LSTM(H)(x)
    for function in (np.asarray, lc.Sequential([layers.Dense(2)]), lc.Model(x, y).predict):
        with pytest.raises(TypeError, match="a symbol, which has none.*Only layers are called on"):
            function(y)
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(y)
    with pytest.raises(TypeError, match="no loop"):
        list(y)
    assert repr(y) == "<Symbol (N, 4) of LSTM>"


def test_what_only_a_sequential_does(rng):
    model = static_model("first state")
    model.compile("sgd", "mse")
    x, y = [SEQUENCE, STATIC], np.zeros(N)
    for options in ({"tbptt": 2}, {"stateful": True}, {"reset": np.zeros((N, T), bool)}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: not for Model"):
            model.fit(x, y, verbose=0, **options)
    with pytest.raises(ValueError, match="^return_state: not for Model"):
        model.train_on_batch(x, y, return_state=True)


def test_no_report_about_several_outputs():
    x = lc.Input((C,))
    model = lc.Model(x, [layers.Dense(2)(x), layers.Dense(1)(x)])
    with pytest.raises(ValueError, match="model: expected one with a single output, got one with"):
        lc.quantization_report(model, lc.quantize(model), np.zeros((N, C)))


def test_a_graph_of_a_crf_and_a_simple_rnn(rng):
    x = lc.Input((None, C))
    h, state = layers.SimpleRNN(H, return_sequences=True, return_state=True)(x)
    tags = layers.CRF(3)(layers.Dense(3)(h))
    model = lc.Model(x, {"tags": tags, "value": layers.Dense(1)(state)})
    model.compile(lc.optimizers.Adam(3e-2), {"tags": "crf", "value": "mse"})
    given = rng.standard_normal((N, T, C))
    y = {"tags": rng.integers(0, 3, (N, T)), "value": given[:, 0, :1]}
    losses = model.fit(given, y, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    found = model.predict(given)
    assert found["tags"].shape == (N, T)
    assert found["tags"].dtype == np.int64
    with pytest.raises(ValueError, match="Dense: no layer may follow a CRF"):
        layers.Dense(2)(tags)
