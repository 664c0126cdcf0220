"""threadpoolctl limits the engine's threads."""

import subprocess
import sys

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


@pytest.mark.parametrize(("limit", "expected"), [(0, 1), (5000, 1024)])
def test_limits_that_the_engine_does_not_accept_are_brought_into_its_range(
    three_threads, limit, expected
):
    controller = threadpoolctl.ThreadpoolController().select(internal_api="lstmcore")
    with controller.limit(limits=limit):
        assert lc.get_num_threads() == expected
    assert lc.get_num_threads() == 3


@pytest.mark.parametrize(
    "prepare",
    [
        "sys.modules['threadpoolctl'] = None",
        "sys.modules['threadpoolctl'] = types.ModuleType('threadpoolctl')",
    ],
)
def test_a_threadpoolctl_that_is_missing_or_too_old_is_left_alone(prepare):
    program = f"import sys, types\n{prepare}\nimport lstmcore"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
