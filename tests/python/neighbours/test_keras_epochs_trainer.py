"""What trains in `python -m bench keras-epochs`, on real models of Keras."""

import os

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

from bench.keras_epochs import BATCHES, LAYERS, Trainer  # noqa: E402

from keras_engine_kit import FILTERS  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def test_the_engine_computes_all_layers_if_told_to_and_learns_the_same():
    prepare = {"do": "prepare", "size": [4, 3, 2, 5]}
    plain = Trainer(engine=False).answer(prepare)
    trainer = Trainer(engine=True)
    try:
        ours = trainer.answer(prepare)
        assert trainer.answer({"do": "time", "epochs": 1})["seconds"] > 0
    finally:
        trainer.acceleration.undo()
    assert (plain["calls"], ours["calls"]) == (0, 2 * BATCHES * LAYERS)
    assert plain["losses"] == pytest.approx(ours["losses"], rel=1e-4)


def test_an_error_is_an_answer():
    answer = Trainer(engine=False).answer({"do": "prepare", "size": [4, 3, 2, 0]})
    assert answer["error"].startswith("ValueError")


def test_versions_are_of_keras_and_its_backend():
    versions = Trainer(engine=False).answer({"do": "hello"})["versions"]
    assert versions["Keras"] == keras.__version__
    assert len(versions) == 2
