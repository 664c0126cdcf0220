"""Searches by Optuna: trials are pruned, in one process and in several that share a storage."""

import subprocess
import sys

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.callbacks import OptunaPruning

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)


def model_of(rate):
    model = lc.Sequential([lc.layers.LSTM(4), lc.layers.Dense(1)], seed=1)
    model.compile(lc.optimizers.SGD(rate), "mse")
    return model


def objective(trial):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 4, 2)).astype("float32")
    model = model_of(trial.suggest_categorical("rate", [0.1, 1e-6]))
    pruning = OptunaPruning(trial, "loss")
    model.fit(x, x[:, 0, :1], epochs=6, callbacks=pruning, verbose=0)
    return model.history.history["loss"][-1]


def test_figures_are_reported_and_worse_trials_are_pruned():
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(1, 2))
    study.enqueue_trial({"rate": 0.1})
    study.enqueue_trial({"rate": 1e-6})
    study.optimize(objective, n_trials=2)
    first, second = study.trials
    assert first.state == optuna.trial.TrialState.COMPLETE
    assert list(first.intermediate_values) == list(range(6))
    assert first.value == first.intermediate_values[5] < first.intermediate_values[0]
    assert second.state == optuna.trial.TrialState.PRUNED
    assert list(second.intermediate_values) == [0, 1, 2]


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"trial: expected the optuna\.trial\.Trial .* got str"):
        OptunaPruning("trial")
    trial = optuna.create_study().ask()
    with pytest.raises(ValueError, match="monitor: expected one of loss, got 'val_loss'"):
        model_of(0.1).fit(
            np.zeros((4, 2, 1)), np.zeros(4), callbacks=OptunaPruning(trial), verbose=0
        )


def test_nan_prunes_the_trial():
    trial = optuna.create_study().ask()
    callback = OptunaPruning(trial, "loss")
    with pytest.raises(optuna.TrialPruned, match="loss is nan in epoch 3"):
        callback.on_epoch_end(2, {"loss": float("nan")})


WORKER = """
import sys
import optuna
sys.path[:0] = sys.argv[2:]
from test_optuna import objective
study = optuna.load_study(study_name="shared", storage=sys.argv[1])
study.optimize(objective, n_trials=2)
"""


def test_processes_share_a_study(tmp_path, request):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name="shared", storage=storage)
    paths = [str(request.path.parent), *[path for path in sys.path if path]]
    call = [sys.executable, "-c", WORKER, storage, *paths]
    running = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    study = optuna.load_study(study_name="shared", storage=storage)
    assert len(study.trials) == 4
    assert all(trial.state.is_finished() for trial in study.trials)
    assert len({trial.number for trial in study.trials}) == 4
