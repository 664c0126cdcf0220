// Puts the kernels in dual numbers into the tables.
#include "tables.hpp"
#include "tangent_step.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class T>
void fill_tangent(kernels::TrainingKernels<T>& k) {
  k.tangent_forward = &tangent_forward<T>;
  k.tangent_backward = &tangent_backward<T>;
}

}  // namespace

void put_tangent(kernels::TrainingKernels<float>& table) { fill_tangent(table); }
void put_tangent(kernels::TrainingKernels<double>& table) { fill_tangent(table); }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
