"""Pipes, sockets, devices and symbolic links where files are read and written."""

import contextlib
import errno
import io
import os
import re
import socket
import stat
import sys
import threading

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _files, callbacks, cli, convert

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes with names"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

X = np.ones((4, 3, 2), np.float32)


def small_model():
    model = lc.Sequential([lc.layers.Input((None, 2)), lc.layers.LSTM(2), lc.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def export(model, path):
    pytest.importorskip("onnx")
    from lstmcore.onnx import export

    export(model, path)


def save_torch(model, path):
    pytest.importorskip("torch")
    convert.save_torch(model, path)


def save_keras(model, path):
    pytest.importorskip("keras")
    convert.to_keras(model, path)


def checkpoint(model, path):
    model.fit(X, np.ones(4), verbose=0, callbacks=[callbacks.ModelCheckpoint(path)])


def checkpoint_of_weights(model, path):
    callback = callbacks.ModelCheckpoint(path, save_weights_only=True)
    model.fit(X, np.ones(4), verbose=0, callbacks=[callback])


def run_command(*arguments):
    """Raise what the command line reports as an error."""
    reported = io.StringIO()
    with contextlib.redirect_stderr(reported):
        status = cli.main(list(map(str, arguments)))
    if status:
        raise OSError(reported.getvalue())


def convert_command(model, path):
    source = path.with_name("source.safetensors")
    model.save(source)
    run_command("convert", source, path)


WRITERS = [
    pytest.param(lambda model, path: model.save(path), "m.safetensors", id="save"),
    pytest.param(lambda model, path: lc.quantize(model).save(path), "m.safetensors", id="int8"),
    pytest.param(checkpoint, "m.safetensors", id="checkpoint"),
    pytest.param(checkpoint_of_weights, "m.safetensors", id="weights"),
    pytest.param(convert_command, "m.safetensors", id="command"),
    pytest.param(export, "m.onnx", id="onnx"),
    pytest.param(save_torch, "m.pt", id="torch"),
    pytest.param(save_keras, "m.keras", id="keras"),
    pytest.param(save_keras, "m.weights.h5", id="keras-weights"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_pipe_is_not_replaced(tmp_path, write, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(OSError, match="expected the path of a file, got a pipe"):
        write(small_model(), path)
    assert stat.S_ISFIFO(os.lstat(path).st_mode)
    assert not [entry for entry in tmp_path.iterdir() if entry.suffix == ".unfinished"]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_link_stays_one(tmp_path, write, name, exists):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link = folder / name, tmp_path / name
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    write(small_model(), link)
    assert link.is_symlink()
    assert [entry.name for entry in folder.iterdir()] == [name]
    assert target.stat().st_size > 3


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_permissions_stay(tmp_path, write, name):
    path, model = tmp_path / name, small_model()
    write(model, path)
    for mode in (0o600, 0o660):
        path.chmod(mode)
        write(model, path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_links_that_lead_nowhere_are_named(tmp_path):
    model = small_model()
    link = tmp_path / "m.safetensors"
    link.symlink_to(tmp_path / "missing" / "m.safetensors")
    with pytest.raises(FileNotFoundError, match=re.escape(str(link))):
        model.save(link)
    link.unlink()
    link.symlink_to(link)  # round and round
    with pytest.raises(OSError, match=re.escape(str(link))):
        model.save(link)
    assert link.is_symlink()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="has no links to open files")
@pytest.mark.parametrize("other", [False, True])
def test_a_deleted_file_has_no_place(tmp_path, other):
    """Its link reads "m.safetensors (deleted)", which may be the name of another file."""
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        path.unlink()
        if other:
            path.with_name(f"{path.name} (deleted)").write_bytes(b"old")
        link = f"/proc/self/fd/{file.fileno()}"
        with pytest.raises(OSError, match="path: expected the path of a file, got a link to a del"):
            small_model().save(link)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"] * other


def test_a_socket_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its path may only be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("m.safetensors")
        with pytest.raises(OSError, match="of a file, got a socket; write a file, and send its"):
            small_model().save("m.safetensors")
        with pytest.raises(OSError, match="expected a file, got a socket"):
            lc.load("m.safetensors")
    assert stat.S_ISSOCK(os.lstat("m.safetensors").st_mode)


@pytest.fixture
def device(tmp_path):
    """Make devices of one's own: those of the machine are not to be tried."""
    if sys.platform != "linux":
        pytest.skip("the numbers of devices are those of Linux")

    def make(minor):
        path = tmp_path / f"device{minor}.safetensors"
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
            path.open("wb").close()
        except (OSError, AttributeError) as error:
            pytest.skip(f"cannot make a device: {error}")
        return path

    return make


NULL, ZERO, FULL = 3, 5, 7  # minor numbers


def test_a_device_is_written_to(device):
    path = device(NULL)
    small_model().save(path)
    callbacks.ModelCheckpoint(path)
    assert stat.S_ISCHR(os.lstat(path).st_mode)


def test_errors_of_a_device_name_it(device):
    path = device(FULL)
    with pytest.raises(OSError, match=re.escape(str(path))) as caught:
        small_model().save(path)
    assert caught.value.errno == errno.ENOSPC
    assert stat.S_ISCHR(os.lstat(path).st_mode)


def test_a_device_is_not_read(device, capsys):
    path = device(ZERO)
    for read in (lc.load, convert.load_capture):
        with pytest.raises(OSError, match="expected a file, got a device"):
            read(path)
    assert cli.main(["train", str(path), "--target", "y", "--out", "unused"]) == 1
    assert "expected a file, got a device" in capsys.readouterr().err


# ---- reading -------------------------------------------------------------------------------------


def load_onnx(path):
    pytest.importorskip("onnx")
    lc.onnx.load(path)


def from_keras(path):
    pytest.importorskip("h5py")
    convert.from_keras(path)


def load_keras_weights(path):
    pytest.importorskip("h5py")
    convert.load_keras_weights(small_model(), path)


def load_torch(path):
    pytest.importorskip("torch")
    convert.load_torch(small_model(), path, {"lstm": "lstm"})


def command(*arguments):
    """Return a function of a path, which stands in the place of None."""
    return lambda path: run_command(*(path if each is None else each for each in arguments))


READERS = [
    pytest.param(lc.load, "m.safetensors", id="load"),
    pytest.param(lc.load, "m", id="load-any"),
    pytest.param(lambda path: small_model().load_weights(path), "m.safetensors", id="weights"),
    pytest.param(convert.load_capture, "m.json", id="capture"),
    pytest.param(load_onnx, "m.onnx", id="onnx"),
    pytest.param(from_keras, "m.keras", id="keras"),
    pytest.param(from_keras, "m.h5", id="h5"),
    pytest.param(load_keras_weights, "m.weights.h5", id="keras-weights"),
    pytest.param(load_torch, "m.pt", id="torch"),
    pytest.param(load_torch, "m.safetensors", id="torch-safetensors"),
    pytest.param(command("info", None), "m.safetensors", id="info"),
    pytest.param(command("predict", None, "a"), "m.safetensors", id="predict"),
    pytest.param(command("convert", None, "x.onnx"), "m.safetensors", id="convert"),
    pytest.param(command("convert", None, "x.safetensors"), "m.keras", id="convert-keras"),
]


@pytest.mark.parametrize(("read", "name"), READERS)
def test_reading_a_pipe_does_not_wait(tmp_path, read, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(OSError, match="expected a file, got a pipe"):
        read(path)


@pytest.mark.parametrize(("read", "name"), READERS)
def test_reading_a_folder_says_so(tmp_path, read, name):
    path = tmp_path / name
    path.mkdir()
    with pytest.raises(OSError, match="expected a file, got a"):
        read(path)


def test_external_data_of_onnx_is_in_files(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "m.onnx"
    export(small_model(), path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").unlink()
    os.mkfifo(tmp_path / "data")
    with pytest.raises(OSError, match="expected a file, got a pipe"):
        lc.onnx.load(path)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_tables_may_come_through_a_pipe(tmp_path, kind):
    """As `lstmcore train <(zcat parts*.gz)` has it."""
    from lstmcore.cli.tables import read_table

    path, content = tmp_path / "t.csv", b"x,y\n1,2\n"
    if kind == "pipe":
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
        writer.start()
    else:
        (tmp_path / "file").write_bytes(content)
        path.symlink_to(tmp_path / "file")
    table = read_table(str(path))
    if kind == "pipe":
        writer.join(timeout=30)
        assert not writer.is_alive()
    assert table.names == ["x", "y"]
    assert table.texts("y") == ["2"]


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_a_log_does_not_wait_for_a_reader(tmp_path, append, link):
    """Neither when it is made nor, if the pipe came later, when training begins."""
    path, pipe = tmp_path / "log.csv", tmp_path / "pipe"
    early = callbacks.CSVLogger(path, append=append)
    os.mkfifo(pipe)
    if link:
        path.symlink_to(pipe)
    else:
        pipe.rename(path)
    match = "filename: expected the path of a file, got a pipe"
    with pytest.raises(OSError, match=match):
        callbacks.CSVLogger(path, append=append)
    with pytest.raises(OSError, match=match):
        small_model().fit(X, np.ones(4), verbose=0, callbacks=[early])


def test_a_log_is_appended_to_files_only(device):
    logger = callbacks.CSVLogger(device(NULL), append=True)
    with pytest.raises(OSError, match="filename: expected a file, got a device"):
        small_model().fit(X, np.ones(4), verbose=0, callbacks=[logger])


def test_a_log_goes_to_a_device(device):
    logger = callbacks.CSVLogger(device(NULL))
    small_model().fit(X, np.ones(4), verbose=0, callbacks=[logger])


def test_a_picture_does_not_wait_for_a_reader(tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    from lstmcore import plots

    path = tmp_path / "curve.svg"
    os.mkfifo(path)
    with pytest.raises(OSError, match="path: expected the path of a file, got a pipe"):
        plots.save(figure.Figure(), path)


def test_a_block_device_gets_no_advice_for_streams(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.touch()
    monkeypatch.setattr(_files, "_kind_of", lambda mode: "a block device")
    with pytest.raises(OSError, match="expected the path of a file, got a block device: '"):
        small_model().save(path)


def test_the_kind_of_everything_is_known(tmp_path):
    assert _files._kind_of(os.stat(tmp_path).st_mode) == "a folder"
    assert _files._kind_of(stat.S_IFBLK) == "a block device"
    assert _files._kind_of(stat.S_IFREG) == ""
