"""The command ``lstmcore``: classify sentences with a saved model, describe the installation."""

import argparse
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["main"]

BATCH = 256  # sentences classified at once when they come from a file or a pipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error that was reported on the standard error stream. Wrong
        usage exits with 2.
    """
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"lstmcore: error: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    from lstmcore import __version__

    parser = argparse.ArgumentParser(
        prog="lstmcore", description="Long short-term memory networks on the CPU."
    )
    parser.add_argument("--version", action="version", version=f"lstmcore {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="classify sentences",
        description="Classify sentences with a model that begins with TextVectorization. Prints "
        "class, probability and sentence, separated by tabs. The class is a number, or a name if "
        "the model has class_names.",
    )
    predict.add_argument("model", metavar="MODEL", help="file written by model.save")
    predict.add_argument(
        "sentences",
        metavar="SENTENCE",
        nargs="*",
        help="what to classify; without one, the lines of the standard input",
    )
    predict.set_defaults(run=_predict)

    info = commands.add_parser("info", help="describe the installation and the processor in use")
    info.set_defaults(run=_info)
    return parser


def _predict(options: argparse.Namespace) -> int:
    import lstmcore as lc

    model = lc.load(options.model)
    if not (model.layers and isinstance(model.layers[0], lc.layers.TextVectorization)):
        raise ValueError(
            f"MODEL: expected a model whose first layer is TextVectorization, so that it takes "
            f"sentences, got {options.model}, which takes numbers"
        )
    names = model.class_names
    lines = options.sentences or (line.rstrip("\r\n") for line in sys.stdin)
    at_once = BATCH if options.sentences or not sys.stdin.isatty() else 1
    for sentences in _batches(lines, at_once):
        for text, (label, probability) in zip(
            sentences, _classes(model.predict(sentences, verbose=0)), strict=True
        ):
            print(f"{names[label] if names else label}\t{probability:.4f}\t{text}")
        sys.stdout.flush()
    return 0


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of up to `size` lines, without blank ones."""
    remaining = (line for line in lines if line.strip())
    while batch := list(islice(remaining, size)):
        yield batch


def _classes(probabilities: npt.NDArray[Any]) -> list[tuple[int, float]]:
    """The likeliest class of each row and its probability; one column is that of class 1."""
    if probabilities.ndim != 2:
        raise ValueError(
            f"MODEL: expected one row of class probabilities per sentence, "
            f"got output of shape {probabilities.shape}"
        )
    if probabilities.shape[1] == 1:
        probabilities = np.hstack([1 - probabilities, probabilities])
    best = probabilities.argmax(axis=1)
    return [(int(label), float(row[label])) for label, row in zip(best, probabilities, strict=True)]


def _info(_: argparse.Namespace) -> int:
    from lstmcore import cpu_info

    cpu = cpu_info()
    rows = {
        "lstmcore": cpu.version,
        "instruction set": f"{cpu.isa} (supported: {', '.join(cpu.supported_isas)})",
        "threads": str(cpu.num_threads),
        "OpenMP": "yes" if cpu.openmp else "no",
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name, value in rows.items():
        print(f"{name:<16} {value}")
    return 0
