#include "weight_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "../packing/pack.hpp"
#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"

namespace lstmcore {
namespace {

constexpr Index chunk_depth = kernels::most_transposed_depth;

/// Blocks of hidden units whose panels the second-level cache holds beside what they are multiplied with.
Index blocks_at_once(const CellShape& shape, Index itemsize) {
  return std::clamp<Index>(policy::gradient_panel_bytes / (chunk_depth * shape.block_width() * itemsize), 1,
                           shape.blocks());
}

/// Whether the kernels may write there.
template <class T>
bool has_unit_stride(const View<T, 2>& matrix) {
  return !matrix || matrix.stride[1] == 1;
}

/// Hidden units of some blocks.
Range units_of(const CellShape& shape, Range blocks) {
  return {blocks.begin * shape.lanes, std::min(blocks.end * shape.lanes, shape.hidden)};
}

}  // namespace

template <class T>
WeightGradient<T>::WeightGradient(const CellShape& shape, const LstmCellWeights<T>& gradients, T cell_clip, Index rows,
                                  bool several_blocks, bool in_lowp)
    : kernels_(active_kernels<T>()),
      shape_(shape),
      gradients_(gradients),
      cell_clip_(cell_clip),
      direct_(rows > 0 && rows <= kernels::most_outer_rows && has_unit_stride(gradients.weight_ih) &&
              has_unit_stride(gradients.weight_hh)),
      several_blocks_(several_blocks && !direct_),
      in_lowp_(in_lowp && !direct_) {
  const auto width = static_cast<std::size_t>(shape.gates_width());
  sums_.x.resize(gradients.weight_ih && !direct_ ? width * static_cast<std::size_t>(shape.input) : 0);
  sums_.h.resize(gradients.weight_hh && !direct_ ? width * static_cast<std::size_t>(shape.state) : 0);
  sums_.bias.resize(gradients.bias ? width : 0);
  const auto projected = static_cast<std::size_t>(shape.hidden * shape.state_padded());
  projection_.resize(gradients.weight_hr ? projected : 0);
  peephole_.resize(gradients.peephole ? 3 * static_cast<std::size_t>(shape.padded()) : 0);
  const bool norms = gradients.gain_ih || gradients.gain_hh || gradients.gain_c || gradients.bias_c;
  norms_.resize(norms ? 2 * width + 2 * static_cast<std::size_t>(shape.padded()) : 0);
}

template <class T>
typename WeightGradient<T>::Sums WeightGradient<T>::like_sums(bool zeros) const {
  Sums like;
  const auto make = [&](const Buffer<T>& of, Buffer<T>& to) {
    to.resize(of.size());
    if (zeros) std::fill(to.data(), to.data() + to.size(), T(0));
  };
  make(sums_.x, like.x);
  make(sums_.h, like.h);
  if (norms_.size() == 0) make(sums_.bias, like.bias);  // else `add_norms` sums it, in `sums_` itself
  return like;
}

template <class T>
typename WeightGradient<T>::Sums& WeightGradient<T>::block_sums() {
  std::call_once(apart_->block_made, [&] { apart_->block = like_sums(false); });
  return apart_->block;
}

template <class T>
typename WeightGradient<T>::Sums& WeightGradient<T>::unsplit_sums() {
  std::call_once(apart_->unsplit_made, [&] {
    apart_->unsplit = like_sums(true);
    apart_->any_unsplit = true;
  });
  return apart_->unsplit;
}

template <class T>
typename WeightGradient<T>::Area WeightGradient<T>::all_of(Range blocks) const {
  return {blocks, {0, shape_.input}, {0, shape_.state}, true};
}

template <class T>
void WeightGradient<T>::add_sums(const Sums& from, Sums& to, const Area& area, bool copy) const {
  const Index width = shape_.gates_width();
  const Index first = area.blocks.begin * shape_.block_width(), count = area.blocks.size() * shape_.block_width();
  const auto add = [&](const Buffer<T>& values, Buffer<T>& sums, Range rows) {
    if (sums.size() == 0 || values.size() == 0) return;
    for (Index row = rows.begin; row < rows.end; ++row) {
      const T* const source = values.data() + row * width + first;
      T* const target = sums.data() + row * width + first;
      if (copy) {
        std::copy_n(source, count, target);
      } else {
        kernels_.add(source, target, count);
      }
    }
  };
  add(from.x, to.x, area.x_columns);
  add(from.h, to.h, area.h_columns);
  if (area.with_bias) add(from.bias, to.bias, {0, 1});
}

template <class T>
template <class Visit>
void WeightGradient<T>::visit_norms(Range blocks, Visit&& visit) const {
  if (norms_.size() == 0) return;
  const Index width = shape_.gates_width(), padded = shape_.padded();
  for (const Index begin : {Index{0}, width}) {
    visit(begin + blocks.begin * shape_.block_width(), blocks.size() * shape_.block_width());
  }
  for (const Index begin : {2 * width, 2 * width + padded}) {
    visit(begin + blocks.begin * shape_.lanes, blocks.size() * shape_.lanes);
  }
}

template <class T>
void WeightGradient<T>::add_norms(const StepRows<T>& rows, bool first, Range blocks) {
  if (first) visit_norms(blocks, [&](Index at, Index size) { std::fill_n(norms_.data() + at, size, T(0)); });
  kernels::NormSums<T> sums{};
  sums.blocks = shape_.blocks();
  sums.block_begin = blocks.begin;
  sums.block_end = blocks.end;
  sums.gain_x = norms_.data();
  sums.gain_h = sums.gain_x + shape_.gates_width();
  sums.gain_c = sums.gain_h + shape_.gates_width();
  sums.bias_c = sums.gain_c + shape_.padded();
  sums.rows = rows.count;
  sums.dgates = rows.gates.data();
  sums.norm_x = rows.norm_x.data();
  sums.norm_h = rows.norm_h.data();
  sums.statistics = rows.statistics.data();
  if (sums_.bias.size() > 0) {
    sums.bias = sums_.bias.data();
    const Index column = blocks.begin * shape_.block_width();
    if (first) std::fill_n(sums.bias + column, blocks.size() * shape_.block_width(), T(0));
  }
  kernels_.add_norms(sums);
}

template <class T>
Index WeightGradient<T>::scratch_size(const CellShape& shape) {
  return chunk_depth * shape.block_width() * blocks_at_once(shape, sizeof(T));
}

template <class T>
void WeightGradient<T>::add(const StepRows<T>& rows, bool first, Range blocks, int column_parts, int column_part,
                            T* scratch, LowpGradient& lowp) {
  const Range x_columns = split(shape_.input, column_parts, column_part, kernels_.tile_rows);
  const Range h_columns = split(shape_.state, column_parts, column_part, kernels_.tile_rows);
  if (direct_ && rows.count > 0) {
    if (gradients_.weight_ih) {
      add_directly(rows, first, blocks, shape_.x_gradients(), rows.x, x_columns, gradients_.weight_ih);
    }
    if (gradients_.weight_hh) {
      add_directly(rows, first, blocks, shape_.h_gradients(), rows.h_prev, h_columns, gradients_.weight_hh);
    }
  }
  const Area area{blocks, x_columns, h_columns, column_part == 0};
  for (const SumBlock& block : rows.blocks) add_block(rows, block, area, scratch, lowp);
  if (peephole_.size() > 0 && column_part == 0) add_peephole(rows, first, blocks);
  if (projection_.size() > 0 && column_part == 0) add_projection(rows, first, blocks, scratch);
  if (norms_.size() > 0 && column_part == 0) add_norms(rows, first, blocks);
}

template <class T>
void WeightGradient<T>::add_block(const StepRows<T>& rows, const SumBlock& block, const Area& area, T* scratch,
                                  LowpGradient& lowp) {
  const bool whole = block.starts && block.ends && block.end - block.begin <= chunk_depth;
  const bool apart = several_blocks_ && !whole;
  Sums& sums = apart ? block_sums() : sums_;
  for (Index begin = block.begin; begin < block.end; begin += chunk_depth) {
    const bool starts = block.starts && begin == block.begin, on_top = several_blocks_ && whole && !block.first;
    const Part part{begin, std::min(chunk_depth, block.end - begin), sums, !starts && !on_top, on_top};
    if (area.with_bias) add_bias(rows, part, area.blocks);
    if (in_lowp_) {
      add_lowp(rows, part, area, lowp);
    } else {
      add_floats(rows, part, area, scratch);
    }
  }
  if (apart && block.ends) add_sums(sums, sums_, area, block.first);
}

template <class T>
void WeightGradient<T>::add_directly(const StepRows<T>& rows, bool first, Range blocks, Index offset,
                                     const std::vector<const T*>& inputs, Range columns, const View<T, 2>& gradient) {
  kernels::OuterProduct<T> product{};
  product.rows = rows.count;
  product.a = rows.gates.data();
  product.b = inputs.data();
  product.column_begin = columns.begin;
  product.column_end = columns.end;
  product.out_stride = gradient.stride[0];
  product.accumulate = !first;
  for (Index block = blocks.begin; block < blocks.end; ++block) {
    visit_gates(shape_, block, [&](Index column, Index gate_row, Index units) {
      product.a_begin = offset + block * shape_.block_width() + column;
      product.units = units;
      product.out = gradient.data + gate_row * gradient.stride[0];
      kernels_.outer_product(product);
    });
  }
}

/// dR^T = m^T dr for the blocks' hidden units.
template <class T>
void WeightGradient<T>::add_projection(const StepRows<T>& rows, bool first, Range blocks, T* scratch) {
  const Index width = shape_.block_width(), stride = shape_.state_padded();
  const Range units = units_of(shape_, blocks);
  for (Index begin = 0; begin < rows.count; begin += chunk_depth) {
    const Index depth = std::min(chunk_depth, rows.count - begin);
    for (Index column = 0; column < shape_.state; column += width) {
      const Index real = std::min(width, shape_.state - column);
      const Index padded = panel_width(0, real, shape_.lanes);
      for (Index k = 0; k < depth; ++k) {
        const T* const from = rows.dr[static_cast<std::size_t>(begin + k)] + column;
        std::fill(std::copy(from, from + real, scratch + k * padded), scratch + (k + 1) * padded, T(0));
      }
      kernels::TransposedProduct<T> product{};
      product.row_begin = units.begin;
      product.row_end = units.end;
      product.depth = depth;
      product.columns = real;
      product.a = rows.m.data() + begin;
      product.panels = scratch;
      product.out = projection_.data() + column;
      product.out_stride = stride;
      product.accumulate = !first || begin > 0;
      product.panel_end = 1;
      kernels_.transposed_product(product);
    }
  }
}

template <class T>
void WeightGradient<T>::add_peephole(const StepRows<T>& rows, bool first, Range blocks) {
  T* const sums = peephole_.data() + 3 * blocks.begin * shape_.lanes;
  if (first) std::fill(sums, sums + 3 * blocks.size() * shape_.lanes, T(0));
  const Index gates = blocks.begin * shape_.block_width(), units = blocks.begin * shape_.lanes;
  for (Index k = 0; k < rows.count; ++k) {
    const auto row = static_cast<std::size_t>(k);
    kernels_.add_peephole(rows.gates[row] + gates, rows.activations[row] + gates, rows.c_prev[row] + units, cell_clip_,
                          sums, blocks.size());
  }
}

/// Columns of rows of gradients, from `offset` on, as panels.
template <class T>
void WeightGradient<T>::copy_panels(const StepRows<T>& rows, Index begin, Index depth, Range blocks, Index offset,
                                    T* panels) const {
  const Index width = shape_.block_width();
  for (Index k = 0; k < depth; ++k) {
    const T* from = rows.gates[static_cast<std::size_t>(begin + k)] + offset + blocks.begin * width;
    T* to = panels + k * width;
    for (Index block = 0; block < blocks.size(); ++block, from += width, to += depth * width) {
      std::copy(from, from + width, to);
    }
  }
}

template <class T>
void WeightGradient<T>::add_floats(const StepRows<T>& rows, const Part& part, const Area& area, T* scratch) {
  const Index width = shape_.block_width(), group = blocks_at_once(shape_, sizeof(T));
  kernels::TransposedProduct<T> product{};
  product.depth = part.depth;
  product.panels = scratch;
  product.out_stride = shape_.gates_width();
  product.accumulate = part.accumulate;
  product.add = part.add;
  for (Index block = area.blocks.begin; block < area.blocks.end; block += group) {
    const Range some{block, std::min(block + group, area.blocks.end)};
    product.columns = some.size() * width;
    product.panel_end = some.size();
    const auto add = [&](const std::vector<const T*>& left, Range columns, Buffer<T>& sums) {
      if (sums.size() == 0) return;
      product.a = left.data() + part.begin;
      product.out = sums.data() + some.begin * width;
      product.row_begin = columns.begin;
      product.row_end = columns.end;
      kernels_.transposed_product(product);
    };
    // Without norms the same panels serve both products.
    const bool wanted = part.sums.x.size() + part.sums.h.size() > 0;
    if (wanted) copy_panels(rows, part.begin, part.depth, some, shape_.x_gradients(), scratch);
    add(rows.x, area.x_columns, part.sums.x);
    if (wanted && shape_.normed) copy_panels(rows, part.begin, part.depth, some, shape_.h_gradients(), scratch);
    add(rows.h_prev, area.h_columns, part.sums.h);
  }
}

template <class T>
void WeightGradient<T>::add_bias(const StepRows<T>& rows, const Part& part, Range blocks) {
  if (part.sums.bias.size() == 0 || norms_.size() > 0) return;
  const Index column = blocks.begin * shape_.block_width(), columns = blocks.size() * shape_.block_width();
  T* const bias = part.sums.bias.data() + column;
  if (part.add) {
    // Row by row from zeros, and then on top: the last to come is what was there before.
    std::vector<T> block(static_cast<std::size_t>(columns));
    for (Index k = 0; k < part.depth; ++k) {
      kernels_.add(rows.gates[static_cast<std::size_t>(part.begin + k)] + column, block.data(), columns);
    }
    kernels_.add(block.data(), bias, columns);
    return;
  }
  if (!part.accumulate) std::fill(bias, bias + columns, T(0));
  for (Index k = 0; k < part.depth; ++k) {
    kernels_.add(rows.gates[static_cast<std::size_t>(part.begin + k)] + column, bias, columns);
  }
}

void LowpGradient::prepare(const CellShape& shape) {
  const Arithmetic& arithmetic = shape.arithmetic;
  const Index groups = arithmetic.groups(chunk_depth) * arithmetic.terms;
  const Index columns = shape.input + shape.state + 2 * arithmetic.unit->row_multiple;
  left.resize(static_cast<std::size_t>(groups * columns));
  turned.resize(static_cast<std::size_t>(groups * shape.block_width()));
  right.resize(static_cast<std::size_t>(groups * shape.block_width() * blocks_at_once(shape, sizeof(float))));
  out.resize(static_cast<std::size_t>(std::max(shape.input, shape.state)));
  std::fill_n(left.data(), left.size(), PackedGroup{0});
}

template <class T>
void WeightGradient<T>::add_lowp(const StepRows<T>& rows, const Part& part, const Area& area, LowpGradient& lowp) {
  if constexpr (std::is_same_v<T, float>) {
    const kernels::LowpKernels& kernels = active_table().lowp;
    const Arithmetic& arithmetic = shape_.arithmetic;
    const Index count = arithmetic.groups(part.depth), stride = count * arithmetic.terms;
    const Index width = shape_.block_width(), group = blocks_at_once(shape_, sizeof(T));
    bool exact = true;
    const auto split_columns = [&](const std::vector<const float*>& inputs, Range columns, PackedGroup* to) {
      for (Index first = columns.begin; first < columns.end; first += width) {
        const Index real = std::min(width, columns.end - first);
        exact = kernels.split_panel(inputs.data() + part.begin, part.depth, first, real, real, arithmetic.terms, count,
                                    lowp.turned.data()) &&
                exact;
        for (Index term = 0; term < arithmetic.terms; ++term) {
          // Words are moved, not computed with.
          kernels_.transpose(reinterpret_cast<const float*>(lowp.turned.data() + term * count * real), real, count,
                             real, reinterpret_cast<float*>(to + (first - columns.begin) * stride + term * count),
                             stride);
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
              sums.data() + column * shape_.gates_width() + first * width;
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
    if (!exact) add_unsplit(rows, part, area);
  }
}

template <class T>
void WeightGradient<T>::add_unsplit(const StepRows<T>& rows, const Part& part, const Area& area) {
  Sums& sums = unsplit_sums();
  const Index first = area.blocks.begin * shape_.block_width(), count = area.blocks.size() * shape_.block_width();
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
        T* const sum = to.data() + row * shape_.gates_width() + first;
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

template <class T>
void WeightGradient<T>::clear(Range blocks) {
  if (peephole_.size() > 0) {
    std::fill_n(peephole_.data() + 3 * blocks.begin * shape_.lanes, 3 * blocks.size() * shape_.lanes, T(0));
  }
  if (projection_.size() > 0) {
    const Range units = units_of(shape_, blocks);
    std::fill_n(projection_.data() + units.begin * shape_.state_padded(), units.size() * shape_.state_padded(), T(0));
  }
  visit_norms(blocks, [&](Index at, Index size) { std::fill_n(norms_.data() + at, size, T(0)); });
  for (Buffer<T>* sums : {&sums_.x, &sums_.h, &sums_.bias}) {
    const Index columns = blocks.size() * shape_.block_width(), end = static_cast<Index>(sums->size());
    for (Index at = blocks.begin * shape_.block_width(); at < end; at += shape_.gates_width()) {
      std::fill(sums->data() + at, sums->data() + at + columns, T(0));
    }
  }
}

template <class T>
void WeightGradient<T>::finish(Range blocks) {
  if (apart_->any_unsplit) add_sums(apart_->unsplit, sums_, all_of(blocks), false);
}

template <class T>
void WeightGradient<T>::add(const WeightGradient& other, Range blocks) {
  add_sums(other.sums_, sums_, all_of(blocks), false);
  visit_norms(blocks, [&](Index at, Index size) { kernels_.add(other.norms_.data() + at, norms_.data() + at, size); });
  if (projection_.size() > 0) {
    const Range units = units_of(shape_, blocks);
    for (Index unit = units.begin; unit < units.end; ++unit) {
      const Index from = unit * shape_.state_padded();
      kernels_.add(other.projection_.data() + from, projection_.data() + from, shape_.state);
    }
  }
  if (peephole_.size() > 0) {
    const Index from = 3 * blocks.begin * shape_.lanes;
    kernels_.add(other.peephole_.data() + from, peephole_.data() + from, 3 * blocks.size() * shape_.lanes);
  }
}

template <class T>
void WeightGradient<T>::write(Range blocks) const {
  if (sums_.x.size() > 0) unpack_gradient(shape_, sums_.x.data(), blocks, gradients_.weight_ih);
  if (sums_.h.size() > 0) unpack_gradient(shape_, sums_.h.data(), blocks, gradients_.weight_hh);
  if (sums_.bias.size() > 0) unpack_gradient(shape_, sums_.bias.data(), blocks, gradients_.bias, 4);
  if (projection_.size() > 0) {
    const Range units = units_of(shape_, blocks);
    for (Index unit = units.begin; unit < units.end; ++unit) {
      const T* const from = projection_.data() + unit * shape_.state_padded();
      for (Index k = 0; k < shape_.state; ++k) gradients_.weight_hr(k, unit) = from[k];
    }
  }
  if (peephole_.size() > 0) unpack_gradient(shape_, peephole_.data(), blocks, gradients_.peephole, 3);
  const T* norm = norms_.data();
  const Index width = shape_.gates_width();
  if (gradients_.gain_ih) unpack_gradient(shape_, norm, blocks, gradients_.gain_ih, 4);
  if (gradients_.gain_hh) unpack_gradient(shape_, norm + width, blocks, gradients_.gain_hh, 4);
  if (gradients_.gain_c) unpack_gradient(shape_, norm + 2 * width, blocks, gradients_.gain_c, 1);
  if (gradients_.bias_c) unpack_gradient(shape_, norm + 2 * width + shape_.padded(), blocks, gradients_.bias_c, 1);
}

RowSet::RowSet(const Schedule& schedule, int parts, int part)
    : rows(deal_rows(schedule, parts, part)), position(static_cast<std::size_t>(schedule.rows)) {
  Index alive = static_cast<Index>(rows.size());
  for (Index i = 0; i < alive; ++i) position[static_cast<std::size_t>(row(i))] = i;
  offset.reserve(static_cast<std::size_t>(schedule.longest) + 1);
  offset.push_back(0);
  for (Index step = 0; step < schedule.longest; ++step) {
    while (alive > 0 && schedule.length[static_cast<std::size_t>(row(alive - 1))] <= step) --alive;
    offset.push_back(offset.back() + alive);
  }
}

void RowSet::cut_blocks(Index row_multiple) {
  const Index steps = static_cast<Index>(offset.size()) - 1;
  std::vector<char> ends(static_cast<std::size_t>(steps), 0);
  Index count = 0;
  for (Index step = steps - 1; step >= 0; --step) {
    const Index more = (alive(step) + row_multiple - 1) / row_multiple * row_multiple;
    if (count > 0 && count + more > chunk_depth) {
      ends[static_cast<std::size_t>(step + 1)] = 1;
      first_closed = std::max(first_closed, step + 1);
      count = 0;
    }
    count += more;
  }
  if (first_closed == 0) return;  // one block
  ends[0] = 1;
  closes = std::move(ends);
}

namespace {

/// Rows that a step's are filled up to where gradients are summed in a lower precision: whole packed groups, or tiles,
/// so that neither the cut into calls nor into time segments changes the order of the sums. 1: the precision is
/// float's, also where most would be filling, and for the few rows that are summed where the caller wants the sums.
Index gradient_row_multiple(const CellShape& shape, const Schedule& schedule) {
  if (shape.arithmetic.quantized() || shape.normed || schedule.total <= kernels::most_outer_rows) return 1;
  const kernels::ProductUnit& unit = *shape.arithmetic.unit;
  const Index multiple = unit.group * unit.group_multiple;
  const int products = kernels::term_pair_counts[shape.arithmetic.terms - 1];
  const double most_filling = std::max(1.25, 0.75 * unit.speed / products);
  Index filled = 0;
  Index alive = schedule.rows;
  for (Index step = 0; step < schedule.longest; ++step) {
    while (alive > 0 && schedule.length[static_cast<std::size_t>(alive - 1)] <= step) --alive;
    filled += (alive + multiple - 1) / multiple * multiple;
  }
  return static_cast<double>(filled) <= most_filling * static_cast<double>(schedule.total) ? multiple : 1;
}

}  // namespace

template <class T>
WeightSums<T>::WeightSums(const CellShape& shape, const Schedule& schedule,
                          const std::vector<LstmCellWeights<T>>& gradients, T cell_clip, bool in_lowp) {
  if (in_lowp) row_multiple_ = gradient_row_multiple(shape, schedule);
  const int groups = row_groups(shape, schedule, row_multiple_);
  for (int group = 0; group < groups; ++group) {
    groups_.emplace_back(schedule, groups, group);
    groups_.back().cut_blocks(row_multiple_);
  }
  for (const LstmCellWeights<T>& direction : gradients) {
    for (int group = 0; group < groups; ++group) {
      gradients_.emplace_back(shape, direction, cell_clip,
                              groups == 1 ? schedule.total : std::numeric_limits<Index>::max(),
                              !groups_[static_cast<std::size_t>(group)].closes.empty(), row_multiple_ > 1);
      wanted_ = wanted_ || gradients_.back().wanted();
    }
  }
}

template <class T>
bool WeightSums<T>::peephole_wanted() const {
  return std::any_of(gradients_.begin(), gradients_.end(), [](const auto& sum) { return sum.peephole_wanted(); });
}

template <class T>
void WeightSums<T>::write(const Schedule& schedule, Index direction, Range blocks) {
  WeightGradient<T>& sum = of(direction, 0);
  if (schedule.total == 0) sum.clear(blocks);
  sum.finish(blocks);
  for (std::size_t group = 1; group < groups_.size(); ++group) {
    if (groups_[group].longest(schedule) == 0) continue;
    WeightGradient<T>& other = of(direction, static_cast<Index>(group));
    other.finish(blocks);
    sum.add(other, blocks);
  }
  sum.write(blocks);
}

template class WeightGradient<float>;
template class WeightGradient<double>;
template class WeightSums<float>;
template class WeightSums<double>;

}  // namespace lstmcore
