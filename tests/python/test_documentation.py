"""The Python examples of the README and the documentation run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()
]

# What a page's examples need beside lstmcore.
NEEDS = {
    "pytorch.md": ["torch"],
    "keras.md": ["keras", "h5py"],
    "onnx.md": ["onnx", "onnxruntime"],
    "scikit-learn.md": ["sklearn"],
    "arrays.md": ["pandas", "polars", "torch"],
}

pytestmark = pytest.mark.skipif(not PAGES, reason="the pages are only in the source tree")


# Keras' own, about NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    for name in NEEDS.get(page.name, []):
        pytest.importorskip(name)
    # The blocks of a page go on where the one before ended.
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), page.name, "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing
