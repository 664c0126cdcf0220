"""Common to all tests: reproducible randomness, and settings restored after each test."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

import lstmcore as lc

# Every run has the same examples; machines differ too much in speed for deadlines.
settings.register_profile("lstmcore", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "long", deadline=None, max_examples=int(os.environ.get("DRAWS", "10000")), database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "lstmcore"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With NEIGHBOURS=all, fail if a test was skipped because a framework is missing.

    With NEIGHBOURS=nightly no test may be skipped.
    """
    wanted = os.environ.get("NEIGHBOURS")
    if wanted not in ("all", "nightly"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])}
    absent = sorted(
        reason
        for reason in reasons
        if wanted == "nightly" or "installed" in reason or "import" in reason
    )
    if absent:
        reporter.write_line(f"NEIGHBOURS={wanted}: {'; '.join(absent)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(autouse=True)
def restore_settings() -> Iterator[None]:
    threads, precision = lc.get_num_threads(), lc.get_precision()
    yield
    lc.set_num_threads(threads)
    lc.set_precision(precision)


@pytest.fixture(params=["ONNX Runtime", "onnx.reference"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run ONNX models outside their LSTMs by ONNX Runtime, then by the reference of onnx."""
    if request.param == "ONNX Runtime":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    else:
        from onnx_kit import without_runtime

        without_runtime(monkeypatch)
    return str(request.param)
