"""Generators, iterables and sequences of batches in fit, evaluate and predict."""

import itertools

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers
from lstmcore.training.batches import is_batches

N, T, C, SIZE = 24, 5, 3, 8


@pytest.fixture
def data(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    return x, (x[:, 0, 0] > 0).astype(np.int64), rng.random(N)


def classifier(**options):
    model = lc.Sequential([layers.LSTM(3), layers.Dense(2, activation="softmax")], seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def cut(*arrays):
    """Return the batches that `fit` makes from arrays in order."""
    return [tuple(part[at : at + SIZE] for part in arrays) for at in range(0, N, SIZE)]


class Sequence:
    """Like Keras' `PyDataset`: a length, batches by number, and a call when an epoch ends."""

    def __init__(self, batches):
        self.made, self.events = batches, []

    def __len__(self):
        return len(self.made)

    def __getitem__(self, number):
        return self.made[number]  # need not raise IndexError past the end

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


class Iterable:
    """Can be iterated repeatedly; its length is unknown."""

    def __init__(self, batches):
        self.made, self.starts = batches, 0

    def __iter__(self):
        self.starts += 1
        return iter(self.made)


def endless(batches):
    yield from itertools.cycle(batches)


SOURCES = {
    "endless": (endless, {"steps_per_epoch": 3}),
    "iterator": (lambda batches: iter(batches * 2), {"steps_per_epoch": 3}),
    "iterable": (Iterable, {}),
    "iterable with steps": (Iterable, {"steps_per_epoch": 3}),
    "sequence": (Sequence, {}),
    "list": (list, {}),
    "lists for tuples": (lambda batches: Iterable([list(batch) for batch in batches]), {}),
    "lists of rows": (lambda batches: Iterable([(list(x), *rest) for x, *rest in batches]), {}),
    "other types": (
        lambda batches: Iterable([(x.astype(float), y.astype(float), *w) for x, y, *w in batches]),
        {},
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_batches_train_as_arrays_do(name, weighted, data):
    make, options = SOURCES[name]
    x, y, weights = data
    given = (x, y, weights) if weighted else (x, y)
    reference, model = classifier(), classifier()
    wanted = reference.fit(
        x,
        y,
        SIZE,
        sample_weight=weights if weighted else None,
        epochs=2,
        shuffle=False,
        validation_data=given,
        validation_batch_size=SIZE,
        verbose=0,
    )
    held_out = make(cut(*given))
    steps = {"validation_steps": 3} if options else {}
    got = model.fit(
        make(cut(*given)), epochs=2, validation_data=held_out, **options, **steps, verbose=0
    )
    assert got.history == wanted.history
    for one, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    steps = {"steps": 3} if options else {}
    assert model.evaluate(make(cut(*given)), **steps, verbose=0) == reference.evaluate(
        x, y, SIZE, sample_weight=weights if weighted else None, verbose=0
    )
    expected = reference.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(make(cut(*given)), **steps, verbose=0), expected)


def test_predict_accepts_batches_of_inputs_alone(data):
    x = data[0]
    model = classifier()
    expected = model.predict(x, verbose=0)
    parts = [part for (part,) in cut(x)]
    for items in (parts, [(part,) for part in parts], [[part] for part in parts]):
        np.testing.assert_array_equal(model.predict(iter(items), verbose=0), expected)
    rows = [[*part] for part in parts]  # lists of rows are not split
    np.testing.assert_array_equal(model.predict(iter(rows), verbose=0), expected)
    two = (list(part) for part in (x[:2], x[2:4]))  # nor are those of two rows
    np.testing.assert_array_equal(model.predict(two, verbose=0), expected[:4])
    np.testing.assert_array_equal(model.predict(endless(parts), steps=1, verbose=0), expected[:8])
    np.testing.assert_array_equal(model.predict(x, 8, steps=2, verbose=0), expected[:16])


def test_outputs_of_batches_of_several_lengths_come_as_rows(data):
    x = data[0]
    model = lc.Sequential([layers.LSTM(2, return_sequences=True)])
    expected = model.predict(x, verbose=0)
    got = model.predict(iter([x[:4], x[4:6, :2]]), verbose=0)
    assert isinstance(got, list)
    for row, wanted in zip(got, [*expected[:4], *expected[4:6, :2]], strict=True):
        np.testing.assert_array_equal(row, wanted)
    ragged = model.predict(iter([[x[0], x[1, :3]], [x[2]]]), verbose=0)
    assert [row.shape for row in ragged] == [(5, 2), (3, 2), (5, 2)]


def test_texts_and_tokens_in_batches():
    vectorizer = layers.TextVectorization(vocabulary=["good", "bad"])
    model = lc.Sequential(
        [vectorizer, layers.Embedding(4, 2), layers.LSTM(2), layers.Dense(1, activation="sigmoid")]
    )
    model.compile("sgd", "binary_crossentropy")
    batches = [(["good", "bad"], [1, 0]), (["bad bad", "good"], [0, 1])]
    model.fit(Iterable(batches), epochs=2, verbose=0)
    expected = model.predict(["good", "bad", "bad bad", "good"], verbose=0)
    np.testing.assert_array_equal(model.predict(iter(batches), verbose=0), expected)
    texts = (x for x, _ in batches)
    np.testing.assert_array_equal(model.predict(texts, verbose=0), expected)


def test_an_encoder_decoder_accepts_batches():
    x, y = [[3, 4], [4], [3], [4, 4, 3]], [[3], [4, 3], [4], [3]]
    batches = [(x[:2], y[:2]), (x[2:], y[2:])]
    made = [lc.EncoderDecoder(5, 5, embedding_size=3, units=3) for _ in range(2)]
    for model in made:
        model.compile(metrics="accuracy")
    array, batched = made
    # The order is the given one only with shuffle=False, which does not sort rows by length.
    wanted = array.fit(x, y, 2, epochs=3, shuffle=False, verbose=0)
    got = batched.fit(Sequence(batches), epochs=3, verbose=0)
    assert got.history == wanted.history
    assert batched.evaluate(iter(batches), verbose=0) == pytest.approx(
        array.evaluate(x, y, verbose=0), rel=1e-6
    )
    expected = array.predict(x, verbose=0)
    for items in (batches, [x], [x[:2], x[2:]]):
        found = batched.predict(iter(items), verbose=0)
        assert len(found) == 4
        assert all(map(np.array_equal, found, expected))
    first = batched.predict(iter(batches), steps=1, verbose=0)
    assert len(first) == 2
    assert all(map(np.array_equal, batched.predict(x, 2, steps=1, verbose=0), first))


# ---- epochs and steps ----------------------------------------------------------------------------


def test_iterables_restart_and_are_called_at_each_epoch(data):
    batches = cut(*data[:2])
    sequence, iterable = Sequence(batches), Iterable(batches)
    classifier().fit(sequence, epochs=2, validation_data=iterable, verbose=0)
    assert sequence.events == ["begin", "end"] * 2
    assert iterable.starts == 2


def seen(source, **options):
    """Return the means of the batches that each epoch trains on."""
    found, model = [], classifier()
    original = lc.training.loop.train_step

    def spy(model, batch, *rest):
        found.append(float(batch.inputs.mean()))
        return original(model, batch, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lc.training.loop, "train_step", spy)
        model.fit(source, verbose=0, **options)
    return found


def test_steps_continue_where_the_previous_epoch_stopped(data):
    batches = cut(*data[:2])
    means = [float(x.mean()) for x, _ in batches]
    for make in (endless, Iterable, Sequence):
        assert seen(make(batches), steps_per_epoch=2, epochs=3) == means * 2
        assert seen(make(batches), steps_per_epoch=4) == [*means, means[0]]
    assert seen(iter(batches)) == means
    same = iter(batches)

    class Forgetful:
        """Claims to restart, but does not."""

        def __iter__(self):
            return same

    for source in (iter(batches), Forgetful()):
        with pytest.raises(ValueError, match="2 batches .* ended after 3 batches, 1 into an epoch"):
            seen(source, steps_per_epoch=2, epochs=2)


def test_steps_of_samples_in_memory(data):
    x, y, _ = data
    assert len(seen_steps(x, y, steps_per_epoch=2, epochs=3)) == 6
    model = classifier()
    model.build((None, None, C))
    assert model.evaluate(x, y, SIZE, steps=2, verbose=0) == model.evaluate(
        x[:16], y[:16], SIZE, verbose=0
    )
    ragged = [x[0], x[1, :2], x[2, :1], x[3]]
    assert model.evaluate(ragged, y[:4], 2, steps=1, verbose=0) == model.evaluate(
        ragged[:2], y[:2], verbose=0
    )
    with pytest.raises(ValueError, match="steps_per_epoch: expected at most 3, .* got 4"):
        model.fit(x, y, SIZE, steps_per_epoch=4, verbose=0)
    with pytest.raises(ValueError, match="validation_steps: expected at most 1"):
        model.fit(x, y, validation_data=(x, y), validation_steps=2, verbose=0)
    with pytest.raises(ValueError, match="validation_steps: expected None without anything"):
        model.fit(x, y, validation_steps=2, verbose=0)
    with pytest.raises(ValueError, match="steps: expected at most 1"):
        model.predict(x, steps=2, verbose=0)


def seen_steps(x, y, **options):
    numbers = []
    note = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: numbers.append(batch))
    classifier().fit(x, y, SIZE, callbacks=note, verbose=0, **options)
    return numbers


@pytest.mark.parametrize(
    ("make", "options", "steps"),
    [
        (Sequence, {}, 3),
        (Iterable, {}, None),
        (Iterable, {"steps_per_epoch": 2}, 2),
        (iter, {}, None),
    ],
)
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_callbacks_know_the_number_of_batches(make, options, steps, verbose, data, capsys):
    note = callbacks.LambdaCallback()
    history = classifier().fit(make(cut(*data[:2])), callbacks=[note], verbose=verbose, **options)
    assert note.params["steps"] == steps
    assert history.epoch == [0]
    assert ("loss:" in capsys.readouterr().out) == (verbose != 0)


def test_lists_of_batches_and_lists_of_tuples(data):
    x, y, weights = data
    model = classifier()
    model.fit(x, y, verbose=0, validation_data=[x, y])  # x and y in a list
    rows = [tuple(row[:3]) for row in x]  # samples of three steps each
    expected = model.predict(x[:, :3], verbose=0)
    np.testing.assert_array_equal(model.predict(rows, verbose=0), expected)
    assert model.evaluate(rows, y, verbose=0) == model.evaluate(x[:, :3], y, verbose=0)
    options = {"epochs": 2, "verbose": 0}
    alone = model.evaluate(x, y, SIZE, sample_weight=weights, verbose=0)
    assert model.evaluate(cut(x, y, weights), verbose=0) == alone
    for call in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(TypeError, match="x: expected one batch, .* use fit or evaluate"):
            call(cut(x, y))
    with pytest.raises(ValueError, match="validation_data: batch 1: y: expected 8 entries"):
        model.fit(x, y, validation_data=[(x[:8], y[:8]), (x[8:16], y[:3])], **options)
    vectorizer = layers.TextVectorization(vocabulary=["good", "bad"])
    text = lc.Sequential(
        [vectorizer, layers.Embedding(4, 2), layers.LSTM(2), layers.Dense(1, activation="sigmoid")]
    )
    text.compile("sgd", "binary_crossentropy")
    batches = [(["good", "bad"], [1, 0]), (["bad bad", "good"], [0, 1])]
    history = text.fit(batches, validation_data=batches, **options).history
    assert history["val_loss"][-1] == text.evaluate(batches, verbose=0)
    np.testing.assert_array_equal(
        text.predict(batches, verbose=0),
        text.predict([*batches[0][0], *batches[1][0]], verbose=0),
    )
    coder = lc.EncoderDecoder(5, 5, embedding_size=3, units=3)
    coder.compile()
    pairs = [(np.array([[3, 4], [4, 4]]), [[3], [4, 3]]), ([[3], [4, 3]], [[4], [3]])]
    history = coder.fit(pairs, validation_data=pairs, **options).history
    assert history["val_loss"][-1] == coder.evaluate(pairs, verbose=0)
    assert len(coder.predict(pairs, verbose=0)) == 4


def test_a_sequence_without_a_length_needs_steps(data):
    class Endless:
        num_batches = None  # like Keras' PyDataset without a length

        def __getitem__(self, number):
            return cut(*data[:2])[number % 3]

    assert len(seen(Endless(), steps_per_epoch=5)) == 5
    with pytest.raises(ValueError, match="steps_per_epoch: .* Endless does not say how many"):
        classifier().fit(Endless(), verbose=0)


# ---- states and windows --------------------------------------------------------------------------


def tagger():
    model = lc.Sequential([layers.LSTM(3, return_sequences=True), layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "options", [{"stateful": True}, {"tbptt": 2}, {"tbptt": 2, "stateful": True}]
)
def test_states_pass_from_batch_to_batch(options, data):
    x, y = data[0], data[0][..., :1] * 2
    array, batched = tagger(), tagger()
    wanted = array.fit(x, y, SIZE, epochs=2, shuffle=False, verbose=0, **options)
    got = batched.fit(Sequence(cut(x, y)), epochs=2, verbose=0, **options)
    assert got.history == wanted.history
    if "stateful" not in options:
        return
    for part in ("h", "c"):
        np.testing.assert_array_equal(
            getattr(batched.state["lstm"], part), getattr(array.state["lstm"], part)
        )
    state = {"lstm": tuple(np.full((1, SIZE, 3), 0.5) for _ in "hc")}
    assert batched.evaluate(
        iter(cut(x, y)), stateful=True, state=state, verbose=0
    ) == array.evaluate(x, y, SIZE, stateful=True, state=state, verbose=0)
    y_array, after_array = array.predict(
        x, SIZE, stateful=True, state=state, return_state=True, verbose=0
    )
    y_batched, after = batched.predict(
        iter(cut(x)), stateful=True, state=state, return_state=True, verbose=0
    )
    np.testing.assert_array_equal(y_batched, y_array)
    np.testing.assert_array_equal(after["lstm"].h, after_array["lstm"].h)
    with pytest.raises(ValueError, match="x: expected a batch of 8 rows, .* got 5"):
        batched.fit(iter([(x[:8], y[:8]), (x[:5], y[:5])]), stateful=True, verbose=0)
    with pytest.raises(ValueError, match="x: expected a batch of 8 rows, .* got 5"):
        batched.predict(iter([x[:8], x[:5]]), stateful=True, verbose=0)


# ---- refused calls -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("y", [1]),
        ("sample_weight", [1.0]),
        ("batch_size", 4),
        ("validation_split", 0.5),
        ("shuffle", True),
        ("reset", [[True]]),
        ("mask", [[True]]),
    ],
)
def test_arguments_that_batches_exclude(name, value, data):
    model = classifier()
    with pytest.raises(
        ValueError, match=f"^{name}: expected none alongside x that yields batches, "
    ):
        model.fit(Iterable(cut(*data[:2])), verbose=0, **{name: value})
    if name not in ("validation_split", "shuffle"):
        with pytest.raises(ValueError, match=f"^{name}: expected none alongside x that yields"):
            model.evaluate(iter(cut(*data[:2])), verbose=0, **{name: value})
    if name in ("batch_size", "reset", "mask"):
        with pytest.raises(ValueError, match=f"^{name}: expected none alongside x that yields"):
            model.predict(iter(cut(data[0])), verbose=0, **{name: value})
    assert not model.built


def test_bad_batches(data):
    x, y, _ = data
    batches = cut(x, y)
    model = classifier()
    cases = [
        (ValueError, "steps_per_epoch: .* iterator .* 2 epochs", iter(batches), {"epochs": 2}),
        (ValueError, "x: expected at least one batch, got none", iter(()), {}),
        (ValueError, "x: expected at least one batch, got none", Sequence([]), {}),
        (TypeError, r"batch 0: x: expected each batch to be a tuple \(x, y\)", iter([x]), {}),
        (TypeError, "batch 0: x: expected each batch to be a tuple", iter([{"x": x}]), {}),
        (TypeError, "batch 0: x: expected each batch to be a tuple", iter([(x,)]), {}),
        (ValueError, "batch 0: y: .* a single one", zip(x, y, strict=True), {}),
        (ValueError, "batch 0: y: .* a single one", iter([(x[0], 1)]), {}),
        (ValueError, "batch 1: y: expected 8 entries", iter([batches[0], (x[:8], y[:3])]), {}),
        (ValueError, "batch 1: inputs: expected shape", iter([batches[0], (x[..., :1], y)]), {}),
        (ValueError, "steps_per_epoch: .* at least 1", iter(batches), {"steps_per_epoch": 0}),
        (TypeError, "steps_per_epoch: expected an int", iter(batches), {"steps_per_epoch": 1.5}),
    ]
    for kind, message, source, options in cases:
        with pytest.raises(kind, match=f"^{message}"):
            model.fit(source, verbose=0, **options)
    for kind, message, source, options in (
        (ValueError, "validation_steps: .* validation_data is an iterator", iter(batches), {}),
        (ValueError, "validation_data: batch 0: y: expected 24", iter([(x, y[:3])]), {}),
        (ValueError, r"validation_data: expected \(x, y\), .* or a source of", x, {}),
    ):
        with pytest.raises(kind, match=f"^{message}"):
            model.fit(x, y, epochs=2, validation_data=source, verbose=0, **options)
    for name in ("state", "return_state"):
        with pytest.raises(ValueError, match=f"^{name}: expected none alongside x .*stateful=True"):
            model.predict(iter(cut(x)), verbose=0, **{name: True})
    with pytest.raises(ValueError, match=r"^state: expected none alongside x .*stateful=True"):
        model.evaluate(iter(batches), verbose=0, state={})
    for call in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(TypeError, match=r"^x: expected one batch, .* use fit or evaluate"):
            call(iter(batches))


def test_an_error_of_the_generator_is_passed_on(data):
    def broken():
        yield cut(*data[:2])[0]
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="^disk on fire$"):
        classifier().fit(broken(), verbose=0)


@pytest.mark.parametrize(
    "thing",
    [object(), endless, None, 5j, Sequence],
    ids=["object", "function", "None", "5j", "type"],
)
def test_errors_on_other_objects_say_what_is_accepted(thing):
    message = (
        r"^x: expected (numbers|an array, a list of rows, or a source of batches: a generator)"
    )
    model = classifier()
    for call in (model.fit, model.evaluate, model.predict):
        given = (thing,) if call == model.predict else (thing, [0])
        with pytest.raises(TypeError, match=message):
            call(*given, verbose=0)
    coder = lc.EncoderDecoder(5, 5)
    coder.compile()
    with pytest.raises(TypeError, match=message):
        coder.fit(thing, [[3]], verbose=0)
    if callable(thing):
        with pytest.raises(
            TypeError, match="; call it (and pass what it returns|to make an object)$"
        ):
            model.predict(thing)
    text = lc.Sequential([layers.TextVectorization(vocabulary=["a"]), layers.Embedding(3, 2)])
    with pytest.raises(TypeError, match="texts: expected a sequence of strings"):
        text.predict(thing)


def test_objects_that_yield_batches(data):
    x = data[0]
    for thing in (x, list(x), tuple(x), "text", range(3), {1: x}, {1}, memoryview(x), None, 3, []):
        assert not is_batches(thing, 3)
    for thing in (iter(x), Sequence([]), Iterable([]), endless([]), map(abs, x), cut(x, x)):
        assert is_batches(thing, 3)
    uneven = [[x[0], x[1, :2]], [x[2, :1]]]
    for thing in ([(part, [1]) for part in uneven], [(part,) for part in uneven]):
        assert is_batches(thing, 3)
    for thing in ([tuple(x[0]), tuple(x[1])], [(x[0], x[1]), (x[2], x[3])]):
        assert not is_batches(thing, 3)  # samples whose rows are tuples; x and y as tuples
    assert is_batches([(x[0], 1), (x[1], 0)], 3, lone=True)  # so that an error can describe them
    assert not is_batches([(x[0], 1), (x[1], 0)], 3)
    assert is_batches([(["a", "b"], [0, 1])], 1)
    assert not is_batches([("a", "b"), (0, 1)], 1)
    ids = lc.Sequential([layers.Embedding(5, 2)])
    assert ids.predict(range(3), verbose=0).shape == ids.predict([0, 1, 2], verbose=0).shape


@pytest.mark.parametrize("kind", [Sequence, Iterable])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_validation_has_the_same_batches_after_each_epoch(data, kind, steps):
    """At learning rate 0, all epochs have the figures of the first batches."""
    x, y, _ = data
    model = classifier()
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy", ["accuracy"])
    source = kind(cut(x, y))
    history = model.fit(
        x, y, epochs=3, validation_data=source, validation_steps=steps, verbose=0
    ).history
    expected = model.evaluate(x[: steps * SIZE], y[: steps * SIZE], SIZE, verbose=0)
    for name, value in zip(("val_loss", "val_accuracy"), expected, strict=True):
        # The mean of the batches' losses equals that of evaluate, to the bit.
        assert history[name] == [value] * 3
    if kind is Sequence:
        assert source.events == ["begin", "end"] * 3
    else:
        assert source.starts == 3


def test_validation_continues_an_iterator(data):
    x, y, _ = data
    model = classifier()
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    batches = cut(x, y)
    history = model.fit(
        x, y, epochs=3, validation_data=iter(batches), validation_steps=1, verbose=0
    ).history
    assert history["val_loss"] == [model.evaluate(*batch, verbose=0) for batch in batches]
