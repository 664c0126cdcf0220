"""What is fuzzed: every public name, every option, every file of the corpus."""

import contextlib
import inspect
import os
import re

import numpy as np
import pytest

import fuzz_kit  # noqa: F401, where the targets are
import lstmcore as lc
from lstmcore.models import model_file

import make_corpus  # isort: skip
import targets  # isort: skip
from targets import arguments, public_names, values  # isort: skip
from targets.base import CORPUS  # isort: skip


def test_every_public_callable_is_found():
    found = public_names.callables(["lstmcore"])
    names = {getattr(value, "__name__", "") for value in found.values()}
    for module in (lc, lc.layers, lc.functional, lc.losses, lc.callbacks, lc.convert, lc.explain):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and not inspect.ismodule(value):
                assert value.__name__ in names, f"{module.__name__}.{name}"
    assert "torch" in public_names.bridges()
    assert not {"layers", "_core"} & set(public_names.bridges())


def test_methods_and_parameters():
    assert {"fit", "predict", "save", "load", "__call__"} - {"__call__"} <= set(
        public_names.methods(lc.Sequential)
    )
    assert [entry.name for entry in public_names.parameters(lc.load)] == ["path", "custom_objects"]
    assert public_names.parameters(lc.Sequential.build)[0].name != "self"


def test_values_that_ask_for_much():
    assert values.has_huge([1, {"a": 2**40}])
    assert values.has_huge(-1e18)
    assert not values.has_huge((1, "x", [2.5], {"a": 7}))


@pytest.mark.parametrize("name", targets.NAMES)
def test_inputs_follow_from_seed_and_number(name):
    target = targets.by_name(name)
    assert target.make(3, 50) == target.make(3, 50)
    if name.startswith("arguments"):
        return
    assert target.make(3, 50) != target.make(4, 50) or target.make(3, 51) != target.make(4, 51)


def calls(first, count):
    """Run calls of seed 5; return what they were, without what is drawn without a seed."""
    target = targets.by_name("arguments")
    target.prepare()
    found = []
    for number in range(first, first + count):
        with contextlib.suppress(BaseException):
            target.run(target.make(5, number))
        kinds = [type(value).__name__ for value in target.last.values]
        found.append((target.last.name, kinds, list(target.last.named)))
    return found


def test_a_call_follows_from_its_round(monkeypatch, tmp_path):
    """Wherever a campaign begins, a call takes the objects that the calls of its round returned."""
    monkeypatch.setattr(arguments, "ROUND", 60)
    monkeypatch.setenv("LSTMCORE_FUZZ_FOLDER", str(tmp_path))
    here = os.getcwd()
    try:
        whole = calls(60, 120)
        assert whole[60:] == calls(120, 60)
    finally:
        os.chdir(here)
        lc.set_precision("fp32")


def corpus(folder):
    paths = sorted((CORPUS / folder).iterdir())
    return [pytest.param(path, id=path.name) for path in paths if not path.name.startswith("find")]


@pytest.mark.parametrize("path", corpus("model_files"))
def test_model_files_of_the_corpus_are_whole(path):
    target = targets.by_name("model_files")
    target.prepare()
    assert path.stat().st_size < 10_000
    target.run((path.suffix, path.read_bytes()))


def classes_in(value):
    """Yield the names of all classes in what a model file says."""
    if isinstance(value, dict):
        if "class" in value:
            yield value["class"]
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from classes_in(entry)


def test_every_layer_that_can_be_saved_is_in_a_model_file_of_the_corpus():
    found = set()
    for parameter in corpus("model_files"):
        _, document = model_file.read(parameter.values[0])
        found |= set(classes_in(document))
    kinds = [getattr(lc.layers, name) for name in lc.layers.__all__]
    known = {kind.__name__ for kind in kinds if isinstance(kind, type)}
    assert known - {"Layer", "Input"} <= found


def test_a_file_that_asks_for_many_repetitions_is_not_run():
    target = targets.by_name("model_files")
    target.prepare()
    for count, runs in ((8, True), (10**8, False)):
        model = lc.Sequential([lc.layers.RepeatVector(count)])
        model.build((None, 2))
        assert (target.inputs_for(model) is not None) is runs


@pytest.mark.parametrize("path", corpus("onnx_files"))
def test_onnx_files_of_the_corpus_are_whole(path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    target = targets.by_name("onnx_files")
    target.prepare()
    target.run((path.suffix, path.read_bytes()))


@pytest.mark.parametrize("path", corpus("keras_files"))
def test_keras_files_of_the_corpus_are_whole(path):
    pytest.importorskip("h5py", reason="h5py is not installed")
    target = targets.by_name("keras_files")
    target.prepare()
    target.run((path.suffix, path.read_bytes()))


@pytest.mark.parametrize("path", corpus("captures"))
def test_captures_of_the_corpus_are_whole(path):
    capture = lc.convert.load_capture(path)
    played = capture.play(np.ones(2, np.float32), *[0.5] * capture.controls)
    assert played.shape == (2,)


def test_calls_of_the_corpus_are_named_in_the_order_of_the_target():
    """Programs are numbers; make_corpus has the names of the functions in `Calls::next`."""
    source = (CORPUS.parent / "native" / "c_interface.cpp").read_text(encoding="utf-8")
    table = source.partition("constexpr Call calls[] = {")[2].partition("}")[0]
    assert re.findall(r"&Calls::(\w+)", table) == list(make_corpus.CALLS)
    written = {path.name: path.read_bytes() for path in (CORPUS / "c_interface").iterdir()}
    for name, program in make_corpus.calls():
        assert written[name] == program
