"""Write the programs of a page in C or C++ as files, and print their names as a CMake list.

Usage: extract.py PAGE LANGUAGE FOLDER
"""

import re
import sys
from pathlib import Path


def main(page: str, language: str, folder: str) -> None:
    """Write ``cpp_0.cpp``, ``cpp_1.cpp``, ... to `folder`, or the same with ``c``."""
    text = Path(page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names = [f"{language}_{number}" for number in range(len(blocks))]
    for name, block in zip(names, blocks, strict=True):
        (Path(folder) / f"{name}.{language}").write_text(block, encoding="utf-8")
    print(";".join(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
