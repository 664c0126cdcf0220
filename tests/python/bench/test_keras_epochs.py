"""Epochs of Keras with and without acceleration, with fakes of the processes that train."""

import argparse

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.keras_epochs import BATCHES, LAYERS, Size

from bench import environments, keras_epochs

SIZE = Size(2, 3, 4, 5)


class Process:
    """Answers like a process that trains; each turn takes the next of `seconds`."""

    def __init__(self, log, name, seconds, losses=(1.0, 0.5), calls=0):
        self.log, self.name, self.seconds = log, name, iter(seconds)
        self.prepared = {"losses": list(losses), "calls": calls}

    def ask(self, do, **request):
        if do == "prepare":
            assert request["size"] == SIZE
            return self.prepared
        self.log.append((self.name, request["epochs"]))
        return {"seconds": next(self.seconds)}


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(keras_epochs.time, "sleep", lambda _: None)


def accelerated(log, seconds=(), **changed):
    return Process(log, "ours", seconds, **{"calls": 2 * BATCHES * LAYERS, **changed})


def test_rounds_pair_neighbouring_turns_and_alternate_in_beginning():
    log = []
    plain = Process(log, "keras", [0.5, 1.0, 3.0])
    ours = accelerated(log, [0.25, 0.5, 1.0])
    assert keras_epochs.epochs(plain, ours, SIZE, 2, 1.0) == [(1.0, 0.5), (3.0, 1.0)]
    # The faster of both decides how many epochs a turn has.
    assert log == [("keras", 2), ("ours", 2), ("ours", 4), ("keras", 4), ("keras", 4), ("ours", 4)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"losses": (1.0, 0.6)}, "expected Keras' loss 0.5, got 0.6"),
        ({"calls": 2 * BATCHES * LAYERS - 1}, "the engine computed 15 calls"),
    ],
)
def test_other_numbers_and_layers_left_to_keras_are_errors(changed, message):
    with pytest.raises(RuntimeError, match=message):
        keras_epochs.epochs(Process([], "keras", []), accelerated([], **changed), SIZE, 1, 0.1)


def test_an_error_of_a_process_is_reported():
    class Broken:
        def ask(self, do, **request):
            return {"error": "ValueError: no such layer"}

    with pytest.raises(RuntimeError, match="no such layer"):
        keras_epochs.epochs(Broken(), Broken(), SIZE, 1, 0.1)


def test_a_size_that_is_none_is_named():
    assert Size.parse("2x3x4x5") == SIZE
    for text in ("2x3x4", "2x3x4x0", "a", "2x3x4x5x6"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"got {text}"):
            Size.parse(text)


def test_a_backend_that_is_not_installed_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    assert keras_epochs.main(["--backend", "jax"]) == 1
    assert capsys.readouterr().out == "jax: not installed\n"


def test_processes_get_their_backend_and_this_package(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    for backend, peer in keras_epochs.BACKENDS.items():
        variables = environments.in_company(peer)
        assert variables["KERAS_BACKEND"] == backend
        assert variables["PYTHONPATH"] == str(tmp_path / "package")
