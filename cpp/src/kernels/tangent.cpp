// Puts the kernels in dual numbers into the table.
#include "tangent_step.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class T>
void put_tangent(kernels::Kernels<T>& k) {
  k.tangent_forward = &tangent_forward<T>;
  k.tangent_backward = &tangent_backward<T>;
}

}  // namespace

void put_tangent(kernels::KernelTable& table);
void put_tangent(kernels::KernelTable& table) {
  put_tangent(table.f32);
  put_tangent(table.f64);
}

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
