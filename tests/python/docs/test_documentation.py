"""The examples of README and documentation run unchanged, and the models that they train learn."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()
]


def key(page):
    """The page's path within docs, since docs/design has pages of the same names."""
    return page.name if page.parent == ROOT else page.relative_to(ROOT / "docs").as_posix()


# Packages that a page's examples need besides lstmcore.
NEEDS = {
    "README.md": ["matplotlib"],
    "quickstart.md": ["matplotlib"],
    "training.md": ["matplotlib"],
    "seq2seq.md": ["matplotlib"],
    "pytorch.md": ["torch"],
    "jax.md": ["jax"],
    "keras.md": ["keras", "h5py"],
    "onnx.md": ["onnx", "onnxruntime"],
    "scikit-learn.md": ["matplotlib", "sklearn"],
    "arrays.md": ["pandas", "polars", "torch"],
    "aeon_and_sktime.md": ["aeon", "sktime"],
}

# Bounds, low and high, of the figures that each training program must reach on fresh data, by their
# names on the page. Seeds are fixed, so figures vary only with the rounding of the instruction set,
# for which the bounds leave room.
FIGURES: dict[str, dict[str, tuple[float, float]]] = {
    "README.md": {"accuracy": (0.93, 1.0)},
    "quickstart.md": {"accuracy": (0.93, 1.0), "praise_accuracy": (0.76, 0.9)},
    "training.md": {
        "accuracy": (0.95, 1.0),
        "scheduled_accuracy": (0.95, 1.0),
        "unexplained": (0.0, 0.03),
        "streamed": (0.0, 0.02),
        "stopped_accuracy": (0.95, 1.0),
        "paced_accuracy": (0.9, 1.0),
        "resumed_accuracy": (0.95, 1.0),
    },
    "distributed.md": {"accuracy": (0.9, 1.0)},
    "layers.md": {
        "praise_accuracy": (0.95, 1.0),
        "lent_accuracy": (0.95, 1.0),
        "tuned_accuracy": (0.9, 1.0),
        "peak_accuracy": (0.95, 1.0),
        "deep_accuracy": (0.95, 1.0),
        "scaled_accuracy": (0.9, 1.0),
    },
    "graphs.md": {"flow_error": (0.0, 0.05), "flood_accuracy": (0.93, 1.0)},
    "ctc.md": {"error_rate": (0.0, 0.06), "scored_error_rate": (0.0, 0.06)},
    "explain.md": {"accuracy": (0.9, 1.0)},
    "seq2seq.md": {
        "exact": (0.9, 1.0),
        "translated": (1.0, 1.0),
        "told": (1.0, 1.0),
        "greeted": (1.0, 1.0),
    },
    "tagging.md": {"f1": (0.7, 1.0), "sentence_f1": (0.95, 1.0)},
    "text.md": {"repeated": (1.0, 1.2), "one_word": (10.0, 14.0)},
    "quantization.md": {"accuracy": (0.9, 1.0), "small_accuracy": (0.9, 1.0)},
    "precision.md": {"unexplained": (0.0, 0.2)},
    "model_files.md": {"unexplained": (0.0, 0.1)},
    "arrays.md": {"accuracy": (0.9, 1.0)},
    "coming_from_keras.md": {"accuracy": (0.9, 1.0)},
    "coming_from_pytorch.md": {"unexplained": (0.0, 0.2)},
    "scikit-learn.md": {},  # asserts its scores itself
    "aeon_and_sktime.md": {"accuracy": (0.95, 1.0), "unexplained": (0.0, 0.3)},
    "keras.md": {"accuracy": (0.9, 1.0), "keras_accuracy": (0.9, 1.0)},
    "pytorch.md": {"accuracy": (0.9, 1.0)},
    "jax.md": {"accuracy": (0.9, 1.0)},
}

pytestmark = pytest.mark.skipif(not PAGES, reason="the pages are only in the source tree")


def program(page):
    """Join the Python blocks of a page, each of which continues the previous one."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


# Keras warns about its own use of NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("page", PAGES, ids=key)
def test_examples_run_and_learn(page, tmp_path, monkeypatch):
    for name in NEEDS.get(key(page), []):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    variables = {"__name__": page.stem}
    exec(compile(program(page), page.name, "exec"), variables)
    for name, (low, high) in FIGURES.get(key(page), {}).items():
        assert low <= variables[name] <= high, f"{page.name}: {name} is {variables[name]}"


@pytest.mark.parametrize("page", PAGES, ids=key)
def test_programs_that_train_have_a_figure(page):
    calls = r"\.fit\(|\.train_on_batch\(|\.backward\(\)\n *optimizer|jax\.value_and_grad\("
    trains = re.search(calls, program(page))
    assert bool(trains) == (key(page) in FIGURES)


@pytest.mark.parametrize("page", PAGES, ids=key)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"[^\[]\]\(([^)#\s]+)", text)  # `[](` begins a function of C++
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


# Docstrings with examples that train and check their own figures.
TRAINING_DOCSTRINGS = [
    "sklearn.classifier",
    "sklearn.forecaster",
    "aeon.classifier",
    "aeon.forecaster",
    "aeon.regressor",
    "sktime.classifier",
    "sktime.regressor",
    "sktime.forecaster",
]


@pytest.mark.filterwarnings("ignore::FutureWarning:sktime")
@pytest.mark.parametrize("name", TRAINING_DOCSTRINGS)
def test_docstrings_run_and_learn(name):
    pytest.importorskip(name.partition(".")[0])
    module = importlib.import_module(f"lstmcore.{name}")
    failures, tests = doctest.testmod(module)
    assert failures == 0
    assert tests
