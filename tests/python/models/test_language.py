"""Language models: running text, perplexity against a slow sum, continuations, files."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers as L
from lstmcore.models.text_windows import TextWindows

TEXT = "the cat sat on the mat. the dog sat on the log. " * 4


def characters(texts=(TEXT,), **options):
    words = L.TextVectorization(split="raw_character", standardize=None, **options)
    words.adapt(texts)
    return words


def small(words=None, layers=6, **options):
    options = {"seed": 1, "dtype": "float64", **options}
    return lc.LanguageModel(words or characters(), layers, **options)


def probabilities(model, ids):
    """The distribution of the token after `ids`, from zeros, with all of them in one call."""
    return np.asarray(model(np.array([ids])))[0, -1]


# ---- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tie_weights", [True, False])
def test_a_number_makes_one_lstm(tie_weights):
    model = small(tie_weights=tie_weights)
    names = [layer.name for layer in model.layers]
    assert names == ["text_vectorization", "embedding", "lstm", "output"]
    size = model.vectorization.vocabulary_size()
    assert (model.embedding, model.tie_weights) == (6, tie_weights)
    expected = size * 6 + 8 * 36 + 24 + size + (0 if tie_weights else 6 * size)
    assert model.count_params() == expected
    assert model.output_shape == (None, None, size)


def test_other_widths_of_tied_weights_need_a_projection():
    layers = [L.LSTM(5, return_sequences=True), L.Dropout(0.2), L.LSTM(7, return_sequences=True)]
    model = small(layers=layers, embedding=4)
    assert [layer.name for layer in model.layers][-2:] == ["projection", "output"]
    assert model.weights["projection.kernel"].shape == (7, 4)
    assert "projection.bias" not in model.weights
    apart = small(layers=[layer.copy() for layer in layers], embedding=4, tie_weights=False)
    assert apart.weights["output.kernel"].shape == (7, model.vectorization.vocabulary_size())


def test_the_vectorization_stays_the_callers():
    words = characters()
    small(words), small(words)
    lc.Sequential([words, L.Embedding(words.vocabulary_size(), 2)])


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: lc.LanguageModel("text"), TypeError, "vectorization: expected a TextVectorizat"),
        (lambda: lc.LanguageModel(L.TextVectorization()), ValueError, "call adapt"),
        (lambda: small(characters(output_sequence_length=9)), ValueError, "output_sequence_len"),
        (lambda: small(layers=0), ValueError, "layers: expected an integer of at least 1"),
        (lambda: small(layers=[3]), TypeError, "layers: expected an int or layers, got 3"),
        (lambda: small(layers=[L.LSTM(3)]), ValueError, "for each of 16 tokens at every step"),
        (lambda: small(layers=[L.Dropout(0.1)]), ValueError, "embedding: expected a width"),
        (
            lambda: small(layers=[L.Bidirectional(L.LSTM(3, return_sequences=True))]),
            ValueError,
            "walks from the end of the sequence",
        ),
        (
            lambda: small(layers=[L.LSTM(3, return_sequences=True), L.Conv1D(3, 2)]),
            ValueError,
            "layers: layer 'conv1d' needs several time steps",
        ),
    ],
)
def test_what_is_no_language_model_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


# ---- training ------------------------------------------------------------------------------------


def test_running_text_is_divided_into_streams_that_go_on():
    ids = np.arange(100, 123)
    windows = TextWindows(ids, 3, 4, "text")
    assert len(windows) == 2
    (x, y), (x2, y2) = list(windows)
    assert x.tolist() == [[100, 101, 102, 103], [107, 108, 109, 110], [114, 115, 116, 117]]
    assert y.tolist() == (x + 1).tolist()
    assert x2.tolist() == [[104, 105, 106], [111, 112, 113], [118, 119, 120]]
    assert y2.tolist() == (x2 + 1).tolist()
    assert TextWindows(ids[:3], 32, 4, "text")[0][0].shape == (2, 1)
    with pytest.raises(ValueError, match="text: expected at least two tokens, got 1"):
        TextWindows(ids[:1], 3, 4, "text")


def test_fit_text_is_a_loop_that_carries_the_state():
    model = small()
    by_hand = copy.deepcopy(model)
    for one in (model, by_hand):
        one.compile("sgd")
    model.fit_text(TEXT, batch_size=5, window=7, epochs=2, verbose=0)
    ids = by_hand.vectorization.encode([TEXT])[0]
    length = (len(ids) - 1) // 5
    for _ in range(2):
        state = by_hand.initial_state(5)
        for begin in range(0, length, 7):
            steps = range(begin, min(begin + 7, length))
            x = np.array([[ids[row * length + step] for step in steps] for row in range(5)])
            y = np.array([[ids[row * length + step + 1] for step in steps] for row in range(5)])
            _, state = by_hand.train_on_batch(x, y, state=state, return_state=True)
    for name, value in by_hand.weights.items():
        np.testing.assert_array_equal(model.weights[name], value)


def test_it_learns_and_reports_perplexity(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    model = small(layers=24, dtype="float32")
    model.compile(lc.optimizers.Adam(0.02))
    history = model.fit_text(
        path, batch_size=4, window=16, epochs=30, validation_text=path, verbose=0
    )
    assert history.history["val_perplexity"][0] > 8
    assert model.perplexity(path) < 1.5
    assert model.generate("the cat ", 11, top_k=1) == "sat on the "
    assert model.state is None


def test_validation_may_be_a_share_of_the_text():
    first, second = small(), small()
    for model in (first, second):
        model.compile("sgd")
    ids = len(TEXT)
    shares = first.fit_text(TEXT, validation_split=0.25, verbose=0, batch_size=4)
    texts = second.fit_text(
        TEXT[: ids * 3 // 4], validation_text=TEXT[ids * 3 // 4 :], verbose=0, batch_size=4
    )
    assert shares.history == texts.history


def test_several_texts_follow_each_other_with_their_markers():
    words = characters(["ab", "c"], start="<", end=">")
    model = small(words)
    assert [row.tolist() for row in model._ids(["ab", "c"], "text")] == [[2, 4, 5, 3], [2, 6, 3]]
    model.compile("sgd")
    assert len(model.fit_text(["ab", "c"], batch_size=2, verbose=0).history["loss"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "a"}, "text: expected at least two tokens, got 1"),
        ({"text": ""}, "text: expected at least two tokens, got 0"),
        ({"text": []}, "text: expected at least one text, got none"),
        ({"validation_text": ""}, "validation_text: expected at least two tokens"),
        ({"validation_split": 0.001}, "validation_split: expected at least two tokens"),
        ({"validation_split": 1}, "validation_split: expected a number in"),
        ({"validation_split": 0.1, "validation_text": TEXT}, "expected 0 beside validation_text"),
        ({"window": 0}, "window: expected an integer of at least 1"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
    ],
)
def test_text_that_cannot_be_learnt_from(arguments, message):
    model = small()
    model.compile()
    with pytest.raises(ValueError, match=message):
        model.fit_text(**{"text": TEXT, "verbose": 0, **arguments})


# ---- perplexity ----------------------------------------------------------------------------------


def slow_surprise(model, ids):
    """Sum of -log p, each token from one call for everything before it."""
    return sum(-math.log(probabilities(model, ids[:end])[ids[end]]) for end in range(1, len(ids)))


@pytest.mark.parametrize("options", [{}, {"start": "<", "end": ">"}])
def test_perplexity_is_the_exponential_of_the_mean_surprise(options, monkeypatch):
    model = small(characters(**options))
    monkeypatch.setattr("lstmcore.models.language.MOST_STEPS", 5)  # several calls for a text
    texts = ["the cat", "on a ☃ log, the dog sat", "", "t"]
    rows = [model.vectorization.encode([text])[0] for text in texts]
    surprise = sum(slow_surprise(model, row) for row in rows)
    predicted = sum(max(len(row) - 1, 0) for row in rows)
    assert model.perplexity(texts) == pytest.approx(math.exp(surprise / predicted), rel=1e-12)
    characters_there = sum(map(len, texts))
    free = 0 if options else sum(len(row) > 0 for row in rows)
    bits = (surprise + free * math.log(model.vectorization.vocabulary_size())) / math.log(2)
    bits += 2 * math.log2(2 * 0x110000)  # the spelling of the snowman and the comma
    assert model.bits_per_character(texts) == pytest.approx(bits / characters_there, rel=1e-12)


def test_an_untrained_model_is_as_good_as_chance():
    model = small(dtype="float32")
    size = model.vectorization.vocabulary_size()
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    assert model.perplexity(TEXT) == pytest.approx(size, rel=1e-5)
    assert model.bits_per_character(TEXT) == pytest.approx(math.log2(size), rel=1e-5)


def test_empty_texts_have_no_perplexity():
    model = small()
    for text in ("", "a", ["", "b"]):
        with pytest.raises(ValueError, match="text: expected at least two tokens"):
            model.perplexity(text)
    with pytest.raises(ValueError, match="at least one character"):
        model.bits_per_character("")
    with pytest.raises(FileNotFoundError):
        model.perplexity(Path("nowhere.txt"))


# ---- generate ------------------------------------------------------------------------------------


def test_greedy_continuations_are_the_likeliest_tokens():
    model = small()
    rng = np.random.default_rng(5)
    model.set_weights([3 * rng.standard_normal(weight.shape) for weight in model.get_weights()])
    prompts = ["the", "a", "on the log. the cat"]
    together = model.generate(prompts, 12, top_k=1)
    for prompt, text in zip(prompts, together, strict=True):
        ids = model.vectorization.encode([prompt])[0].tolist()
        for _ in range(12):
            chances = probabilities(model, ids)
            chances[:2] = -1  # padding and unknown tokens
            ids.append(int(chances.argmax()))
        assert text == model.vectorization.decode([ids])[0][len(prompt) :]
        assert model.generate(prompt, 12, top_k=1) == text


def test_each_token_is_one_step_however_long_the_prompt(monkeypatch):
    model = small()
    steps = []
    forward = lc.LanguageModel._forward_from

    def counted(self, inputs, *rest):
        steps.append(inputs.shape[1])
        return forward(self, inputs, *rest)

    monkeypatch.setattr(lc.LanguageModel, "_forward_from", counted)
    model.generate("the cat " * 20, 10)
    assert steps == [160] + 9 * [1]


def test_a_text_does_not_depend_on_other_prompts():
    model = small()
    prompts = ["the ", "ca", "the ", "on the mat"]
    texts = model.generate(prompts, 30, seed=3)
    assert texts[0] == model.generate("the ", 30, seed=3)
    assert texts[:2] == model.generate(prompts[:2], 30, seed=3)
    assert texts[2] != texts[0]  # another place has other random numbers
    assert texts[3] == model.generate(["a", "b", "c", "on the mat"], 30, seed=3)[3]
    ending = small(characters([TEXT], end=">"))
    texts = ending.generate(["the ", "", "ca"], 30, seed=5)
    assert len({len(text) for text in texts}) > 1  # some end early, which changes no other
    assert texts[2] == ending.generate(["a", "b", "ca"], 30, seed=5)[2]


def test_seeds_and_options_of_sampling():
    model = small()
    texts = [model.generate("the ", 30, seed=seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    greedy = model.generate("the ", 30, top_k=1)
    assert model.generate("the ", 30, temperature=1e-6, seed=7) == greedy
    assert model.generate("the ", 30, top_p=1e-6, seed=7) == greedy
    assert len(texts[0]) == 30


def test_markers_begin_and_end_texts():
    model = small(characters(start="[S]", end="[E]"))
    bias = np.full(model.vectorization.vocabulary_size(), -50.0)
    bias[model.vectorization.end_id] = 0.0
    bias[[0, 1, 2]] = 50.0  # padding, unknown and start are never generated
    model.set_weights({"output.bias": bias})
    assert model.generate("the", 5) == ""
    assert model.generate("", 5) == ""
    assert model.generate([], 5) == []
    only_end = small(characters(end="[E]"))
    assert isinstance(only_end.generate(length=3), str)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"prompt": ""}, ValueError, r"prompt: expected at least one token, got ''.*start= or end"),
        ({"length": 0}, ValueError, "length: expected an integer of at least 1"),
        ({"temperature": 0}, ValueError, "temperature: .*top_k=1"),
        ({"temperature": -1.0}, ValueError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_p": 0.0}, ValueError, "top_p"),
        ({"top_p": 1.5}, ValueError, "top_p"),
        ({"seed": -1}, ValueError, "seed"),
        ({"prompt": [3]}, TypeError, r"texts\[0\]: expected a string"),
    ],
)
def test_what_cannot_be_generated(options, kind, message):
    with pytest.raises(kind, match=message):
        small().generate(**{"prompt": "the", **options})


# ---- files and neighbours in the package ---------------------------------------------------------


@pytest.mark.parametrize("tie_weights", [True, False])
def test_files_hold_the_whole_model(tmp_path, tie_weights):
    model = small(tie_weights=tie_weights, dtype="float32")
    model.compile()
    model.fit_text(TEXT, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    assert type(again) is lc.LanguageModel
    assert repr(again) == repr(model)
    assert again.generate("the ", 20) == model.generate("the ", 20)
    assert again.perplexity(TEXT) == model.perplexity(TEXT)
    for one in (model, again):  # the optimizer goes on too
        one.fit_text(TEXT, verbose=0)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    assert type(lc.LanguageModel.load(tmp_path / "model.safetensors")) is lc.LanguageModel
    small_one = lc.quantize(model)
    small_one.save(tmp_path / "int8.safetensors")
    assert lc.load(tmp_path / "int8.safetensors").generate("the ", 5) == small_one.generate(
        "the ", 5
    )


def test_a_file_of_another_kind_is_refused(tmp_path, monkeypatch):
    model = small()
    described = model._document()
    assert described["kind"] == "LanguageModel"
    monkeypatch.setattr(lc.LanguageModel, "_document", lambda self: {**described, "kind": "Poet"})
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="metadata: unknown kind 'Poet'"):
        lc.load(tmp_path / "model.safetensors")


def test_its_layers_can_begin_another_model():
    model = small()
    body = [layer.copy() for layer in model.layers[:-1]]
    classifier = lc.Sequential(
        [*body, L.GlobalMaxPooling1D(), L.Dense(1, "sigmoid")], dtype="float64"
    )
    texts = ["the cat", "a log"]
    assert classifier.predict(texts, verbose=0).shape == (2, 1)
    np.testing.assert_array_equal(
        classifier.weights["lstm.weight_hh_l0"], model.weights["lstm.weight_hh_l0"]
    )


def test_it_takes_texts_and_ids():
    model = small()
    ids = model.vectorization(["the cat"])
    np.testing.assert_array_equal(model.predict(["the cat"], verbose=0)[0], model(ids)[0])
    model.compile()
    model.fit(ids, ids, verbose=0)


def test_characters_of_token_lists_are_counted():
    model = small()
    text = "the cat"
    assert model.bits_per_character([list(text)]) == model.bits_per_character(text)


def test_a_model_without_its_output_says_so():
    model = small(embedding=5)
    model.pop()
    for call in (model.generate, model.perplexity, model.fit_text):
        with pytest.raises(ValueError, match="layers: expected an output for each of 16 tokens"):
            call(TEXT)
