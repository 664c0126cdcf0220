"""Every object has a one-line repr: its class and the options that differ from the defaults."""

import copy
import inspect
import pickle
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, losses, metrics, optimizers, schedules
from lstmcore.config import Activation

CONFIG = lc.LSTMConfig(2, 3)


def halved(epoch, rate):
    return rate / 2


def built(dtype="float32"):
    model = lc.Sequential(
        [layers.Input((None, 50)), layers.LSTM(8, name="reader"), layers.Dense(2)], dtype=dtype
    )
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (layers.LSTM(32, return_sequences=True), "LSTM(32, return_sequences=True)"),
        (layers.LSTM(4, activation="relu", name="a"), "LSTM(4, activation='relu', name='a')"),
        (layers.LSTM(4, kernel_regularizer=0.5), "LSTM(4, kernel_regularizer=L2(l2=0.5))"),
        (layers.Bidirectional(layers.LSTM(4), "sum"), "Bidirectional(LSTM(4), merge_mode='sum')"),
        (layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)]), "RNN([LSTMCell(3), LSTMCell(3)])"),
        (
            layers.Residual(layers.LSTM(3, return_sequences=True), projection=True),
            "Residual([LSTM(3, return_sequences=True)], projection=True)",
        ),
        (layers.TimeDistributed(layers.Dense(1)), "TimeDistributed(Dense(1))"),
        (layers.Dropout(0.5), "Dropout(0.5)"),
        (layers.Input((None, 3)), "Input((None, 3))"),
        (
            layers.TextVectorization(vocabulary=["a", "b"]),
            "TextVectorization(vocabulary=['a', 'b'])",
        ),
        (
            layers.TextVectorization(vocabulary=[f"w{n}" for n in range(20000)]),
            "TextVectorization(vocabulary=['w0', 'w1', 'w2', 'w3', 'w4', 'w5', ... 20,000 in all])",
        ),
        (optimizers.Adam(), "Adam(learning_rate=0.001)"),
        (optimizers.AdamW(), "AdamW(learning_rate=0.001)"),
        (optimizers.RMSprop(), "RMSprop(learning_rate=0.001)"),
        (optimizers.SGD(), "SGD(learning_rate=0.01)"),
        (optimizers.SGD(0.1, momentum=0.9), "SGD(learning_rate=0.1, momentum=0.9)"),
        (
            optimizers.Adam(schedules.CosineDecay(0.1, 100)),
            "Adam(learning_rate=CosineDecay(0.1, 100))",
        ),
        (
            schedules.OneCycle(np.float32(0.5), 100, div_factor=10),
            "OneCycle(0.5, 100, div_factor=10.0)",
        ),
        (losses.BinaryCrossentropy(), "BinaryCrossentropy()"),
        (losses.BinaryCrossentropy(from_logits=True), "BinaryCrossentropy(from_logits=True)"),
        (metrics.MeanSquaredError(), "MeanSquaredError()"),
        (metrics.MeanSquaredError("error"), "MeanSquaredError(name='error')"),
        (lc.regularizers.L2(), "L2()"),
        (lc.regularizers.L1L2(0.5), "L1L2(l1=0.5)"),
        (lc.constraints.MaxNorm(3), "MaxNorm(max_value=3.0)"),
        (callbacks.Callback(), "Callback()"),
        (
            callbacks.EarlyStopping("val_accuracy", patience=3),
            "EarlyStopping(monitor='val_accuracy', patience=3)",
        ),
        (callbacks.ModelCheckpoint("a.safetensors"), "ModelCheckpoint('a.safetensors')"),
        (callbacks.ReduceLROnPlateau(min_delta=0.1), "ReduceLROnPlateau(min_delta=0.1)"),
        (callbacks.LearningRateScheduler(halved), "LearningRateScheduler(halved)"),
        (callbacks.CSVLogger("log.csv", append=True), "CSVLogger('log.csv', append=True)"),
        (callbacks.TerminateOnNaN(), "TerminateOnNaN()"),
        (callbacks.LambdaCallback(on_epoch_end=halved), "LambdaCallback(on_epoch_end=halved)"),
        (Activation("relu"), "Activation('relu')"),
        (Activation("elu", 0.5), "Activation('elu', alpha=0.5)"),
        (CONFIG, "LSTMConfig(2, 3)"),
        (
            lc.LSTMConfig(2, 3, bidirectional=True, gate_activation="hard_sigmoid"),
            "LSTMConfig(2, 3, bidirectional=True, gate_activation='hard_sigmoid')",
        ),
        (
            lc.LSTMConfig(2, 3, cell_activation=Activation("elu", 0.5)),
            "LSTMConfig(2, 3, cell_activation=Activation('elu', alpha=0.5, beta=0.0))",
        ),
        (
            lc.EncoderDecoder(9, 8, units=16, attention=None),
            "EncoderDecoder(source_vocabulary=9, target_vocabulary=8, units=16, attention=None)",
        ),
        (lc.Sequential(), "Sequential(0 layers, not built yet)"),
        (lc.Sequential([layers.LSTM(3)]), "Sequential(1 layer, not built yet)"),
        # 4 * 8 * (50 + 8 + 1) + 8 * 2 + 2.
        (built(), "Sequential(2 layers, 1,906 parameters, (N, T, 50) -> (N, 2))"),
        (
            built("float64"),
            "Sequential(2 layers, 1,906 parameters, (N, T, 50) -> (N, 2), float64)",
        ),
        (built().layers[0], "LSTM(8, name='reader')"),
        (built().layers[1], "Dense(2, name='dense')"),
        (built().parameters, "Parameters(1,906 float32 values of 5 weights)"),
        (
            lc.LSTMStream(lc.functional.init_weights(CONFIG), CONFIG),
            "LSTMStream(LSTMConfig(2, 3), batch_size=1, dtype=float32)",
        ),
        (
            lc.functional.pack(lc.functional.init_weights(CONFIG), CONFIG),
            "PackedWeights(LSTMConfig(2, 3), dtype=float32)",
        ),
        (
            lc.datasets.Snippets(["a", "b"], np.array([0, 1]), np.array([-1.0, 1.0])),
            "Snippets(sentences=['a', 'b'], labels=int64 (2,), ratings=float64 (2,))",
        ),
        (
            built().initial_state(5),
            "{'reader': LSTMState(h=float32 (1, 5, 8), c=float32 (1, 5, 8))}",
        ),
        (
            lc.functional.LSTMGradients(None, None, {"bias_l0": np.zeros(12)}),
            "LSTMGradients(x=None, state=None, weights={'bias_l0': float64 (12,)})",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_one_line(thing, text):
    assert repr(thing) == text


def public_classes():
    modules = (layers, losses, metrics, optimizers, schedules, callbacks, lc.regularizers)
    for module in modules:
        for name in module.__all__:
            if isinstance(getattr(module, name), type):
                yield getattr(module, name)


@pytest.mark.parametrize("kind", list(public_classes()), ids=lambda kind: kind.__name__)
def test_every_public_class_defines_repr(kind):
    assert kind.__repr__ is not object.__repr__


@pytest.mark.parametrize("thing", [layers.LSTM(3, peephole=True), optimizers.SGD(0.5), CONFIG])
def test_evaluating_the_repr_makes_an_equal_object(thing):
    names = {**vars(layers), **vars(optimizers), "LSTMConfig": lc.LSTMConfig}
    again = eval(repr(thing), names)
    assert repr(again) == repr(thing)
    assert repr(copy.deepcopy(thing)) == repr(thing)
    assert repr(pickle.loads(pickle.dumps(thing))) == repr(thing)


def test_user_classes_have_a_repr_too():
    class Gain(layers.Layer):
        def __init__(self, gain, *, table=None, other=1, name=None):
            super().__init__(name=name)
            self.gain, self.table = gain, table

    class Quiet(callbacks.Callback):
        def __init__(self, hidden):
            self._hidden = hidden

    assert repr(Gain(2.0)) == "Gain(2.0)"  # `other` is not stored
    assert repr(Gain(np.ones((2, 3)), table={"a": [1, 2]})) == (
        "Gain(float64 (2, 3), table={'a': [1, 2]})"
    )
    assert repr(Quiet(3)) == "Quiet()"
    assert "\n" not in repr(Gain("two\nlines"))


def test_values_that_only_equal_the_default_are_shown():
    """True is shown where 1 is the default, although they are equal."""

    class Flag(callbacks.Callback):
        def __init__(self, level=1):
            self.level = level

    assert repr(Flag(True)) == "Flag(level=True)"
    assert inspect.signature(Flag).parameters["level"].default == 1


def test_frozen_weights_are_counted():
    model = lc.Sequential([layers.Input((None, 2)), layers.LSTM(3, recurrent_trainable=False)])
    assert repr(model.parameters) == "Parameters(72 float32 values of 3 weights, 36 not trained)"


def test_a_quantized_model_says_so():
    assert repr(lc.quantize(built())).endswith("(N, T, 50) -> (N, 2), quantized)")


def test_a_model_of_texts_says_so():
    words = layers.TextVectorization(vocabulary=["good", "bad"])
    model = lc.Sequential([words, layers.Embedding(4, 3), layers.LSTM(2), layers.Dense(1)])
    model.predict(["good"])
    assert "texts -> (N, 1)" in repr(model)


# ---- a model in a notebook -----------------------------------------------------------------------


def cells(html):
    return [[cell.text or "" for cell in row] for row in ET.fromstring(html).iter("tr")]


def test_a_notebook_shows_the_table_of_layers():
    model = built()
    html = model._repr_html_()
    assert cells(html) == [
        ["Layer", "Output shape", "Parameters"],
        ["reader (LSTM)", "(None, 8)", "1,888"],
        ["dense (Dense)", "(None, 2)", "18"],
    ]
    assert repr(model) in "".join(ET.fromstring(html).itertext())
    # Readable on white and on black: no colour but the grey of the rules.
    assert "background" not in html
    assert set(re.findall(r"color: (\w+)", html)) == {"inherit"}


def test_a_script_prints_the_table(capsys):
    model, lines = built(), []
    model.summary()
    model.summary(lines.append)
    assert capsys.readouterr().out.splitlines() == lines
    assert lines[-1] == "Parameters: 1,906"


def test_the_table_marks_frozen_layers():
    model = lc.Sequential(
        [
            layers.Input((None, 2)),
            layers.LSTM(3, recurrent_trainable=False),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    names = ["lstm (LSTM, partly frozen)", "dropout (Dropout)", "dense (Dense)"]
    html = model._repr_html_()
    assert [row[0] for row in cells(html)[1:]] == names
    note = "Parameters: 80 (44 trained, 36 frozen)"
    assert list(ET.fromstring(html).itertext())[-2] == note
    lines = []
    model.summary(lines.append)
    assert lines[-1] == note
    model.layers[0].trainable = False
    assert cells(model._repr_html_())[1][0] == "lstm (LSTM, frozen)"
    assert repr(model.layers[0]) == (
        "LSTM(3, recurrent_trainable=False, name='lstm', trainable=False)"
    )


def test_a_model_that_is_not_built_has_a_table():
    rows = cells(lc.Sequential([layers.LSTM(3)])._repr_html_())
    assert rows[1] == ["lstm (LSTM)", "?", "?"]


def test_an_encoder_decoder_has_a_table():
    model = lc.EncoderDecoder(9, 8, units=4, embedding_size=3)
    rows = cells(model._repr_html_())
    assert len(rows) == 1 + len(model.layers)
    counts = [int(row[2].replace(",", "")) for row in rows[1:]]
    assert sum(counts) == model.count_params()


def test_names_are_escaped():
    model = lc.Sequential([layers.Input((None, 2)), layers.LSTM(3, name="<b>&</b>")])
    assert cells(model._repr_html_())[1][0] == "<b>&</b> (LSTM)"
