"""threadpoolctl limits the engine's threads."""

import pytest

import lstmcore as lc

threadpoolctl = pytest.importorskip("threadpoolctl", minversion="3.2")


def engine_limits():
    return [
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["internal_api"] == "lstmcore"
    ]


@pytest.fixture
def three_threads():
    before = lc.get_num_threads()
    lc.set_num_threads(3)
    yield
    lc.set_num_threads(before)


@pytest.mark.parametrize("api", [None, "openmp"])
def test_limits_hold_inside_the_block_and_not_after_it(three_threads, api):
    assert engine_limits() == [3]
    with threadpoolctl.threadpool_limits(1, user_api=api):
        assert lc.get_num_threads() == 1
        assert engine_limits() == [1]
    assert lc.get_num_threads() == 3


def test_limits_of_other_apis_leave_the_engine_alone(three_threads):
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert lc.get_num_threads() == 3
