"""Notebooks in a real kernel: the example notebook, and the output of training in others."""

import base64
import json
import os
import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[3] / "examples" / "notebooks" / "first_hour.ipynb"

# The packages that run a kernel emit warnings of their own.
pytestmark = pytest.mark.filterwarnings("default")

LINE = r"Epoch \d+/\d+ - loss: [\d.]+ - .* - [\d.]+ s"
END = r"Trained \d+( of \d+)? epochs? in [\d.]+ s; best \w+ [\d.]+ at epoch \d+.*"


@pytest.fixture(autouse=True)
def absolute_python_path(monkeypatch):
    """Make paths absolute, since a kernel starts in another folder."""
    if found := os.environ.get("PYTHONPATH"):
        places = [str(Path(place).resolve()) for place in found.split(os.pathsep)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))


def run(notebook, folder):
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run_cells(folder, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return run(nbformat.v4.new_notebook(cells=cells), folder)


def streamed(cell, name="stdout"):
    outputs = [out for out in cell.outputs if out.output_type == "stream" and out.name == name]
    return "".join(out.text for out in outputs)


def shown(cell, kind):
    found = [out.data for out in cell.outputs if "data" in out]
    return [data[kind] for data in found if kind in data]


def widgets(notebook, model):
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    return [entry.state for entry in states.values() if entry.model_name == model]


# The longest test: it starts a kernel and trains three models, as a reader would.
@pytest.mark.skipif(not NOTEBOOK.exists(), reason="the examples are only in the source tree")
def test_the_first_hour(tmp_path):
    for name in ("ipywidgets", "pandas", "sklearn"):
        pytest.importorskip(name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:  # committed without outputs
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    facts = {
        "fresh": "fresh['accuracy']",
        "best": "list(history.best)",
        "judged": "judged['accuracy']",
        "praise": "praise.tolist()",
        "stopped": "reading.stop_reason",
        "errors": "list(errors.values())",
        "same": "same",
    }
    listed = ", ".join(f"{name!r}: {expression}" for name, expression in facts.items())
    last = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{listed}}}))")
    notebook.cells.append(last)
    cells = run(notebook, tmp_path)

    # Figures on data that the models have not seen.
    found = json.loads(streamed(cells[-1]))
    assert found["fresh"] >= 0.93
    assert found["best"][0] == "val_loss"
    assert found["judged"] >= 0.70  # 0.52 for a constant answer
    good, bad = found["praise"]
    assert good > 0.5 > bad
    lstm, naive = found["errors"]
    assert lstm < 0.5 * naive
    assert found["same"] is True

    # Each fit shows a moving bar, a line for each epoch and one at the end.
    fits = [cell for cell in cells if re.search(r"\.fit\(\n?.*epochs=", cell.source, re.DOTALL)]
    assert len(fits) == 2
    for cell in fits:
        lines = streamed(cell).splitlines()
        assert len(lines) >= 3
        for line in lines[:-1]:
            assert re.fullmatch(LINE, line), line
        assert re.fullmatch(END, lines[-1]), lines[-1]
        assert len(shown(cell, "application/vnd.jupyter.widget-view+json")) == 1
        assert streamed(cell, "stderr") == ""
    assert len(streamed(fits[0]).splitlines()) == 11
    bars = widgets(notebook, "FloatProgressModel")
    assert {(bar["value"], bar["max"], bar["bar_style"]) for bar in bars} >= {
        (50.0, 50.0, "success"),
        (94.0, 94.0, "success"),
    }
    texts = " ".join(text["value"] for text in widgets(notebook, "HTMLModel"))
    texts = texts.replace("\u2007", " ")  # tqdm aligns figures with this kind of space
    assert "Epoch 10/10: 100%" in texts
    assert re.search(r"50/50 .*loss=0\.\d+, accuracy=0\.\d+", texts)

    # The outputs include tables and pictures.
    pages = [page for cell in cells for page in shown(cell, "text/html")]
    assert any("1,169 parameters" in page and "<table" in page for page in pages)
    assert any(page.startswith("<details><summary") for page in pages)
    pictures = [base64.b64decode(data) for cell in cells for data in shown(cell, "image/png")]
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000


MODEL = """
import numpy as np
import lstmcore as lc
model = lc.Sequential([lc.layers.LSTM(2), lc.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.zeros((40, 3, 1), np.float32)
"""


def test_a_summary_is_a_table(tmp_path):
    build = "model.build((None, None, 3))\nmodel.summary()"
    (_, cell, lines) = run_cells(tmp_path, MODEL, build, "model.summary(print)")
    (html,) = shown(cell, "text/html")
    assert "<table" in html
    assert "lstm (LSTM)" in html
    assert shown(cell, "text/plain") == [streamed(lines).rstrip("\n")]
    assert streamed(cell) == ""


def test_without_ipywidgets_the_bar_is_text(tmp_path):
    hidden = "import sys; sys.modules['ipywidgets'] = None"
    printing = "lc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print('hello'))"
    fit = f"model.fit(x, x[:, 0], batch_size=4, epochs=2, callbacks=[{printing}]);"
    cells = run_cells(tmp_path, hidden, MODEL, fit)
    out, err = streamed(cells[2]).splitlines(), streamed(cells[2], "stderr")
    assert [line for line in out if line == "hello"] == ["hello"] * 2
    assert len([line for line in out if re.fullmatch(r"Epoch \d/2 - loss: .*", line)]) == 2
    assert out[-1].startswith("Trained 2 epochs in ")
    assert re.search(r"Epoch 2/2: 100%\|.*\| 10/10 \[", err)
    assert "ipywidgets" not in err  # it is not required
    assert "Warning" not in err


def test_a_picture_is_shown_once_and_pyplot_keeps_its_figure(tmp_path):
    draw = """
import matplotlib.pyplot as plt
from lstmcore.plots import learning_curve
own = plt.figure()
axes = learning_curve({"loss": [1.0, 0.5], "accuracy": [0.5, 0.7]})
assert plt.gcf() is own
plt.close(own)
"""
    cells = run_cells(tmp_path, draw, "1 + 1")
    assert len(shown(cells[0], "image/png")) == 1
    assert shown(cells[1], "image/png") == []
