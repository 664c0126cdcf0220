#include "gate_sums.hpp"

#include <algorithm>
#include <cstring>

#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"

namespace lstmcore {

Index blocks_at_once(const CellShape& shape, Index itemsize) {
  return std::clamp<Index>(
      policy::gradient_panel_bytes / (kernels::most_transposed_depth * shape.block_width() * itemsize), 1,
      shape.blocks());
}

template <class T>
Index panel_scratch_size(const CellShape& shape) {
  return kernels::most_transposed_depth * shape.block_width() * blocks_at_once(shape, sizeof(T));
}

namespace {

/// Where there are vectors, the length of every strip is a multiple of this: two vectors of 16 bytes.
constexpr std::size_t vector_strip_bytes = 32;

/// Columns of rows of gradients, from `offset` on, as panels.
template <class T>
void copy_panels(const CellShape& shape, const StepRows<T>& rows, Index begin, Index depth, Range blocks, Index offset,
                 T* panels) {
  constexpr Index part = vector_strip_bytes / sizeof(T);
  const Range columns = shape.columns_of(blocks);
  const Index strip = shape.strip, rest = columns.size() % strip, whole = columns.size() - rest;
  for (Index k = 0; k < depth; ++k) {
    const T* const from = rows.gates[static_cast<std::size_t>(begin + k)] + offset + columns.begin;
    T* to = panels + k * strip;
    for (Index column = 0; column < whole; column += strip, to += depth * strip) {
      if (strip < part) {
        std::copy_n(from + column, strip, to);
        continue;
      }
      // In parts of constant size, whose copies are inlined.
      for (Index at = 0; at < strip; at += part) std::memcpy(to + at, from + column + at, vector_strip_bytes);
    }
    std::copy_n(from + whole, rest, panels + whole * depth + k * rest);
  }
}

}  // namespace

template <class T>
void add_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                  T* scratch) {
  const Index width = shape.block_width(), group = blocks_at_once(shape, sizeof(T));
  const kernels::Kernels<T>& table = active_kernels<T>();
  kernels::TransposedProduct<T> product{};
  product.depth = part.depth;
  product.panels = scratch;
  product.out_stride = shape.gates_width();
  product.accumulate = part.accumulate;
  product.add = part.add;
  for (Index block = area.blocks.begin; block < area.blocks.end; block += group) {
    const Range some{block, std::min(block + group, area.blocks.end)};
    product.columns = shape.columns_of(some).size();
    product.panel_end = some.size();
    const auto add = [&](const std::vector<const T*>& left, Range columns, Buffer<T>& sums) {
      if (sums.size() == 0) return;
      product.a = left.data() + part.begin;
      product.out = sums.data() + some.begin * width;
      product.row_begin = columns.begin;
      product.row_end = columns.end;
      table.transposed_product(product);
    };
    // Without layer norms the same panels serve both products.
    const bool wanted = part.sums.x.size() + part.sums.h.size() > 0;
    if (wanted) copy_panels(shape, rows, part.begin, part.depth, some, shape.x_gradients(), scratch);
    add(rows.x, area.x_columns, part.sums.x);
    if (wanted && shape.normed) copy_panels(shape, rows, part.begin, part.depth, some, shape.h_gradients(), scratch);
    add(rows.h_prev, area.h_columns, part.sums.h);
  }
}

template <class T>
void add_bias(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, Range blocks) {
  if (part.sums.bias.size() == 0) return;
  const Index column = shape.columns_of(blocks).begin, columns = shape.columns_of(blocks).size();
  const kernels::Kernels<T>& table = active_kernels<T>();
  T* const bias = part.sums.bias.data() + column;
  if (part.add) {
    // Sum row by row from zeros, then add the earlier sum last.
    std::vector<T> block(static_cast<std::size_t>(columns));
    for (Index k = 0; k < part.depth; ++k) {
      table.add(rows.gates[static_cast<std::size_t>(part.begin + k)] + column, block.data(), columns);
    }
    table.add(block.data(), bias, columns);
    return;
  }
  if (!part.accumulate) std::fill(bias, bias + columns, T(0));
  for (Index k = 0; k < part.depth; ++k) {
    table.add(rows.gates[static_cast<std::size_t>(part.begin + k)] + column, bias, columns);
  }
}

template <class T>
void add_sums(const CellShape& shape, const GateSums<T>& from, GateSums<T>& to, const SumArea& area, bool copy) {
  const Index width = shape.gates_width();
  const Index first = shape.columns_of(area.blocks).begin, count = shape.columns_of(area.blocks).size();
  const auto add = [&](const Buffer<T>& values, Buffer<T>& sums, Range rows) {
    if (sums.size() == 0 || values.size() == 0) return;
    for (Index row = rows.begin; row < rows.end; ++row) {
      const T* const source = values.data() + row * width + first;
      T* const target = sums.data() + row * width + first;
      if (copy) {
        std::copy_n(source, count, target);
      } else {
        active_kernels<T>().add(source, target, count);
      }
    }
  };
  add(from.x, to.x, area.x_columns);
  add(from.h, to.h, area.h_columns);
  if (area.with_bias) add(from.bias, to.bias, {0, 1});
}

template Index panel_scratch_size<float>(const CellShape&);
template void add_products(const CellShape&, const StepRows<float>&, const SumPart<float>&, const SumArea&, float*);
template void add_bias(const CellShape&, const StepRows<float>&, const SumPart<float>&, Range);
template void add_sums(const CellShape&, const GateSums<float>&, GateSums<float>&, const SumArea&, bool);
template Index panel_scratch_size<double>(const CellShape&);
template void add_products(const CellShape&, const StepRows<double>&, const SumPart<double>&, const SumArea&, double*);
template void add_bias(const CellShape&, const StepRows<double>&, const SumPart<double>&, Range);
template void add_sums(const CellShape&, const GateSums<double>&, GateSums<double>&, const SumArea&, bool);

}  // namespace lstmcore
