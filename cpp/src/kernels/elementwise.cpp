// Puts the kernels that work on arrays and rows into the tables: activations, norms, dropout, steps of optimizers.
#include "elementwise.hpp"

#include "fingerprint.hpp"
#include "layer_norm.hpp"
#include "normalize.hpp"
#include "tables.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class T>
void fill_elementwise(kernels::Kernels<T>& k) {
  k.norm_gates = &norm_gates<T>;
  k.norm_output = &norm_output<T>;
  k.sigmoid = &sigmoid_elements<T>;
  k.tanh = &tanh_elements<T>;
  k.exp = &exp_elements<T>;
  k.relu = &relu<T>;
  k.softmax = &softmax<T>;
  k.add = &add<T>;
  k.multiply = &multiply<T>;
  k.normalize = &normalize<T>;
  k.scale = &scale<T>;
  k.clip = &clip<T>;
  k.dropout = &dropout<T>;
}

template <class T>
void fill_elementwise(kernels::TrainingKernels<T>& k) {
  k.norm_output_backward = &norm_output_backward<T>;
  k.norm_gates_backward = &norm_gates_backward<T>;
  k.norm_rows_backward = &norm_rows_backward<T>;
  k.add_norms = &add_norms<T>;
  k.sigmoid_backward = &sigmoid_backward<T>;
  k.tanh_backward = &tanh_backward<T>;
  k.relu_backward = &relu_backward<T>;
  k.normalize_backward = &normalize_backward<T>;
  k.add_peephole = &add_peephole<T>;
  k.sgd = &sgd<T>;
  k.rmsprop = &rmsprop<T>;
  k.adam = &adam<T>;
  k.squared_norm = &squared_norm<T>;
}

}  // namespace

void put_elementwise(kernels::Kernels<float>& table) { fill_elementwise(table); }
void put_elementwise(kernels::Kernels<double>& table) { fill_elementwise(table); }
void put_elementwise(kernels::TrainingKernels<float>& table) { fill_elementwise(table); }
void put_elementwise(kernels::TrainingKernels<double>& table) { fill_elementwise(table); }
void put_elementwise(kernels::KernelTable& table) { table.fingerprint = &fingerprint; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
