"""Whatever is accepted and trains can be saved, and is the same after loading."""

import fractions
import inspect
import json
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lstmcore as lc
from lstmcore import _configurable, callbacks, constraints, regularizers
from lstmcore.layers import TextVectorization
from lstmcore.training import losses, metrics, optimizers, schedules

SURROGATE = "a \ud800 b"

# Values that users may pass where a number, a name or a choice is expected.
NUMBERS = st.one_of(
    st.sampled_from(
        [
            0,
            1,
            2,
            5,
            -1,
            0.5,
            1.0,
            1e-12,
            1e300,
            5e-324,
            True,
            None,
            math.nan,
            math.inf,
            -math.inf,
            2**63,
            2**64,
            10**400,
            fractions.Fraction(1, 3),
            np.float32(0.1),
            np.float64(0.25),
            np.float16(0.5),
            np.int8(3),
            np.uint64(2**63),
            np.float32(np.nan),
            np.bool_(True),
            np.array(2),
            np.array(0.5),
            np.longdouble(0.1),
        ]
    ),
)
NAMES = st.one_of(
    st.sampled_from(["a", "a/b", "a\x00b", "ä\n", SURROGATE, "\udcff", "a.b", "", "__metadata__"]),
    st.sampled_from([np.str_("relu"), "tanh", "l2", "max_norm", "character", "zeros"]),
    st.text(st.characters(), max_size=5),
)
VALUES = st.one_of(NUMBERS, NAMES, st.lists(NUMBERS, max_size=2), st.lists(NAMES, max_size=2))

REQUIRED = {
    "units": 3,
    "input_dim": 5,
    "output_dim": 2,
    "filters": 2,
    "kernel_size": 2,
    "rate": 0.5,
    "initial_learning_rate": 0.1,
    "max_learning_rate": 0.1,
    "decay_steps": 3,
    "decay_rate": 0.5,
    "total_steps": 4,
    "schedule": 0.1,
    "warmup_steps": 2,
}


def kinds(module, base=None):
    found = [getattr(module, name) for name in module.__all__]
    return [
        kind
        for kind in found
        if isinstance(kind, type)
        and issubclass(kind, _configurable.Configurable)
        and (base is None or (issubclass(kind, base) and kind is not base))
        and kind not in (losses.Loss, metrics.Metric, optimizers.Optimizer, schedules.Schedule)
        and kind is not lc.layers.Layer
    ]


SIMPLE = [
    *(
        kind
        for kind in kinds(lc.layers)
        if not {"layer", "layers", "cell"} & set(inspect.signature(kind).parameters)
    ),
    *kinds(optimizers, optimizers.Optimizer),
    *kinds(schedules, schedules.Schedule),
    *kinds(losses, losses.Loss),
    *kinds(metrics, metrics.Metric),
    *kinds(regularizers),
    constraints.MaxNorm,
]


def test_all_kinds_are_drawn():
    assert len(SIMPLE) > 30


def known_classes():
    modules = (lc.layers, optimizers, schedules, losses, metrics, regularizers, constraints)
    return {name: getattr(module, name) for module in modules for name in module.__all__}


@pytest.mark.parametrize("kind", SIMPLE, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_a_constructor_accepts_survives_a_file(kind, data):
    names = [name for name in _configurable.arguments(kind) if name != "custom"]
    needed = {
        entry.name: REQUIRED[entry.name]
        for entry in inspect.signature(kind).parameters.values()
        if entry.default is entry.empty and entry.name in REQUIRED
    }
    changed = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    options = {**needed, **{name: data.draw(VALUES, label=name) for name in changed}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = kind(**options)
        except (TypeError, ValueError):
            return  # refused before training
        config = made.get_config()
        text = json.dumps(config, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
        again = _configurable.make(
            kind.__name__, json.loads(text), {**known_classes(), kind.__name__: kind}
        )
    assert again.get_config() == config


# ---- whole models -------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((8, 3, 2)).astype(np.float32)
LABELS = np.arange(8) % 2


def round_trip(model, path, x):
    before = model.predict(x, verbose=0)
    model.save(path)
    again = lc.load(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), before)
    return again


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layer=NAMES,
    metric=NAMES,
    seed=NUMBERS,
    classes=st.lists(NAMES, max_size=3),
    metadata=st.dictionaries(NAMES, NAMES, max_size=2),
)
def test_what_trains_can_be_saved(tmp_path, layer, metric, seed, classes, metadata):
    def attempt(make, instead):
        try:
            return make()
        except (TypeError, ValueError):
            return instead

    recurrent = attempt(lambda: lc.layers.LSTM(2, name=layer), lc.layers.LSTM(2))
    dense = lc.layers.Dense(2, activation="softmax")
    model = attempt(
        lambda: lc.Sequential([recurrent, dense], seed=seed),
        lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(2, activation="softmax")]),
    )
    own = attempt(lambda: metrics.SparseCategoricalAccuracy(metric), "accuracy")
    model.compile("adam", "sparse_categorical_crossentropy", [own])
    for name, value in (("class_names", classes or None), ("metadata", metadata)):
        attempt(lambda name=name, value=value: setattr(model, name, value), None)
    try:
        model.fit(X, LABELS, verbose=0)
    except ValueError as error:
        assert "class_names" in str(error)  # not as many as outputs, which only fit can tell
        return
    again = round_trip(model, tmp_path / "model.safetensors", X)
    assert again.class_names == model.class_names
    assert again.metadata == model.metadata
    assert again.seed == model.seed
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.one_of(NAMES, st.text(st.characters(), max_size=12)), min_size=1, max_size=4),
    split=st.sampled_from(["whitespace", "character"]),
    standardize=st.sampled_from([None, "lower", "lower_and_strip_punctuation"]),
)
def test_vocabularies_of_any_text_can_be_saved(tmp_path, texts, split, standardize):
    words = TextVectorization(split=split, standardize=standardize)
    try:
        words.adapt(texts)
    except ValueError as error:
        assert "surrogate" in str(error) or "at least one token" in str(error)
        return
    model = lc.Sequential(
        [words, lc.layers.Embedding(words.vocabulary_size(), 2), lc.layers.LSTM(2)]
    )
    # Text with half of a surrogate pair is treated like any unknown token.
    again = round_trip(model, tmp_path / "model.safetensors", [*texts, SURROGATE])
    assert again.layers[0].get_vocabulary() == words.get_vocabulary()


def repaired_as_advised(text):
    """Return what the code in the error makes of a text that it refuses."""
    with pytest.raises(ValueError, match="repairs it") as raised:
        TextVectorization().adapt([text])
    advice = re.search(r"text\.encode\(.*\)(?= repairs it)", str(raised.value))
    return eval(advice[0], {"text": text})


def test_text_that_no_file_can_hold_is_refused_at_once():
    words = TextVectorization()
    with pytest.raises(ValueError, match=r"texts\[1\]: expected text that UTF-8 can hold.*surrog"):
        words.adapt(["good", SURROGATE])
    assert words.vocabulary is None
    with pytest.raises(ValueError, match=r"vocabulary\[1\]: expected text that UTF-8 can hold"):
        words.set_vocabulary(["good", "\ud800"])
    with pytest.raises(ValueError, match=r"vocabulary\[0\]"):
        TextVectorization(vocabulary=["\ud800"])
    with pytest.raises(ValueError, match=r"name: expected text that UTF-8 can hold"):
        lc.layers.LSTM(2, name="\ud800")
    with pytest.raises(ValueError, match=r"name: expected text that UTF-8 can hold"):
        metrics.MeanSquaredError("\ud800")
    model = lc.Sequential([lc.layers.LSTM(2)])
    with pytest.raises(ValueError, match=r"metadata\['note'\]: expected text that UTF-8 can hold"):
        model.metadata = {"note": "\ud800"}
    with pytest.raises(ValueError, match="class_names: expected printable names"):
        model.class_names = ["\ud800", "b"]
    with pytest.raises(ValueError, match=r"target_tokens\[1\]: expected text that UTF-8 can hold"):
        lc.EncoderDecoder(4, 4).target_tokens = ["a", "\ud800"]
    words.adapt([repaired_as_advised(SURROGATE)])
    assert words.get_vocabulary()[2:] == ["a", "b", "\ufffd"]


def test_the_advice_joins_a_divided_pair_of_surrogates():
    assert repaired_as_advised("\ud83d\ude00") == "\U0001f600"


def test_half_a_pair_is_an_unknown_token():
    words = TextVectorization(split="character", vocabulary=["a", " "])
    ids, lengths = words.encode([SURROGATE])
    assert ids.tolist() == [2, 3, 1, 3, 1]
    assert lengths.tolist() == [5]


def test_a_vocabulary_may_come_from_a_generator():
    words = TextVectorization(vocabulary=(token for token in ["a", "b"]))
    assert words.get_vocabulary() == ["", "[UNK]", "a", "b"]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**5000], ids=["+", "-", "long"])
def test_integers_that_no_file_can_hold_are_refused(value):
    with pytest.raises(ValueError, match="seed: expected an integer of 64 bits"):
        lc.Sequential([lc.layers.LSTM(2)], seed=value)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_integers_that_no_float_can_hold_are_refused(value):
    with pytest.raises(ValueError, match="learning_rate: expected a number in"):
        optimizers.SGD(value)


def test_class_names_are_compared_with_the_outputs_before_training():
    model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(2, activation="softmax")])
    model.class_names = ["a", "b", "c"]
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="class_names: expected 2 names"):
        model.fit(X, LABELS, verbose=0)
    assert not model.built
    model.class_names = ["a", "b"]
    model.fit(X, LABELS, verbose=0)


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    "make", [callbacks.EarlyStopping, callbacks.ReduceLROnPlateau, None], ids=str
)
def test_figures_that_are_not_finite_are_never_the_best(tmp_path, loss, make):
    # A validation loss that overflows at first.
    path = tmp_path / "model.safetensors"
    checkpoint = callbacks.ModelCheckpoint(path, save_best_only=True)
    last = callbacks.ModelCheckpoint(tmp_path / "last.safetensors")
    values = iter([loss, 1.0, 2.0])

    def overwrite(epoch, logs):
        logs["val_loss"] = next(values)

    model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(1)])
    model.compile("sgd", "mse")
    watch = [callbacks.LambdaCallback(on_epoch_end=overwrite)]
    own = [] if make is None else [make(patience=5)]
    model.fit(
        X,
        X[:, 0, :1],
        validation_data=(X, X[:, 0, :1]),
        epochs=3,
        callbacks=[*watch, *own, last, checkpoint],
        verbose=0,
    )
    assert checkpoint.best == 1.0
    assert lc.load(path).epoch == 2
    assert lc.load(tmp_path / "last.safetensors").epoch == 3


def test_files_that_could_not_be_read_are_not_written(tmp_path):
    rate = schedules.Warmup(0.1, 1)
    for _ in range(40):
        rate = schedules.Warmup(rate, 1)
    model = lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(2)])
    model.compile(optimizers.SGD(rate), "mse")
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_metadata_is_stored(tmp_path):
    for model in (
        lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(2)]),
        lc.EncoderDecoder(4, 4, units=2, embedding_size=2),
    ):
        assert model.metadata == {}
        model.metadata = {"author": "Ada", "note": 'quotes " and\nlines'}
        model.metadata["lost"] = "a copy is returned"
        path = tmp_path / "model.safetensors"
        model.save(path)
        assert lc.load(path).metadata == {"author": "Ada", "note": 'quotes " and\nlines'}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (["a"], TypeError),
        ({"a": 1}, TypeError),
        ({1: "a"}, TypeError),
        ({"lstmcore": "{}"}, ValueError),
        ({"": "a"}, ValueError),
    ],
)
def test_metadata_is_checked(value, error):
    model = lc.Sequential([lc.layers.LSTM(2)])
    with pytest.raises(error, match="metadata: expected"):
        model.metadata = value
