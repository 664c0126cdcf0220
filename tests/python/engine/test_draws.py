"""Random calls of any options in every precision; `make properties` draws 100 000 of them."""

import numpy as np
import pytest

import draws
import reference
from draws import BOUNDS, Errors, check, draw, error, expected
from lstmcore import functional as F


@pytest.mark.parametrize("precision", BOUNDS)
def test_draws(precision):
    errors = Errors(precision)
    for number in range(120):
        one = draw(number, precision)
        errors.add(one, check(one))
    assert len(errors.values) > 60
    assert len(errors.gradients) > 40 or precision == "int8"
    errors.check()


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


MUTATIONS = {
    "zeros": np.zeros_like,
    "half": lambda array: array / 2,
    "another sign": np.negative,
    "permuted": lambda array: np.roll(array, 1, axis=-1),
    "nan": lambda array: np.full_like(array, np.nan),
}


@pytest.mark.parametrize("of_gradients", [False, True], ids=["values", "gradients"])
@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("precision", BOUNDS)
def test_wrong_results_are_found_in_every_precision(monkeypatch, precision, mutation, of_gradients):
    if precision == "int8" and (of_gradients or mutation == "half"):
        pytest.skip("it has no gradients, and a bound above a half")
    if precision == "bf16" and of_gradients and mutation == "half":
        pytest.skip("the bound is above a half")
    right, wrong = draws.run, MUTATIONS[mutation]

    def changed(one, seed, dtype=None, moved=None):
        *values, gradients = right(one, seed, dtype, moved)
        if dtype is None and moved is None and of_gradients:
            gradients = {name: wrong(array) for name, array in gradients.items()}
        elif dtype is None and moved is None:
            values = map(wrong, values)
        return *values, gradients

    monkeypatch.setattr(draws, "run", changed)
    found = [draw(number, precision) for number in range(60)]
    found = [one for one in found if one.valid.any() and one.config.state_size > 4]
    if of_gradients:
        found = [one for one in found if one.training]
    assert len(found) > 10
    for one in found:
        with pytest.raises(AssertionError, match="gradient" if of_gradients else "values differ"):
            check(one)


@pytest.mark.parametrize(("precision", "factor"), [("bf16", 0.5), ("bf16", 1.1), ("bf16x2", 1.01)])
@pytest.mark.parametrize("share", [1, 4])
def test_errors_below_the_bounds_are_found_if_many_draws_have_them(
    monkeypatch, precision, factor, share
):
    """Gradients that are wrong by a factor, in all draws or in a quarter of them."""
    right = draws.run

    def changed(one, seed, dtype=None, moved=None):
        *values, gradients = right(one, seed, dtype, moved)
        if dtype is None and moved is None and one.number % share == 0:
            gradients = {name: factor * array for name, array in gradients.items()}
        return *values, gradients

    monkeypatch.setattr(draws, "run", changed)
    errors = Errors(precision)
    for number in range(120):
        one = draw(number, precision)
        errors.add(one, check(one))
    with pytest.raises(AssertionError, match=f"{precision}: gradients usually differ"):
        errors.check()


def test_a_few_draws_say_nothing_of_what_is_usual():
    errors = Errors("bf16", [0.1] * 29, [0.5] * 29)
    errors.check()
    errors.values.append(0.1)
    with pytest.raises(AssertionError, match="bf16: values usually differ by 1.0e-01"):
        errors.check()


@pytest.mark.parametrize("precision", BOUNDS)
def test_nan_after_right_results_is_found(monkeypatch, precision):
    """Of several arrays, the last is wrong; no comparison with it is true."""
    right = draws.run

    def changed(one, seed, dtype=None, moved=None):
        y, h, c, gradients = right(one, seed, dtype, moved)
        if dtype is None and moved is None:
            if gradients and one.number % 2:
                gradients["c0"] = MUTATIONS["nan"](gradients["c0"])
            else:
                c = MUTATIONS["nan"](c)
        return y, h, c, gradients

    monkeypatch.setattr(draws, "run", changed)
    found = [one for one in (draw(number, precision) for number in range(60)) if one.valid.any()]
    assert len(found) > 10
    for one in found:
        with pytest.raises(AssertionError, match="gradient|values differ"):
            check(one)


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
