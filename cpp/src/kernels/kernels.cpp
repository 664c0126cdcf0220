// The tables of one instruction set. The files of this folder are compiled once per instruction set, with LSTMCORE_ISA
// as its name and Eigen's namespace renamed after it. Each exports only the functions of tables.hpp.
#include "tables.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class Table>
Table filled() {
  Table table{};
  put_products(table);
  put_elementwise(table);
  return table;
}

template <class T>
kernels::TrainingKernels<T> filled_for_training() {
  auto table = filled<kernels::TrainingKernels<T>>();
  put_tangent(table);
  return table;
}

}  // namespace

const kernels::KernelTable& kernel_table() {
  static const auto table = filled<kernels::KernelTable>();
  return table;
}

const kernels::Kernels<float>& kernels_f32() {
  static const auto table = filled<kernels::Kernels<float>>();
  return table;
}

const kernels::Kernels<double>& kernels_f64() {
  static const auto table = filled<kernels::Kernels<double>>();
  return table;
}

const kernels::TrainingKernels<float>& training_f32() {
  static const auto table = filled_for_training<float>();
  return table;
}

const kernels::TrainingKernels<double>& training_f64() {
  static const auto table = filled_for_training<double>();
  return table;
}

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
