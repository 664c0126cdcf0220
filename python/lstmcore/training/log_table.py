"""The table that `CSVLogger` writes: a header of names, then a line for each epoch."""

import csv
import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from lstmcore._files import check_source, check_target

__all__ = ["LogTable"]


class LogTable:
    """A file of figures by epoch, whose columns are found by their names.

    Parameters
    ----------
    path : Path
    separator : str
    append : bool
        Whether to continue an existing table. A last line that was not written completely is
        dropped, with a warning; one that only lacks its line end is kept.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the existing file is not such a table.
    """

    def __init__(self, path: Path, separator: str, append: bool) -> None:
        self.path, self.separator, self.append = path, separator, append
        self.names: list[str] | None = None
        self._unfinished, self._whole = "", 0  # the last line without an end, the bytes before it
        check_target(path, "filename")
        if append and path.exists():
            check_source(path, "filename")
        self._file = path.open("a+" if append else "w", newline="", encoding="utf-8")
        try:
            if append:
                self.names = self._header()
        except BaseException:
            self._file.close()
            raise

    def check(self, names: Iterable[str]) -> None:
        """Raise ValueError if the table to continue has no column for one of `names`."""
        if not self.append or self.names is None:
            return
        if missing := [name for name in names if name not in self.names]:
            raise ValueError(
                f"append: expected columns for {', '.join(missing)} in {self.path}, got "
                f"{', '.join(['epoch', *self.names])}; write another file, or replace this one by "
                "append=False"
            )

    def write(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Write a line; the first one of a new table names the columns."""
        self.check(figures)
        self._mend()
        writer = csv.writer(self._file, delimiter=self.separator)
        if self.names is None:
            self.names = list(figures)
            writer.writerow(["epoch", *self.names])
        fields = (repr(float(figures[name])) if name in figures else "" for name in self.names)
        writer.writerow([epoch, *fields])
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _header(self) -> list[str] | None:
        """Read the names in the header, None if there is none yet; find out how the file ends."""
        self._file.seek(0)
        text = self._file.read()
        if not text:
            return None
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.separator), [""])
        begin = max(text.rfind("\n"), text.rfind("\r")) + 1  # of the last line
        ours = header[:1] == ["epoch"] and len(set(header)) == len(header)
        if not ours and (begin or not "epoch".startswith(text)):
            raise ValueError(
                f"filename: expected a table of CSVLogger(separator={self.separator!r}) in "
                f"{self.path}, whose header begins with 'epoch', got "
                f"{self.separator.join(header)!r}"
            )
        self._unfinished = text[begin:]
        self._whole = len(text[:begin].encode("utf-8"))
        return header[1:] if begin else None

    def _mend(self) -> None:
        """End a last line that lacks its line end, as editors leave it; drop an incomplete one."""
        line, self._unfinished = self._unfinished, ""
        if not line:
            return
        if self.names is not None:
            fields = next(csv.reader([line], delimiter=self.separator))
            expected = 1 + len(self.names)
            if len(fields) == expected and all(map(_is_figure, fields)):
                self._file.write("\r\n")
                return
            warnings.warn(
                f"append: expected {expected} numbers in the last line of {self.path}, got "
                f"{line!r}; it is incomplete and is dropped",
                UserWarning,
                stacklevel=2,
            )
        self._file.truncate(self._whole)


def _is_figure(field: str) -> bool:
    """Return whether a field is empty or a number."""
    try:
        float(field or "0")
    except ValueError:
        return False
    return True
