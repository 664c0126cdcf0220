"""Random calls of any options in every precision; `make properties` draws 100 000 of them."""

import numpy as np
import pytest

import reference
from draws import BOUNDS, check, draw, error, expected
from lstmcore import functional as F


@pytest.mark.parametrize("precision", BOUNDS)
def test_draws(precision):
    for number in range(120):
        check(draw(number, precision))


def test_the_reference_of_rows_is_the_reference():
    """Without masks of time, which `reference.lstm` does not take."""
    compared = 0
    for number in range(150):
        one = draw(number, "float64")
        if "mask" in one.arguments:
            continue
        batch, steps = one.valid.shape
        masks = F.lstm_masks(one.config, batch, steps, number) if one.training else None
        found = reference.lstm(
            np.nan_to_num(one.x),
            one.weights,
            one.config,
            *one.state,
            one.arguments.get("lengths"),
            one.arguments.get("reset"),
            masks,
        )
        for value, wanted in zip(expected(one, number), found, strict=True):
            assert error(value, wanted) < 1e-13
        compared += 1
    assert compared > 100


def test_a_wrong_result_is_found(monkeypatch):
    """Each kind of comparison fails if a result is a little off."""
    right = F.lstm_backward

    def off(*arguments):
        gradients = right(*arguments)
        gradients.weights["weight_hh_l0"][...] *= 1.001
        gradients.weights["weight_hh_l0"][...] += 0.001
        return gradients

    monkeypatch.setattr(F, "lstm_backward", off)
    trained = [one for one in map(draw, range(0, 60, 6)) if one.training and one.valid.any()]
    assert trained
    for one in trained:
        with pytest.raises(AssertionError, match="gradient"):
            check(one)
    monkeypatch.undo()
    monkeypatch.setitem(BOUNDS, "float64", (0.0, 1e-12))
    one = next(one for one in map(draw, range(0, 600, 6)) if one.valid.sum() > 3)
    with pytest.raises(AssertionError, match="values differ"):
        check(one)
