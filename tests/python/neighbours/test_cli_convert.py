"""``lstmcore convert``: files of other formats predict the same."""

import sys

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import cli
from lstmcore._extras import how_to_install


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def model(tmp_path):
    model = lc.Sequential(
        [
            lc.layers.Input((None, 3)),
            lc.layers.Bidirectional(lc.layers.LSTM(4, return_sequences=True)),
            lc.layers.LSTM(4),
            lc.layers.Dense(2, activation="softmax"),
        ],
        seed=3,
    )
    model.class_names = ["no", "yes"]
    model.save(tmp_path / "model.safetensors")
    return model


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)


# Keras warns about its own use of NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize(
    ("ending", "needs", "like"),
    [
        (".keras", "keras", False),
        (".weights.h5", "keras", True),
        (".pt", "torch", True),
        (".pth", "torch", True),
        (".safetensors", "numpy", False),
    ],
)
def test_to_another_format_and_back(tmp_path, capsys, model, x, ending, needs, like):
    pytest.importorskip(needs)
    source, other = tmp_path / "model.safetensors", tmp_path / f"other{ending}"
    assert run(capsys, "convert", source, other) == (0, f"wrote {other}\n", "")
    back = tmp_path / "back.safetensors"
    empty = lc.load(source)
    empty.set_weights([np.zeros_like(value) for value in empty.get_weights()])
    empty.save(tmp_path / "empty.safetensors")
    more = ["--like", tmp_path / "empty.safetensors"] if like else []
    assert run(capsys, "convert", other, back, *more) == (0, f"wrote {back}\n", "")
    again = lc.load(back)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    # Only files that hold nothing but weights need a model.
    wrong = [] if like else ["--like", source]
    status, _, err = run(capsys, "convert", other, back, *wrong)
    assert status == 1
    assert err.startswith("lstmcore: error: --like: expected")


def test_to_onnx(tmp_path, capsys, model, x):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    assert run(capsys, "convert", tmp_path / "model.safetensors", path)[0] == 0
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(["y"], {"x": x})[0], model.predict(x, verbose=0), atol=2e-6
    )
    status, _, err = run(capsys, "convert", path, tmp_path / "back.safetensors")
    assert (status, "IN: expected a file ending in" in err) == (1, True)


def test_names_of_layers_in_other_formats(tmp_path, capsys, model, x):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    names = ["--names", "lstm=decoder", "dense=head", "bidirectional=encoder"]
    assert run(capsys, "convert", tmp_path / "model.safetensors", path, *names)[0] == 0
    state = torch.load(path, weights_only=True)
    assert {name.partition(".")[0] for name in state} == {"decoder", "head", "encoder"}
    like = ["--like", tmp_path / "model.safetensors"]
    back = tmp_path / "back.safetensors"
    assert run(capsys, "convert", path, back, *like, *names)[0] == 0
    np.testing.assert_array_equal(lc.load(back).predict(x, verbose=0), model.predict(x, verbose=0))
    for wrong in ("lstn=a", "lstm", "=a"):
        status, _, err = run(capsys, "convert", path, back, *like, "--names", wrong)
        assert status == 1
        assert err.startswith("lstmcore: error: --names: expected LAYER=PREFIX")
    status, _, err = run(capsys, "convert", back, tmp_path / "a.safetensors", "--names", "a=b")
    assert status == 1
    assert err.startswith("lstmcore: error: --names: expected only with a file of PyTorch")


def test_a_model_of_texts_is_converted_from_ids_on(tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    words = lc.layers.TextVectorization(vocabulary=["good", "bad"])
    model = lc.Sequential([words, lc.layers.Embedding(4, 2), lc.layers.LSTM(3)])
    expected = model.predict(["good bad", "bad ugly"], verbose=0)
    source, path = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    model.metadata = {"lstmcore.table": "{}"}
    model.save(source)
    status, _, err = run(capsys, "convert", source, path)
    assert status == 1
    assert err.startswith("lstmcore: error: --from-ids: expected for")
    assert not path.exists()
    assert run(capsys, "convert", source, path, "--from-ids")[0] == 0
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = np.array([[2, 3], [3, 1]])
    np.testing.assert_allclose(session.run(["y"], {"x": ids})[0], expected, atol=2e-6)
    # The converted model takes ids.
    back = tmp_path / "ids.safetensors"
    assert run(capsys, "convert", source, back, "--from-ids")[0] == 0
    np.testing.assert_array_equal(lc.load(back).predict(ids, verbose=0), expected)
    status, _, err = run(capsys, "convert", back, path, "--from-ids")
    assert status == 1
    assert "--from-ids: expected a model that takes texts" in err


# Keras warns about its own use of NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_a_model_that_keras_cannot_express_gets_advice(tmp_path, capsys):
    keras = pytest.importorskip("keras")
    rows = [f"{text},{text[-1]}" for text in ("a b", "b a") * 20]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["text,label", *rows]))
    source = tmp_path / "model.safetensors"
    training = ["train", data, "--target", "label", "--out", source, "--epochs", 1, "--quiet"]
    assert run(capsys, *training)[0] == 0
    for ending in (".keras", ".weights.h5"):
        path = tmp_path / f"model{ending}"
        status, _, err = run(capsys, "convert", source, path, "--from-ids")
        assert status == 1
        assert "Keras' GlobalMaxPooling1D treats padding as data" in err
        assert err.endswith("; 'lstmcore train --pooling mean' makes such a model\n")
        assert not path.exists()
    # The error's advice works.
    texts = ["a b", "b a a"]
    for pooling in ("mean", "last"):
        assert run(capsys, *training, "--pooling", pooling)[0] == 0
        path = tmp_path / "model.keras"
        assert run(capsys, "convert", source, path, "--from-ids")[0] == 0
        model = lc.load(source)
        ids = model.vectorizer(texts)
        found = keras.models.load_model(path).predict(ids, verbose=0)
        np.testing.assert_allclose(found, model.predict(texts, verbose=0), atol=2e-6)
    pytest.importorskip("onnx")
    assert run(capsys, *training)[0] == 0
    assert run(capsys, "convert", source, tmp_path / "model.onnx", "--from-ids")[0] == 0


def test_a_note_says_what_the_file_does_not_store(tmp_path, capsys, model):
    pytest.importorskip("onnx")
    model.metadata = {"lstmcore.table": "{}"}
    model.save(tmp_path / "model.safetensors")
    path = tmp_path / "model.onnx"
    status, _, err = run(capsys, "convert", tmp_path / "model.safetensors", path)
    assert status == 0
    assert err.startswith(f"lstmcore: note: {path} does not store what the model's columns")


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a.txt", "b.safetensors", "IN: expected a file ending in .safetensors"),
        ("a.h5", "b.safetensors", "No such file"),
        ("a.safetensors", "b.h5", "(Keras 2's, which is only read)"),
        ("a.safetensor", "b.keras", "did you mean '.safetensors'?"),
        ("a.safetensors", "b.bin", "OUT: expected a file ending in"),
        ("a.safetensors", "b.keras", "No such file"),
        ("a.pt", "b.safetensors", "No such file"),
    ],
)
def test_files_that_cannot_be_converted_cause_one_line_errors(
    tmp_path, capsys, source, target, message
):
    status, out, err = run(capsys, "convert", tmp_path / source, tmp_path / target)
    assert (status, out) == (1, "")
    assert err.startswith("lstmcore: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(("module", "ending"), [("torch", ".pt"), ("keras", ".keras")])
def test_a_missing_framework_is_named(tmp_path, capsys, model, monkeypatch, module, ending):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    target = tmp_path / f"other{ending}"
    status, _, err = run(capsys, "convert", tmp_path / "model.safetensors", target)
    assert status == 1
    assert how_to_install(module) in err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_graph_of_keras(tmp_path, capsys):
    """A functional model with branches becomes a model file, and nothing else."""
    keras = pytest.importorskip("keras")
    a, b = keras.Input((None, 4), name="a"), keras.Input((2,), name="b")
    y = keras.layers.Concatenate()([keras.layers.LSTM(3)(a), b])
    keras.Model([a, b], keras.layers.Dense(1, name="y")(y)).save(tmp_path / "a.keras")
    source = str(tmp_path / "a.keras")
    assert cli.main(["convert", source, str(tmp_path / "a.safetensors")]) == 0
    assert lc.load(tmp_path / "a.safetensors").input_names == ["a", "b"]
    assert cli.main(["info", str(tmp_path / "a.safetensors")]) == 0
    assert "a (N, T, 4), b (N, 2)" in capsys.readouterr().out
    assert cli.main(["convert", source, str(tmp_path / "a.onnx")]) != 0
    assert "holds a graph of layers" in capsys.readouterr().err
    assert cli.main(["predict", str(tmp_path / "a.safetensors"), "x.npy"]) != 0
    assert "expected a Sequential" in capsys.readouterr().err
