"""Render conda's recipe as conda-build does, with Jinja and YAML, and print what it says.

Usage: render_conda.py META

It needs jinja2 and PyYAML.
"""

import json
import re
import sys
from pathlib import Path

import jinja2
import yaml


def rendered(path: Path) -> dict[str, object]:
    """Return the recipe."""

    def load_file_regex(load_file: str, regex_pattern: str, from_recipe_dir: bool) -> object:
        assert from_recipe_dir
        return re.search(regex_pattern, (path.parent / load_file).read_text(encoding="utf-8"))

    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
        path.read_text(encoding="utf-8")
    )
    names = {"compiler": "{}_linux-64".format, "stdlib": "{}_stdlib".format}
    return yaml.safe_load(template.render(load_file_regex=load_file_regex, **names))


if __name__ == "__main__":
    print(json.dumps(rendered(Path(sys.argv[1])), indent=2))
