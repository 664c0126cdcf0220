"""Recognize nine speakers by how they say two Japanese vowels, with five seeds.

The data of Kudo, Toyama & Shimbo (1999), which come with the package aeon: 270 utterances to train
on and 370 to test, of 7 to 29 steps with 12 channels each. Published accuracies are 0.797 for an
LSTM and 0.949 for the nearest neighbour by dynamic time warping; a logistic regression on the mean
of each channel, which is printed too, is better than both. The program ends with status 1 if the
mean over the seeds is below the goal.

The settings below were found without the 370, by cross-validation within the 270: about thirty were
screened in three folds, and the best of them compared in five folds, twice. These had the best
accuracy and, among those with the same accuracy, the best log loss. ``--search`` repeats the second
comparison for a few settings, which takes a while.
"""

import argparse
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lstmcore as lc
from lstmcore.sklearn import LSTMClassifier

GOAL = 0.97
SETTINGS: dict[str, Any] = {
    "hidden_size": 128,
    "pooling": "mean",
    "slopes": False,
    "positions": False,
    "layer_norm": True,
    "recurrent_dropout": 0.3,
    "input_dropout": 0.2,
    "batch_size": 16,
    "learning_rate_init": 0.003,
    "max_iter": 60,
}
GRID = {
    "hidden_size": [64, 128],
    "layer_norm": [False, True],
    "pooling": ["mean", "max"],
    "recurrent_dropout": [0.0, 0.3],
}


def utterances(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences (T, 12) and their speakers; aeon has the channels first."""
    try:
        datasets = import_module("aeon.datasets")
    except ImportError as error:
        sys.exit(f"the data come with the package aeon: pip install scikit-learn aeon ({error})")
    cases, speakers = datasets.load_japanese_vowels(split=split)
    return [np.asarray(case).T for case in cases], speakers


def baseline(x: list[np.ndarray], y: np.ndarray, test_x: list[np.ndarray], test_y: Any) -> float:
    """Return the accuracy of a logistic regression that ignores time."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit([row.mean(axis=0) for row in x], y)
    return float(model.score([row.mean(axis=0) for row in test_x], test_y))


def search(x: list[np.ndarray], y: np.ndarray) -> None:
    """Print the settings of a grid from best to worst, by cross-validation."""
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    scoring = ["accuracy", "neg_log_loss"]
    model = LSTMClassifier(**{**SETTINGS, "random_state": 0})
    found = GridSearchCV(model, GRID, cv=folds, scoring=scoring, refit=False, n_jobs=-1).fit(x, y)
    results = found.cv_results_
    rows = zip(
        results["mean_test_accuracy"],
        results["mean_test_neg_log_loss"],
        results["params"],
        strict=True,
    )
    for accuracy, likelihood, params in sorted(rows, key=lambda row: row[:2], reverse=True):
        print(f"accuracy {accuracy:.4f}  log loss {-likelihood:.4f}  {params}")


def main() -> None:
    """Train and test with each seed, and compare with the baseline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, counted from 0")
    parser.add_argument("--threads", type=int, default=1, help="one is enough for small batches")
    parser.add_argument("--search", action="store_true", help="cross-validate a grid instead")
    options = parser.parse_args()
    lc.set_num_threads(options.threads)

    x, y = utterances("train")
    if options.search:
        search(x, y)
        return
    test_x, test_y = utterances("test")
    accuracies = []
    for seed in range(options.seeds):
        start = time.perf_counter()
        model = LSTMClassifier(**SETTINGS, random_state=seed).fit(x, y)
        seconds = time.perf_counter() - start
        accuracies.append(model.score(test_x, test_y))
        print(f"seed {seed}  {seconds:4.0f} s  accuracy {accuracies[-1]:.4f}", flush=True)
    print(f"LSTM, mean of {options.seeds} seeds   {np.mean(accuracies):.4f} (goal: {GOAL})")
    print(f"logistic regression     {baseline(x, y, test_x, test_y):.4f}")
    sys.exit(0 if np.mean(accuracies) >= GOAL else 1)


if __name__ == "__main__":
    main()
