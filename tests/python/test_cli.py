import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import cli

SENTENCES = ["a good film", "a bad film"]


def text_model(units, activation, seed=0):
    words = lc.layers.TextVectorization()
    words.adapt(SENTENCES)
    return lc.Sequential(
        [
            words,
            lc.layers.Embedding(words.vocabulary_size(), 4, mask_zero=True),
            lc.layers.LSTM(4),
            lc.layers.Dense(units, activation=activation),
        ],
        seed=seed,
    )


@pytest.fixture
def softmax_model(tmp_path):
    model = text_model(3, "softmax")
    probabilities = model.predict(SENTENCES, verbose=0)
    path = tmp_path / "softmax.safetensors"
    model.save(path)
    return str(path), probabilities


def run(capsys, *arguments):
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_predict_prints_class_probability_and_sentence(softmax_model, capsys):
    path, probabilities = softmax_model
    status, out, err = run(capsys, "predict", path, *SENTENCES)

    assert (status, err) == (0, "")
    for line, row, sentence in zip(out.splitlines(), probabilities, SENTENCES, strict=True):
        assert line == f"{row.argmax()}\t{row.max():.4f}\t{sentence}"


def test_predict_reads_lines_when_no_sentence_is_given(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    _, expected, _ = run(capsys, "predict", path, *SENTENCES)
    # A blank line, Windows line ends, and no end of the last line.
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SENTENCES[0]}\r\n\n{SENTENCES[1]}"))
    assert run(capsys, "predict", path) == (0, expected, "")


def test_predict_in_several_batches_gives_the_same(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    lines = [f"a {'very ' * (index % 7)}good film" for index in range(10)]
    _, expected, _ = run(capsys, "predict", path, *lines)
    monkeypatch.setattr(cli, "BATCH", 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    assert run(capsys, "predict", path) == (0, expected, "")


def test_predict_prints_the_names_of_classes(tmp_path, capsys):
    model = text_model(2, "softmax")
    likeliest = model.predict(SENTENCES, verbose=0).argmax(axis=1)
    model.class_names = ["gloomy", "cheerful"]
    path = tmp_path / "named.safetensors"
    model.save(path)

    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    printed = [line.split("\t")[0] for line in out.splitlines()]
    assert printed == [["gloomy", "cheerful"][label] for label in likeliest]


def test_predict_with_one_output_knows_both_classes(tmp_path, capsys):
    model = text_model(1, "sigmoid")
    positive = model.predict(SENTENCES, verbose=0)[:, 0]
    path = tmp_path / "sigmoid.safetensors"
    model.save(path)

    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    for line, share in zip(out.splitlines(), positive, strict=True):
        label, probability, _ = line.split("\t")
        assert label == str(int(share > 0.5))
        # Four decimals are printed.
        assert float(probability) == pytest.approx(max(share, 1 - share), abs=0.5e-4)


def test_predict_prints_names_of_classes(tmp_path, capsys):
    model = text_model(1, "sigmoid")
    model.class_names = ["negative", "positive"]
    shares = model.predict(SENTENCES, verbose=0)[:, 0]
    path = tmp_path / "named.safetensors"
    model.save(path)
    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    expected = ["positive" if share > 0.5 else "negative" for share in shares]
    assert [line.split("\t")[0] for line in out.splitlines()] == expected


def test_model_of_numbers_is_an_error(tmp_path, capsys):
    model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(2, activation="softmax")])
    model.predict(np.zeros((1, 3, 2), np.float32), verbose=0)
    path = tmp_path / "numbers.safetensors"
    model.save(path)

    status, out, err = run(capsys, "predict", str(path), "a good film")
    assert (status, out) == (1, "")
    assert err.startswith("lstmcore: error: MODEL: expected a model whose first layer")


def test_missing_model_is_named(capsys):
    status, out, err = run(capsys, "predict", "missing.safetensors", "a good film")
    assert (status, out) == (1, "")
    assert err.startswith("lstmcore: error: ")
    assert "missing.safetensors" in err


def test_file_that_is_no_model_is_an_error(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("not a model")
    status, out, err = run(capsys, "predict", str(path), "a good film")
    assert (status, out) == (1, "")
    assert err.startswith("lstmcore: error: ")


def test_info_describes_the_engine_in_use(capsys):
    lc.set_num_threads(1)
    status, out, _ = run(capsys, "info")
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())

    assert status == 0
    assert rows["lstmcore"] == lc.__version__
    assert rows["threads"] == "1"
    assert rows["OpenMP"] in ("yes", "no")
    assert rows["NumPy"] == np.__version__
    for name in lc.cpu_info().supported_isas:
        assert name in rows["instruction set"]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["predict"], ["info", "more"]])
def test_wrong_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: lstmcore" in capsys.readouterr().err


def lstmcore_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lstmcore", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_module_runs_as_a_command():
    result = lstmcore_process("--version")
    assert (result.returncode, result.stdout) == (0, f"lstmcore {lc.__version__}\n")


def test_info_shows_a_forced_instruction_set():
    for name in lc.cpu_info().supported_isas:
        result = lstmcore_process("info", LSTMCORE_ISA=name)
        assert re.search(rf"^instruction set +{name} ", result.stdout, re.MULTILINE)


def test_unknown_instruction_set_is_named():
    result = lstmcore_process("info", LSTMCORE_ISA="abacus")
    assert result.returncode == 1
    assert re.fullmatch(r"lstmcore: error: LSTMCORE_ISA: expected .*abacus.*\n", result.stderr)


def test_closed_pipe_ends_quietly(softmax_model):
    path, _ = softmax_model
    # More output than a pipe holds, of which the reader takes nothing.
    lines = "a good film\n" * 20000
    with subprocess.Popen(
        [sys.executable, "-m", "lstmcore", "predict", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        try:
            process.stdin.write(lines)
            process.stdin.close()
        except BrokenPipeError:
            pass
        errors = process.stderr.read()
        process.wait()
    assert errors == ""
