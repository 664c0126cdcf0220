"""Read tables: CSV and TSV, plain or gzipped, from a file or the standard input."""

import csv
import gzip
import io
import re
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from lstmcore._checks import listed
from lstmcore._files import SEPARATORS, check_source
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array
from lstmcore.cli.report import counted

__all__ = [
    "NumberError",
    "Table",
    "as_number",
    "decode",
    "is_missing",
    "moment_of",
    "read_table",
]

TIMES, ROOM = 100, 1 << 20
"""A gzip file may hold `TIMES` its own bytes, and `ROOM` more.

Tables of numbers and texts shrink to a fifth or a twentieth; those that repeat themselves, such as
one-hot columns, to a hundredth. gzip can do a thousandth, which only zeros and bombs need.
"""

PIECE = 1 << 20  # bytes that are inflated at a time
LONGEST_FIELD = 1 << 30  # Python's default limit, 128 KiB, is too small for long texts
MOST_KNOWN = 4096  # different fields that are looked for: categories, not all numbers
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_MISSING = ("", "na", "n/a", "nan", "null", "none")


class NumberError(ValueError):
    """Raised for a field that should be a finite number but is not.

    Attributes
    ----------
    column : str
    problem : {"missing", "date", "text"}
        What the field holds instead.
    """

    def __init__(self, message: str, column: str, problem: str) -> None:
        super().__init__(message)
        self.column, self.problem = column, problem


@dataclass(frozen=True)
class Table:
    """A table whose fields are text.

    Attributes
    ----------
    source : str
        Name of the table in errors.
    names : list of str
        Names of the columns.
    columns : list of list of str
        Fields of each column, as many as `names`. A list of rows takes four times the memory.
    lines : sequence of int
        The line of the file in which each row ends, counted from 1.
    """

    source: str
    names: list[str]
    columns: list[list[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each column by its name: a table may have many."""
        return {name: place for place, name in enumerate(self.names)}

    def check_names(self, names: Sequence[str], option: str) -> None:
        """Raise ValueError unless all `names` are columns."""
        for name in names:
            if name not in self.places:
                raise ValueError(
                    f"{option}: expected columns of {self.source} ({listed(self.names)}), got "
                    f"{name!r}{did_you_mean(name, self.names)}"
                )

    def texts(self, name: str) -> list[str]:
        """Return a column as text; it is not to be changed."""
        return self.columns[self.places[name]]

    def filled(self, name: str, what: str) -> list[str]:
        """Return a column of `what`, after checking that it has no empty fields."""
        found = [field.strip() for field in self.texts(name)]
        for row, field in enumerate(found):
            if not field:
                raise ValueError(
                    f"{self.place(row, name)}: expected {what}, got an empty field; fill it in, or "
                    "leave the row out of the table"
                )
        return found

    def numbers(self, name: str) -> Array:
        """Return a column of finite numbers.

        Raises
        ------
        NumberError
            If a field is not a finite number; the error says where.
        """
        fields = self.texts(name)
        values = np.empty(len(fields))
        for row, field in enumerate(fields):
            number = as_number(field)
            if number is None or not np.isfinite(number):
                raise self._number_error(row, name, field, fields)
            values[row] = number
        return values

    def is_numeric(self, name: str) -> bool:
        """Return whether most of the first non-empty fields are numbers."""
        found = [field for field in self.texts(name)[:1000] if not is_missing(field)]
        return sum(as_number(field) is not None for field in found) * 2 > len(found)

    def moments(self, name: str) -> Array:
        """Return a column of numbers or ISO 8601 dates as numbers that increase with time."""
        fields = self.filled(name, "a time")
        if all(as_number(field) is not None for field in fields):
            return self.numbers(name)
        times = np.empty(len(fields))
        for row, field in enumerate(fields):
            moment = moment_of(field)
            if moment is None:
                raise ValueError(
                    f"{self.place(row, name)}: expected a number or a date such as "
                    f"2024-01-31T18:30, got {field!r}"
                )
            zone = moment.utcoffset() or timedelta(0)
            times[row] = (moment.replace(tzinfo=None) - zone - datetime(1970, 1, 1)).total_seconds()
        return times

    def dates(self, name: str) -> Array | None:
        """Return `moments` of a column of ISO 8601 dates; None for any other column."""
        fields = self.texts(name)
        if any(as_number(field) is not None or moment_of(field) is None for field in fields):
            return None
        return self.moments(name)

    def place(self, row: int, name: str) -> str:
        """Describe the position of a field, for errors."""
        return f"{self.source}, line {self.lines[row]}, column {name!r}"

    def _number_error(self, row: int, name: str, field: str, fields: list[str]) -> NumberError:
        where = self.place(row, name)
        if is_missing(field):
            count = sum(map(is_missing, fields))
            what = f"got {field.strip()!r}" if field.strip() else "got an empty field"
            return NumberError(
                f"{where}: expected a number, {what} ({count} of {len(fields)} missing)",
                name,
                "missing",
            )
        if _DATE.fullmatch(field.strip()):
            message = f"{where}: expected a number, got the date {field.strip()!r}"
            return NumberError(message, name, "date")
        return NumberError(f"{where}: expected a finite number, got {field[:60]!r}", name, "text")


def moment_of(field: str) -> datetime | None:
    """Return the ISO 8601 date that a field holds; None if it does not hold one."""
    try:
        return datetime.fromisoformat(field.strip().replace("Z", "+00:00"))
    except ValueError:
        return None


def as_number(field: str) -> float | None:
    """Return the number that a field holds; None if it does not hold one."""
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def is_missing(field: str) -> bool:
    """Return whether a field stands for an unknown number."""
    return field.strip().lower() in _MISSING


def decode(content: bytes | bytearray, source: str, first_line: int = 1) -> str:
    """Decode UTF-8, without a byte-order mark."""
    try:
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise ValueError(
            f"{source}, line {line}: expected text in UTF-8, got the byte "
            f"0x{content[error.start]:02x}"
        ) from None


def read_table(path: str) -> Table:
    """Read a table: ``.csv`` or ``.tsv``, or either with ``.gz``; "-" is the standard input.

    The ending determines the separator. Without a known ending, it is whichever of comma, tab and
    semicolon is most frequent in the header.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a valid table; the error says where.
    """
    source = "standard input" if path == "-" else path
    if path != "-":
        check_source(path, "DATA", streams=True)
    content: bytes | bytearray
    content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = _inflate(content, source)
    text = decode(content, source)
    del content
    header = text[: text.find("\n")] if "\n" in text else text
    endings = [ending.lower() for ending in Path(path).suffixes if ending.lower() != ".gz"]
    separator = SEPARATORS.get(endings[-1] if endings else "", "")
    if not separator or (separator == "," and "," not in header):
        separator = max(",\t;", key=header.count)
    return _parse(text, source, separator)


def _inflate(content: bytes | bytearray, source: str) -> bytearray:
    """Return what a gzip file holds.

    Raises
    ------
    ValueError
        If it is damaged, or holds more than `TIMES` its own bytes and `ROOM`.
    """
    most = TIMES * len(content) + ROOM
    found = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            # `read` allocates what it is asked for, which is far more than most files hold.
            while len(found) <= most and (piece := file.read(PIECE)):
                found += piece
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{source}: damaged gzip file: {error}") from None
    if len(found) > most:
        raise ValueError(
            f"{source}: expected a gzip file that holds at most {TIMES} times its own bytes and "
            f"{ROOM:,} more, got one of {len(content):,} bytes that holds over {most:,}; if you "
            "trust it, unpack it first, with gunzip"
        )
    return found


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text with their ends, which are any of three.

    `io.StringIO` does the same with four bytes for every character.
    """
    return (found[0] for found in _LINE.finditer(text))


def _parse(text: str, source: str, separator: str) -> Table:
    limit = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    lines = array("q")
    known: dict[str, str] = {}  # equal fields share their memory
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(names, source)
        columns: list[list[str]] = [[] for _ in names]
        for row in reader:
            if not row:
                if len(names) > 1:
                    continue
                row = [""]  # a blank line in a table of one column is an empty field
            if len(row) != len(names):
                raise ValueError(
                    f"{source}, line {reader.line_num}: expected {counted(len(names), 'field')} "
                    f"like the header, got {len(row)}"
                )
            for column, field in zip(columns, row, strict=True):
                if len(known) < MOST_KNOWN:
                    column.append(known.setdefault(field, field))
                else:
                    column.append(known.get(field, field))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(
            f"{source}, line {reader.line_num}: {error}; a field that contains quotes needs quotes "
            'around it, and its own doubled: "he said ""no"""'
        ) from None
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise ValueError(f"{source}: expected rows below the header, got none")
    return Table(source, names, columns, lines)


def _check_header(names: list[str], source: str) -> None:
    if not any(names):
        raise ValueError(f"{source}: expected a header with the names of columns, got nothing")
    if "" in names:
        raise ValueError(
            f"{source}: expected a name for each column, got none for number {names.index('') + 1}"
        )
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{source}: expected distinct column names, got {twice!r} twice")
