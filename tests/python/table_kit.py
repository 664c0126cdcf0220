"""Helpers for the tests of ``lstmcore`` on tables."""

import csv
import json

import numpy as np

from lstmcore import cli


def write(path, header, rows, separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def succeed(capsys, *arguments):
    status, out, err = run(capsys, *arguments)
    assert status == 0, err
    return out


def report(capsys, *arguments):
    """Run a command with ``--json`` and return the last line's object."""
    return json.loads(succeed(capsys, *arguments, "--json").splitlines()[-1])


def walks(count, seed, target):
    """Make `count` random walks of 5 to 39 steps; `target` computes the targets of a walk."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        steps = rng.standard_normal(rng.integers(5, 40))
        for step, entry in zip(steps, target(np.cumsum(steps)), strict=True):
            # Far from 0 and on another scale, so that training must standardize.
            rows.append([f"w{number}", f"{1000 + 50 * step:.3f}", entry])
    return ["walk", "step", "end"], rows


def sign_of_the_end(walk):
    return ["up" if walk[-1] > 0 else "down"] * len(walk)


def end(walk):
    return [f"{500 + 100 * walk[-1]:.3f}"] * len(walk)


def sign_so_far(walk):
    return ["up" if value > 0 else "down" for value in walk]


def height_so_far(walk):
    return [f"{500 + 100 * value:.3f}" for value in walk]


def series(steps, seed):
    """Make a series with a trend, a season of 12 steps and noise of standard deviation 3."""
    time = np.arange(steps)
    noise = np.random.default_rng(seed).normal(0, 3, steps)
    return 200 + 0.5 * time + 30 * np.sin(2 * np.pi * time / 12) + noise
