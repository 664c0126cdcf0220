// The kernels of one instruction set. This file is compiled once for each, with LSTMCORE_ISA naming it and Eigen's
// namespace renamed after it; it exports this one function and nothing else.
#include "cell.hpp"
#include "elementwise.hpp"
#include "int8_dot.hpp"
#include "layer_norm.hpp"
#include "normalize.hpp"
#include "tangent_cell.hpp"
#include "transpose.hpp"
#include "word_factors.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class T>
constexpr kernels::Kernels<T> make_kernels() {
  kernels::Kernels<T> k{};
  k.lanes = lanes_of<T>;
  k.tile_rows = tile_rows(kernels::panel_vectors);
  k.product = &product<T>;
  k.transposed_product = &transposed_product<T>;
  k.outer_product = &outer_product<T>;
  k.transpose = &transpose<T>;
  k.step_forward = &step_forward<T>;
  k.step_backward = &step_backward<T>;
  k.norm_gates = &norm_gates<T>;
  k.norm_output = &norm_output<T>;
  k.norm_output_backward = &norm_output_backward<T>;
  k.norm_gates_backward = &norm_gates_backward<T>;
  k.norm_rows_backward = &norm_rows_backward<T>;
  k.add_norms = &add_norms<T>;
  k.tangent_forward = &tangent_forward<T>;
  k.tangent_backward = &tangent_backward<T>;
  k.sigmoid = &sigmoid_elements<T>;
  k.tanh = &tanh_elements<T>;
  k.exp = &exp_elements<T>;
  k.relu = &relu<T>;
  k.sigmoid_backward = &sigmoid_backward<T>;
  k.tanh_backward = &tanh_backward<T>;
  k.relu_backward = &relu_backward<T>;
  k.softmax = &softmax<T>;
  k.add = &add<T>;
  k.multiply = &multiply<T>;
  k.normalize = &normalize<T>;
  k.normalize_backward = &normalize_backward<T>;
  k.add_peephole = &add_peephole<T>;
  k.scale = &scale<T>;
  k.clip = &clip<T>;
  k.dropout = &dropout<T>;
  k.sgd = &sgd<T>;
  k.rmsprop = &rmsprop<T>;
  k.adam = &adam<T>;
  k.squared_norm = &squared_norm<T>;
  return k;
}

#define LSTMCORE_QUOTED(name) #name
#define LSTMCORE_NAME(name) LSTMCORE_QUOTED(name)

constexpr kernels::KernelTable table{make_kernels<float>(),
                                     make_kernels<double>(),
                                     {&split_row, &split_panel, &quantize_row, &quantize_panel, &add_dequantized,
                                      vector_unit<Int8Dot>(LSTMCORE_NAME(LSTMCORE_ISA), 4, 0)}};

}  // namespace

const kernels::KernelTable& kernel_table();
const kernels::KernelTable& kernel_table() { return table; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
