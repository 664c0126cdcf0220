// Sums of products in a lower precision.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "../runtime/isa.hpp"
#include "gate_sums.hpp"

namespace lstmcore {

void LowpGradient::prepare(const CellShape& shape) {
  const Arithmetic& arithmetic = shape.arithmetic;
  const Index groups = arithmetic.groups(kernels::most_transposed_depth) * arithmetic.terms;
  const Index columns = shape.input + shape.state + 2 * arithmetic.unit->row_multiple;
  left.resize(static_cast<std::size_t>(groups * columns));
  transposed.resize(static_cast<std::size_t>(groups * shape.block_width()));
  right.resize(static_cast<std::size_t>(groups * shape.block_width() * blocks_at_once(shape, sizeof(float))));
  out.resize(static_cast<std::size_t>(std::max(shape.input, shape.state)));
  std::fill_n(left.data(), left.size(), PackedGroup{0});
}

template <class T>
bool add_lowp_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                       LowpGradient& lowp) {
  if constexpr (std::is_same_v<T, float>) {
    const kernels::LowpKernels& kernels = active_table().lowp;
    const Arithmetic& arithmetic = shape.arithmetic;
    const Index count = arithmetic.groups(part.depth), stride = count * arithmetic.terms;
    const Index width = shape.block_width(), group = blocks_at_once(shape, sizeof(T));
    bool exact = true;
    const auto split_columns = [&](const std::vector<const float*>& inputs, Range columns, PackedGroup* to) {
      for (Index first = columns.begin; first < columns.end; first += width) {
        const Index real = std::min(width, columns.end - first);
        exact = kernels.split_panel(inputs.data() + part.begin, part.depth, first, real, real, arithmetic.terms, count,
                                    lowp.transposed.data()) &&
                exact;
        for (Index term = 0; term < arithmetic.terms; ++term) {
          // Packed groups are only moved; their bits are not floats.
          active_kernels<float>().transpose(
              reinterpret_cast<const float*>(lowp.transposed.data() + term * count * real), real, count, real,
              reinterpret_cast<float*>(to + (first - columns.begin) * stride + term * count), stride);
        }
      }
    };
    const Index of_x = part.sums.x.size() > 0 ? area.x_columns.size() : 0;
    const Index of_h = part.sums.h.size() > 0 ? area.h_columns.size() : 0;
    PackedGroup* const x_left = lowp.left.data();
    PackedGroup* const h_left = x_left + (of_x + arithmetic.unit->row_multiple) * stride;
    if (of_x > 0) split_columns(rows.x, area.x_columns, x_left);
    if (of_h > 0) split_columns(rows.h_prev, area.h_columns, h_left);
    for (Index first = area.blocks.begin; first < area.blocks.end; first += group) {
      const Range some{first, std::min(first + group, area.blocks.end)};
      for (Index block = some.begin; block < some.end; ++block) {
        exact = kernels.split_panel(rows.gates.data() + part.begin, part.depth, block * width, width, width,
                                    arithmetic.terms, count, lowp.right.data() + (block - first) * stride * width) &&
                exact;
      }
      const auto add = [&](const PackedGroup* left, Range columns, Buffer<float>& sums) {
        for (Index column = columns.begin; column < columns.end; ++column) {
          lowp.out[static_cast<std::size_t>(column - columns.begin)] =
              sums.data() + column * shape.gates_width() + first * width;
        }
        kernels::LowpProduct product{};
        product.rows = columns.size();
        product.columns = some.size() * width;
        product.panel_width = width;
        product.terms = arithmetic.terms;
        product.count = 1;
        product.factors[0].groups = count;
        product.factors[0].a = left;
        product.factors[0].a_stride = stride;
        product.factors[0].panels = lowp.right.data();
        product.out = lowp.out.data();
        product.accumulate = part.accumulate;
        product.add = part.add;
        product.panel_end = some.size();
        arithmetic.unit->product(product);
      };
      if (of_x > 0) add(x_left, area.x_columns, part.sums.x);
      if (of_h > 0) add(h_left, area.h_columns, part.sums.h);
    }
    return exact;
  } else {
    return true;
  }
}

template <class T>
void add_unsplit_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                          GateSums<T>& sums) {
  const Index first = area.blocks.begin * shape.block_width(), count = area.blocks.size() * shape.block_width();
  const auto unsplit = [](T value) { return !(std::abs(value) <= static_cast<T>(kernels::largest_split)); };
  std::vector<Index> columns;  // of gates that cannot be split
  for (Index k = part.begin; k < part.begin + part.depth; ++k) {
    const auto at = static_cast<std::size_t>(k);
    const T* const gates = rows.gates[at] + first;
    columns.clear();
    for (Index column = 0; column < count; ++column) {
      if (unsplit(gates[column])) columns.push_back(column);
    }
    const auto add = [&](const T* left, Range own, Buffer<T>& to) {
      for (Index row = own.begin; row < own.end && to.size() > 0; ++row) {
        T* const sum = to.data() + row * shape.gates_width() + first;
        if (unsplit(left[row])) {
          for (Index column = 0; column < count; ++column) sum[column] += left[row] * gates[column];
        } else {
          for (const Index column : columns) sum[column] += left[row] * gates[column];
        }
      }
    };
    add(rows.x[at], area.x_columns, sums.x);
    add(rows.h_prev[at], area.h_columns, sums.h);
  }
}

template bool add_lowp_products(const CellShape&, const StepRows<float>&, const SumPart<float>&, const SumArea&,
                                LowpGradient&);
template void add_unsplit_products(const CellShape&, const StepRows<float>&, const SumPart<float>&, const SumArea&,
                                   GateSums<float>&);
template bool add_lowp_products(const CellShape&, const StepRows<double>&, const SumPart<double>&, const SumArea&,
                                LowpGradient&);
template void add_unsplit_products(const CellShape&, const StepRows<double>&, const SumPart<double>&, const SumArea&,
                                   GateSums<double>&);

}  // namespace lstmcore
