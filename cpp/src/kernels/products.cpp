// Puts the products into the tables, and the step of a layer, in which product and cell are one loop.
#include "lowp/factors.hpp"
#include "lowp/int8_dot.hpp"
#include "step.hpp"
#include "tables.hpp"
#include "transpose.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class T>
void fill_products(kernels::Kernels<T>& k) {
  k.lanes = lanes_of<T>;
  k.strip = strip_vectors * lanes_of<T>;
  k.tile_rows = tile_rows(strip_vectors);
  k.product = &product<T>;
  k.transposed_product = &transposed_product<T>;
  k.transpose = &transpose<T>;
  k.step_forward = &step_forward<T>;
}

template <class T>
void fill_products(kernels::TrainingKernels<T>& k) {
  k.outer_product = &outer_product<T>;
  k.step_backward = &step_backward<T>;
}

#define LSTMCORE_QUOTED(name) #name
#define LSTMCORE_NAME(name) LSTMCORE_QUOTED(name)

}  // namespace

void put_products(kernels::Kernels<float>& table) { fill_products(table); }
void put_products(kernels::Kernels<double>& table) { fill_products(table); }
void put_products(kernels::TrainingKernels<float>& table) { fill_products(table); }
void put_products(kernels::TrainingKernels<double>& table) { fill_products(table); }
void put_products(kernels::KernelTable& table) {
  table.lowp = {&split_row,      &split_panel,     &quantize_row,
                &quantize_panel, &add_dequantized, vector_unit<Int8Dot>(LSTMCORE_NAME(LSTMCORE_ISA), 4, 0)};
}

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
