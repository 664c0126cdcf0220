"""Errors that suggest what was probably meant."""

import importlib

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._suggest import did_you_mean, suggests

X = np.zeros((4, 5, 3), np.float32)


def compiled(*arguments, **options):
    model = lc.Sequential([layers.Input((None, 3)), layers.LSTM(2), layers.Dense(1)])
    model.compile(*arguments, **options)
    return model


def fitted(**options):
    return compiled("sgd", "mse", ["mae"]).fit(X, X[:, 0, :1], verbose=0, **options)


@pytest.mark.parametrize(
    ("wrong", "known", "meant"),
    [
        ("sofmax", ("relu", "softmax", "sigmoid"), "softmax"),
        ("Lstm", ("LSTM", "LSTMCell"), "LSTM"),
        (
            "categorical-crossentropy",
            ("mse", "categorical_crossentropy"),
            "categorical_crossentropy",
        ),
        ("adm", ("sgd", "adam", "adamw"), "adam"),
        ("something else", ("relu", "softmax"), None),
        (None, ("relu",), None),
        ("", ("relu",), None),
    ],
)
def test_the_nearest_name(wrong, known, meant):
    assert did_you_mean(wrong, known) == (f"; did you mean {meant!r}?" if meant else "")


ERRORS = {
    # keywords
    "layer": (lambda: layers.LSTM(2, return_seqences=True), TypeError, "'return_sequences'"),
    "inherited": (lambda: layers.GlobalMaxPooling1D(nam="a"), TypeError, "'name'"),
    "cell": (lambda: layers.LSTMCell(2, recurent_dropout=0.1), TypeError, "'recurrent_dropout'"),
    "optimizer": (lambda: lc.optimizers.Adam(learning_rat=0.1), TypeError, "'learning_rate'"),
    "loss": (lambda: lc.losses.BinaryCrossentropy(from_logit=True), TypeError, "'from_logits'"),
    "metric": (lambda: lc.metrics.BinaryAccuracy(treshold=0.1), TypeError, "'threshold'"),
    "schedule": (lambda: lc.schedules.CosineDecay(1.0, decay_step=1), TypeError, "'decay_steps'"),
    "callback": (lambda: lc.callbacks.EarlyStopping(patiance=1), TypeError, "'patience'"),
    "model": (lambda: lc.Sequential(sed=1), TypeError, "'seed'"),
    "pairs": (lambda: lc.EncoderDecoder(5, 5, unit=3), TypeError, "'units'"),
    "compile": (lambda: compiled("sgd", "mse", metric=["mae"]), TypeError, "'metrics'"),
    "fit": (lambda: fitted(epoch=3), TypeError, "'epochs'"),
    "predict": (lambda: compiled("sgd", "mse").predict(X, batchsize=3), TypeError, "'batch_size'"),
    "load": (lambda: lc.load("a", custom_object={}), TypeError, "'custom_objects'"),
    # names of options
    "activation": (lambda: layers.Dense(2, activation="sofmax"), ValueError, "'softmax'"),
    "gates": (lambda: layers.LSTM(2, activation="tnh"), ValueError, "'tanh'"),
    "config": (lambda: lc.LSTMConfig(2, 2, gate_activation="sigmod"), ValueError, "'sigmoid'"),
    "initializer": (
        lambda: layers.Dense(2, kernel_initializer="glorot_unifrom"),
        ValueError,
        "'glorot_uniform'",
    ),
    "regularizer": (lambda: layers.Dense(2, kernel_regularizer="l1l2"), ValueError, "'l1_l2'"),
    "constraint": (lambda: layers.Dense(2, kernel_constraint="maxnorm"), ValueError, "'max_norm'"),
    "precision": (lambda: layers.LSTM(2, precision="fp23"), ValueError, "'fp32'"),
    "set_precision": (lambda: lc.set_precision("bf16_x3"), ValueError, "'bf16x3'"),
    "merge": (lambda: layers.Bidirectional(layers.LSTM(2), "cncat"), ValueError, "'concat'"),
    "padding": (lambda: layers.Conv1D(2, 2, padding="casual"), ValueError, "'causal'"),
    "attention": (lambda: layers.Attention("aditive"), ValueError, "'additive'"),
    "split": (lambda: layers.TextVectorization(split="charcter"), ValueError, "'character'"),
    "optimizer name": (lambda: compiled("adamm", "mse"), ValueError, "'adam'"),
    "loss name": (lambda: compiled("sgd", "mean_square_error"), ValueError, "'mean_squared_error'"),
    "metric name": (lambda: compiled("sgd", "mse", ["acuracy"]), ValueError, "'accuracy'"),
    "mode": (lambda: lc.callbacks.EarlyStopping(mode="mn"), ValueError, "'min'"),
    "monitor": (
        lambda: fitted(validation_split=0.5, callbacks=[lc.callbacks.EarlyStopping("val_maee")]),
        ValueError,
        "'val_mae'",
    ),
    "monitor of a user-defined loss": (
        lambda: fitted(callbacks=[lc.callbacks.ReduceLROnPlateau("los")]),
        ValueError,
        "'loss'",
    ),
    "layer of a model": (lambda: compiled("sgd", "mse").inputs_of(X, "lstn"), ValueError, "'lstm'"),
    "weight": (
        lambda: compiled("sgd", "mse").set_weights({"dense.kernl": 1}),
        ValueError,
        "kernel'",
    ),
    # attributes of the package
    "class": (lambda: lc.Sequentail, AttributeError, "'Sequential'"),
    "module": (lambda: lc.layer, AttributeError, "'layers'"),
    "class of layers": (lambda: lc.layers.Lstm, AttributeError, "'LSTM'"),
    "class of callbacks": (lambda: lc.callbacks.EarlyStoping, AttributeError, "'EarlyStopping'"),
    "class of losses": (lambda: lc.losses.MeanSquareError, AttributeError, "'MeanSquaredError'"),
    "class of optimizers": (lambda: lc.optimizers.adam, AttributeError, "'Adam'"),
    "class of schedules": (lambda: lc.schedules.CosinDecay, AttributeError, "'CosineDecay'"),
    "function": (lambda: lc.functional.lstm_stepp, AttributeError, "'lstm_step'"),
    "converter": (lambda: lc.convert.from_kears, AttributeError, "'from_keras'"),
    "data": (lambda: lc.datasets.movie_snippet, AttributeError, "'movie_snippets'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_on_typos_suggest_the_name_that_was_meant(name):
    make, kind, meant = ERRORS[name]
    with pytest.raises(kind, match=rf"; did you mean .*{meant}\?$"):
        make()


def test_a_class_in_a_file_is_suggested(tmp_path):
    from lstmcore._configurable import make

    with pytest.raises(ValueError, match="unknown class 'Lstm'; did you mean 'LSTM'"):
        make("Lstm", {}, {"LSTM": layers.LSTM, "Dense": layers.Dense})
    with pytest.raises(
        ValueError, match=r"Dropout: unknown configuration rat; did you mean 'rate'"
    ):
        make("Dropout", {"rat": 1}, {"Dropout": layers.Dropout})


def test_errors_on_keras_keywords_say_what_to_write():
    for make, hint in (
        (lambda: layers.LSTM(4, input_shape=(30, 1)), "put lc.layers.Input"),
        (lambda: layers.Dense(4, dtype="float64"), "argument of the model"),
        (lambda: lc.optimizers.Adam(lr=0.1), "it is called learning_rate"),
    ):
        with pytest.raises(TypeError, match=f"unexpected argument '.*; .*{hint}"):
            make()


def test_without_a_similar_name_all_are_listed():
    with pytest.raises(TypeError, match="MaxNorm: unexpected argument 'q'; expected max_value"):
        lc.constraints.MaxNorm(q=3)


def test_a_function_that_takes_any_keyword_is_left_alone():
    def free(**options):
        return options

    assert suggests(free) is free
    assert suggests(lambda a, *, b=1: (a, b))(3, b=4) == (3, 4)


def test_dir_lists_the_public_names():
    assert set(dir(lc)) == {
        *lc.__all__,
        "aeon",
        "jax",
        "keras",
        "onnx",
        "sklearn",
        "sktime",
        "torch",
    }
    for module in (lc.layers, lc.callbacks, lc.losses, lc.metrics, lc.optimizers, lc.functional):
        assert dir(module) == sorted(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", ["callbacks", "losses", "metrics", "optimizers", "schedules"])
def test_modules_of_training_are_where_users_of_keras_look(name):
    module = importlib.import_module(f"lstmcore.{name}")
    assert module is getattr(lc, name)
    assert dir(module) == sorted(module.__all__)
    first = module.__all__[0]
    with pytest.raises(AttributeError, match=f"did you mean '{first}'"):
        getattr(module, first + "s")
