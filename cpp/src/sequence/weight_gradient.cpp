#include "weight_gradient.hpp"

#include <algorithm>

#include "../packing/pack.hpp"
#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"

namespace lstmcore {
namespace {

/// Whether the kernels can write to a matrix.
template <class T>
bool has_unit_stride(const View<T, 2>& matrix) {
  return !matrix || matrix.stride[1] == 1;
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
GateSums<T> WeightGradient<T>::like_sums(bool zeros) const {
  GateSums<T> like;
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
GateSums<T>& WeightGradient<T>::block_sums() {
  std::call_once(apart_->block_made, [&] { apart_->block = like_sums(false); });
  return apart_->block;
}

template <class T>
GateSums<T>& WeightGradient<T>::unsplit_sums() {
  std::call_once(apart_->unsplit_made, [&] {
    apart_->unsplit = like_sums(true);
    apart_->any_unsplit = true;
  });
  return apart_->unsplit;
}

template <class T>
SumArea WeightGradient<T>::all_of(Range blocks) const {
  return {blocks, {0, shape_.input}, {0, shape_.state}, true};
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
  return panel_scratch_size<T>(shape);
}

template <class T>
void WeightGradient<T>::add(const StepRows<T>& rows, bool first, Range blocks, int column_parts, int column_part,
                            T* scratch, LowpGradient& lowp, const InterruptWatch& watch) {
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
  const SumArea area{blocks, x_columns, h_columns, column_part == 0};
  for (const SumBlock& block : rows.blocks) {
    if (watch.stopped()) return;
    add_block(rows, block, area, scratch, lowp);
  }
  if (peephole_.size() > 0 && column_part == 0) add_peephole(rows, first, blocks);
  if (projection_.size() > 0 && column_part == 0) add_projection(rows, first, blocks, scratch);
  if (norms_.size() > 0 && column_part == 0) add_norms(rows, first, blocks);
}

template <class T>
void WeightGradient<T>::add_block(const StepRows<T>& rows, const SumBlock& block, const SumArea& area, T* scratch,
                                  LowpGradient& lowp) {
  const bool whole = block.starts && block.ends && block.end - block.begin <= kernels::most_transposed_depth;
  const bool apart = several_blocks_ && !whole;
  GateSums<T>& sums = apart ? block_sums() : sums_;
  for (Index begin = block.begin; begin < block.end; begin += kernels::most_transposed_depth) {
    const bool starts = block.starts && begin == block.begin, on_top = several_blocks_ && whole && !block.first;
    const SumPart<T> part{begin, std::min(kernels::most_transposed_depth, block.end - begin), sums, !starts && !on_top,
                          on_top};
    if (area.with_bias && norms_.size() == 0) add_bias(shape_, rows, part, area.blocks);
    if (!in_lowp_) {
      add_products(shape_, rows, part, area, scratch);
    } else if (!add_lowp_products(shape_, rows, part, area, lowp)) {
      add_unsplit_products(shape_, rows, part, area, unsplit_sums());
    }
  }
  if (apart && block.ends) add_sums(shape_, sums, sums_, area, block.first);
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
  const PanelLayout layout = kernels_.layout();
  const Range units = shape_.units_of(blocks);
  for (Index begin = 0; begin < rows.count; begin += kernels::most_transposed_depth) {
    const Index depth = std::min(kernels::most_transposed_depth, rows.count - begin);
    for (Index column = 0; column < shape_.state; column += layout.strip) {
      const Index padded = layout.width(column, shape_.state), real = std::min(padded, shape_.state - column);
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
      product.out_stride = shape_.state_padded();
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

template <class T>
void WeightGradient<T>::clear(Range blocks) {
  if (peephole_.size() > 0) {
    std::fill_n(peephole_.data() + 3 * blocks.begin * shape_.lanes, 3 * blocks.size() * shape_.lanes, T(0));
  }
  if (projection_.size() > 0) {
    const Range units = shape_.units_of(blocks);
    std::fill_n(projection_.data() + units.begin * shape_.state_padded(), units.size() * shape_.state_padded(), T(0));
  }
  visit_norms(blocks, [&](Index at, Index size) { std::fill_n(norms_.data() + at, size, T(0)); });
  for (Buffer<T>* sums : {&sums_.x, &sums_.h, &sums_.bias}) {
    const Range columns = shape_.columns_of(blocks);
    const Index end = static_cast<Index>(sums->size());
    for (Index at = columns.begin; at < end; at += shape_.gates_width()) {
      std::fill_n(sums->data() + at, columns.size(), T(0));
    }
  }
}

template <class T>
void WeightGradient<T>::finish(Range blocks) {
  if (apart_->any_unsplit) add_sums(shape_, apart_->unsplit, sums_, all_of(blocks), false);
}

template <class T>
void WeightGradient<T>::add(const WeightGradient& other, Range blocks) {
  add_sums(shape_, other.sums_, sums_, all_of(blocks), false);
  visit_norms(blocks, [&](Index at, Index size) { kernels_.add(other.norms_.data() + at, norms_.data() + at, size); });
  if (projection_.size() > 0) {
    const Range units = shape_.units_of(blocks);
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
  if (sums_.bias.size() > 0) unpack_gradient(shape_, sums_.bias.data(), blocks, gradients_.bias, shape_.gates);
  if (projection_.size() > 0) {
    const Range units = shape_.units_of(blocks);
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

template class WeightGradient<float>;
template class WeightGradient<double>;

}  // namespace lstmcore
