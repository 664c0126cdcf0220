"""The command line program: runs a command and reports an error in one line."""

import argparse
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

EXAMPLE = """  lstmcore train reviews.csv --target label --out reviews.safetensors
  lstmcore predict reviews.safetensors < sentences.txt"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 after an error, which is reported on the standard error stream; 130 after
        Ctrl-C. Wrong usage exits with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        # Input is always UTF-8, so output is too; characters that cannot be encoded are escaped.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output closed it. Without this, Python would report an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        print(f"lstmcore: interrupted{f'; {error}' if str(error) else ''}", file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, OverflowError, TypeError, ValueError) as error:
        print(f"lstmcore: error: {' '.join(_told(error).split())}", file=sys.stderr)
        return 1
    return status


def _told(error: Exception) -> str:
    """Describe an error; one of the operating system without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError) and not str(error):  # one of Python, not of NumPy
        return "not enough memory"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    from lstmcore import __version__
    from lstmcore.cli import convert, evaluate, info, predict, train
    from lstmcore.cli.options import Parser

    parser = Parser(
        prog="lstmcore",
        description="Long short-term memory networks on the CPU.",
        epilog=f"example:\n{EXAMPLE}\n\nEach command has its own --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lstmcore {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (train, predict, evaluate, info, convert):
        command.add_parser(commands)
    return parser
