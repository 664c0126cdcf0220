"""The result of `fit`: figures, data frame and table."""

import math
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers
from lstmcore.training.history import Best, History


def history(*epochs, first=0):
    made = History()
    for number, logs in enumerate(epochs, start=first):
        made.on_epoch_end(number, logs)
    return made


def test_one_line():
    assert repr(History()) == "History(0 epochs)"
    assert repr(history({"loss": 0.25})) == "History(1 epoch, best loss 0.25 at epoch 1)"
    made = history(*({"loss": 1.0 / n, "val_loss": abs(n - 4) + 0.31} for n in range(1, 6)))
    assert repr(made) == "History(5 epochs, best val_loss 0.31 at epoch 4)"
    assert repr(history({"loss": math.nan})) == "History(1 epoch)"


def test_the_best_epoch():
    values = [math.nan, 2.0, 1.0, 1.0, math.inf]
    made = history(*({"loss": 9.0 - n, "val_loss": v} for n, v in enumerate(values)), first=3)
    assert made.best == Best("val_loss", 1.0, 5)  # the first of two equal values
    assert history({"loss": 2.0}, {"loss": 1.5}).best == Best("loss", 1.5, 1)
    assert History().best is None


def test_figures_that_some_epochs_lack_keep_their_positions():
    made = history({"loss": 1.0, "early": 5.0}, {"loss": 2.0}, {"loss": 3.0, "late": 7.0})
    np.testing.assert_array_equal(made.history["late"], [math.nan, math.nan, 7.0])
    assert made.history["loss"] == [1.0, 2.0, 3.0]
    pytest.importorskip("pandas")
    frame = made.to_frame()
    np.testing.assert_array_equal(frame["early"], [5.0, math.nan, math.nan])


def test_a_frame_has_a_row_for_each_epoch():
    pandas = pytest.importorskip("pandas")
    model = lc.Sequential([layers.LSTM(2), layers.Dense(1)])
    model.compile("sgd", "mse", ["mae"])
    x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4, 1)
    fitted = model.fit(x, x.sum(axis=1), epochs=3, validation_split=0.2, verbose=0)
    frame = fitted.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["loss", "mae", "val_loss", "val_mae"]
    assert list(frame.index) == [0, 1, 2]
    assert frame.index.name == "epoch"
    for name, values in fitted.history.items():
        assert list(frame[name]) == values
    assert (frame.dtypes == np.float64).all()
    assert History().to_frame().empty


def test_without_pandas_there_is_no_frame(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas.*pip install pandas"):
        History().to_frame()


def cells(html):
    return [[cell.text or "" for cell in row] for row in ET.fromstring(html).iter("tr")]


def test_a_notebook_shows_a_table_that_opens():
    made = history({"loss": 0.5, "val_loss": 0.75}, {"loss": 0.25, "val_loss": 1.0})
    html = made._repr_html_()
    root = ET.fromstring(html)
    assert root.tag == "details"
    assert root.find("summary").text == repr(made)
    assert cells(html) == [
        ["Epoch", "loss", "val_loss"],
        ["1 (best)", "0.5", "0.75"],
        ["2", "0.25", "1"],
    ]
    assert "background" not in html  # readable in every theme
    assert set(re.findall(r"color: (\w+)", html)) == {"inherit"}


def test_a_long_table_shows_both_ends():
    made = history(*({"loss": float(n)} for n in range(100, 0, -1)))
    rows = [row[0] for row in cells(made._repr_html_())]
    assert rows[1:] == [*map(str, range(1, 11)), "...", *map(str, range(91, 100)), "100 (best)"]


def test_names_in_the_table_are_escaped():
    assert cells(history({"<script>": 1.0})._repr_html_())[0] == ["Epoch", "<script>"]


def test_the_public_name():
    assert callbacks.History is History
