"""The page on the C++ library names what is installed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cpp.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_the_table_has_every_installed_header():
    folder = ROOT / "cpp" / "include"
    headers = [path.relative_to(folder).as_posix() for path in folder.rglob("*.h*")]
    named = re.findall(r"^\| `(lstmcore/\S+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(headers)
