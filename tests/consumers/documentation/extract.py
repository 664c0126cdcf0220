"""Write the C++ programs of a page as files, and print their names as a CMake list.

Usage: extract.py PAGE FOLDER

The names are that of the page and a number: ``cpp_0``, ``cpp_1``, ...
"""

import re
import sys
from pathlib import Path


def main(page: str, folder: str) -> None:
    """Write the programs to `folder`."""
    text = Path(page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```cpp\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names = [f"{Path(page).stem}_{number}" for number in range(len(blocks))]
    for name, block in zip(names, blocks, strict=True):
        (Path(folder) / f"{name}.cpp").write_text(block, encoding="utf-8")
    print(";".join(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
