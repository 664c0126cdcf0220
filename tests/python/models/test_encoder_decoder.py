"""EncoderDecoder: exact gradients, attention without padding, training, files."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore._intake import Intake
from lstmcore.models import model_file
from lstmcore.models.encoder_decoder.pairs import Pair
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.training.samples import Samples
from pair_kit import (
    ATTENTIONS,
    END,
    START,
    check_gradients,
    greedy,
    pair_of,
    small_model,
    some_pairs,
    some_rows,
    spread,
)
from reference import relative_error

# ---- gradients -----------------------------------------------------------------------------------

CASES = [
    *((attention, {}) for attention in ATTENTIONS),
    *((attention, {"bidirectional": True, "num_layers": 2}) for attention in ATTENTIONS),
    ("additive", {"attention_units": 5, "bidirectional": True}),
    ("multiplicative", {"attention_scale": True}),
    *((attention, {"dropout": 0.3, "num_layers": 2}) for attention in ATTENTIONS),
]


@pytest.mark.parametrize(("attention", "options"), CASES)
def test_gradients_are_exact(rng, attention, options):
    model = spread(small_model(attention, dtype="float64", **options), rng)
    check_gradients(model, *some_pairs(rng), rng)


def test_gradients_overwrite_earlier_values(rng):
    for attention in ATTENTIONS:
        model = spread(small_model(attention), rng)
        model.compile("sgd")
        batch = model._examples(Samples(*some_pairs(rng)), Intake()).batch(slice(None))
        results = []
        for stain in (0.0, np.nan):
            model.parameters.gradients[...] = stain
            outputs, _, context = model.forward(batch.inputs, batch.lengths, True, 0, True)
            model.backward(context, np.ones_like(outputs))
            results.append(model.parameters.gradients.copy())
        assert np.array_equal(*results)


# ---- equivalent computations ---------------------------------------------------------------------


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_pair_alone_has_the_same_bits(rng, attention, bidirectional):
    model = spread(small_model(attention, bidirectional=bidirectional), rng)
    x, y = some_pairs(rng)
    together = model(x, y)
    for row, (source, target) in enumerate(zip(x, y, strict=True)):
        alone = model([source], [target])
        assert np.array_equal(together[row, : len(target) + 1], alone[0])
    padded = np.zeros((4, 9), np.int32)
    for row, source in enumerate(x):
        padded[row, : len(source)] = source
    assert np.array_equal(model(padded, y), together)
    assert np.array_equal(
        model.log_probabilities(x, y, batch_size=4), model.log_probabilities(x, y, batch_size=1)
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_training_has_the_same_bits_for_any_number_of_threads(rng, attention):
    x, y = some_rows(rng, rng.integers(1, 9, 40), 1, 7), some_rows(rng, [4] * 40, 3, 6)
    results = []
    for threads in (1, 2, 3):
        lc.set_num_threads(threads)
        model = small_model(
            attention, units=48, dropout=0.1, scheduled_sampling=0.5, bidirectional=True
        )
        model.compile(lc.optimizers.Adam(1e-2, global_clipnorm=1.0))
        history = model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        found = model.decode(x[:5], 3)
        results.append(
            (history.history["loss"], model.parameters.values.copy(), [h[0].score for h in found])
        )
    for result in results[1:]:
        assert result[0] == results[0][0]
        assert np.array_equal(result[1], results[0][1])
        assert result[2] == results[0][2]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_steps_match_the_whole_sequence(rng, attention, num_layers):
    """Decoding step by step has the same bits as all steps in one call."""
    model = spread(small_model(attention, num_layers=num_layers), rng)
    x, y = some_rows(rng, [3, 5], 1, 7), some_rows(rng, [4, 4], 3, 6)
    whole = log_softmax(model.forward(*pair_of(model, x, y), False, 0, True)[0])
    found = model.log_probabilities(x, y)
    expected = [
        sum(whole[row, step, token] for step, token in enumerate([*y[row], END])) for row in (0, 1)
    ]
    assert relative_error(found, np.array(expected)) < 1e-14
    state = begin(model, x)
    for step, tokens in enumerate(np.array([[START, *row] for row in y]).T):
        logits, state, _ = model._coder.step(tokens[:, None], state)
        assert np.array_equal(log_softmax(logits)[:, 0], whole[:, step])


def begin(model, x, width=1):
    from lstmcore.models.encoder_decoder.network import Beams
    from lstmcore.models.encoder_decoder.pairs import token_rows

    sources = token_rows(x, "x", model.source_vocabulary)
    encoded, _ = model._coder.encode(sources.padded(), sources.lengths, False, 0)
    return Beams.begin(encoded, width)


def test_targets_are_shifted(rng):
    """The decoder reads start token and target, and is to predict target and end token."""
    model = small_model(None)
    model.compile("sgd")
    batch = model._examples(Samples([[3, 4], [5]], [[5, 3, 4], []]), Intake()).batch(slice(None))
    assert batch.inputs.source.tolist() == [[3, 4], [5, 0]]
    assert batch.inputs.given.tolist() == [[START, 5, 3, 4], [START, 0, 0, 0]]
    assert batch.targets.tolist() == [[5, 3, 4, END], [END, 0, 0, 0]]
    assert batch.lengths.tolist() == [4, 1]


def test_padding_does_not_count_in_loss_and_accuracy(rng):
    model = spread(small_model("multiplicative"), rng)
    model.compile("sgd", metrics=["accuracy"])
    x, y = some_pairs(rng)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    tokens = sum(len(row) + 1 for row in y)
    assert loss == pytest.approx(-model.log_probabilities(x, y).sum() / tokens, rel=1e-5)
    right = 0
    for source, target in zip(x, y, strict=True):
        right += (model([source], [target])[0].argmax(axis=-1) == [*target, END]).sum()
    assert accuracy == pytest.approx(right / tokens)


# ---- training ------------------------------------------------------------------------------------


def reversal(count, seed):
    random = np.random.default_rng(seed)
    x = some_rows(random, random.integers(1, 7, count), 3, 13)
    return x, [row[::-1] for row in x]


@pytest.mark.parametrize("attention", ["multiplicative", "additive"])
def test_it_learns_to_reverse_digits(attention):
    lc.set_num_threads(1)  # the steps are too small to benefit from a second thread
    x, y = reversal(1500, 0)
    model = lc.EncoderDecoder(13, 13, embedding_size=16, units=32, attention=attention, seed=3)
    model.compile(lc.optimizers.Adam(1.5e-2, global_clipnorm=1.0))
    model.fit(x, y, epochs=10, verbose=0)
    x, y = reversal(400, 1)
    found = model.predict(x, verbose=0)
    right = np.mean([np.array_equal(*pair) for pair in zip(found, y, strict=True)])
    assert right > 0.95, right


def test_scheduled_sampling(rng):
    x, y = some_rows(rng, [3, 4, 2], 1, 7), some_rows(rng, [4, 2, 3], 3, 6)

    def outputs(share, seed=0, **options):
        model = spread(
            small_model("multiplicative", scheduled_sampling=share), np.random.default_rng(1)
        )
        return model(x, y, training=True, seed=seed, **options)

    assert np.array_equal(outputs(0.0), outputs(0.0, seed=1))
    assert np.array_equal(outputs(0.5), outputs(0.5))
    assert not np.array_equal(outputs(0.5), outputs(0.5, seed=1))
    # With probability 1, the decoder reads its own previous prediction.
    for attention in ATTENTIONS:
        model = spread(small_model(attention, scheduled_sampling=1.0), rng, 1.5)
        sampled = model(x, y, training=True)
        for row, source in enumerate(x):
            predicted = greedy(model, source, len(y[row]))[0]
            predicted += [END] * (len(y[row]) > len(predicted))
            steps = min(len(predicted), len(y[row])) + 1
            given = Pair(source[None], np.array([len(source)]), np.array([[START, *predicted]]))
            expected = model.forward(given, np.array([len(predicted) + 1]), False, 0, False)[0]
            assert np.array_equal(sampled[row, :steps], expected[0, :steps])


def test_scheduled_sampling_by_epoch(rng):
    model = small_model(None, scheduled_sampling=lc.schedules.Warmup(0.5, 4))
    assert [model.sampling_probability(epoch) for epoch in (0, 1, 4, 9)] == [0.0, 0.125, 0.5, 0.5]
    x, y = some_pairs(rng)
    model.compile()
    seen = []
    watch = lc.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(model._sampling_epoch)
    )
    model.fit(x, y, epochs=5, initial_epoch=2, callbacks=[watch], verbose=0)
    assert seen == [2, 3, 4]
    wrong = small_model(None, scheduled_sampling=lc.schedules.Constant(1.5))
    with pytest.raises(ValueError, match="scheduled_sampling: expected a number in \\[0, 1\\]"):
        wrong.sampling_probability(0)


def test_weights_of_pairs_and_tokens(rng):
    x, y = some_pairs(rng)
    model = spread(small_model("multiplicative"), rng)
    model.compile("sgd")
    tokens = sum(len(row) + 1 for row in y)
    logs = model.log_probabilities(x, y)
    weighted = model.evaluate(x, y, verbose=0, sample_weight=[1.0, 0.0, 2.0, 0.5])
    assert weighted == pytest.approx(-(logs * [1.0, 0.0, 2.0, 0.5]).sum() / tokens, rel=1e-5)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(N,\)"):
        model.evaluate(x, y, verbose=0, sample_weight=np.ones((4, 5)))
    before = model.get_weights()
    model.train_on_batch(x, y, class_weight={END: 0.0, 3: 0.0, 4: 0.0, 5: 0.0})
    assert all(map(np.array_equal, before, model.get_weights()))


def test_validation_callbacks_and_history(rng):
    x, y = reversal(60, 2)
    model = lc.EncoderDecoder(13, 13, embedding_size=4, units=8)
    model.compile(metrics=["accuracy"])
    history = model.fit(
        x,
        y,
        epochs=4,
        validation_split=0.25,
        callbacks=[lc.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True)],
        verbose=0,
    )
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.history["loss"][-1] < history.history["loss"][0]
    results = model.evaluate(x, y, verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    assert model.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(results["loss"])


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_save_and_load(rng, attention, tmp_path):
    x, y = some_pairs(rng)
    model = small_model(
        attention,
        bidirectional=True,
        num_layers=2,
        dropout=0.2,
        scheduled_sampling=lc.schedules.Warmup(0.5, 4),
        start=2,
        end=1,
        dtype="float64",
    )
    model.compile(lc.optimizers.Adam(1e-2), metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=0)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = lc.load(path)
    assert isinstance(loaded, lc.EncoderDecoder)
    assert loaded.get_config() == model.get_config()
    assert list(loaded.weights) == list(model.weights)
    assert np.array_equal(loaded(x, y), model(x, y))
    # Training continues with the same bits as without the interruption.
    for each in (model, loaded):
        each.fit(x, y, epochs=5, initial_epoch=2, verbose=0)
    assert np.array_equal(loaded.parameters.values, model.parameters.values)
    assert isinstance(lc.EncoderDecoder.load(path), lc.EncoderDecoder)
    with pytest.raises(ValueError, match="expected one of class Sequential, got EncoderDecoder"):
        lc.Sequential.load(path)


def test_a_file_without_the_optimizer(rng, tmp_path):
    model = small_model("multiplicative")
    model.compile()
    model.save(tmp_path / "model.safetensors", include_optimizer=False)
    loaded = lc.load(tmp_path / "model.safetensors")
    assert not loaded.is_compiled
    assert np.array_equal(loaded.parameters.values, model.parameters.values)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"frozen": "encoder"}, "expected a list as frozen"),
        ({"frozen": ["encodre"]}, "got 'encodre'; did you mean 'encoder'"),
        ({"frozen": [3]}, "name: expected a str"),
        ({"target_tokens": {"a": 1}}, "expected a list as target_tokens"),
        ({"target_tokens": [3]}, "target_tokens: expected strings"),
    ],
)
def test_spoilt_entries_of_a_file(entry, message, tmp_path):
    path = tmp_path / "model.safetensors"
    small_model(None).save(path)
    tensors, document = model_file.read(path)
    assert not {"frozen", "target_tokens"} & set(document)
    model_file.write(path, tensors, {**document, **entry})
    with pytest.raises(ValueError, match=message):
        lc.load(path)


def test_a_spoilt_file(tmp_path):
    path = tmp_path / "model.safetensors"
    small_model("multiplicative").save(path)
    tensors, document = model_file.read(path)

    def refused(text, change):
        spoilt, wrong = dict(tensors), copy.deepcopy(document)
        change(spoilt, wrong)
        model_file.write(path, spoilt, wrong)
        with pytest.raises(ValueError, match=text):
            lc.load(path)

    config = ("encoder_decoder", "config")

    def set_config(name, value):
        return lambda _, wrong: wrong[config[0]][config[1]].update({name: value})

    refused("unknown other", lambda _, wrong: wrong.update(other=1))
    refused("unknown configuration layers", set_config("layers", 2))
    refused("units: expected an integer", set_config("units", "many"))
    refused("expected float32 of shape", set_config("units", 10**6))
    refused("missing decoder.bias_l0", lambda spoilt, _: spoilt.pop("decoder.bias_l0"))
    refused(
        "unknown class", lambda _, wrong: wrong["encoder_decoder"].update({"class": "Sequential"})
    )


def test_copies_are_independent(rng):
    x, y = some_pairs(rng)
    model = spread(small_model("additive"), rng)
    expected = model(x, y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin(x, y), expected)
        twin.set_weights([0 * values for values in twin.get_weights()])
        assert np.array_equal(model(x, y), expected)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"source_vocabulary": 1}, "source_vocabulary: expected an integer of at least 2, got 1"),
        ({"target_vocabulary": 2}, "target_vocabulary: expected an integer of at least 3, got 2"),
        ({"units": 0}, "units: expected an integer of at least 1"),
        ({"num_layers": 10**9}, "num_layers: expected an integer of at most"),
        ({"attention": "dot"}, "attention: expected one of 'additive', 'multiplicative'"),
        ({"attention_units": 3}, "attention_units: expected None with attention='multiplicative'"),
        ({"attention": None, "attention_scale": True}, "attention_scale: expected False"),
        ({"dropout": 1.0}, "dropout: expected a number in"),
        ({"scheduled_sampling": 1.1}, "scheduled_sampling: expected a number in"),
        ({"start": 0}, "start: expected an integer of at least 1"),
        ({"end": 6}, "end: expected a token in 1..5, got 6"),
        ({"start": 2}, "end: expected another token than start, got 2 for both"),
        ({"dtype": "float16"}, "dtype: expected 'float32' or 'float64'"),
    ],
)
def test_wrong_options(options, text):
    sizes = {"source_vocabulary": 7, "target_vocabulary": 6, **options}
    with pytest.raises(ValueError, match=text):
        lc.EncoderDecoder(**sizes)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ([[3, 7]], [[3]], "x: expected token ids in 1..6, got 7"),
        ([[3, -1]], [[3]], "x: expected token ids in 1..6, got -1"),
        ([[3, 0, 4]], [[3]], "x: id 0 is padding and may appear only at the right end"),
        (np.array([[0, 3]]), [[3]], "x: id 0 is padding"),
        (np.array([3, 4]), [[3]], "x: expected rows of token ids"),
        ([[3]], [[6]], "y: expected token ids in 1..5, got 6"),
        ([[3]], [[START, 3]], "y: expected targets without the start token, 1"),
        ([[3]], [[3, END]], "y: expected targets without the end token, 2"),
        ([[3], [4]], [[3]], "y: expected 2 entries like x, got 1"),
        ([[3]], None, "y: expected targets, got None"),
        ([], [], "x: expected at least one sample, got none"),
    ],
)
def test_wrong_data(x, y, text):
    model = small_model("multiplicative")
    model.compile()
    before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        model.fit(x, y, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.optimizer.iterations == 0


def test_wrong_calls():
    model = small_model(None)
    with pytest.raises(ValueError, match=r"x: expected whole numbers, but x\[0\]\[0\] is 3.5"):
        model.decode([[3.5]])
    with pytest.raises(ValueError, match="not compiled yet"):
        model.fit([[3]], [[3]])
    with pytest.raises(
        ValueError, match="return_attention: expected False, since the model has no"
    ):
        model.decode([[3]], return_attention=True)
    for options, text in (
        ({"beam_width": 0}, "beam_width: expected an integer of at least 1"),
        ({"max_length": 0}, "max_length: expected an integer of at least 1"),
        ({"length_penalty": -1.0}, "length_penalty: expected a number in"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=text):
            model.decode([[3]], **options)
    for loss in ("mse", "categorical_crossentropy"):
        with pytest.raises(ValueError, match="loss: expected one whose targets are tokens"):
            model.compile(loss=loss)
    with pytest.raises(ValueError, match="loss: expected a Loss or its name, got None"):
        model.compile(loss=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tbptt", 2), ("stateful", True), ("state", {}), ("reset", [[True]]), ("return_state", True)],
)
def test_no_state_passes_from_call_to_call(name, value):
    model = small_model(None)
    model.compile()
    before = model.get_weights()
    calls = [model.fit] if name in ("tbptt", "stateful", "state", "reset") else []
    calls += [model.evaluate] if name in ("stateful", "reset") else []
    calls += (
        [model.train_on_batch, model.test_on_batch] if name not in ("tbptt", "stateful") else []
    )
    for call in calls:
        with pytest.raises(ValueError, match=f"^{name}: not for EncoderDecoder, which works on"):
            call([[3]], [[3]], **{name: value})
    with pytest.raises(ValueError, match="state: not for EncoderDecoder"):
        model.state = {}
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.optimizer.iterations == 0
    assert model.state is None
    model.fit([[3]], [[3]], stateful=False, verbose=0)


def test_summary():
    lines = []
    model = small_model("additive", bidirectional=True)
    model.summary(lines.append)
    text = "\n".join(lines)
    for layer in model.layers:
        assert layer.name in text
    assert f"Parameters: {model.count_params():,}" in text
