"""Print the sizes of small programs, stripped, by options of the build.

Usage: sizes.py [FOLDER]

Everything is built for release in FOLDER, build/sizes by default.
"""

import argparse
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]

# What is built: a name, options of lstmcore and of the program, and options of the linker.
PROGRAMS = {
    "a stream": [],
    "a stream, kernels baseline and avx2": ["-DLSTMCORE_KERNELS=baseline;avx2"],
    "a stream, kernels baseline": ["-DLSTMCORE_KERNELS=baseline"],
    "a stream, kernels baseline, for size": [
        "-DLSTMCORE_KERNELS=baseline",
        "-DCMAKE_BUILD_TYPE=MinSizeRel",
    ],
    "a stream, kernels baseline, without exceptions": [
        "-DLSTMCORE_KERNELS=baseline",
        "-DLSTMCORE_EXCEPTIONS=OFF",
    ],
    "a stream, kernels baseline, link-time optimization": [
        "-DLSTMCORE_KERNELS=baseline",
        "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON",
    ],
    "a stream and the readers of files": ["-DSMALL_READS_FILES=ON"],
    "a stream, no --gc-sections": ["-DSMALL_KEEPS_ALL=ON"],
}


def size_of(name: str, options: list[str], folder: Path) -> tuple[int, int, int]:
    """Return the bytes of the archive, of the program, and of the stripped program."""
    build = folder / name.replace(" ", "_").replace(",", "")
    defaults = ["-DCMAKE_BUILD_TYPE=Release", "-DLSTMCORE_EXCEPTIONS=ON"]
    command = ["cmake", "-S", str(HERE), "-B", str(build), "-G", "Ninja", *defaults, *options]
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, f"-DLSTMCORE_SOURCE={TOP}"], **quiet)
    subprocess.run(["cmake", "--build", str(build)], **quiet)
    program, stripped = build / "small", build / "stripped"
    subprocess.run(["strip", "-o", str(stripped), str(program)], check=True)
    subprocess.run([str(stripped)], **quiet)
    archive = build / "lstmcore" / "liblstmcore.a"
    return archive.stat().st_size, program.stat().st_size, stripped.stat().st_size


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=TOP / "build" / "sizes", type=Path)
    folder = parser.parse_args().folder
    print(f"{'KiB':50} {'archive':>8} {'program':>8} {'stripped':>8}")
    for name, options in PROGRAMS.items():
        sizes = size_of(name, options, folder)
        print(f"{name:50} " + " ".join(f"{size / 1024:8.0f}" for size in sizes), flush=True)


if __name__ == "__main__":
    main()
