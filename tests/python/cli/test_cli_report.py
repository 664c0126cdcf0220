"""What ``lstmcore train`` reports about tables, and how counts are written."""

import json

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.cli.report import counted
from table_kit import report, run, series, sign_of_the_end, succeed, walks, write


@pytest.fixture(autouse=True)
def one_thread():
    lc.set_num_threads(1)  # these models are small


def test_training_reports_as_json_lines(tmp_path, capsys):
    data = write(tmp_path / "data.csv", *walks(40, 1, sign_of_the_end))
    path = tmp_path / "model.safetensors"
    options = ["--key", "walk", "--target", "end", "--epochs", 3, "--units", 2, "--patience", 9]
    lines = succeed(capsys, "train", data, "--out", path, *options, "--json").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry.get("epoch") for entry in entries] == [1, 2, 3, None]
    assert set(entries[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    best = min(entries[:3], key=lambda entry: entry["val_loss"])
    assert entries[3]["best_epoch"] == best["epoch"]
    assert entries[3]["file"] == str(path)
    # The weights are those of the best epoch; the figures are those of the part held out.
    again = report(capsys, "train", data, "--out", path, *options)
    assert again["accuracy"] == entries[3]["accuracy"]


def test_options_determine_the_model(tmp_path, capsys):
    data = write(tmp_path / "data.csv", *walks(40, 1, sign_of_the_end))
    path = tmp_path / "model.safetensors"
    options = ["--key", "walk", "--target", "end", "--epochs", 2, "--batch-size", 10]
    sizes = ["--units", 3, "--layers", 2, "--bidirectional", "--learning-rate", 0.25, "--seed", 5]
    succeed(capsys, "train", data, "--out", path, *options, *sizes, "--quiet")
    model = lc.load(path)
    recurrent = model.layers[0]
    assert isinstance(recurrent, lc.layers.Bidirectional)
    assert (recurrent.layer.units, recurrent.layer.num_layers) == (3, 2)
    assert (model.seed, model.epoch) == (5, 2)
    assert model.optimizer.learning_rate == 0.25
    assert model.optimizer.iterations == 2 * 4  # 32 training sequences, in batches of 10
    # Another seed draws different parts and weights.
    before = model.get_weights()
    succeed(capsys, "train", data, "--out", path, *options, *sizes[:-1], 6, "--quiet")
    assert not np.array_equal(before[0], lc.load(path).get_weights()[0])


def test_each_epoch_prints_a_line_to_standard_error(tmp_path, capsys):
    data = write(tmp_path / "data.csv", *walks(40, 1, sign_of_the_end))
    options = ["--key", "walk", "--target", "end", "--epochs", 2, "--units", 2]
    arguments = ["train", data, "--out", tmp_path / "model.safetensors", *options]
    status, out, err = run(capsys, *arguments)
    assert status == 0
    assert [line.split()[1] for line in err.splitlines()] == ["1/2", "2/2"]
    assert "'end' is one of 2 classes" in out
    assert "32 sequences for train, 4 sequences for validation, 4 sequences for test" in out


def test_numbers_are_classes_only_if_they_are_few_and_whole(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    options = ["--key", "walk", "--target", "end", "--epochs", 1, "--units", 2, "--quiet"]

    def outputs(target, *more):
        data = write(tmp_path / "data.csv", *walks(60, 1, target))
        succeed(capsys, "train", data, "--out", path, *options, *more)
        model = lc.load(path)
        return model.output_shape[-1], model.class_names

    def count(walk):
        return [len(walk) % 3 * 5] * len(walk)

    assert outputs(count) == (3, ["0", "5", "10"])  # in numeric, not alphabetical order
    assert outputs(count, "--task", "regress") == (1, None)
    assert outputs(lambda walk: [len(walk)] * len(walk)) == (1, None)  # more than 20 of them
    assert outputs(lambda walk: [len(walk) % 2 / 2] * len(walk)) == (1, None)
    assert outputs(lambda walk: [len(walk) % 2 / 2] * len(walk), "--task", "classify") == (
        2,
        ["0.0", "0.5"],
    )


def test_every_class_is_trained_on(tmp_path, capsys):
    # One of the 41 sequences is the only one of its class; it is never held out.
    header, rows = walks(41, 1, sign_of_the_end)
    rows = [[key, step, "rare" if key == "w7" else target] for key, step, target in rows]
    data = write(tmp_path / "data.csv", header, rows)
    options = ["--key", "walk", "--target", "end", "--epochs", 1, "--units", 2, "--test", 0.4]
    for seed in range(5):
        path = tmp_path / "model.safetensors"
        succeed(capsys, "train", data, "--out", path, *options, "--seed", seed, "--quiet")
        assert lc.load(path).class_names == ["down", "rare", "up"]


def test_counts_of_one_are_singular(tmp_path, capsys):
    data = write(tmp_path / "data.csv", *walks(6, 1, sign_of_the_end))
    path = tmp_path / "model.safetensors"
    options = ["--key", "walk", "--target", "end", "--epochs", 1, "--units", 2, "--quiet"]
    out = succeed(capsys, "train", data, "--out", path, *options)
    assert "4 sequences for train, 1 sequence for validation, 1 sequence for test\n" in out
    assert "\n1 epoch in " in out
    assert "\n1 sequence held out: " in out
    header, rows = walks(1, 1, sign_of_the_end)
    out = succeed(capsys, "evaluate", path, write(tmp_path / "one.csv", header, rows))
    assert out.startswith("1 sequence: accuracy")
    values = [[f"{value:.3f}"] for value in series(60, 0)]
    sales = write(tmp_path / "sales.csv", ["sales"], values)
    sizes = ["--horizon", 1, "--window", 1, "--units", 2, "--epochs", 1, "--quiet"]
    out = succeed(capsys, "train", sales, "--target", "sales", "--out", path, *sizes)
    assert "60 rows; 'sales' is its next value from the last 1\n" in out


def test_counts_are_written_with_commas():
    assert [counted(number, "row") for number in (0, 1, 2, 2000)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "2,000 rows",
    ]
