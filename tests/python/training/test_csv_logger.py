"""Appending to a table of epochs: by the names in its header, or not at all."""

import csv

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks

X = np.random.default_rng(0).standard_normal((8, 3, 2)).astype(np.float32)
Y = X[:, :, 0].sum(axis=1)


def fit(path, *, metrics=(), validation=False, before=(), **options):
    model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(1)])
    model.compile("adam", "mse", list(metrics))
    logger = callbacks.CSVLogger(path, **options)
    return model.fit(
        X,
        Y,
        epochs=2,
        verbose=0,
        validation_data=(X, Y) if validation else None,
        callbacks=[*before, logger],
    )


def rows_of(path, separator=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=separator, strict=True))


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_figures_go_under_their_names(tmp_path, separator):
    path = tmp_path / "log.csv"
    fit(path, metrics=["mae"], validation=True, separator=separator)
    # This run has no mae; val_loss must not go into its column.
    history = fit(path, validation=True, append=True, separator=separator)
    rows = rows_of(path, separator)
    assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    assert len(rows) == 4
    for row, loss, held_out in zip(
        rows[2:], history.history["loss"], history.history["val_loss"], strict=True
    ):
        assert (float(row["loss"]), float(row["val_loss"])) == (loss, held_out)
        assert (row["mae"], row["val_mae"]) == ("", "")


def test_a_figure_without_a_column_is_refused_before_training(tmp_path):
    path = tmp_path / "log.csv"
    fit(path)
    before = path.read_bytes()
    trained = []
    watch = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: trained.append(epoch))
    with pytest.raises(ValueError, match=r"append: expected columns for mae, val_loss, val_mae"):
        fit(path, metrics=["mae"], validation=True, append=True, before=[watch])
    assert trained == []
    assert path.read_bytes() == before


def test_a_figure_that_appears_only_later_is_refused_too(tmp_path):
    path = tmp_path / "log.csv"
    fit(path)
    before = path.read_bytes()

    class Adds(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["mine"] = 1.0

    with pytest.raises(ValueError, match="append: expected columns for mine"):
        fit(path, append=True, before=[Adds()])
    assert path.read_bytes() == before


def test_a_resumed_training_continues_its_table(tmp_path):
    path = tmp_path / "log.csv"
    fit(path, metrics=["mae"])
    model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(1)])
    model.compile("adam", "mse", ["mae"])
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = lc.load(tmp_path / "m.safetensors")
    logger = callbacks.CSVLogger(path, append=True)
    again.fit(X, Y, epochs=3, initial_epoch=2, verbose=0, callbacks=[logger])
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "2"]


@pytest.mark.parametrize("half", ["2", "2,0.12", "2,0.12,1.5e", "2,0.12,x", "2,0.1,0.2,0.3"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_half_a_line_of_a_killed_run_is_dropped_with_a_warning(tmp_path, half, end):
    path = tmp_path / "log.csv"
    path.write_bytes(f"epoch,loss,mae{end}0,1.5,1{end}1,1.2,1{end}{half}".encode())
    with pytest.warns(
        UserWarning, match="append: expected 3 numbers in the last line of"
    ) as caught:
        fit(path, metrics=["mae"], append=True)
    assert repr(half) in str(caught[0].message)
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "0", "1"]


@pytest.mark.parametrize("last", ["1,1.2,0.5", "1,1.2,", "1,1.2,nan", "1,1.2,0.5\r"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_row_that_only_lacks_its_line_end_is_kept(tmp_path, last, end):
    path = tmp_path / "log.csv"
    path.write_bytes(f"epoch,loss,mae{end}0,1.5,1{end}{last}".encode())
    fit(path, metrics=["mae"], append=True)
    rows = rows_of(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "0", "1"]
    assert (rows[1]["loss"], rows[1]["mae"]) == ("1.2", last.split(",")[2].strip())


def test_a_table_that_is_refused_keeps_its_last_line(tmp_path):
    path = tmp_path / "log.csv"
    for content in ("epoch,loss\n0,1.5\n1,1.2", "epoch,loss\n0,1.5\n1"):
        path.write_text(content)
        with pytest.raises(ValueError, match="append: expected columns for mae"):
            fit(path, metrics=["mae"], append=True)
        assert path.read_text() == content


def test_half_a_header_is_rewritten(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,lo")
    fit(path, append=True)
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1"]


@pytest.mark.parametrize("content", ["loss,epoch\n1,2\n", "notes", "epoch,loss,loss\n", "\n\n"])
def test_other_files_are_not_changed(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="filename: expected a table of CSVLogger"):
        fit(path, append=True)
    assert path.read_text() == content


def test_another_separator_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    fit(path)
    with pytest.raises(ValueError, match="begins with 'epoch', got 'epoch,loss'"):
        fit(path, append=True, separator=";")


@pytest.mark.parametrize("separator", ["", ";;", "\n", '"', None])
def test_a_separator_is_one_character(tmp_path, separator):
    with pytest.raises(ValueError, match="separator: expected one character"):
        callbacks.CSVLogger(tmp_path / "log.csv", separator)
