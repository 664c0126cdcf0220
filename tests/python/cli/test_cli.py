import io
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import cli
from lstmcore.cli import info, predict

program = import_module("lstmcore.cli.main")
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


def type_in(monkeypatch, content):
    """Replace standard input with `content`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


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
    # Windows line endings, and none after the last line.
    type_in(monkeypatch, f"{SENTENCES[0]}\r\n{SENTENCES[1]}".encode())
    assert run(capsys, "predict", path) == (0, expected, "")


def test_every_line_is_answered_even_a_blank_one(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    texts = ["", SENTENCES[0], "", "  ", SENTENCES[1], ""]
    _, expected, _ = run(capsys, "predict", path, *texts)
    lines = expected.splitlines()
    assert [line.split("\t")[2] for line in lines] == texts
    # The prediction for a text without known words.
    nothing = lc.load(path).predict([""], verbose=0)[0]
    assert lines[0] == f"{nothing.argmax()}\t{nothing.max():.4f}\t"
    type_in(monkeypatch, "".join(f"{text}\n" for text in texts).encode())
    assert run(capsys, "predict", path) == (0, expected, "")


def test_a_byte_order_mark_is_not_part_of_the_first_word(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    _, expected, _ = run(capsys, "predict", path, "good")
    type_in(monkeypatch, b"\xef\xbb\xbfgood\n")
    assert run(capsys, "predict", path) == (0, expected, "")


def test_a_line_that_is_not_text_is_reported(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    type_in(monkeypatch, b"good\nfilm\n\xff bad\n")
    status, _, err = run(capsys, "predict", path)
    assert status == 1
    assert err == (
        "lstmcore: error: standard input, line 3: expected text in UTF-8, got the byte 0xff\n"
    )


def test_an_argument_that_is_not_unicode_is_an_unknown_word(softmax_model, capsys):
    path, _ = softmax_model
    status, out, _ = run(capsys, "predict", path, "good \udcff", "two\nlines")
    assert status == 0
    assert [line.split("\t")[2] for line in out.splitlines()] == ["good \\udcff", "two lines"]


def test_lines_from_a_pipe_are_answered_as_they_arrive(softmax_model):
    path, _ = softmax_model
    with subprocess.Popen(
        [sys.executable, "-m", "lstmcore", "predict", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for text in SENTENCES:  # the second is written only after the first is answered
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(f"\t{text}\n")
        process.stdin.close()
        assert process.stdout.read() == ""


def test_predict_in_several_batches_prints_the_same(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    lines = [f"a {'very ' * (index % 7)}good film" for index in range(10)]
    _, expected, _ = run(capsys, "predict", path, *lines)
    monkeypatch.setattr(predict, "ROWS", 3)
    type_in(monkeypatch, "\n".join(lines).encode())
    assert run(capsys, "predict", path) == (0, expected, "")


def test_predict_prints_class_names_of_a_softmax(tmp_path, capsys):
    model = text_model(2, "softmax")
    likeliest = model.predict(SENTENCES, verbose=0).argmax(axis=1)
    model.class_names = ["gloomy", "cheerful"]
    path = tmp_path / "named.safetensors"
    model.save(path)

    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    printed = [line.split("\t")[0] for line in out.splitlines()]
    assert printed == [["gloomy", "cheerful"][label] for label in likeliest]


def test_predict_with_one_output_prints_either_class(tmp_path, capsys):
    model = text_model(1, "sigmoid")
    positive = model.predict(SENTENCES, verbose=0)[:, 0]
    path = tmp_path / "sigmoid.safetensors"
    model.save(path)

    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    for line, share in zip(out.splitlines(), positive, strict=True):
        label, probability, _ = line.split("\t")
        assert label == str(int(share > 0.5))
        # Probabilities are printed with four decimals.
        assert float(probability) == pytest.approx(max(share, 1 - share), abs=0.5e-4)


def test_predict_prints_class_names_of_a_sigmoid(tmp_path, capsys):
    model = text_model(1, "sigmoid")
    model.class_names = ["negative", "positive"]
    shares = model.predict(SENTENCES, verbose=0)[:, 0]
    path = tmp_path / "named.safetensors"
    model.save(path)
    _, out, _ = run(capsys, "predict", str(path), *SENTENCES)
    expected = ["positive" if share > 0.5 else "negative" for share in shares]
    assert [line.split("\t")[0] for line in out.splitlines()] == expected


def test_an_encoder_decoder_is_an_error(tmp_path, capsys):
    path = tmp_path / "pairs.safetensors"
    lc.EncoderDecoder(4, 4, units=2, embedding_size=2).save(path)
    for arguments in (["predict", str(path), "a"], ["evaluate", str(path), "a.csv"]):
        status, out, err = run(capsys, *arguments)
        assert (status, out) == (1, "")
        assert err.startswith("lstmcore: error: MODEL: expected a Sequential")


def test_a_text_that_names_a_file_prints_a_note(softmax_model, capsys):
    path, _ = softmax_model
    status, out, err = run(capsys, "predict", path, path)
    assert (status, out.count("\n")) == (0, 1)
    assert err.startswith(f"lstmcore: note: {path!r} is treated as a text; < {path} reads")


def test_missing_model_is_named(capsys):
    status, out, err = run(capsys, "predict", "missing.safetensors", "a good film")
    assert (status, out) == (1, "")
    assert err.startswith("lstmcore: error: ")
    assert "missing.safetensors" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "missing", "--target", "y", "--out", "m"],
        ["predict", "missing", "a"],
        ["evaluate", "missing", "t.csv"],
        ["info", "missing"],
        ["convert", "missing.keras", "m.safetensors"],
    ],
)
def test_system_errors_are_printed_without_their_numbers(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"lstmcore: error: missing(\.keras)?: No such file or directory\n", err)


def test_an_error_without_a_file_is_printed_unchanged(capsys, monkeypatch):
    def fail(*_):
        raise OSError("out of memory")

    monkeypatch.setattr(info, "_installation", fail)
    assert run(capsys, "info") == (1, "", "lstmcore: error: out of memory\n")


def test_an_interrupt_takes_one_line(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "_installation", interrupt)
    assert run(capsys, "info") == (130, "", "lstmcore: interrupted\n")


def test_a_file_that_is_not_a_model_is_an_error(tmp_path, capsys):
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
    assert rows["threads run on"] == lc.cpu_info().thread_provider
    assert rows["NumPy"] == np.__version__
    for name in lc.cpu_info().supported_isas:
        assert name in rows["instruction set"]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["predict"], ["info", "a", "b"], ["train", "a.csv"]]
)
def test_wrong_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("lstmcore")
    assert err.count("\n") == 1
    assert "--help says more" in err


@pytest.mark.parametrize("command", ["", "train", "predict", "evaluate", "info", "convert"])
def test_help_ends_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"] if command else ["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    examples = out.split("\nexample:\n")[1].partition("\n\n")[0].splitlines()
    assert all(line.startswith(f"  lstmcore {command}") for line in examples)
    # The parser accepts the commands of the examples.
    for line in examples:
        words = shlex.split(line.partition("<")[0])[1:]
        assert program._parser().parse_args(words).run is not None


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
    # More output than a pipe can hold, and a reader that reads none of it.
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


def save(model, tmp_path, name="model.safetensors", **options):
    path = tmp_path / name
    model.save(path, **options)
    return str(path)


def text_layers(*layers):
    words = lc.layers.TextVectorization()
    words.adapt(SENTENCES)
    embedding = lc.layers.Embedding(words.vocabulary_size(), 4, mask_zero=True)
    model = lc.Sequential([words, embedding, *layers])
    model.build((None, None))
    return model


def test_a_regressor_prints_values(tmp_path, capsys):
    model = text_layers(lc.layers.LSTM(4), lc.layers.Dense(1))
    path = save(model, tmp_path)
    values = model.predict(SENTENCES, verbose=0)[:, 0]
    _, out, _ = run(capsys, "predict", path, *SENTENCES)
    assert out.splitlines() == [
        f"{value:.6g}\t{text}" for value, text in zip(values, SENTENCES, strict=True)
    ]
    _, out, _ = run(capsys, "predict", "--json", path, *SENTENCES)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"text": text, "value": float(value)} for value, text in zip(values, SENTENCES, strict=True)
    ]


def test_several_values_are_printed_side_by_side(tmp_path, capsys):
    model = text_layers(lc.layers.LSTM(4), lc.layers.Dense(2))
    path = save(model, tmp_path)
    (values,) = model.predict(SENTENCES[:1], verbose=0)
    _, out, _ = run(capsys, "predict", path, SENTENCES[0])
    assert out == f"{values[0]:.6g}\t{values[1]:.6g}\t{SENTENCES[0]}\n"
    _, out, _ = run(capsys, "predict", path, SENTENCES[0], "--json")
    assert json.loads(out)["values"] == values.tolist()


def test_a_tagger_answers_for_each_token(tmp_path, capsys):
    model = text_layers(
        lc.layers.LSTM(4, return_sequences=True), lc.layers.Dense(3, activation="softmax")
    )
    model.class_names = ["noun", "verb", "other"]
    path = save(model, tmp_path)
    texts = [SENTENCES[0], "", "film"]
    outputs = model.predict(texts, verbose=0)
    tags = [[model.class_names[row.argmax()] for row in rows] for rows in outputs]
    assert [len(entry) for entry in tags] == [3, 0, 1]
    _, out, _ = run(capsys, "predict", path, *texts)
    assert out.splitlines() == [
        f"{' '.join(entry)}\t{text}" for entry, text in zip(tags, texts, strict=True)
    ]
    _, out, _ = run(capsys, "predict", path, *texts, "--json")
    first, empty, last = [json.loads(line) for line in out.splitlines()]
    assert [entry["token"] for entry in first["tokens"]] == ["a", "good", "film"]
    assert [entry["class"] for entry in first["tokens"]] == tags[0]
    assert empty == {"text": "", "tokens": []}
    assert last["tokens"][0]["probability"] == float(outputs[2].max())
    assert set(last["tokens"][0]["probabilities"]) == {"noun", "verb", "other"}


def test_a_tagger_prints_a_value_for_each_token(tmp_path, capsys):
    model = text_layers(lc.layers.LSTM(4, return_sequences=True), lc.layers.Dense(1))
    path = save(model, tmp_path)
    (values,) = model.predict(SENTENCES[:1], verbose=0)
    _, out, _ = run(capsys, "predict", path, SENTENCES[0])
    assert out == " ".join(f"{value:.6g}" for value in values[:, 0]) + f"\t{SENTENCES[0]}\n"


@pytest.mark.parametrize(
    ("units", "loss"),
    [(1, lc.losses.BinaryCrossentropy), (3, lc.losses.SparseCategoricalCrossentropy)],
)
def test_logits_become_probabilities(tmp_path, capsys, units, loss):
    model = text_layers(lc.layers.LSTM(4), lc.layers.Dense(units))
    model.compile("adam", loss(from_logits=True))
    path = save(model, tmp_path)
    logits = np.float64(model.predict(SENTENCES[:1], verbose=0)[0])
    if units == 1:
        logits = np.append(0.0, logits)
    shares = np.exp(logits) / np.exp(logits).sum()
    _, out, _ = run(capsys, "predict", path, SENTENCES[0], "--json")
    answer = json.loads(out)
    np.testing.assert_allclose(list(answer["probabilities"].values()), shares, rtol=1e-12)
    assert answer["class"] == str(shares.argmax())


def test_several_sigmoids_are_not_classes(tmp_path, capsys):
    model = text_layers(lc.layers.LSTM(4), lc.layers.Dense(3, activation="sigmoid"))
    path = save(model, tmp_path)
    _, out, _ = run(capsys, "predict", path, SENTENCES[0], "--json")
    assert len(json.loads(out)["values"]) == 3


def test_info_describes_a_model(tmp_path, capsys):
    model = text_model(2, "softmax")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(SENTENCES, np.array([1, 0]), epochs=3, verbose=0)
    model.class_names = ["bad", "good"]
    path = save(model, tmp_path)
    status, out, err = run(capsys, "info", path)
    assert (status, err) == (0, "")
    head, table = out.split("\n\n")
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in head.splitlines())
    assert rows["parameters"] == str(model.count_params())
    assert rows["epochs"] == "3"
    assert rows["classes"] == "bad, good"
    assert rows["optimizer"] == "Adam"
    assert rows["vocabulary"] == "6"
    lines = []
    model.summary(lines.append)
    assert table.splitlines() == lines
    _, out, _ = run(capsys, "info", path, "--json")
    about = json.loads(out)
    assert about["parameters"] == model.count_params()
    assert about["classes"] == ["bad", "good"]
    assert about["output_shape"] == "(N, 2)"
    assert [layer["class"] for layer in about["layers"]] == [
        type(layer).__name__ for layer in model.layers
    ]


def test_info_describes_an_encoder_decoder_and_a_quantized_model(tmp_path, capsys):
    pairs = lc.EncoderDecoder(4, 4, units=2, embedding_size=2)
    _, out, _ = run(capsys, "info", save(pairs, tmp_path), "--json")
    assert json.loads(out)["model"] == "EncoderDecoder"
    model = text_model(2, "softmax")
    model.build((None, None))
    small = lc.quantize(model)
    _, out, _ = run(capsys, "info", save(small, tmp_path), "--json")
    assert json.loads(out)["quantized"] is True


def test_info_of_the_installation_as_json(capsys):
    _, out, _ = run(capsys, "info", "--json")
    assert json.loads(out)["lstmcore"] == lc.__version__


def test_errors_take_one_line(tmp_path, capsys):
    path = tmp_path / "two\nlines.safetensors"
    status, _, err = run(capsys, "predict", str(path), "a")
    assert status == 1
    assert err.count("\n") == 1


def test_only_a_line_feed_ends_a_line(softmax_model, capsys, monkeypatch):
    path, _ = softmax_model
    texts = ["good\u2028film", "good\x0cfilm", "good\x85film", "good\rfilm"]
    type_in(monkeypatch, "\n".join(texts).encode())
    status, out, _ = run(capsys, "predict", path)
    assert status == 0
    assert [line.split("\t")[2] for line in out.split("\n")[:-1]] == texts
