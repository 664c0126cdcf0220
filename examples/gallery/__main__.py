"""Run the programs of the gallery, and write the table of their figures.

    python examples/gallery                     all programs, in their quick mode, seeds 0 and 1
    python examples/gallery translation --full  one of them, with all its data
    python examples/gallery --write             and store the figures for the documentation

Each program is run in a process of its own, and is left out, by name, if a package or a program
that it needs is not installed. The packages are in the extra `gallery`; speech recognition also
needs the program espeak-ng, which is not on PyPI, and voice activity the packages silero-vad, onnx
and onnxruntime. The programs in `elsewhere` run those of other folders.
"""

import argparse
import ast
import fnmatch
import functools
import importlib.util
import json
import operator
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

HERE = Path(__file__).resolve().parent
PAGES = PICTURES = HERE.parents[1] / "docs" / "gallery"
RESULTS, TABLE = PAGES / "results.json", PAGES / "reached.md"
MISSING = 3  # the exit status of a program that needs something that is not installed

HEAD = """\
# What was reached

The figures of the programs of the [gallery](index.md), from committed runs: "quick" as the programs
run by default, "full" with `--full`, each with the seeds 0, 1, ... from left to right.
`python examples/gallery --write` runs them and writes this page. Figures have three digits; where a
number is best, so is the figure that is nearest to it. "Wished" was written down before the
programs were; "reached" compares the figures with it. A dash stands for a figure that a run lacks.
A program without a row "full" has no committed run with `--full`.
"""

RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
Results: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""By program, mode ("quick" or "full") and seed: figures, and "seconds"."""


class Measure(NamedTuple):
    """What a figure measures, what is best, and what was wished."""

    unit: str
    best: str  # "higher", "lower", a number, or "" if nothing is
    wished: (
        str  # like ">= 0.9", "> LSTM + 0.04" or "< 0.75 * ridge", several with "; "; "": nothing
    )


def programs() -> dict[str, Path]:
    """Return the files of all programs, by name."""
    found = [*HERE.glob("[!_]*.py"), *(HERE / "elsewhere").glob("[!_]*.py")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def run_here(name: str, full: bool, seed: int, pictures: Path, output: Path) -> int:
    """Run a program in this process, and write its figures to a file."""
    lacking = [other for other in declared(name, "NEEDS", ()) if shutil.which(other) is None]
    if lacking:
        print(f"{name}: skipped, since it needs the program {lacking[0]}", file=sys.stderr)
        return MISSING
    spec = importlib.util.spec_from_file_location(name, programs()[name])
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    sys.modules[name] = program
    began = time.perf_counter()
    try:
        spec.loader.exec_module(program)
        figures = program.run(full=full, seed=seed, pictures=pictures)
    except ModuleNotFoundError as error:
        if (error.name or "lstmcore").partition(".")[0] == "lstmcore":
            raise  # a mistake of ours
        print(f"{name}: skipped, since it needs the package {error.name}", file=sys.stderr)
        return MISSING
    found = {key: float(f"{value:.4g}") for key, value in figures.items()}
    output.write_text(json.dumps({**found, "seconds": round(time.perf_counter() - began, 1)}))
    return 0


def run_all(names: list[str], full: bool, seeds: list[int], pictures: Path) -> tuple[Results, bool]:
    """Run programs one after another; return their figures, and whether none failed."""
    results: Results = {}
    passed = True
    pictures.mkdir(parents=True, exist_ok=True)
    mode = "full" if full else "quick"
    for name in names:
        for seed in seeds:
            status, figures = run_in_process(name, full, seed, pictures)
            if status == MISSING:
                break
            if status != 0:
                print(f"{name}: FAILED with seed {seed}")
                passed = False
                continue
            results.setdefault(name, {}).setdefault(mode, {})[str(seed)] = figures
            print(f"{name}, seed {seed}, {figures['seconds']} s")
            for key, value in figures.items():
                if key != "seconds":
                    print(f"  {key:44} {shown(value):>10}", flush=True)
    return results, passed


def run_in_process(name: str, full: bool, seed: int, pictures: Path) -> tuple[int, dict[str, Any]]:
    """Run a program in a process of its own; return its exit status and its figures.

    Its pictures come into the folder only if it succeeds.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, drawn = Path(folder) / "figures.json", Path(folder) / "pictures"
        drawn.mkdir()
        call = [sys.executable, str(HERE), "--inner", name, "--seeds", str(seed)]
        call += ["--pictures", str(drawn), "--output", str(output)]
        status = subprocess.run([*call, *(["--full"] if full else [])], check=False).returncode
        if status != 0:
            return status, {}
        shutil.copytree(drawn, pictures, dirs_exist_ok=True)
        return status, json.loads(output.read_text())


@functools.cache
def statements(path: Path) -> list[ast.stmt]:
    """Return the statements of a program."""
    return ast.parse(path.read_text(encoding="utf-8")).body


def declared(name: str, constant: str, default: Any = None) -> Any:
    """Return a constant of a program, which is read without the packages that the program needs."""
    for node in statements(programs()[name]):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
            return ast.literal_eval(node.value)
    if default is None:
        raise ValueError(f"{name}.py declares no {constant}")
    return default


def page(name: str) -> Path:
    """Return the page that shows a program: its own, the one it declares, or one that names it."""
    own = Path(os.path.normpath(PAGES / declared(name, "PAGE", ("", f"{name}.md"))[1]))
    if own.exists():
        return own
    for other in sorted(PAGES.glob("*.md")):
        if other != TABLE and f"gallery/{name}.py" in other.read_text(encoding="utf-8"):
            return other
    raise FileNotFoundError(f"no page of {PAGES} shows {name}.py")


def title(name: str) -> str:
    """Return the title of a program: what it declares, or that of its page."""
    lines = page(name).read_text(encoding="utf-8").splitlines()
    of_page = next(line for line in lines if line.startswith("# ")).removeprefix("# ").strip()
    return str(declared(name, "PAGE", (of_page, ""))[0])


def measure(name: str, figure: str) -> Measure:
    """Return what a program's figure measures.

    A program declares `MEASURES`: for each pattern of names the unit, and what is best; and, if
    figures to be reached were written down, `WISHED`: a wish for each pattern. The first that fits
    counts.
    """

    def first(patterns: dict[str, Any], otherwise: Any = None) -> Any:
        fitting = (of for name, of in patterns.items() if fnmatch.fnmatchcase(figure, name))
        return next(fitting, otherwise)

    found = first(declared(name, "MEASURES"))
    if found is None:
        raise ValueError(f"{name}.py: no pattern of MEASURES fits the figure {figure!r}")
    unit, best = found
    return Measure(unit, best, first(declared(name, "WISHED", {}), ""))


def fulfilled(wished: str, value: float, figures: dict[str, float]) -> bool:
    """Return whether a figure is as wished; a wish may refer to other figures of the same run."""
    for part in wished.split("; "):
        found = re.fullmatch(r"(>=|<=|>|<) (?:([\d.]+) \* )?(.+?)(?: \+ ([\d.]+))?", part)
        if found is None:
            raise ValueError(f"{part!r} is no wish; expected for example '< 0.75 * ridge'")
        relation, factor, other, more = found.groups()
        try:
            bound = figures[other] if other in figures else float(other)
        except ValueError:
            raise ValueError(f"the wish {part!r} names no figure of the run") from None
        bound = bound * float(factor or 1) + float(more or 0)
        if not RELATIONS[relation](value, bound):
            return False
    return True


def shown(value: float) -> str:
    """Write a figure with three digits, a small one as a power of ten."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.0e}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(results: Results) -> str:
    """Return the page with the figures of all programs, in Markdown."""
    lines = [
        HEAD,
        "| use | mode | figure | unit | best is | wished | figure by seed | reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, modes in sorted(results.items(), key=lambda entry: (title(entry[0]), entry[0])):
        link = Path(os.path.relpath(page(name), PAGES)).as_posix()
        use = f"[{title(name)}]({link}), `{name}`"
        for mode, seeds in modes.items():
            for key in dict.fromkeys(key for figures in seeds.values() for key in figures):
                lines.append(f"| {use} | {mode} | {key} | {cells(name, key, [*seeds.values()])} |")
                use, mode = "", ""
    return "\n".join(lines) + "\n"


def cells(name: str, key: str, runs: list[dict[str, float]]) -> str:
    """Return what the table says of a figure: unit, what is best, wished, values and reached."""
    unit, best, wished = measure(name, key)
    values = ", ".join(shown(figures[key]) if key in figures else "–" for figures in runs)
    reached = ""
    if wished:
        met = [fulfilled(wished, figures[key], figures) for figures in runs if key in figures]
        reached = "yes" if all(met) else f"{sum(met)} of {len(met)}" if any(met) else "**no**"
        for sign, symbol in ((">=", "≥"), ("<=", "≤"), ("*", "×"), (">", "\\>"), ("<", "\\<")):
            wished = wished.replace(f"{sign} ", f"{symbol} ")
    return " | ".join([unit, best, wished, values, reached])


def write(results: Results, drawn: Path) -> None:
    """Put figures beside the stored ones of other modes and seeds; write table and pictures.

    Everything that can fail comes before the first file is written.
    """
    stored: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, modes in results.items():
        known = stored.setdefault(name, {})
        for mode, seeds in modes.items():
            for figures in seeds.values():
                figures.pop("seconds", None)  # which depend on the machine
            known[mode] = dict(sorted({**known.get(mode, {}), **seeds}.items()))
        stored[name] = dict(sorted(known.items(), reverse=True))
    text = table(stored)
    RESULTS.write_text(json.dumps(stored, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    TABLE.write_text(text, encoding="utf-8")
    for picture in drawn.glob("*.svg"):
        shutil.copyfile(picture, PICTURES / picture.name)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="gallery", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(programs()))
    parser.add_argument("--full", action="store_true", help="with all data, which takes minutes")
    parser.add_argument("--seeds", default="0,1", metavar="S,...")
    parser.add_argument("--pictures", type=Path, default=Path("build/gallery"), metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help="store figures, pictures and table")
    parser.add_argument("--inner", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.inner is not None:
        return run_here(options.inner, options.full, seeds[0], options.pictures, options.output)
    unknown = sorted(set(options.names) - set(programs()))
    if unknown:
        parser.error(f"no program {', '.join(unknown)}; there are {', '.join(programs())}")
    names = options.names or [*programs()]
    if not options.write:
        return 0 if run_all(names, options.full, seeds, options.pictures)[1] else 1
    with tempfile.TemporaryDirectory() as folder:
        results, passed = run_all(names, options.full, seeds, Path(folder))
        write(results, Path(folder))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
