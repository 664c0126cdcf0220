// The table of one instruction set. The files of this folder are compiled once per instruction set, with LSTMCORE_ISA
// as its name and Eigen's namespace renamed after it. Each exports only the function that is declared here.
#include "kernel_table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {

void put_products(kernels::KernelTable& table);
void put_elementwise(kernels::KernelTable& table);
void put_tangent(kernels::KernelTable& table);

const kernels::KernelTable& kernel_table();
const kernels::KernelTable& kernel_table() {
  static const kernels::KernelTable table = [] {
    kernels::KernelTable filled{};
    put_products(filled);
    put_elementwise(filled);
    put_tangent(filled);
    return filled;
  }();
  return table;
}

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
