"""Files are written atomically, without leftovers, and with suitable endings."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _files, callbacks
from lstmcore.models.encoder_decoder import EncoderDecoder

# A writer that reports when its file exists, and then never ends.
WRITER = """
import sys, time
from pathlib import Path
from lstmcore import _files

def stop(handle):
    print("writing", flush=True)
    time.sleep(60)

_files.os.fsync = stop
_files.replace(Path(sys.argv[1]), b"half")
"""


def small_model():
    model = lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(2)])
    model.compile("sgd", "mse")
    return model


def unfinished(folder):
    return [path for path in folder.iterdir() if _files._UNFINISHED.fullmatch(path.name)]


@pytest.fixture
def writer(tmp_path):
    """Start a process that is in the middle of writing ``model.safetensors``."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "model.safetensors")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


@pytest.mark.skipif(_files.fcntl is None, reason="without locks, leftovers are removed after a day")
def test_the_leftovers_of_a_killed_writer_are_removed_by_the_next_save(writer, tmp_path):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(unfinished(tmp_path)) == 1
    small_model().save(tmp_path / "another.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["another.safetensors"]


@pytest.mark.skipif(_files.fcntl is None, reason="without locks, leftovers are removed after a day")
def test_the_file_of_a_running_writer_is_left_alone(writer, tmp_path):
    (before,) = unfinished(tmp_path)
    os.utime(before, (0, 0))  # no matter how old it is
    small_model().save(tmp_path / "model.safetensors")
    assert unfinished(tmp_path) == [before]
    assert before.read_bytes() == b"half"


def test_leftovers_of_another_machine_are_removed_after_a_day(tmp_path):
    names = [f".lstmcore-{digits * 8}-{'0' * 16}.unfinished" for digits in "ab"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    yesterday = time.time() - 25 * 60 * 60
    os.utime(tmp_path / names[0], (yesterday, yesterday))
    small_model().save(tmp_path / "model.safetensors")
    assert [path.name for path in unfinished(tmp_path)] == [names[1]]


@pytest.mark.skipif(_files.fcntl is None, reason="about locks")
def test_without_locks_leftovers_are_removed_after_a_day(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    names = [f".lstmcore-{_files._machine()}-{digit * 16}.unfinished" for digit in "01"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    yesterday = time.time() - 25 * 60 * 60
    os.utime(tmp_path / names[0], (yesterday, yesterday))
    monkeypatch.setattr(_files.fcntl, "flock", refuse)
    small_model().save(tmp_path / "model.safetensors")
    assert [path.name for path in unfinished(tmp_path)] == [names[1]]


@pytest.mark.skipif(_files.fcntl is None, reason="about locks")
def test_leftovers_that_cannot_be_opened_are_removed_after_a_day(tmp_path, monkeypatch):
    """Those of another user, in a folder that both write to."""
    names = [f".lstmcore-{_files._machine()}-{digit * 16}.unfinished" for digit in "01"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    yesterday = time.time() - 25 * 60 * 60
    os.utime(tmp_path / names[0], (yesterday, yesterday))
    opened = os.open

    def refuse(path, flags, *rest):
        if os.path.basename(path) in names:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *rest)

    monkeypatch.setattr(_files.os, "open", refuse)
    _files.replace(tmp_path / "model.safetensors", b"new")
    assert [path.name for path in unfinished(tmp_path)] == [names[1]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_what_is_no_file_is_left_alone(tmp_path):
    """Opening a pipe with such a name would wait for ever."""
    name = f".lstmcore-{_files._machine()}-{'0' * 16}.unfinished"
    os.mkfifo(tmp_path / name)
    small_model().save(tmp_path / "model.safetensors")
    assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_ctrl_c_during_a_save_leaves_nothing(tmp_path, monkeypatch):
    """At each call of the system that a save makes."""
    model = small_model()
    path = tmp_path / "model.safetensors"
    model.save(path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name in ("open", "fdopen", "fsync", "replace"):
            own = getattr(os, name)

            def call(*arguments, own=own):
                result = own(*arguments)
                signal.raise_signal(signal.SIGINT)
                return result

            with monkeypatch.context() as patch:
                patch.setattr(_files.os, name, call)
                with pytest.raises(KeyboardInterrupt):
                    model.save(path)
            assert unfinished(tmp_path) == []
            lc.load(path)
    finally:
        signal.signal(signal.SIGINT, before)


def test_files_that_only_look_alike_are_left_alone(tmp_path):
    names = [".lstmcore-notes.unfinished", "x.lstmcore-00000000-0000000000000000.unfinished"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    small_model().save(tmp_path / "model.safetensors")
    assert all((tmp_path / name).exists() for name in names)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", fail)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        _files.replace(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"old"


NO_ROOM = """
import resource, sys
from pathlib import Path
from lstmcore import _files

path = Path(sys.argv[1])
_files.replace(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for size in (1001, 100_000):  # one that waits in a buffer, and one that does not
    try:
        _files.replace(path, bytes(size))
    except OSError as error:
        alone = list(path.parent.iterdir()) == [path]
        print(error.filename == str(path), path.read_bytes(), alone)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", NO_ROOM, str(tmp_path / "model.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout == "True b'old' True\n" * 2, result.stderr


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch, name):
    """Users do not know the name of the temporary file."""

    def fail(*arguments):
        raise OSError(errno.EACCES, "Permission denied", *map(str, arguments))

    monkeypatch.setattr(_files.os, name, fail)
    path = tmp_path / "model.safetensors"
    with pytest.raises(PermissionError) as error:
        small_model().save(path)
    assert str(error.value) == f"[Errno {errno.EACCES}] Permission denied: {str(path)!r}"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o400, 0o000])
def test_permissions_stay(tmp_path, monkeypatch, mode):
    """Also while the file is being written, when only the owner may read it."""
    path, seen = tmp_path / "model.safetensors", []
    sync = os.fsync

    def look(handle):
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        sync(handle)

    opened = _files._open_beside

    def open_beside(path, mode):
        beside, file = opened(path, mode)
        seen.append(stat.S_IMODE(beside.stat().st_mode))
        return beside, file

    path.write_bytes(b"old")
    path.chmod(mode)
    monkeypatch.setattr(_files.os, "fsync", look)
    monkeypatch.setattr(_files, "_open_beside", open_beside)
    _files.replace(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert seen[:2] == [0o600, mode]


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
def test_new_files_have_the_usual_permissions(tmp_path):
    path = tmp_path / "model.safetensors"
    before = os.umask(0o027)
    try:
        _files.replace(path, b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_owner_and_group_stay(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    _files.replace(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
@pytest.mark.parametrize(
    ("mode", "expected"), [(0o640, 0o600), (0o664, 0o644), (0o604, 0o604), (0o666, 0o666)]
)
def test_another_group_gets_no_more_than_everybody(tmp_path, monkeypatch, mode, expected):
    path = tmp_path / "file"
    with path.open("wb") as file:
        own = os.fstat(file.fileno())
        before = os.stat_result(
            (stat.S_IFREG | mode, 0, 0, 1, own.st_uid, own.st_gid + 1, *[0] * 4)
        )

        def refuse(*arguments):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(_files.os, "fchown", refuse)
        _files._copy_access(before, file.fileno())
    assert stat.S_IMODE(path.stat().st_mode) == expected


def test_a_folder_is_refused(tmp_path):
    path = tmp_path / "runs"
    path.mkdir()
    pairs = EncoderDecoder(4, 4, units=2, embedding_size=2)
    message = r"path: expected the path of a file, got a folder; name a file in it: '.*runs'$"
    for model in (small_model(), pairs, lc.quantize(small_model())):
        with pytest.raises(IsADirectoryError, match=message):
            model.save(path)
        with pytest.raises(IsADirectoryError, match=message):
            model.save(str(path) + os.sep)
    with pytest.raises(IsADirectoryError, match="filepath: expected the path of a file"):
        callbacks.ModelCheckpoint(path)  # fails now, not after an epoch
    assert list(tmp_path.iterdir()) == [path]
    assert not list(path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "missing" / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors'$"):
        small_model().save(path)


@pytest.mark.skipif(os.name != "posix", reason="only there folders are synced")
@pytest.mark.parametrize(
    ("call", "code", "raises"),
    [("open", errno.EACCES, False), ("fsync", errno.EINVAL, False), ("fsync", errno.EIO, True)],
)
def test_folders_that_cannot_be_synced(tmp_path, monkeypatch, call, code, raises):
    # A folder may be writable and not readable, and some file systems sync files alone.
    real = getattr(os, call)

    def fails(target, *rest):
        number = isinstance(target, int)
        folder = os.path.isdir(f"/proc/self/fd/{target}") if number else os.path.isdir(target)
        if folder:
            raise OSError(code, os.strerror(code))
        return real(target, *rest)

    if call == "fsync" and not os.path.isdir("/proc/self/fd"):
        pytest.skip("finds out from Linux which file is a folder")
    monkeypatch.setattr(os, call, fails)
    if raises:
        with pytest.raises(OSError, match=os.strerror(code)):
            _files.replace(tmp_path / "a", b"new")
    else:
        _files.replace(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_another_process_removed_is_made_again(tmp_path, monkeypatch):
    # Another process takes the first file for a leftover, since it is not locked yet.
    opened = _files._open_beside
    seen = []

    def unlucky(path, mode):
        beside, file = opened(path, mode)
        seen.append(beside)
        if len(seen) == 1:
            beside.unlink()
        return beside, file

    monkeypatch.setattr(_files, "_open_beside", unlucky)
    _files.replace(tmp_path / "a", b"new")
    assert len(seen) == 2
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a", b"new")]


def test_threads_may_write_the_same_file_at_once(tmp_path):
    errors = []

    def write(number):
        try:
            for _ in range(20):
                _files.replace(tmp_path / "same", bytes([number]) * 1000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    content = (tmp_path / "same").read_bytes()
    assert len(content) == 1000
    assert len(set(content)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["same"]


def test_the_longest_possible_name_can_be_written(tmp_path):
    path = tmp_path / ("m" * 243 + ".safetensors")
    small_model().save(path)
    assert lc.load(path).count_params() == small_model().count_params()


ENDINGS = [
    ("m.keras", "Keras", r"lstmcore\.convert\.to_keras\(model, PATH\)"),
    ("m.h5", "Keras", r"to_keras\(model, PATH\), PATH ending in \.keras"),
    ("m.weights.h5", "Keras", r"lstmcore\.convert\.to_keras\(model, PATH\)"),
    ("M.HDF5", "Keras", "to_keras"),
    ("m.onnx", "ONNX", r"lstmcore\.onnx\.export\(model, PATH\)"),
    ("m.pt", "PyTorch", r"lstmcore\.convert\.save_torch\(model, PATH\)"),
    ("m.pth", "PyTorch", "save_torch"),
]


@pytest.mark.parametrize(("name", "owner", "hint"), ENDINGS)
def test_endings_of_other_formats_are_refused(tmp_path, name, owner, hint):
    path = tmp_path / name
    pairs = EncoderDecoder(4, 4, units=2, embedding_size=2)
    for model in (small_model(), pairs, lc.quantize(small_model())):
        with pytest.raises(ValueError, match=rf"path: expected an ending.*{owner}; .*{hint}"):
            model.save(path)
    with pytest.raises(ValueError, match=rf"filepath: expected an ending.*{hint}"):
        callbacks.ModelCheckpoint(path)
    with pytest.raises(ValueError, match=r"filepath: expected an ending"):
        callbacks.ModelCheckpoint(tmp_path / ("{epoch}" + name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "T.TAB", "t.csv.gz", "t.gz"])
def test_a_model_does_not_replace_a_table(tmp_path, name):
    path = tmp_path / name
    path.write_text("x,y\n1,2\n")
    expected = r"expected an ending of lstmcore, .*which is one of tables$"
    with pytest.raises(ValueError, match=f"path: {expected}"):
        small_model().save(path)
    with pytest.raises(ValueError, match=f"filepath: {expected}"):
        callbacks.ModelCheckpoint(path)
    assert path.read_text() == "x,y\n1,2\n"
    with pytest.raises(ValueError, match=r"files of tables .* are read by the command line"):
        lc.load(path)


@pytest.mark.parametrize("name", ["m.safetensors", "m", "m.model", "keras", "m.h5.bak"])
def test_other_endings_are_allowed(tmp_path, name):
    small_model().save(tmp_path / name)
    callbacks.ModelCheckpoint(tmp_path / name)
    x = np.zeros((1, 1, 2), np.float32)
    assert np.array_equal(lc.load(tmp_path / name).predict(x), small_model().predict(x))


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("m.keras", r"from_keras"),
        ("m.weights.h5", r"load_keras_weights"),
        ("m.onnx", r"onnx\.load"),
        ("m.pt", r"load_torch"),
    ],
)
def test_reading_another_format_says_what_reads_it(tmp_path, name, reader):
    path = tmp_path / name
    path.write_bytes(b"PK of something else")
    with pytest.raises(ValueError, match=rf"not a safetensors file.*read by .*{reader}"):
        lc.load(path)


@pytest.mark.parametrize("name", ["m.keras", "m.safetensors", "m.pt"])
def test_onnx_is_not_written_under_the_ending_of_another_format(tmp_path, name):
    pytest.importorskip("onnx")
    from lstmcore.onnx import export

    with pytest.raises(ValueError, match=r"path: expected an ending of ONNX, such as \.onnx"):
        export(small_model(), tmp_path / name)
    assert not list(tmp_path.iterdir())
