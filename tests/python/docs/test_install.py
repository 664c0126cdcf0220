"""The documentation of the installation agrees with the project's files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "install.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are only in the source tree")


def extras():
    """Return every extra of pyproject.toml with the names of its packages."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    lines = re.findall(r"^(\w+) = \[([^]]*)\]$", table, flags=re.MULTILINE)
    return {name: re.findall(r'"([\w-]+)', packages) for name, packages in lines}


def test_every_extra_for_users_is_on_the_page():
    wanted = {name: packages for name, packages in extras().items() if name not in {"docs", "dev"}}
    del wanted["test"]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert {"plot", "torch"} <= set(wanted)
    assert {name: len(packages.split(",")) for name, packages in rows} == {
        name: len(packages) for name, packages in wanted.items()
    }


def test_nothing_claims_that_the_package_is_published():
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    files += [*(ROOT / "python").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    assert len(files) > 50
    # With an extra, the command is right if lstmcore is installed, and fails clearly otherwise.
    claim = re.compile(r"pip install (lstmcore|\"lstmcore\"|'lstmcore')(?![\w\[-])")
    assert claim.search("pip install lstmcore, or")
    assert not [str(file) for file in files if claim.search(file.read_text(encoding="utf-8"))]


def test_the_makefile_has_what_the_page_names():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", text, flags=re.MULTILINE))
    listed = set(re.findall(r'@echo "make ([\w-]+)', text))
    named = set(
        re.findall(r"`?\bmake ([\w-]+)`|^    make ([\w-]+)$", PAGE.read_text("utf-8"), re.M)
    )
    names = {name for pair in named for name in pair if name}
    assert {"wheel", "demo", "help"} <= names <= targets
    assert listed <= targets
    assert names - {"help"} <= listed


def test_every_target_that_is_declared_has_a_rule():
    """Make takes a phony target without a rule for one that is done."""
    text = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "Makefile", *(ROOT / "make").glob("*.mk"))
    )
    declared = {
        name for line in re.findall(r"^\.PHONY: (.*)$", text, re.M) for name in line.split()
    }
    rules = {
        name
        for line in re.findall(r"^([a-z][\w -]*)::?( |$)", text, re.M)
        for name in line[0].split()
    }
    assert {"test", "test-python", "help"} <= declared
    assert {name for name in declared if re.fullmatch(r"[a-z][\w-]*", name)} <= rules
