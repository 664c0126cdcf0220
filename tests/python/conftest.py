"""What every test shares: reproducible randomness and a thread count that no test leaks."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

import lstmcore as lc

# The same examples in every run; machines differ too much in speed for deadlines.
settings.register_profile("lstmcore", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "long", deadline=None, max_examples=int(os.environ.get("DRAWS", "10000")), database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "lstmcore"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(autouse=True)
def keep_thread_count() -> Iterator[None]:
    before = lc.get_num_threads()
    yield
    lc.set_num_threads(before)
