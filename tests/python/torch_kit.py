"""Pairs of modules, one of torch.nn and one of lstmcore.torch, for tests; needs PyTorch."""

import torch

import lstmcore.torch as lt


def pair(dtype=torch.float64, kind=torch.nn.LSTM, **options):
    """Make a module of torch.nn and lstmcore's, with the same weights."""
    torch.manual_seed(3)
    theirs = kind(5, 7, **options, dtype=dtype)
    torch.manual_seed(3)
    ours = getattr(lt, kind.__name__)(5, 7, **options, dtype=dtype)
    return theirs, ours


def close(actual, expected):
    tolerance = 1e-12 if expected.dtype == torch.float64 else 2e-6
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def all_close(actual, expected):
    """Compare the results of an LSTM: (y, (h, c))."""
    (y, (h, c)), (expected_y, (expected_h, expected_c)) = actual, expected
    for one, other in ((y, expected_y), (h, expected_h), (c, expected_c)):
        close(one, other)


def on_both(run, *operators, seed=0):
    """Return what `run` returns with lstmcore under PyTorch's `operators`, and without.

    All calls must have run on lstmcore.
    """
    torch.manual_seed(seed)
    expected = run()
    torch.manual_seed(seed)
    with lt.accelerate():
        actual = run()
    calls = lt.accelerated_calls()
    assert calls.pytorch == {}
    assert set(calls.engine) == set(operators)
    return actual, expected


def assert_same(actual, expected):
    """Compare values and gradients to the accuracy that is promised for them."""
    for mine, other in zip(actual, expected, strict=True):
        tolerance = 1e-10 if other.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
