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


def predict_in_node(model, inputs):
    """Return what the module answers: a dict with "outputs" or "error"."""
    done = subprocess.run(
        [NODE, Path(__file__).with_name("predict.mjs"), SITE, model],
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


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def address(model_file, tmp_path):
    """Serve the page with the model on this machine, and return its address."""
    site = tmp_path / "site"
    shutil.copytree(SITE, site)
    shutil.copy(model_file, site / "model.safetensors")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@needs_chromium
@pytest.mark.parametrize("text", TEXTS[:2])
def test_page(address, model_file, tmp_path, text):
    """The page in a browser without a window shows the model's probability."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"{address}?text={urllib.parse.quote(text)}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<output id="result" data-probability="([^"]*)">([^<]*)', done.stdout)
    assert found is not None, done.stdout[-2000:]
    expected = predict_on_baseline(model_file, [text]).item()
    assert np.float32(found[1]) == np.float32(expected)
    name = ("criticism", "praise")[expected > 0.5]
    assert html.unescape(found[2]) == f"{name} {expected:.3f}"
