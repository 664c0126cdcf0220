"""Explanations of graphs: several inputs and outputs, ids, states, shared layers, attention."""

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import LENGTHS, ragged, static_model
from lstmcore import explain, layers

N, T, C, S, H = 3, 5, 3, 2, 4
PLACES = ["every step", "first state", "before the head", "input gate"]


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([0.6 * rng.standard_normal(one.shape) for one in model.get_weights()])
    return model


def static_data(rng, as_rows=False):
    sequence = ragged(rng) if as_rows else rng.standard_normal((N, T, C))
    return {"sequence": sequence, "static": rng.standard_normal((N, S))}


def slopes(function, x, step=1e-5):
    """Return the derivatives of a function by central differences."""
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("how", PLACES)
@pytest.mark.parametrize("as_rows", [True, False])
def test_values_of_all_inputs_add_up_to_the_difference_of_outputs(how, as_rows, rng):
    model = drawn(static_model(how))
    x = static_data(rng, as_rows)
    before = model.get_weights()
    found = explain.attribute(model, x)
    assert list(found) == ["sequence", "static"]
    outputs = model.predict(x, verbose=0)[:, 0]
    nothing = {
        "sequence": [0 * row for row in x["sequence"]] if as_rows else 0 * x["sequence"],
        "static": 0 * x["static"],
    }
    empty = model.predict(nothing, verbose=0)[:, 0]
    for row, (one, other) in enumerate(zip(found["sequence"], found["static"], strict=True)):
        assert one.values.shape == x["sequence"][row].shape
        assert other.values.shape == (S,)
        total = one.values.sum() + other.values.sum()
        assert total == pytest.approx(outputs[row] - empty[row], abs=1e-3)
        assert one.others == pytest.approx(other.values.sum())
        assert one.difference == other.difference == pytest.approx(outputs[row] - empty[row])
        assert one.error <= 1e-3
        assert other.error <= 1e-3
        assert np.abs(other.values).max() > 1e-4
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("how", PLACES)
def test_gradients_match_finite_differences(how, rng):
    model = drawn(static_model(how))
    x = {name: values[:1] for name, values in static_data(rng).items()}
    found = explain.attribute(model, x, method="gradient_x_input")
    for name, values in x.items():

        def output(moved, name=name):
            return model.predict({**x, name: moved[None]}, verbose=0)[0, 0]

        expected = slopes(output, values[0]) * values[0]
        np.testing.assert_allclose(found[name][0].values, expected, atol=1e-8)


def test_occlusion_is_the_fall_of_the_output(rng):
    model = drawn(static_model("first state"))
    x = static_data(rng, as_rows=True)
    start = {"static": [0.5, -1.0]}
    found = explain.attribute(model, x, method="occlusion", baseline=start)
    outputs = model.predict(x, verbose=0)[:, 0]
    for row in range(N):
        own = {"sequence": [x["sequence"][row]], "static": x["static"][row : row + 1]}
        for t in range(LENGTHS[row]):
            moved = own["sequence"][0].copy()
            moved[t] = 0
            gone = model.predict({**own, "sequence": [moved]}, verbose=0)[0, 0]
            assert found["sequence"][row].values[t] == pytest.approx(outputs[row] - gone)
        for place, value in enumerate(start["static"]):
            moved = own["static"].copy()
            moved[0, place] = value
            gone = model.predict({**own, "static": moved}, verbose=0)[0, 0]
            assert found["static"][row].values[place] == pytest.approx(outputs[row] - gone)


def several_outputs():
    """Make a graph with ids that two tables take, a shared LSTM with dropout, and two outputs."""
    ids, numbers = lc.Input((None,), name="ids", dtype="int64"), lc.Input((None, 2), name="numbers")
    one, two = layers.Embedding(7, 3)(ids), layers.Embedding(7, 3, name="other")(ids)
    lstm = layers.LSTM(H, return_sequences=True, name="lstm", recurrent_dropout=0.3, zoneout_h=0.2)
    read = lstm(layers.Concatenate()([one, two]))
    again = lstm(layers.Dense(6)(layers.Dropout(0.5)(numbers)))
    steps = layers.Add(name="both")([read, again])
    tags = layers.Dense(3, "softmax", name="tags")(steps)
    last = layers.Dense(1, "sigmoid", name="last")(layers.LSTM(3, name="top")(steps))
    return drawn(lc.Model([ids, numbers], {"tags": tags, "last": last}, dtype="float64"))


def data_of_several(rng):
    return {
        "ids": [np.array([3, 1, 2, 6, 5]), np.array([4, 4]), rng.integers(0, 7, 4)],
        "numbers": ragged(rng, 2),
    }


@pytest.mark.parametrize("logits", [False, True])
def test_an_output_is_chosen_by_name_and_ids_by_their_vectors(logits, rng):
    model, x = several_outputs(), data_of_several(rng)
    found = explain.attribute(model, x, output="tags", target=2, step=-1, logits=logits)
    predicted = model.predict(x, verbose=0)["tags"]
    for row in range(N):
        one, other = found["ids"][row], found["numbers"][row]
        assert one.values.shape == (LENGTHS[row],)
        assert other.values.shape == (LENGTHS[row], 2)
        assert one.error <= 1e-3
        if not logits:
            assert one.output == pytest.approx(predicted[row][-1, 2], abs=1e-12)
    last = explain.attribute(model, x, output="last")["ids"]
    for one, value in zip(last, model.predict(x, verbose=0)["last"][:, 0], strict=True):
        assert one.output == pytest.approx(value)
        assert one.error <= 1e-3
    # One id fewer, by occlusion, is the vector 0 in both tables.
    gone = explain.attribute(model, x, output="last", method="occlusion")["ids"][0]
    tables = ["embedding.embeddings", "other.embeddings"]
    for name in tables:
        model.parameters.value(name)[3] = 0
    model.parameters.touch()
    fall = gone.output - model.predict(x, verbose=0)["last"][0, 0]
    assert gone.values[0] == pytest.approx(fall)
    assert abs(fall) > 1e-4


def test_a_chain_as_a_graph_is_explained_like_the_chain(rng):
    def parts():
        return [layers.LSTM(H, return_sequences=True), layers.Attention(), layers.Dense(2)]

    start = y = lc.Input((None, C))
    for layer in parts():
        y = layer(y)
    graph = drawn(lc.Model(start, y, dtype="float64"))
    chain = lc.Sequential([layers.Input((None, C)), *parts()], dtype="float64")
    chain.set_weights(graph.get_weights())
    x = ragged(rng)
    for ours, theirs in zip(
        explain.attribute(graph, x, target=1), explain.attribute(chain, x, target=1), strict=True
    ):
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-12)
        assert ours.others == 0
    for ours, theirs in zip(explain.attention(graph, x), explain.attention(chain, x), strict=True):
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-12)
    ours, theirs = explain.trace(graph, x), explain.trace(chain, x)
    for name in "ifgoch":
        np.testing.assert_array_equal(getattr(ours["lstm"], name), getattr(theirs["lstm"], name))


def test_masks(rng):
    model = drawn(static_model("first state"))
    x, mask = static_data(rng), np.ones((N, T), bool)
    mask[1, 2:4] = False
    found = explain.attribute(model, x, mask=mask)
    assert found["sequence"][1].values.shape == (T, C)
    assert (found["sequence"][1].values[2:4] == 0).all()
    kept = {"sequence": x["sequence"][1:2][:, mask[1]], "static": x["static"][1:2]}
    alone = explain.attribute(model, kept)
    np.testing.assert_allclose(
        found["sequence"][1].values[mask[1]], alone["sequence"][0].values, atol=1e-9
    )


def test_traces_start_from_given_states(rng):
    model = drawn(static_model("first state"))
    x = static_data(rng)
    found = explain.trace(model, x)["lstm"]
    states = [layer for layer in model.layers if layer.name.startswith("dense")]
    assert [dense.last_activation for dense in states] == ["tanh", "linear"]
    h, c = (dense(x["static"]) for dense in states)
    weights = {
        name.removeprefix("lstm."): values
        for name, values in model.weights.items()
        if name.startswith("lstm.")
    }
    config = model.get_layer("lstm").config
    y, _ = lc.functional.lstm(x["sequence"], weights, config, state=(h[None], c[None]))
    np.testing.assert_allclose(found.h, y, atol=1e-12)
    # c after the first step, from the gates and the state before it
    np.testing.assert_allclose(
        found.c[:, 0], found.f[:, 0] * c + found.i[:, 0] * found.g[:, 0], atol=1e-12
    )


def test_traces_of_shared_layers_and_of_static_gates(rng):
    model, x = several_outputs(), data_of_several(rng)
    found = explain.trace(model, x)
    assert list(found) == ["lstm", "lstm (2)", "top"]
    assert found.tokens == [None] * N
    assert np.isnan(found["lstm (2)"].h[1, LENGTHS[1] :]).all()
    entity = drawn(static_model("input gate"))
    data = static_data(rng)
    gates = explain.trace(entity, data)["lstm"].i
    expected = entity.get_layer("lstm").gate(data["static"])
    np.testing.assert_allclose(gates, np.repeat(expected[:, None], T, axis=1), atol=1e-12)


def test_attention_with_queries(rng):
    sequence, query = lc.Input((None, C), name="sequence"), lc.Input((None, 2), name="query")
    looked = layers.Attention("additive", 3, query_size=2, name="look")(sequence, query)
    own = layers.Attention(name="own")(sequence)
    y = layers.Concatenate()([layers.LSTM(2)(looked), own])
    model = drawn(lc.Model([sequence, query], layers.Dense(1)(y), dtype="float64"))
    x = {"sequence": ragged(rng), "query": ragged(rng, 2, [2, 4, 3])}
    maps = explain.attention(model, x, layer="look")
    layer = model.get_layer("look")
    for row, (one, count) in enumerate(zip(maps, [2, 4, 3], strict=True)):
        weights = layer.attention_weights(x["sequence"][row][None], query=x["query"][row][None])
        np.testing.assert_allclose(one.values, weights[0], atol=1e-12)
        assert one.values.shape == (count, LENGTHS[row])
        np.testing.assert_allclose(one.values.sum(axis=1), 1)
    plain = explain.attention(model, x, layer="own")
    assert [one.values.shape for one in plain] == [(length,) for length in LENGTHS]
    with pytest.raises(ValueError, match="exactly one Attention layer, got look, own; name one"):
        explain.attention(model, x)
    with pytest.raises(ValueError, match="layer: expected the name .* got 'locks'; did you mean"):
        explain.attention(model, x, layer="locks")


def test_what_cannot_be_explained_is_refused(rng):
    model, x = several_outputs(), data_of_several(rng)
    with pytest.raises(ValueError, match="output: expected the name of one of .* tags, last"):
        explain.attribute(model, x)
    with pytest.raises(ValueError, match="output: expected one of tags, last, got 'tagz'; did"):
        explain.attribute(model, x, output="tagz")
    with pytest.raises(ValueError, match="y: expected None for a Model"):
        explain.attribute(model, x, x, output="last")
    with pytest.raises(ValueError, match="baseline: expected the inputs ids, numbers, got 'id'"):
        explain.attribute(model, x, output="last", baseline={"id": 0.0})
    with pytest.raises(ValueError, match=r"baseline\['numbers'\]: expected a shape"):
        explain.attribute(model, x, output="last", baseline={"numbers": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="model: expected exactly one Attention layer, got none"):
        explain.attention(model, x)
    sequence = lc.Input((None, C))
    inner = layers.LSTM(2, return_sequences=True, name="inner")(sequence)
    used = lc.Model(sequence, {"inner": inner, "top": layers.Dense(1)(inner)})
    data = rng.standard_normal((2, 3, C))
    assert explain.attribute(used, data, output="inner")[0].values.shape == (3, C)
    with pytest.raises(ValueError, match="logits: expected False for the output 'inner'"):
        explain.attribute(used, data, output="inner", logits=True)
    start = lc.Input((None, C))
    crf = lc.Model(start, layers.CRF(3)(layers.Dense(3)(start)))
    with pytest.raises(ValueError, match="output 'crf': expected one with a gradient, got tags"):
        explain.attribute(crf, data)
    dense = lc.Model(start := lc.Input((None, C)), layers.Dense(3)(start))
    with pytest.raises(ValueError, match="expected at least one LSTM layer, got none"):
        explain.trace(dense, data)
    start = lc.Input((None, C))
    hidden = lc.Model(start, layers.Residual(layers.LSTM(C, return_sequences=True))(start))
    with pytest.raises(ValueError, match="an LSTM within a Residual cannot be traced"):
        explain.trace(hidden, data)
