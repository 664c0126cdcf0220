"""The Attention layer: formulas, exact gradients, ragged rows, attention weights, files."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _core
from lstmcore.layers import Attention
from reference import derivative, relative_error

LENGTHS = np.array([5, 2, 0, 4])  # a full row, short ones, an empty one

KINDS = {
    "additive": lambda **more: Attention("additive", 3, **more),
    "multiplicative": lambda **more: Attention("multiplicative", 3, **more),
    "as wide as x": lambda **more: Attention("multiplicative", **more),
    "scaled": lambda **more: Attention("multiplicative", 3, scale=True, **more),
}
WITH_QUERY = {
    "additive": lambda: Attention("additive", 3, query_size=6),
    "multiplicative": lambda: Attention("multiplicative", query_size=6),
    "scaled": lambda: Attention("multiplicative", 6, query_size=6, scale=True),
}


def spread(layer, rng):
    """Set every weight of a built layer to random values."""
    layer.set_weights(
        [rng.normal(size=values.shape).astype(values.dtype) for values in layer.get_weights()]
    )
    return layer


def reference(layer, x, lengths, query=None):
    """Compute context and weights in plain loops; query is (N, S, Q) or None."""
    w = {name: np.asarray(value, np.float64) for name, value in layer.weights.items()}
    count, steps, width = x.shape
    queries = 1 if query is None else query.shape[1]
    context, weights = np.zeros((count, queries, width)), np.zeros((count, queries, steps))
    for n in range(count):
        for s in range(queries):
            if lengths[n] == 0:
                continue
            scores = []
            for t in range(lengths[n]):
                key = x[n, t] @ w["kernel"]
                if layer.kind == "additive":
                    other = 0 if query is None else query[n, s] @ w["query_kernel"]
                    scores.append(w["score"] @ np.tanh(key + w["bias"] + other))
                else:
                    q = w["query"] if query is None else query[n, s]
                    scores.append(q @ key / (np.sqrt(len(key)) if layer.scale else 1))
            powers = np.exp(np.array(scores) - max(scores))
            weights[n, s, : lengths[n]] = powers / powers.sum()
            context[n, s] = weights[n, s] @ x[n]
    return context, weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_pooling(rng, kind, dtype):
    x = rng.normal(size=(4, 5, 7)).astype(dtype)
    layer = KINDS[kind]()
    layer(x)
    spread(layer, rng)
    context, weights = layer(x, lengths=LENGTHS, return_weights=True)
    expected = reference(layer, x, LENGTHS)
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    assert context.dtype == weights.dtype == dtype
    assert relative_error(context, expected[0][:, 0]) < tolerance
    assert relative_error(weights, expected[1][:, 0]) < tolerance
    assert np.array_equal(layer.attention_weights(x, LENGTHS), weights)
    assert np.array_equal(layer(x, lengths=LENGTHS), context)
    assert not weights[2].any()
    assert not context[2].any()
    everything = reference(layer, x, [5] * 4)
    assert relative_error(layer(x), everything[0][:, 0]) < tolerance


@pytest.mark.parametrize("kind", WITH_QUERY)
def test_passed_queries(rng, kind):
    x, query = rng.normal(size=(4, 5, 7)), rng.normal(size=(4, 3, 6))
    layer = WITH_QUERY[kind]()
    layer(x, query)
    spread(layer, rng)
    expected = reference(layer, x, LENGTHS, query)
    context, weights = layer(x, query, lengths=LENGTHS, return_weights=True)
    assert relative_error(context, expected[0]) < 1e-13
    assert relative_error(weights, expected[1]) < 1e-13
    one, shares = layer(x, query[:, 1], lengths=LENGTHS, return_weights=True)
    assert np.array_equal(one, context[:, 1])
    assert np.array_equal(shares, weights[:, 1])
    assert np.array_equal(layer.attention_weights(x, LENGTHS, query), weights)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_exact(rng, kind):
    x = rng.normal(size=(4, 5, 4))
    layer = KINDS[kind]()
    layer(x)
    spread(layer, rng)
    dy = rng.normal(size=(4, 4))

    def loss():
        return float((layer.forward(x, LENGTHS, True, 0)[0] * dy).sum())

    _, lengths, context = layer.forward(x, LENGTHS, True, 0)
    assert lengths is None
    dx = layer.backward(context, dy)
    assert relative_error(dx, derivative(loss, x)) < 1e-9
    for name, gradient in layer._gradients.items():
        assert relative_error(gradient, derivative(loss, layer._weights[name])) < 1e-9, name
    before = {name: gradient.copy() for name, gradient in layer._gradients.items()}
    for gradient in layer._gradients.values():
        gradient[...] = np.nan  # reveals a gradient that is added, not written
    _, _, context = layer.forward(x, LENGTHS, True, 0)
    assert layer.backward(context, dy, need_x=False) is None
    for name, gradient in layer._gradients.items():
        assert np.array_equal(gradient, before[name])


@pytest.mark.parametrize("kind", WITH_QUERY)
def test_gradients_with_passed_queries(rng, kind):
    x, query = rng.normal(size=(4, 5, 4)), rng.normal(size=(4, 3, 6))
    layer = WITH_QUERY[kind]()
    layer(x, query)
    spread(layer, rng)
    asked, dcontext = np.array([3, 1, 2, 0]), rng.normal(size=(4, 3, 4))
    counted = dcontext * (np.arange(3) < asked[:, None])[..., None]

    def look():
        return layer.look(layer.remember(x, LENGTHS), query, asked)

    def loss():
        return float((look()[0] * counted).sum())

    assert not look()[0][3].any()
    context = look()[1]
    dquery, dmet, dkeys, dvalues = layer.look_backward(context, dcontext, layer._score_gradient)
    layer.query_backward(query, dmet)
    dx = layer.remember_backward(context.memory, dkeys, dvalues)
    assert relative_error(dx, derivative(loss, x)) < 1e-9
    assert relative_error(dquery, derivative(loss, query)) < 1e-9
    for name, gradient in layer._gradients.items():
        assert relative_error(gradient, derivative(loss, layer._weights[name])) < 1e-9, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_has_the_same_bits(rng, kind):
    x = rng.normal(size=(9, 40, 20)).astype(np.float32)
    lengths = rng.integers(0, 41, 9)
    layer = KINDS[kind]()
    together, weights = layer(x, lengths=lengths, return_weights=True)
    for row, length in enumerate(lengths):
        alone, shares = layer(x[row : row + 1, :length], return_weights=True)
        assert np.array_equal(alone[0], together[row])
        assert np.array_equal(shares[0], weights[row, :length])
        assert not weights[row, length:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_for_any_number_of_threads(rng, kind):
    x, dy = rng.normal(size=(40, 50, 64)).astype(np.float32), rng.normal(size=(40, 64))
    layer = KINDS[kind]()
    layer(x)
    results = []
    for threads in (1, 2, 3):
        lc.set_num_threads(threads)
        y, _, context = layer.forward(x, None, True, 0)
        dx = layer.backward(context, dy.astype(np.float32))
        results.append([y, dx, *(array.copy() for array in layer._gradients.values())])
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


# ---- in a model ----------------------------------------------------------------------------------


def marked_tokens(rng, count):
    """Make rows that contain token 2; the token after it is the class."""
    rows = [rng.integers(5, 12, size=length) for length in rng.integers(4, 14, count)]
    labels = rng.integers(0, 2, count)
    for row, label in zip(rows, labels, strict=True):
        place = rng.integers(0, len(row) - 1)
        row[place : place + 2] = 2, 3 + label
    return rows, labels


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_a_classifier_attends_to_the_answer(rng, kind, tmp_path):
    model = lc.Sequential(
        [
            lc.layers.Embedding(12, 8, mask_zero=True),
            lc.layers.LSTM(8, return_sequences=True),
            Attention(kind, name="look"),
            lc.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(lc.optimizers.Adam(2e-2), "sparse_categorical_crossentropy", ["accuracy"])
    x, y = marked_tokens(rng, 400)
    model.fit(x, y, epochs=6, verbose=0)
    x, y = marked_tokens(rng, 100)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9
    inputs, lengths = model.inputs_of(x, "look")
    weights = model._network[2].attention_weights(inputs, lengths)
    assert weights.shape == inputs.shape[:2]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert not weights[np.arange(weights.shape[1]) >= lengths[:, None]].any()
    # Little attention before the answer is read.
    before = [
        row[: np.flatnonzero(tokens == 2)[0] + 1].sum()
        for row, tokens in zip(weights, x, strict=True)
    ]
    assert np.mean(before) < 0.2
    pooled = model._network[2](inputs, lengths=lengths)
    assert np.array_equal(model._network[3](pooled), model(x))

    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = lc.load(path)
    assert loaded._network[2].get_config() == model._network[2].get_config()
    assert np.array_equal(loaded(x), model(x))


def test_config_of_all_arguments(tmp_path):
    layer = Attention(
        "multiplicative",
        3,
        scale=True,
        kernel_initializer="orthogonal",
        kernel_regularizer=lc.regularizers.L2(0.1),
        seed=4,
    )
    model = lc.Sequential([lc.layers.Input((None, 5)), layer])
    model.save(tmp_path / "model.safetensors")
    loaded = lc.load(tmp_path / "model.safetensors")
    assert loaded.layers[0].get_config() == layer.get_config()
    assert {name: value.shape for name, value in loaded.weights.items()} == {
        "attention.kernel": (5, 3),
        "attention.query": (3,),
    }


def test_inputs_of(rng):
    model = lc.Sequential([lc.layers.LSTM(3, return_sequences=True), Attention()])
    x = [rng.normal(size=(length, 2)).astype(np.float32) for length in (4, 1, 3)]
    first, lengths = model.inputs_of(x, model.layers[0])
    assert np.array_equal(first[2, :3], x[2])
    assert lengths.tolist() == [4, 1, 3]
    with pytest.raises(ValueError, match="layer: expected one of 'lstm', 'attention', got 'dense'"):
        model.inputs_of(x, "dense")
    with pytest.raises(ValueError, match="layer: expected one of 'lstm', 'attention', got"):
        model.inputs_of(x, Attention())


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("dot",), {}, "kind: expected one of 'additive', 'multiplicative', got 'dot'"),
        (("additive", 0), {}, "units: expected an integer of at least 1, got 0"),
        ((), {"query_size": 0}, "query_size: expected an integer of at least 1"),
        ((), {"scale": True}, "scale: expected False with additive scores"),
        (("multiplicative", 3), {"query_size": 4}, "units: expected query_size, 4, or None"),
        ((), {"kernel_initializer": "nothing"}, "kernel_initializer: expected one of"),
    ],
)
def test_wrong_options(arguments, options, text):
    with pytest.raises(ValueError, match=text):
        Attention(*arguments, **options)


def test_wrong_calls(rng):
    x = rng.normal(size=(2, 3, 4))
    layer, asked = Attention(), Attention(query_size=5)
    with pytest.raises(ValueError, match="query: expected none, since the layer has no query_size"):
        layer(x, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="query: expected one, since the layer has query_size"):
        asked(x)
    for shape in ((2, 4), (3, 5), (5,), (2, 1, 1, 5)):
        with pytest.raises(ValueError, match=r"query: expected shape \(2, 5\) or \(2, S, 5\)"):
            asked(x, np.zeros(shape))
    with pytest.raises(TypeError, match="query: expected numbers, got strings"):
        asked(x, np.full((2, 5), "a"))
    with pytest.raises(ValueError, match=r"Attention: expected inputs of shape \(N, T, C\)"):
        Attention()(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"lengths: expected 0\.\.3, got 4 in row 1"):
        layer(x, lengths=[3, 4])
    with pytest.raises(TypeError, match="return_weights: expected True or False"):
        layer(x, return_weights=1)
    with pytest.raises(ValueError, match="layer 'attention': query_size is for calling the layer"):
        lc.Sequential([lc.layers.Input((None, 4)), Attention(query_size=5)])
    inner = lc.layers.TimeDistributed(Attention(query_size=5))
    with pytest.raises(ValueError, match="layer 'time_distributed': query_size is for calling"):
        lc.Sequential([lc.layers.Input((None, None, 4)), inner])


def test_wrong_arguments_of_the_engine(rng):
    keys, queries, values = (rng.normal(size=shape) for shape in ((2, 3, 4), (2, 1, 4), (2, 3, 5)))

    def forward(v=None, scale=1.0, lengths=None, query_lengths=None, **other):
        given = {"keys": keys, "queries": queries, "values": values, **other}
        return _core.attention_forward(
            given["keys"], given["queries"], given["values"], v, scale, lengths, query_lengths
        )

    assert [part.shape for part in forward()] == [(2, 1, 5), (2, 1, 3)]
    with pytest.raises(ValueError, match=r"queries: expected shape \(N=2, S, U=4\)"):
        forward(queries=queries[..., :3])
    with pytest.raises(ValueError, match=r"values: expected shape \(N=2, T=3, C\)"):
        forward(values=values[:, :2])
    with pytest.raises(TypeError, match="values: expected dtype float64 like keys"):
        forward(values=values.astype(np.float32))
    with pytest.raises(ValueError, match=r"v: expected shape \(U=4,\)"):
        forward(v=np.zeros(3))
    with pytest.raises(ValueError, match="scale: expected a positive number, got -1"):
        forward(scale=-1.0)
    with pytest.raises(ValueError, match="lengths: expected values from 0 to 3"):
        forward(lengths=np.array([1, 4]))
    with pytest.raises(ValueError, match="query_lengths: expected values from 0 to 1"):
        forward(query_lengths=np.array([1, 2]))
    context, weights = forward(v=np.ones(4))
    with pytest.raises(ValueError, match="dv: expected an array if and only if v is one"):
        _core.attention_backward(
            keys, queries, values, np.ones(4), 1.0, None, None, weights, context, None
        )
