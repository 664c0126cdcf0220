"""The check of the kernels' symbols, tests/cpp/nm_test.py, detects violations."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cpp" / "nm_test.py"
NAMES = ("kernel_table", "kernels_f32", "kernels_f64", "training_f32", "training_f64")
TABLES = [f"lstmcore::avx2::{name}()" for name in NAMES]
PARTS = [
    "lstmcore::avx2::put_products(lstmcore::kernels::KernelTable&)",
    "lstmcore::avx2::put_products(lstmcore::kernels::TrainingKernels<float>&)",
]


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("nm_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_and_their_parts_may_be_exported(check):
    assert check.problems_of_exports([*TABLES, *PARTS], "avx2") == []


@pytest.mark.parametrize(
    ("strong", "problem"),
    [
        ([*TABLES[:-1], *PARTS], "training_f64() is not defined"),
        ([*TABLES, *PARTS, PARTS[0]], "defined twice"),
        ([*TABLES, "lstmcore::avx2::product(float*)"], "neither"),
        ([*TABLES, "lstmcore::avx512::put_products(lstmcore::kernels::KernelTable&)"], "neither"),
        ([*TABLES, "lstmcore::put_products(lstmcore::kernels::KernelTable&)"], "neither"),
        ([*TABLES, "lstmcore::avx2::put_products(lstmcore::kernels::Kernels<int>&)"], "neither"),
    ],
)
def test_extra_and_missing_symbols_are_found(check, strong, problem):
    (found,) = check.problems_of_exports(strong, "avx2")
    assert problem in found


def test_weak_symbols_belong_to_the_instruction_set(check, monkeypatch):
    inside = "lstmcore_eigen_avx2::internal::pexp<float>(float const&)"
    outside = "std::vector<float>::~vector()"
    symbols = [("W", inside), ("W", outside), ("T", TABLES[0])]
    monkeypatch.setattr(check, "defined_symbols", lambda nm, path: symbols)
    monkeypatch.setattr(check, "runs_before_main", lambda path: False)
    (problem,) = check.problems_of_object("nm", "avx2", "kernels.o")
    assert outside in problem
