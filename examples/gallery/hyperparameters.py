"""Hyperparameters: a search for units, learning rate and batch size that gives up early on most.

BasicMotions (UEA archive, in the package aeon): 40 recordings to train and 40 to test of a watch's
accelerometer and gyroscope while somebody stands, walks, runs or plays badminton. Optuna tries
settings, and `OptunaPruning` ends trials that fall behind; the best by validation is trained on
all 40 and tested once. Beside it: a setting by default, and logistic regression on all values.
Needs aeon, optuna and scikit-learn (the extras `aeon`, `optuna` and `sklearn`).
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc

EPOCHS = 20
MEASURES = {"share*": ("share of all trials", ""), "*": ("accuracy", "higher")}
DEFAULT = {"units": 32, "rate": 1e-3, "batch": 32}


def motions(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return recordings (N, 100, 6) and the numbers of their four motions."""
    from aeon.datasets import load_basic_motions

    x, names = load_basic_motions(split=part)
    return x.transpose(0, 2, 1).astype(np.float32), np.unique(names, return_inverse=True)[1]


def fitted(
    setting: dict[str, Any], seed: int, x: np.ndarray, y: np.ndarray, **more: Any
) -> lc.Sequential:
    """Train a model with a setting."""
    scale = lc.layers.Normalization()
    scale.adapt(x)
    lstm = lc.layers.LSTM(setting["units"], return_sequences=True)
    head = lc.layers.GlobalAveragePooling1D(), lc.layers.Dense(4, activation="softmax")
    model = lc.Sequential([scale, lstm, *head], seed=seed)
    optimizer = lc.optimizers.Adam(setting["rate"], global_clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, batch_size=setting["batch"], epochs=EPOCHS, verbose=0, **more)
    return model


def search(x: np.ndarray, y: np.ndarray, trials: int, seed: int) -> Any:
    """Try settings, each validated on a quarter of the data."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    held = np.random.default_rng(seed).permutation(len(x)) < len(x) // 4

    def objective(trial: Any) -> float:
        setting = {
            "units": trial.suggest_int("units", 4, 64, log=True),
            "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
            "batch": trial.suggest_categorical("batch", [4, 8, 16, 32]),
        }
        pruning = lc.callbacks.OptunaPruning(trial, "val_loss")
        more = {"validation_data": (x[held], y[held]), "callbacks": pruning}
        model = fitted(setting, seed, x[~held], y[~held], **more)
        assert model.history is not None
        return float(model.history.history["val_loss"][-1])

    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=4)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner)
    study.optimize(objective, n_trials=trials)
    return study


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Search, print the table, and return accuracies on the test recordings."""
    from sklearn.linear_model import LogisticRegression

    (x, y), (fresh, truth) = motions("train"), motions("test")
    study = search(x, y, 80 if full else 20, seed)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    flat = LogisticRegression(max_iter=2000).fit(x.reshape(len(x), -1), y)
    figures = {
        "logistic regression": float(flat.score(fresh.reshape(len(fresh), -1), truth)),
        "default setting": fitted(DEFAULT, seed, x, y).evaluate(fresh, truth, verbose=0)[1],
        "best of the search": fitted(study.best_params, seed, x, y).evaluate(
            fresh, truth, verbose=0
        )[1],
        "share of trials pruned": pruned / len(study.trials),
    }
    print(f"{len(study.trials)} trials, {pruned} of them pruned; the best: {study.best_params}")
    for name, figure in figures.items():
        print(f"{name:24}{figure:7.3f}")
    if pictures is not None:
        draw(study, Path(pictures) / "hyperparameters.svg")
    return figures


def draw(study: Any, to: Path) -> None:
    """Draw the validation loss of every trial, the pruned ones in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for trial in study.trials:
        epochs, losses = zip(*sorted(trial.intermediate_values.items()), strict=True)
        pruned = trial.state.name == "PRUNED"
        best = trial.number == study.best_trial.number
        axes.plot(epochs, losses, color="0.7" if pruned else "C1" if best else "C0")
    axes.set(xlabel="epoch", ylabel="validation loss", yscale="log")
    figure.savefig(to)


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="80 trials instead of 20")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
