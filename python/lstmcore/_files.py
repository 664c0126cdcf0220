"""Write files atomically, and recognize formats by their endings, and what is no file."""

import errno
import os
import platform
import re
import secrets
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from lstmcore import _checks
from lstmcore._signals import signals_deferred

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ONNX",
    "OWN",
    "SEPARATORS",
    "as_path",
    "check_ending",
    "check_source",
    "check_target",
    "reading_hint",
    "remove_unfinished",
    "replace",
]


def as_path(path: Any) -> Path:
    """Return `path` as a path.

    Raises
    ------
    TypeError
        If it is not a path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a str or a path, got {_checks.describe(path)}")
    return Path(path)


# ---- other formats -------------------------------------------------------------------------------


class _Format(NamedTuple):
    owner: str
    write: str  # "" if no function writes it
    read: str


OWN, ONNX = "lstmcore", "ONNX"
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
"""Endings of tables, with their separators."""
_KERAS = _Format("Keras", "lstmcore.convert.to_keras(model, PATH)", "lstmcore.convert.from_keras")
_OLD_KERAS = _KERAS._replace(write="lstmcore.convert.to_keras(model, PATH), PATH ending in .keras")
_TORCH = _Format(
    "PyTorch", "lstmcore.convert.save_torch(model, PATH)", "lstmcore.convert.load_torch"
)
_TABLE = _Format("tables", write="", read="the command line, lstmcore train")
_FORMATS = {
    ".safetensors": _Format(OWN, "model.save(PATH)", "lstmcore.load"),
    ".weights.h5": _KERAS._replace(read="lstmcore.convert.load_keras_weights"),
    ".keras": _KERAS,
    ".h5": _OLD_KERAS,
    ".hdf5": _OLD_KERAS,
    ".onnx": _Format(ONNX, "lstmcore.onnx.export(model, PATH)", "lstmcore.onnx.load"),
    ".pt": _TORCH,
    ".pth": _TORCH,
    **dict.fromkeys((*SEPARATORS, ".gz"), _TABLE),
}
"""Endings that belong to a format; the first that matches counts."""


def check_ending(path: "str | os.PathLike[str]", owner: str, name: str = "path") -> None:
    """Raise ValueError if the ending of `path` is one of a format that is not `owner`'s."""
    ending, found = _format(path)
    if found is not None and found.owner != owner:
        expected = next(key for key, entry in _FORMATS.items() if entry.owner == owner)
        hint = f"; {found.write} writes that" if found.write else ""
        raise ValueError(
            f"{name}: expected an ending of {owner}, such as {expected}, got {ending} "
            f"({os.fspath(path)}), which is one of {found.owner}{hint}"
        )


def reading_hint(path: "str | os.PathLike[str]") -> str:
    """Return advice on reading a file of another format; "" if its ending is not known."""
    ending, found = _format(path)
    if found is None or found.owner == OWN:
        return ""
    return f"; files of {found.owner} ({ending}) are read by {found.read}"


def _format(path: "str | os.PathLike[str]") -> tuple[str, _Format | None]:
    name = os.fspath(path).lower()
    return next(
        ((ending, found) for ending, found in _FORMATS.items() if name.endswith(ending)), ("", None)
    )


# ---- what is no file -----------------------------------------------------------------------------

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a block device"),
)


def _kind_of(mode: int) -> str:
    """Return what something is that has this mode; "" for a file."""
    return next((kind for holds, kind in _KINDS if holds(mode)), "")


def _refuse(path: "str | os.PathLike[str]", message: str, kind: str) -> NoReturn:
    if kind == "a folder":
        raise IsADirectoryError(errno.EISDIR, message, os.fspath(path))
    raise OSError(errno.EINVAL, message, os.fspath(path))


def check_source(
    path: "str | os.PathLike[str]", name: str = "path", *, streams: bool = False
) -> None:
    """Raise OSError unless `path` is a file that can be read.

    Opening a pipe waits for a program that writes to it, perhaps for ever, and most formats are not
    read from the first byte to the last.

    Parameters
    ----------
    path : str or path
    name : str
        Of the argument.
    streams : bool
        Whether pipes will do as well, and whatever the standard input is: for formats that are.
    """
    found = os.stat(path)
    kind = _kind_of(found.st_mode)
    if kind and not (streams and (kind == "a pipe" or _is_standard_input(found))):
        hint = "; copy what it holds into a file" if kind == "a pipe" else ""
        _refuse(path, f"{name}: expected a file, got {kind}{hint}", kind)
    if not kind:
        with open(path, "rb"):  # raises the usual errors if it is not readable
            pass


def _is_standard_input(found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.fstat(0))
    except OSError:  # it is closed
        return False


def check_target(path: "str | os.PathLike[str]", name: str = "path") -> None:
    """Raise OSError if `path`, where a file is to be written, is something that is not replaced.

    Devices such as ``/dev/null`` are written to, as whoever names them expects. A pipe or a socket
    is refused: a file is written next to its place and renamed, which would end it. So is a link of
    ``/proc`` to a deleted file, such as ``/dev/stdout`` may be: it has no place.
    """
    kind = _target_kind(path)
    if kind == "a folder":
        _refuse(path, f"{name}: expected the path of a file, got a folder; name a file in it", kind)
    if kind not in ("", "a device"):
        streams = kind in ("a pipe", "a socket")
        hint = "; write a file, and send its content" if streams else ""
        _refuse(path, f"{name}: expected the path of a file, got {kind}{hint}", kind)

    if os.path.islink(path) and _is_deleted(path):
        message = f"{name}: expected the path of a file, got a link to a deleted one"
        _refuse(path, message, "a link")


def _is_deleted(link: "str | os.PathLike[str]") -> bool:
    """Return whether a link leads to a file that has no name any more.

    Linux then shows its old name with " (deleted)", which no file has, or another one.
    """
    try:
        found = os.stat(link)
    except OSError:  # a link to a file that is to be made; else opening it says what is wrong
        return False
    try:
        named = os.stat(os.path.realpath(link))
    except FileNotFoundError:
        return True
    return found.st_nlink == 0 and not os.path.samestat(found, named)


def _target_kind(path: "str | os.PathLike[str]") -> str:
    try:
        return _kind_of(os.stat(path).st_mode)
    except (OSError, ValueError):  # usually there is nothing; else opening it says what is wrong
        return ""


# ---- writing -------------------------------------------------------------------------------------

# The name of a file that is being written: an id of the machine, and a random number. It does not
# contain the destination's name, which may already have the maximum length.
_UNFINISHED = re.compile(r"\.lstmcore-([0-9a-f]{8})-[0-9a-f]{16}\.unfinished")
_DAY = 24 * 60 * 60


def replace(path: Path, content: bytes) -> None:
    """Write a file next to `path`, flush it to the disk, then rename it to `path`.

    First, unfinished files that killed writers left in the folder are removed. If `path` is a
    symbolic link, all this happens where it leads, and it stays one. A device is written to. Who
    may read and write a file stays as it was.

    Raises
    ------
    OSError
        If it cannot be written; the error names `path`, not the temporary file.
    """
    check_target(path)
    try:
        if _target_kind(path):
            with path.open("wb") as device:
                device.write(content)
        else:
            _replace(_resolved(path), content)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _resolved(path: Path) -> Path:
    """Return where a symbolic link leads, and any other path as it is."""
    if not os.path.islink(path):
        return path
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:  # a link to a file that is to be made
        return Path(os.path.realpath(path))


def _replace(path: Path, content: bytes) -> None:
    remove_unfinished(path.parent)
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    # Nobody else may read what is perhaps not for everybody, until the file has its permissions.
    with _beside(path, 0o666 if before is None else 0o600) as (beside, file):
        file.write(content)
        file.flush()
        if before is not None:
            _copy_access(before, file.fileno())
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows cannot rename an open file
        os.replace(beside, path)
    if os.name == "posix":
        _sync_folder(path.parent)


def _copy_access(before: os.stat_result, handle: int) -> None:
    """Give an open file the owner, the group and the permissions of another one.

    Only root may give files away, and others only to groups that they are in. If the group remains
    another one, it gets no more than everybody.
    """
    if not hasattr(os, "fchown"):  # Windows
        return
    new = os.fstat(handle)
    if new.st_uid != before.st_uid:
        with suppress(OSError):
            os.fchown(handle, before.st_uid, -1)
    mode = stat.S_IMODE(before.st_mode) & 0o777
    if new.st_gid != before.st_gid:
        try:
            os.fchown(handle, -1, before.st_gid)
        except OSError:
            mode = mode & 0o707 | (mode & (mode & 0o007) << 3)
    with suppress(OSError):  # of file systems without permissions
        os.fchmod(handle, mode)


def _sync_folder(folder: Path) -> None:
    """Ask the disk to store the names in `folder`, where that is possible: files are in place.

    A folder that may be written to need not be readable, and not every file system syncs folders.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:  # the disk failed, and the file may be lost
            raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove files in `folder` that a killed writer left, but never those of a running one.

    A writer holds a lock on its file, which the system releases when the writer dies. Not every
    network file system shows locks to other machines, so files from other machines must also be a
    day old.
    """
    now = time.time()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.fullmatch(entry.name)
            if found is None or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(OSError):
                own = found.group(1) == _machine()
                if (own and fcntl is not None) or now - entry.stat().st_mtime > _DAY:
                    _remove_if_unlocked(entry.path)


def _remove_if_unlocked(path: str) -> None:
    if fcntl is None:
        os.unlink(path)
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # another user's: only its age tells that its writer is gone
        if time.time() - os.stat(path).st_mtime > _DAY:
            os.unlink(path)
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a running writer's
            return
        except OSError:  # this file system has no locks: only its age tells that a writer is gone
            if time.time() - os.fstat(handle).st_mtime <= _DAY:
                return
        os.unlink(path)
    finally:
        os.close(handle)


def _machine() -> str:
    """Return eight digits that identify this machine."""
    return f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"


@contextmanager
def _beside(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Open and lock a new file in the folder of `path`; remove it if the block raises."""
    beside, file = None, None
    try:
        # Before it was locked, another process may have removed it as a dead writer's.
        while beside is None or file is None or not beside.exists():
            if file is not None:
                file.close()
            with signals_deferred():  # Ctrl-C would leave a file that nobody knows
                beside, file = _open_beside(path, mode)
        yield beside, file
    except BaseException:
        if beside is not None and file is not None:
            with suppress(OSError):  # of a full disk, on which the rest cannot be written either
                file.close()  # Windows cannot remove an open file
            beside.unlink(missing_ok=True)
        raise
    file.close()


def _open_beside(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    beside = path.with_name(f".lstmcore-{_machine()}-{secrets.token_hex(8)}.unfinished")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(beside, flags, mode)
    if fcntl is not None:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
    return beside, os.fdopen(handle, "wb")
