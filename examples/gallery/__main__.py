"""Run the programs of the gallery, and write the table of their figures.

    python examples/gallery                     all programs, in their quick mode, seeds 0 and 1
    python examples/gallery translation --full  one of them, with all its data
    python examples/gallery --write             and store the figures for the documentation

Each program is run in a process of its own, and is left out, by name, if a package that it needs is
not installed; all of them are in the extra `gallery`.
"""

import argparse
import ast
import fnmatch
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).resolve().parent
PAGES = HERE.parents[1] / "docs" / "gallery"
RESULTS, TABLE = PAGES / "results.json", PAGES / "reached.md"
MISSING = 3  # the exit status of a program that needs a package

HEAD = """\
# What was reached

The figures of the programs of the [gallery](index.md), from committed runs: "quick" as the programs
run by default, "full" with `--full`, each with the seeds 0, 1, ... from left to right.
`python examples/gallery --write` runs them and writes this page. Figures have three digits; where a
number is best, so is the figure that is nearest to it.
"""

Results: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""By program, mode ("quick" or "full") and seed: figures, and "seconds"."""


def programs() -> list[str]:
    """Return the names of all programs."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def run_here(name: str, full: bool, seed: int, pictures: Path, output: Path) -> int:
    """Run a program in this process, and write its figures to a file."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    sys.modules[name] = program
    began = time.perf_counter()
    try:
        spec.loader.exec_module(program)
    except ModuleNotFoundError as error:
        print(f"{name}: skipped, since it needs the package {error.name}", file=sys.stderr)
        return MISSING
    figures = program.run(full=full, seed=seed, pictures=pictures)
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
    """Run a program in a process of its own; return its exit status and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "figures.json"
        call = [sys.executable, str(HERE), "--inner", name, "--seeds", str(seed)]
        call += ["--pictures", str(pictures), "--output", str(output)]
        status = subprocess.run([*call, *(["--full"] if full else [])], check=False).returncode
        return status, json.loads(output.read_text()) if status == 0 else {}


def page(name: str) -> Path:
    """Return the page that shows a program: its own, or the one that names it."""
    own = PAGES / f"{name}.md"
    if own.exists():
        return own
    for other in sorted(PAGES.glob("*.md")):
        if other != TABLE and f"gallery/{name}.py" in other.read_text(encoding="utf-8"):
            return other
    raise FileNotFoundError(f"no page of {PAGES} shows {name}.py")


def title(path: Path) -> str:
    """Return the title of a page."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("# ")).removeprefix("# ").strip()


def measures(name: str) -> dict[str, tuple[str, str]]:
    """Return what a program's figures measure, by patterns of their names.

    A program declares `MEASURES`: for each pattern the unit, and what is best: "higher", "lower", a
    number, or "" if nothing is. It is read without the packages that the program needs.
    """
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MEASURES":
            found: dict[str, tuple[str, str]] = ast.literal_eval(node.value)
            return found
    raise ValueError(f"{name}.py declares no MEASURES")


def measure(name: str, figure: str) -> tuple[str, str]:
    """Return the unit of a program's figure, and what is best."""
    for pattern, found in measures(name).items():
        if fnmatch.fnmatchcase(figure, pattern):
            return found
    raise ValueError(f"{name}.py: no pattern of MEASURES fits the figure {figure!r}")


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
        "| use | mode | figure | unit | best is | reached, by seed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, modes in sorted(results.items(), key=lambda entry: (title(page(entry[0])), entry[0])):
        use = f"[{title(page(name))}]({page(name).name}), `{name}`"
        for mode, seeds in modes.items():
            for key in next(iter(seeds.values())):
                values = ", ".join(shown(figures[key]) for figures in seeds.values())
                unit, best = measure(name, key)
                lines.append(f"| {use} | {mode} | {key} | {unit} | {best} | {values} |")
                use, mode = "", ""
    return "\n".join(lines) + "\n"


def write(results: Results) -> None:
    """Put figures beside the stored ones of other modes and seeds, and write the table anew."""
    stored: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, modes in results.items():
        known = stored.setdefault(name, {})
        for mode, seeds in modes.items():
            for figures in seeds.values():
                figures.pop("seconds")  # which depend on the machine
            known[mode] = dict(sorted({**known.get(mode, {}), **seeds}.items()))
        stored[name] = dict(sorted(known.items(), reverse=True))
    RESULTS.write_text(json.dumps(stored, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    TABLE.write_text(table(stored), encoding="utf-8")


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
    pictures = PAGES if options.write else options.pictures
    results, passed = run_all(options.names or programs(), options.full, seeds, pictures)
    if options.write:
        write(results)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
