"""Trials of files: writers that are killed, that have no room, no permission, or company."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from kit import (
    EPOCHS,
    MODEL,
    Child,
    Skipped,
    fresh_model,
    in_child,
    leftovers,
    train,
    trial,
)

import lstmcore as lc


def resumed(folder: Path) -> tuple[int, str]:
    """Load the checkpoint and train on; return the epoch of the checkpoint and the digest."""
    path = folder / MODEL
    if not path.exists():  # killed before the first
        return 0, train(folder)
    model = lc.load(path)
    return model.epoch, train(folder, model)


@trial("killed (SIGKILL) during fit with checkpoints", short=30, full=1000)
def kills(folder: Path, count: int, random: np.random.Generator) -> str:
    """Every file loads, every resumed training ends like one that was not killed, nothing stays."""
    whole = folder / "whole"
    whole.mkdir()
    expected = train(whole)  # from here on, nothing is imported or set up in a child
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert in_child(train, whole) == expected
        took.append(time.monotonic() - began)
    usual = float(np.median(took))
    at_epoch = [0] * (EPOCHS + 1)
    killed = inside = number = 0
    # On until one was killed inside a save; a trial that only comes too late says nothing.
    while number < count or (not inside and number < 20 * count):
        place = folder / str(number)
        place.mkdir()
        child = Child(train, place)
        time.sleep(random.uniform(0, usual))
        child.send(signal.SIGKILL)
        lost = child.result() is None
        killed += lost
        inside += lost and bool(leftovers(place))
        for path in place.glob("*.safetensors"):
            lc.load(path)
        epoch, result = in_child(resumed, place)
        at_epoch[epoch] += 1
        assert result == expected, f"kill {number}: the training resumed at epoch {epoch} differs"
        still = leftovers(place)
        # What a killed save left is removed by the next save, if there was one.
        assert epoch == EPOCHS or not still, f"kill {number}: {still} after the next save"
        if still:
            lc.load(place / MODEL).save(place / MODEL)
            assert not leftovers(place), f"kill {number}: {leftovers(place)} after a save"
        shutil.rmtree(place)
        number += 1
    assert killed > 0, f"all {number} trainings had ended before they were killed"
    assert inside > 0, f"none of {killed} kills came inside a save"
    return (
        f"{killed} of {number} killed, {inside} of them inside a save; resumed at epochs 0 to "
        f"{EPOCHS}: "
        f"{' '.join(map(str, at_epoch))}; all have the same bits; no file left over"
    )


def saves_with_room_for(path: Path, size: int) -> int:
    """Save a model while no file may grow beyond `size` bytes; return the error's number, or 0."""
    other = fresh_model()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        other.save(path)
    except OSError as error:
        assert error.filename == str(path), error
        return error.errno or -1
    return 0


@trial("file size limited (RLIMIT_FSIZE) during a save", short=20, full=300)
def file_size(folder: Path, count: int, random: np.random.Generator) -> str:
    """The old file stays whole, the error names it, and nothing is left over."""
    path = folder / MODEL
    train(folder)
    before, size = path.read_bytes(), path.stat().st_size
    refused = 0
    for limit in random.integers(0, size, count):
        number = in_child(saves_with_room_for, path, int(limit))
        assert number in (0, errno.EFBIG), os.strerror(number)
        refused += number != 0
        assert (number != 0) == (path.read_bytes() == before), f"limit {limit}"
        assert not leftovers(folder), leftovers(folder)
        lc.load(path)
        path.write_bytes(before)
    return f"{refused} refused with EFBIG, {count - refused} had room; the old file is whole"


def fits_with_room_for(folder: Path, size: int) -> str:
    """Train while no file may grow beyond `size` bytes, and on without a limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    model = fresh_model()
    try:
        train(folder, model)
    except OSError as error:
        assert error.errno == errno.EFBIG, error
    else:
        raise AssertionError("no error")
    assert model.epoch == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return train(folder, model)  # the same object goes on where the disk was full


@trial("no room for the checkpoint of a fit, which then goes on", short=1, full=20)
def fit_without_room(folder: Path, count: int, random: np.random.Generator) -> str:
    """The error ends `fit`, the model stays usable, and goes on to the same bits."""
    (folder / "whole").mkdir()
    expected = in_child(train, folder / "whole")
    for limit in random.integers(0, 1000, count):
        assert in_child(fits_with_room_for, folder, int(limit)) == expected
        assert not leftovers(folder / "whole")
        (folder / MODEL).unlink()
    return f"OSError after the first epoch; {count} of {count} went on to the same bits"


@trial("disk full (a file system of 128 KiB)", short=1, full=20)
def disk_full(folder: Path, count: int, random: np.random.Generator) -> str:
    """The same with a file system that is really full."""
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Skipped(f"no right to mount one: {made.stderr.strip()}")
    try:
        path = folder / MODEL
        fresh_model().save(path)
        before = path.read_bytes()
        for round_ in range(count):
            room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
            filler = folder / "filler.safetensors"
            left = int(random.integers(0, len(before)))
            filler.write_bytes(bytes(max(0, room - left)))
            number = in_child(saves_with_room_for, path, resource.RLIM_INFINITY)
            assert number == errno.ENOSPC, f"round {round_}: {os.strerror(number)}"
            assert path.read_bytes() == before
            assert not leftovers(folder), leftovers(folder)
            filler.unlink()
            assert in_child(saves_with_room_for, path, resource.RLIM_INFINITY) == 0
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    return f"{count} of {count} refused with ENOSPC; the old file is whole, nothing left over"


def writes_without_right(folder: Path) -> int:
    """Save and train in a folder that this user may not write to."""
    if os.geteuid() == 0:  # whom permissions do not bind
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    refused = 0
    model = fresh_model()
    writers = [lambda: model.save(folder / MODEL), lambda: train(folder, model)]
    for write in writers:
        try:
            write()
        except PermissionError as error:
            assert error.filename == str(folder / MODEL), error
            refused += 1
    assert model.epoch == 1
    lc.load(folder / MODEL).predict(np.zeros((2, 4, 3), np.float32), verbose=0)
    return refused


@trial("a read-only folder", short=1, full=20)
def read_only(folder: Path, count: int, random: np.random.Generator) -> str:
    """PermissionError with the file's name; the old file is whole and readable."""
    fresh_model().save(folder / MODEL)
    before = (folder / MODEL).read_bytes()
    folder.chmod(0o555)
    try:
        for _ in range(count):
            assert in_child(writes_without_right, folder) == 2
            assert (folder / MODEL).read_bytes() == before
            assert not leftovers(folder)
    finally:
        folder.chmod(0o755)
    return f"{2 * count} of {2 * count} writes refused with PermissionError"


def writes_again_and_again(path: Path, seed: int, count: int) -> int:
    """Save a model of its own so often."""
    model = fresh_model()
    model.parameters.values[...] = seed
    for _ in range(count):
        model.save(path)
    return count


@trial("two writers to one path, killed now and then, and a reader", short=30, full=400)
def two_writers(folder: Path, count: int, random: np.random.Generator) -> str:
    """The reader sees one whole file or the other, and in the end only the file is there."""
    path = folder / MODEL
    fresh_model().save(path)
    seen = {1.0: 0, 2.0: 0}
    loads = killed = 0
    while killed < count // 5 or loads < count:
        writers = [Child(writes_again_and_again, path, seed, 1000) for seed in (1, 2)]
        end = time.monotonic() + random.uniform(0.02, 0.3)
        while time.monotonic() < end:
            values = lc.load(path).parameters.values
            loads += 1
            if loads > 1 and values[0] in seen:
                assert (values == values[0]).all(), "a mixture of two files"
                seen[float(values[0])] += 1
        for writer in writers:
            writer.send(signal.SIGKILL)
            killed += 1
            writer.result()
    assert len(leftovers(folder)) <= killed
    fresh_model().save(path)
    assert not leftovers(folder), leftovers(folder)
    assert (lc.load(path).parameters.values == fresh_model().parameters.values).all()
    return (
        f"{loads} loads ({seen[1.0]} of one writer's, {seen[2.0]} of the other's), {killed} kills, "
        "no mixture, and nothing left over after the next save"
    )
