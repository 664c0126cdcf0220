"""Explanations of an EncoderDecoder: sources of ids, texts and numbers, targets, attention."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import explain
from pair_kit import ATTENTIONS, small_model, some_pairs, some_rows, spread

WIDE = {"bidirectional": True, "num_layers": 2, "dropout": 0.4}
SHAPES = {
    "plain": {},
    "wide": WIDE,
    "tied": {"tie_embeddings": True, "embedding_size": 4},
}


def of_ids(attention, rng, **options):
    return spread(small_model(attention, dtype="float64", **options), rng)


def of_numbers(attention, rng, **options):
    options = {"embedding_size": 3, "units": 4, "dtype": "float64", **options}
    return spread(
        lc.EncoderDecoder(
            target_vocabulary=6, source_features=2, attention=attention, seed=5, **options
        ),
        rng,
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_add_up_to_the_difference_of_log_probabilities(attention, shape, rng):
    model = of_ids(attention, rng, **SHAPES[shape])
    x, y = some_rows(rng, [3, 1, 5], 1, 7), some_rows(rng, [2, 4, 0], 3, 6)
    before = model.get_weights()
    logs = model.log_probabilities(x, y)
    for one, row, log in zip(explain.attribute(model, x, y), x, logs, strict=True):
        assert one.values.shape == (len(row),)
        assert one.output == pytest.approx(log, abs=1e-10)
        assert one.values.sum() == pytest.approx(one.output - one.baseline_output, abs=1e-3)
        assert one.error <= 1e-3
        assert one.target is None
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.log_probabilities(x, y) == pytest.approx(logs, abs=0)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("options", [{}, WIDE], ids=["plain", "wide"])
def test_gradients_of_numbers_match_finite_differences(attention, options, rng):
    model = of_numbers(attention, rng, **options)
    x, y = [rng.standard_normal((3, 2))], [[4, 3]]
    (found,) = explain.attribute(model, x, y, method="gradient_x_input")
    for place in np.ndindex(3, 2):
        ends = []
        for sign in (1, -1):
            moved = x[0].copy()
            moved[place] += sign * 1e-5
            ends.append(model.log_probabilities([moved], y)[0])
        slope = (ends[0] - ends[1]) / 2e-5
        assert found.values[place] == pytest.approx(slope * x[0][place], abs=1e-8)


def test_a_source_of_one_vector(rng):
    model = spread(
        lc.EncoderDecoder(
            target_vocabulary=6,
            source_vector=3,
            embedding_size=3,
            units=4,
            num_layers=2,
            dtype="float64",
        ),
        rng,
    )
    x, y = rng.standard_normal((2, 3)), [[3, 4], [5]]
    found = explain.attribute(model, x, y)
    logs, empty = model.log_probabilities(x, y), model.log_probabilities(0 * x, y)
    for one, log, nothing in zip(found, logs, empty, strict=True):
        assert one.values.shape == (3,)
        assert one.values.sum() == pytest.approx(log - nothing, abs=1e-3)
    gone = explain.attribute(model, x, y, method="occlusion")
    moved = x.copy()
    moved[:, 1] = 0
    fall = logs - model.log_probabilities(moved, y)
    assert [one.values[1] for one in gone] == pytest.approx(list(fall))
    with pytest.raises(ValueError, match="model: expected one with attention"):
        explain.attention(model, x, y)


def test_one_token_of_a_target(rng):
    model = of_ids("multiplicative", rng)
    x, y = some_pairs(rng)
    x, y = [x[0], x[2]], [[3, 4], [5]]
    probabilities = np.log(model(x, y))
    second = explain.attribute(model, x, y, step=1)
    assert [one.target for one in second] == [4, model.end]
    assert second[0].output == pytest.approx(probabilities[0, 1, 4])
    assert second[1].output == pytest.approx(probabilities[1, 1, model.end])
    ends = explain.attribute(model, x, y, step=-1)
    assert ends[0].output == pytest.approx(probabilities[0, 2, model.end])
    other = explain.attribute(model, x, y, step=0, target=5)
    assert [one.output for one in other] == pytest.approx(list(probabilities[:, 0, 5]))
    assert all(one.error <= 1e-3 for one in [*second, *ends, *other])
    parts = [explain.attribute(model, x[:1], y[:1], step=step)[0].output for step in range(3)]
    assert sum(parts) == pytest.approx(model.log_probabilities(x[:1], y[:1])[0])


def copying_model():
    words = list("abcdef")
    reader = lc.layers.TextVectorization(vocabulary=words)
    writer = lc.layers.TextVectorization(vocabulary=words[:3])
    model = lc.EncoderDecoder(
        source=reader, target=writer, embedding_size=4, units=4, copying=True, dtype="float64"
    )
    return spread(model, np.random.default_rng(1))


def test_texts_and_copied_words():
    model = copying_model()
    x, y = ["a d e", "b zz b c"], ["a d", "zz b"]
    found = explain.attribute(model, x, y)
    assert [one.tokens for one in found] == [["a", "d", "e"], ["b", "zz", "b", "c"]]
    assert all(one.error <= 1e-3 for one in found)
    assert [one.output for one in found] == pytest.approx(list(model.log_probabilities(x, y)))
    (copied,) = explain.attribute(model, x[1:], y[1:], step=0)
    assert copied.target >= model.target_vocabulary  # a word that only the source has
    assert copied.error <= 1e-3
    maps = explain.attention(model, x, y)
    assert [one.source for one in maps] == [one.tokens for one in found]
    assert [one.target for one in maps] == [["a", "d"], ["zz", "b"]]
    assert maps[1].values.shape == (2, 4)
    np.testing.assert_allclose(maps[1].values.sum(axis=1), 1)


@pytest.mark.parametrize("attention", ["multiplicative", "additive"])
def test_without_targets_what_the_model_decodes_is_explained(attention, rng):
    model = of_ids(attention, rng)
    x = some_rows(rng, [3, 5, 1], 1, 7)
    decoded = model.decode(x, return_attention=True, max_length=None)
    y = [one[0].tokens for one in decoded]
    for ours, theirs in zip(
        explain.attribute(model, x, steps=8), explain.attribute(model, x, y, steps=8), strict=True
    ):
        np.testing.assert_array_equal(ours.values, theirs.values)
    for ours, theirs in zip(explain.attention(model, x), decoded, strict=True):
        np.testing.assert_allclose(ours.values, theirs[0].attention, atol=1e-12)
        assert ours.source is None


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("options", [{}, WIDE], ids=["plain", "wide"])
def test_traces(attention, options, rng):
    model = of_ids(attention, rng, **options)
    x, y = some_rows(rng, [3, 5], 1, 7), some_rows(rng, [2, 4], 3, 6)
    found = explain.trace(model, x, y)
    several = bool(options)
    endings = {
        False: ["encoder", "decoder"],
        True: [
            *(f"encoder_l{layer}{way}" for layer in range(2) for way in ("", "_reverse")),
            *(f"decoder_l{layer}" for layer in range(2)),
        ],
    }
    assert list(found) == endings[several]
    top = found["decoder_l1" if several else "decoder"]
    assert top.h.shape == (2, 5, 4)
    assert np.isnan(top.h[0, 3:]).all()
    # What the decoder says follows from its states, and from attention if there is any.
    if attention is None:
        kernel, bias = (model.weights[f"output.{name}"] for name in ("kernel", "bias"))
        scores = top.h[1] @ (kernel if kernel.shape[0] == 4 else kernel.T) + bias
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(logs, np.log(model(x, y)[1]), atol=1e-10)
    else:
        maps = explain.attention(model, x, y)
        memory = found["encoder_l1" if several else "encoder"].h[1]
        back = [found["encoder_l1_reverse"].h[1]] if several else []
        seen = maps[1].values @ np.concatenate([memory, *back], axis=1)
        joined = np.concatenate([seen, top.h[1, :4]], axis=1)
        for name, act in (("combine", np.tanh), ("output", lambda v: v)):
            kernel, bias = (model.weights[f"{name}.{part}"] for part in ("kernel", "bias"))
            joined = act(joined @ (kernel if len(kernel) == joined.shape[1] else kernel.T) + bias)
        logs = joined - np.log(np.exp(joined).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(logs, np.log(model(x, y)[1, :4]), atol=1e-10)


def test_pictures_have_the_tokens_of_both_sides(tmp_path):
    pytest.importorskip("matplotlib")
    model = copying_model()
    found = explain.trace(model, ["a d e"], ["a d"])
    assert found.tokens == found.tokens_of("encoder") == [["a", "d", "e"]]
    assert found.tokens_of("decoder") == [["[START]", "a", "d"]]
    (axes,) = found.plot(tmp_path / "gates.svg", layer="decoder", show=["c"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["[START]", "a", "d"]
    with pytest.raises(KeyError, match="expected one of 'encoder', 'decoder'"):
        found.tokens_of("decodr")
    (look,) = explain.attention(model, ["a d e"], ["a d"])
    axes = look.plot(tmp_path / "look.svg", title="where it looks")
    assert axes.get_images()[0].get_array().shape == (2, 3)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "d"]
    assert (tmp_path / "look.svg").stat().st_size > 1000


def test_what_does_not_fit_is_refused(rng):
    model = of_ids("multiplicative", rng)
    x, y = [[1, 2], [3]], [[3, 4], [5]]
    with pytest.raises(ValueError, match="target: expected None without step"):
        explain.attribute(model, x, y, target=3)
    with pytest.raises(ValueError, match="step: expected one of the 2 steps of outputs of row 1"):
        explain.attribute(model, x, y, step=2)
    with pytest.raises(ValueError, match="target: expected 0 to 5, got 6"):
        explain.attribute(model, x, y, step=0, target=6)
    with pytest.raises(ValueError, match="logits: expected False for an EncoderDecoder"):
        explain.attribute(model, x, y, logits=True)
    with pytest.raises(ValueError, match="mask: expected None for EncoderDecoder"):
        explain.attribute(model, x, y, mask=np.ones((2, 2), bool))
    with pytest.raises(
        ValueError, match="output: expected None, since the EncoderDecoder has one output"
    ):
        explain.attribute(model, x, y, output="decoder")
    with pytest.raises(ValueError, match="layer: expected None for an EncoderDecoder"):
        explain.attention(model, x, y, layer="attention")
    with pytest.raises(ValueError, match="x: expected at least one sample"):
        explain.attribute(model, [], [])
    fresh = lc.EncoderDecoder(
        source=lc.layers.TextVectorization(), target=lc.layers.TextVectorization()
    )
    with pytest.raises(ValueError, match="model: expected one that is built"):
        explain.attribute(fresh, ["a"], ["b"])
