// The table in use: detected once, LSTMCORE_ISA may force it.
#pragma once

#include "../kernels/kernel_table.hpp"

namespace lstmcore {

/// Throws std::invalid_argument if LSTMCORE_ISA names an unknown or unsupported instruction set.
const kernels::KernelTable& active_table();

template <class T>
const kernels::Kernels<T>& active_kernels() {
  return kernels::kernels_of<T>(active_table());
}

}  // namespace lstmcore
