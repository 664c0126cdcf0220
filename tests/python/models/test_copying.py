"""EncoderDecoder: copying from the source, as in pointer-generator networks."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.models.encoder_decoder.search import log_softmax
from pair_kit import check_gradients, check_layers_alone, some_rows, spread

ATTENTIONS = ["multiplicative", "additive"]
X = ["a b zig a", "b", "", "zag c zig", "a zag zag"]
Y = ["b zig", "a", "c", "zig a zag", ""]
KNOWN = ["a", "b", "c"]


def texts_model(attention, **options):
    options = {"embedding_size": 3, "units": 4, "seed": 5, "dtype": "float64", **options}
    return lc.EncoderDecoder(
        source=TextVectorization(vocabulary=[*KNOWN, "zig"]),
        target=TextVectorization(vocabulary=KNOWN),
        attention=attention,
        copying=True,
        **options,
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": True, "num_layers": 2, "dropout": 0.2},
        {"tie_embeddings": True, "embedding_size": 4},
        {"attention_scale": True},
    ],
)
def test_gradients_are_exact(rng, attention, options):
    if attention == "additive":
        options = {name: value for name, value in options.items() if name != "attention_scale"}
    model = spread(texts_model(attention, **options), rng)
    check_gradients(model, X, Y, rng)
    check_layers_alone(model, X, Y, rng)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_with_ids(rng, attention):
    model = lc.EncoderDecoder(
        6, 6, attention=attention, copying=True, units=4, embedding_size=3, dtype="float64"
    )
    x, y = some_rows(rng, [3, 0, 5, 1], 1, 6), some_rows(rng, [2, 4, 0, 3], 3, 6)
    check_gradients(spread(model, rng), x, y, rng)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradient_of_the_loss(rng, attention):
    """Including the softmax, which the loss applies to logarithms of probabilities."""
    model = spread(texts_model(attention), rng)
    model.compile(lc.optimizers.SGD(0.0))
    model.train_on_batch(X, Y)
    for name in model.parameters.specs:
        value, gradient = model.parameters.value(name), model.parameters.gradient(name)
        place = int(np.abs(gradient).argmax())
        ends = []
        for step in (1e-5, -1e-5):
            before = value.reshape(-1)[place]
            value.reshape(-1)[place] += step
            model.parameters.touch()
            ends.append(model.evaluate(X, Y, verbose=0))
            value.reshape(-1)[place] = before
            model.parameters.touch()
        expected = (ends[0] - ends[1]) / 2e-5
        assert gradient.reshape(-1)[place] == pytest.approx(expected, rel=1e-6, abs=1e-10), name


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_probabilities_are_those_of_the_paper(rng, attention):
    """A slow computation of the mixture from its parts, one step and one word at a time."""
    model = spread(texts_model(attention), rng)
    plain = lc.EncoderDecoder(
        model.source_vocabulary,
        model.target_vocabulary,
        start=model.start,
        end=model.end,
        attention=attention,
        embedding_size=3,
        units=4,
        dtype="float64",
    )
    plain.set_weights({name: model.weights[name] for name in plain.weights})
    batch = model._pair_examples(X, Y).batch(slice(None))
    _, _, context = plain.forward(batch.inputs, batch.lengths, True, 0, False)
    vocabulary = plain.forward(batch.inputs, batch.lengths, False, 0, False)[0]
    found = model(X, Y)
    size = plain.target_vocabulary
    assert found.shape[2] == size + 2  # "zig" and "zag" of one source
    assert model.target.get_vocabulary()[-1] == "c"
    weights = np.concatenate([look.weights for look in context.decoder.looks], axis=1)
    combined = context.decoder.combine.inputs  # context and output of each step
    table = model.weights["target_embedding.embeddings"]
    ids = {word: place for place, word in enumerate(model.target.get_vocabulary())}
    for row, (source, target) in enumerate(zip(X, Y, strict=True)):
        lacking = dict.fromkeys(word for word in source.split() if word not in ids)
        extended = {**ids, **{word: size + place for place, word in enumerate(lacking)}}
        read = [model.start, *(ids.get(word, 1) for word in target.split())]
        for step, token in enumerate(read):
            joined = np.concatenate([combined[row, step], table[token]])
            raised = joined @ model.weights["copy_gate.kernel"] + model.weights["copy_gate.bias"]
            p = 1 / (1 + np.exp(-raised[0])) if source else 1.0  # nothing to copy
            expected = np.zeros(found.shape[2])
            expected[:size] = p * vocabulary[row, step]
            for place, word in enumerate(source.split()):
                expected[extended[word]] += (1 - p) * weights[row, step, place]
            np.testing.assert_allclose(found[row, step], expected, rtol=1e-9, atol=1e-29)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_log_probabilities_bits_and_steps(rng, attention):
    model = spread(texts_model(attention), rng)
    logs = model.log_probabilities(X, Y)
    found = model(X, Y)
    assert model.log_probabilities(X[:1], Y[:1])[0] == pytest.approx(logs[0], rel=1e-14)
    size = model.target_vocabulary
    labels = [[3, size], [2], [4], [size + 1, 2, size], []]
    np.testing.assert_allclose(found.sum(axis=-1)[0, :3], 1, rtol=1e-12)
    for row, tokens in enumerate(labels):
        steps = [found[row, step, token] for step, token in enumerate([*tokens, model.end])]
        assert logs[row] == pytest.approx(np.log(steps).sum(), rel=1e-12)
        alone = model(X[row : row + 1], Y[row : row + 1])
        width = alone.shape[2]
        assert np.array_equal(alone[0], found[row, : len(tokens) + 1, :width])
    for hypotheses in model.decode(X, 3, max_length=4):
        for one in hypotheses:
            assert one.tokens.max(initial=0) < size + 2
    whole = log_softmax(np.log(found))
    (first,) = model.decode(X[:1], 1, max_length=1)[0]
    allowed = whole[0, 0].copy()
    allowed[[0, 1, model.start]] = -np.inf
    expected = int(allowed.argmax())
    assert (first.tokens[0] if len(first.tokens) else model.end) == expected


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_words_outside_the_vocabulary_are_copied(attention, tmp_path):
    """Say hello to whoever was named, also to names that training has not seen."""
    lc.set_num_threads(1)
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("aeioumnrst"), 5)) for _ in range(400)]
    x = [f"my name is {name} today" for name in names] + [f"i am {name}" for name in names]
    y = [f"hello {name}" for name in names] * 2
    model = lc.EncoderDecoder(
        source=TextVectorization(max_tokens=12),
        target=TextVectorization(vocabulary=["hello"]),
        copying=True,
        attention=attention,
        embedding_size=8,
        units=16,
    )
    model.compile(lc.optimizers.Adam(2e-2), metrics=["accuracy"])
    model.fit(x, y, epochs=6, verbose=0)
    fresh = ["my name is Zaphod today", "i am trillian", "i am ford"]
    expected = ["hello zaphod", "hello trillian", "hello ford"]
    assert model.predict(fresh, verbose=0) == expected
    assert model.predict(fresh, verbose=0, beam_width=3) == expected
    assert model.predict(fresh, verbose=0, top_k=1) == expected
    assert model.evaluate(fresh, expected, verbose=0)[1] == 1.0
    model.save(tmp_path / "model.safetensors")
    assert lc.load(tmp_path / "model.safetensors").predict(fresh, verbose=0) == expected
    # Without copying, the name can only be the unknown word.
    (row,) = model.decode(fresh[:1], 1)
    assert row[0].tokens[1] >= model.target_vocabulary
    assert lc.quantization_report(model, lc.quantize(model), fresh, expected).agreement == 1.0


def test_scheduled_sampling_reads_copied_words(rng):
    model = texts_model("multiplicative", scheduled_sampling=1.0, dtype="float32")
    model.compile()
    model.fit(X * 3, Y * 3, epochs=2, verbose=0, class_weight={1: 2.0})
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": None}, "copying: expected False with attention=None"),
        ({"source_vocabulary": 7}, "a source_vocabulary of at most target_vocabulary, 6, got 7"),
        ({"source_vocabulary": None, "source_features": 3}, "are both texts or both ids"),
        ({"source_vocabulary": None, "source": TextVectorization()}, "are both texts or both ids"),
    ],
)
def test_where_nothing_can_be_copied(options, message):
    with pytest.raises(ValueError, match=message):
        lc.EncoderDecoder(
            **{"source_vocabulary": 6, "target_vocabulary": 6, **options}, copying=True
        )


def test_texts_that_are_single_or_ids():
    model = texts_model("multiplicative")
    model.compile()
    with pytest.raises(TypeError, match="^y: expected a sequence of strings, got a single one"):
        model.fit(X, "a b", verbose=0)
    with pytest.raises(TypeError, match=r"^x\[0\]\[0\]: expected a string, one token"):
        model.predict([[3, 4]], verbose=0)


def test_subwords_are_not_copied():
    pytest.importorskip("tokenizers")
    words, parts = TextVectorization(vocabulary=["a"]), TextVectorization(40, split="bpe")
    for sides in ((words, parts), (parts, words)):
        with pytest.raises(ValueError, match="copying: expected a .* subwords are not words"):
            lc.EncoderDecoder(source=sides[0], target=sides[1], copying=True)


def test_labels_cannot_be_smoothed():
    model = texts_model("multiplicative")
    loss = lc.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing: expected 0 with copying"):
        model.compile(loss=loss)
