"""Write the programs of a page in C or C++ as files, and print their names as a CMake list.

Usage: extract.py PAGE LANGUAGE FOLDER

The names are that of the page and a number: ``cpp_0``, ``cpp_1``, ...
"""

import re
import sys
from pathlib import Path


def main(page: str, language: str, folder: str) -> None:
    """Write the programs in `language`, the suffix of their files, to `folder`."""
    text = Path(page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names = [f"{Path(page).stem}_{number}" for number in range(len(blocks))]
    for name, block in zip(names, blocks, strict=True):
        (Path(folder) / f"{name}.{language}").write_text(block, encoding="utf-8")
    print(";".join(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
