"""The engine as WebAssembly, in Node and in a browser, against the engine here: see examples/web.

``make test-wasm`` builds it into ``build/wasm/site`` first.
"""

import gzip
import html
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.datasets import movie_snippets

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
SITE = ROOT / "build" / "wasm" / "site"
NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    not (SITE / "lstmcore_engine.wasm").exists(),
    reason="build/wasm/site is not built (make wasm, which needs Emscripten)",
)
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

TEXTS = [
    "A warm, funny and beautifully acted film that stays with you.",
    "The plot is a tedious mess and the jokes fall flat.",
    "tedious",
    "  Tabs\tand\u00a0spaces\n; “quotes” — and … STRASSE $9.99 <b>!  ",
    "xyzzy plugh",
    "good " * 300,
]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Save a model with the layers of the demo, trained for a moment."""
    train, _, _ = movie_snippets(0)
    words = lc.layers.TextVectorization()
    words.adapt(train.sentences[:400])
    model = lc.Sequential(
        [
            words,
            lc.layers.Embedding(words.vocabulary_size(), 16, mask_zero=True),
            lc.layers.Dropout(0.7),
            lc.layers.Bidirectional(lc.layers.LSTM(32, return_sequences=True)),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dense(1, activation="sigmoid"),
        ],
        seed=0,
    )
    model.class_names = ("criticism", "praise")
    model.compile(optimizer=lc.optimizers.Adam(0.02), loss="binary_crossentropy")
    model.fit(train.sentences[:400], train.labels[:400], epochs=2, verbose=0)
    path = tmp_path_factory.mktemp("web") / "model.safetensors"
    model.save(path)
    return path


def predict_in_node(model, inputs, *trap):
    """Return what the module answers: a dict with "outputs" or "error".

    ``trap``: the function of the engine that throws an error.
    """
    done = subprocess.run(
        [NODE, Path(__file__).with_name("predict.mjs"), SITE, model, *trap],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stdout)


def predict_on_baseline(model, texts):
    """Return the predictions for one text at a time, by the instructions that the module has."""
    program = (
        "import json, sys, lstmcore as lc\n"
        "model = lc.load(sys.argv[1])\n"
        "texts = json.load(sys.stdin)\n"
        "print(json.dumps([model.predict([text], verbose=0)[0].tolist() for text in texts]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, model],
        input=json.dumps(texts),
        env={**os.environ, "LSTMCORE_ISA": "baseline"},
        capture_output=True,
        text=True,
        check=True,
    )
    return np.array(json.loads(done.stdout), np.float32)


def program_of_page(language):
    """Return the only program in a language on the page on platforms."""
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    [program] = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return program


def test_the_module_is_as_small_as_its_page_says():
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    said = re.findall(r"(\d+) kB\s\((\d+) kB\s+compressed\)", page)
    files = [(SITE / f"lstmcore_engine.{ending}").read_bytes() for ending in ("wasm", "js")]
    sizes = [(len(data), len(gzip.compress(data))) for data in files]
    found = [sizes[0], tuple(map(sum, zip(*sizes, strict=True)))]
    print("bytes of the module, and with its JavaScript (compressed):", found)
    assert len(said) == len(found)
    for row, limits in zip(found, said, strict=True):
        for size, limit in zip(row, limits, strict=True):
            assert size < 1100 * int(limit)  # a tenth more, since compilers differ


@needs_node
def test_texts_have_the_bits_of_the_baseline(model_file):
    """SSE2 and SIMD128 round alike, and neither fuses multiply-adds."""
    answer = predict_in_node(model_file, TEXTS)
    assert answer["isa"] == "baseline"
    assert answer["classNames"] == ["criticism", "praise"]
    outputs = np.array(answer["outputs"], np.float32)
    assert np.ptp(outputs) > 0.1  # the texts are told apart
    np.testing.assert_array_equal(outputs, predict_on_baseline(model_file, TEXTS))
    expected = lc.load(model_file).predict(TEXTS, verbose=0)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)  # another instruction set


@pytest.fixture
def site(model_file, tmp_path):
    """Return a copy of the folder that is built, with the model."""
    folder = tmp_path / "site"
    shutil.copytree(SITE, folder)
    shutil.copy(model_file, folder / "model.safetensors")
    return folder


@needs_node
def test_program_of_the_page_in_node(model_file, site):
    (site / "program.mjs").write_text(program_of_page("js"), encoding="utf-8")
    done = subprocess.run(
        [NODE, "program.mjs"], cwd=site, capture_output=True, text=True, check=True
    )
    found = re.fullmatch(r"Float32Array\(1\) \[ ([\d.]+) \]\n", done.stdout)
    expected = predict_on_baseline(model_file, ["A warm, funny and beautifully acted film."])
    assert np.float32(found[1]) == np.float32(expected.item())


@needs_node
def test_the_module_as_bytes(site):
    """What a program has read itself is not looked for beside the script."""
    program = """
        const create = require("./lstmcore_engine.js"), fs = require("fs");
        fs.renameSync("lstmcore_engine.wasm", "other.wasm");
        const bytes = fs.readFileSync("other.wasm");
        create({ wasmBinary: bytes }).then((engine) =>
          console.log(engine.UTF8ToString(engine._web_isa())));
    """
    done = subprocess.run(
        [NODE, "-e", program], cwd=site, capture_output=True, text=True, check=True
    )
    assert done.stdout == "baseline\n"


@needs_node
def test_features_and_the_last_step():
    """Bidirectional, RNN and Dense on features: the golden model of the C++ tests."""
    model = lc.load(GOLDEN / "features_model.safetensors")
    n, t, c = np.ogrid[:3, :6, :3]
    x = ((5 * n + 7 * t + 3 * c) % 11 / 4 - 1.25).astype(np.float32)
    answer = predict_in_node(GOLDEN / "features_model.safetensors", x.tolist())
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(answer["outputs"], expected, rtol=0, atol=3e-6)


@needs_node
def test_what_is_refused(model_file, tmp_path):
    """A file or an input that the module cannot take is an error with the engine's own text."""
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(model_file.read_bytes()[:-4])
    assert re.search(r"ends at byte \d+ of \d+$", predict_in_node(damaged, [])["error"])
    unknown = predict_in_node(GOLDEN / "stack_model.safetensors", [])["error"]
    assert "cannot run layers of class Conv1D" in unknown
    outputs = predict_in_node(model_file, ["", "...", [[0.5]]])["outputs"]
    assert [output["error"] for output in outputs[:2]] == ["input: the text has no words"] * 2
    assert "takes token numbers, not features" in outputs[2]["error"]


def typed(kind, values=None):
    """Return what predict.mjs makes a value from that JSON lacks."""
    return {"make": kind, "of": values}


@needs_node
def test_forms_of_features():
    """All forms of the same steps have the same outputs."""
    steps = [[0.25, -0.5, 1.0], [2.0, 0.0, -0.125]]
    flat = [number for step in steps for number in step]
    forms = [
        steps,
        flat,
        typed("Float32Array", flat),
        typed("Float64Array", flat),
        [typed("Float32Array", step) for step in steps],
        [steps[0], typed("Float64Array", steps[1])],
    ]
    path = GOLDEN / "features_model.safetensors"
    outputs = predict_in_node(path, forms)["outputs"]
    expected = lc.load(path).predict(np.array([steps], np.float32), verbose=0)[0]
    for output in outputs:
        np.testing.assert_allclose(output, expected, rtol=0, atol=3e-6)


SOURCE = "function convert(text) { return Number(text.trim()); }"
REFUSED_FEATURES = [
    (
        [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6]],
        "expected an array of 3 numbers at step 0, got an array of length 4",
    ),
    (
        [[0.1, 0.2, 0.3], [0.4]],
        "expected an array of 3 numbers at step 1, got an array of length 1",
    ),
    ([[0.1, 0.2, 0.3], 0.4], "expected an array of 3 numbers at step 1, got 0.4"),
    ([0.1, [0.1, 0.2, 0.3]], "expected numbers, got an array of length 3 at number 1"),
    ([["a", "b", "c"]], 'expected numbers, got "a" at step 0, number 0'),
    (["a", "b", "c"], 'expected numbers, got "a" at number 0'),
    ([[1, 2, 3], [1, 2, None]], "expected numbers, got null at step 1, number 2"),
    ([[[0.1, 0.2, 0.3]]], "expected an array of 3 numbers at step 0, got an array of length 1"),
    ([[[0.1], [0.2], [0.3]]], "expected numbers, got an array of length 1 at step 0, number 0"),
    (
        [typed("Float32Array", [1, 2])],
        "expected an array of 3 numbers at step 0, got Float32Array of length 2",
    ),
    ([0.1, 0.2, 0.3, 0.4], "expected 3 numbers for each step, got 4 in all"),
    (typed("Float32Array", [1, 2, 3, 4]), "expected 3 numbers for each step, got 4 in all"),
    (typed("BigInt64Array", [1, 2, 3]), "expected numbers, got 1n at number 0"),
    (
        [[1, 2, 3], [1, 1e300, 2]],
        "expected numbers that are finite as float32, got 1e+300 at step 1, number 1",
    ),
    (
        typed("Float64Array", [1, 2, -3.5e38]),
        "expected numbers that are finite as float32, got -3.5e+38 at number 2",
    ),
    (
        [1, typed("number", "NaN"), 2],
        "expected numbers that are finite as float32, got NaN at number 1",
    ),
    (
        [typed("Float32Array", [1, 2, 1e300])],
        "expected numbers that are finite as float32, got Infinity at step 0, number 2",
    ),
    (typed("function", SOURCE), f"expected an array of steps, got {SOURCE[:40]}..."),
    (["a" + 30 * "\U0001f600"], f'expected numbers, got "a{19 * chr(0x1F600)}..." at number 0'),
    (typed("DataView", [1, 2, 3]), "expected an array of steps, got an object"),
    (typed("undefined"), "expected an array of steps, got undefined"),
    (None, "expected an array of steps, got null"),
    (0.5, "expected an array of steps, got 0.5"),
    ({}, "expected an array of steps, got an object"),
    ("words", "the model takes numbers, not texts"),
]


@needs_node
def test_features_that_are_refused():
    """No input has an answer for other numbers than it holds."""
    inputs = [case for case, _ in REFUSED_FEATURES]
    outputs = predict_in_node(GOLDEN / "features_model.safetensors", [*inputs, []])["outputs"]
    for output, (case, text) in zip(outputs, REFUSED_FEATURES, strict=False):
        assert "error" in output, case
        assert output["error"] == f"input: {text}"
    assert outputs[-1]["error"] == "steps: expected at least 1, got 0"


STACKS = {
    "last step": lambda: [lc.layers.LSTM(3)],
    "steps": lambda: [
        lc.layers.LSTM(3, return_sequences=True),
        lc.layers.Dense(2, activation="softmax"),
    ],
    "backwards": lambda: [lc.layers.LSTM(3, return_sequences=True, go_backwards=True)],
    "backwards, last step": lambda: [lc.layers.LSTM(3, go_backwards=True)],
    "both": lambda: [lc.layers.Bidirectional(lc.layers.LSTM(2)), lc.layers.Dense(1)],
    "both, maximum": lambda: [
        lc.layers.Bidirectional(lc.layers.LSTM(2, return_sequences=True)),
        lc.layers.GlobalMaxPooling1D(),
        lc.layers.Dense(1),
    ],
    "mean": lambda: [lc.layers.GlobalAveragePooling1D(), lc.layers.Dense(2)],
    "no recurrence": lambda: [lc.layers.Dense(2, activation="tanh")],
}


def token_model(path, mask_zero, stack):
    """Save a model of ten token numbers, whose padding has a vector of its own, and return it."""
    embedding = lc.layers.Embedding(10, 4, mask_zero=mask_zero)
    model = lc.Sequential([embedding, *STACKS[stack]()], seed=3)
    model.build((None, None))
    model.set_weights([20 * weight for weight in model.get_weights()])
    model.save(path)
    return model


@needs_node
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("mask_zero", [False, True])
def test_token_numbers(tmp_path, stack, mask_zero):
    """Number 0 is what it is in Python: a token like others, or the padding at the end."""
    path = tmp_path / "tokens.safetensors"
    model = token_model(path, mask_zero, stack)
    rows = [[1, 2, 9], [0, 1, 2, 3], [3, 1, 0, 0], [0, 0], [5, 0, 5]]
    outputs = predict_in_node(path, rows)["outputs"]
    for output, row in zip(outputs, rows, strict=True):
        if mask_zero and row[-1] != 0 and 0 in row:
            with pytest.raises(ValueError, match="id 0 is padding"):
                model.predict([row], verbose=0)
            assert output["error"].startswith(
                "ids: 0 is padding and may appear only at the end, got "
            )
        else:
            expected = model.predict(np.array([row]), verbose=0)[0].reshape(-1)
            np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6)


@needs_node
def test_forms_of_token_numbers(tmp_path):
    """Plain lists and arrays of integers; any other number is an error."""
    path = tmp_path / "tokens.safetensors"
    token_model(path, False, "last step")
    row = [1, 2, 0, 9]
    kinds = ["Int32Array", "BigInt64Array", "Uint8Array", "Float32Array"]
    outputs = predict_in_node(path, [row, *(typed(kind, row) for kind in kinds)])["outputs"]
    assert outputs == [outputs[0]] * len(outputs)
    assert len(outputs[0]) == 3
    refused = {
        "ids: expected 0 to 9, got 10 at step 1": [1, 10],
        "ids: expected 0 to 9, got -1 at step 0": [-1],
        "steps: expected at least 1, got 0": [],
        "whole numbers of 32 bits, got 0.5 at step 1": [1, 0.5],
        "whole numbers of 32 bits, got NaN at step 0": [typed("number", "NaN")],
        "whole numbers of 32 bits, got 4294967297 at step 0": [4294967297],
        "whole numbers of 32 bits, got 1099511627776 at step 0": [2**40],
        "whole numbers of 32 bits, got 4294967297n at step 0": typed("BigInt64Array", [4294967297]),
        'whole numbers of 32 bits, got "1" at step 0': ["1"],
        "whole numbers of 32 bits, got an array of length 2 at step 0": [[1, 2]],
        "expected an array, got undefined": typed("undefined"),
        "input: the model takes numbers, not texts": "words",
    }
    outputs = predict_in_node(path, list(refused.values()))["outputs"]
    for text, output in zip(refused, outputs, strict=True):
        assert output["error"].endswith(text)


@needs_node
def test_a_model_that_was_freed():
    """It says so, and its memory is free."""
    answer = predict_in_node(
        GOLDEN / "features_model.safetensors",
        [[[1, 2, 3]], typed("free"), [[1, 2, 3]], typed("free")],
    )
    assert len(answer["outputs"][0]) > 0
    assert answer["outputs"][1:] == [None, {"error": "predict: the model was freed"}, None]
    assert answer["alive"] == 0


@needs_node
def test_memory_of_copies_when_the_engine_fails(tmp_path):
    """Copies of files and inputs are freed, also if the engine throws."""
    features = GOLDEN / "features_model.safetensors"
    tokens = tmp_path / "tokens.safetensors"
    token_model(tokens, False, "last step")
    assert predict_in_node(features, [], "_web_load") == {"error": "trap", "alive": 0, "held": 0}
    for path, form, function in [
        (features, [[1, 2, 3]], "_web_predict_features"),
        (tokens, [1, 2], "_web_predict_ids"),
    ]:
        answer = predict_in_node(path, [form, form], function)
        assert answer["outputs"] == [{"error": "trap"}] * 2
        assert answer["held"] == 0
    assert predict_in_node(features, [[[1, 2, 3]]])["held"] == 0


@needs_node
def test_memory_of_a_model_whose_texts_cannot_be_read(model_file, tmp_path):
    """The loader finds that it cannot split as the model does when the engine has loaded it."""
    other = tmp_path / "model.safetensors"
    whole = model_file.read_bytes()
    assert whole.count(b"whitespace") == 1
    other.write_bytes(whole.replace(b"whitespace", b"whitespxce"))
    answer = predict_in_node(other, [])
    assert answer["error"].endswith('or "raw_character", got "whitespxce"')
    assert answer["alive"] == 0


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def address(site):
    """Serve the page with the model on this machine, and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def shown(address, profile):
    """Return what a page is when its scripts have run, in a browser without a window."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@needs_chromium
def test_program_of_the_page_in_a_browser(address, site, model_file, tmp_path):
    program = "<!doctype html>\n<body>\n" + program_of_page("html")
    (site / "program.html").write_text(program, encoding="utf-8")
    page = shown(f"{address}program.html", tmp_path / "profile")
    found = re.search(r"</script>\s*([\d.]+)\s*</body>", page)
    assert found is not None, page
    expected = predict_on_baseline(model_file, ["A warm, funny and beautifully acted film."])
    assert np.float32(found[1]) == np.float32(expected.item())


@needs_chromium
@pytest.mark.parametrize("text", TEXTS[:2])
def test_page(address, model_file, tmp_path, text):
    """The page shows the model's probability."""
    page = shown(f"{address}?text={urllib.parse.quote(text)}", tmp_path / "profile")
    found = re.search(r'<output id="result" data-probability="([^"]*)">([^<]*)', page)
    assert found is not None, page[-2000:]
    expected = predict_on_baseline(model_file, [text]).item()
    assert np.float32(found[1]) == np.float32(expected)
    name = ("criticism", "praise")[expected > 0.5]
    assert html.unescape(found[2]) == f"{name} {expected:.3f}"
