"""The check of the kernels' symbols, tests/cpp/nm_test.py, detects violations."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cpp" / "nm_test.py"
TABLE = "lstmcore::avx2::kernel_table()"
PART = "lstmcore::avx2::put_products(lstmcore::kernels::KernelTable&)"


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("nm_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_table_and_its_parts_may_be_exported(check):
    assert check.problems_of_exports([TABLE, PART], "avx2") == []


@pytest.mark.parametrize(
    ("strong", "problem"),
    [
        ([PART], "is not defined"),
        ([TABLE, PART, PART], "defined twice"),
        ([TABLE, "lstmcore::avx2::product(float*)"], "neither"),
        ([TABLE, "lstmcore::avx512::put_products(lstmcore::kernels::KernelTable&)"], "neither"),
        ([TABLE, "lstmcore::put_products(lstmcore::kernels::KernelTable&)"], "neither"),
    ],
)
def test_extra_and_missing_symbols_are_found(check, strong, problem):
    (found,) = check.problems_of_exports(strong, "avx2")
    assert problem in found


def test_weak_symbols_belong_to_the_instruction_set(check, monkeypatch):
    inside = "lstmcore_eigen_avx2::internal::pexp<float>(float const&)"
    outside = "std::vector<float>::~vector()"
    symbols = [("W", inside), ("W", outside), ("T", TABLE)]
    monkeypatch.setattr(check, "defined_symbols", lambda nm, path: symbols)
    monkeypatch.setattr(check, "runs_before_main", lambda path: False)
    (problem,) = check.problems_of_object("nm", "avx2", "kernels.o")
    assert outside in problem
