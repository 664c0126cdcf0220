// The kernels in use: those of the best instruction set that the machine has, or of the one that LSTMCORE_ISA names.
#pragma once

#include "../kernels/kernel_table.hpp"

namespace lstmcore {

/// Chosen at the first call. Throws std::invalid_argument if LSTMCORE_ISA names an unknown or unsupported instruction
/// set.
const kernels::KernelTable& active_table();

template <class T>
const kernels::Kernels<T>& active_kernels();
template <>
const kernels::Kernels<float>& active_kernels<float>();
template <>
const kernels::Kernels<double>& active_kernels<double>();

namespace kernels {
template <>
const TrainingKernels<float>& training_kernels<float>();
template <>
const TrainingKernels<double>& training_kernels<double>();
}  // namespace kernels

}  // namespace lstmcore
