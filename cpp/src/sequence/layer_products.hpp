// The products of a layer's backward over all rows of a range of steps: dx, and the sums of the weights' gradients.
#pragma once

#include <array>

#include "../runtime/isa.hpp"
#include "backward_walk.hpp"
#include "step_ranges.hpp"
#include "weight_sums.hpp"

namespace lstmcore {

/// Rows that are walked together, one range of steps after another, with the gradients that their walk stores for the
/// products.
template <class T>
struct WalkedRows {
  RowSet rows;
  std::vector<Range> ranges;  ///< of steps, in the order of the walk
  Index ranges_held;          ///< ranges whose gradients are in use at the same time
  Index most_rows = 0;        ///< of a range
  Buffer<T> dgates;           ///< [direction][range][most_rows][gradients]
  Buffer<T> dr;               ///< [direction][range][most_rows][padded P], with a projection

  WalkedRows(const CellShape& shape, const Schedule& schedule, const RowSet& group, Range steps, Index directions,
             bool overlapped, int sets, int set)
      : rows(schedule, sets, set), ranges_held(overlapped ? 2 : 1) {
    const Range own{steps.begin, std::min(steps.end, rows.longest(schedule))};
    ranges = cut_steps(shape, rows, group, own, sizeof(T), overlapped);
    for (const Range& range : ranges) most_rows = std::max(most_rows, rows.count(range));
    const auto places = static_cast<std::size_t>(directions * ranges_held * most_rows);
    dgates.resize(places * static_cast<std::size_t>(shape.gradients_width()));
    if (shape.projected) dr.resize(places * static_cast<std::size_t>(shape.state_padded()));
  }
  Index range_count() const { return static_cast<Index>(ranges.size()); }
  const Range& steps(Index range) const { return ranges[static_cast<std::size_t>(range)]; }
  GateGradients<T> dgates_of(const CellShape& shape, Index range, Index direction) {
    const Index width = shape.gradients_width();
    T* const base = dgates.data() + (direction * ranges_held + range % ranges_held) * most_rows * width;
    return {&rows, base, width, steps(range).begin};
  }
  GateGradients<T> dr_of(const CellShape& shape, Index range, Index direction) {
    const Index width = shape.state_padded();
    T* const base = dr.data() + (direction * ranges_held + range % ranges_held) * most_rows * width;
    return {&rows, base, width, steps(range).begin};
  }
};

/// What a thread needs for the products.
template <class T>
struct ProductScratch {
  /// Rows of dx that are computed as one product.
  static constexpr Index dx_rows = 96;

  StepRows<T> rows;  ///< of a range
  Buffer<T> panel;   ///< of `WeightGradient::add`
  LowpGradient lowp;
  Buffer<T> dx;  ///< of one direction, to be added to the other's
  LowpRows dx_lowp;
  std::array<const T*, dx_rows> dx_from;
  std::array<T*, dx_rows> dx_to, dx_sum;

  ProductScratch(const CellShape& shape, const std::vector<BackwardCell<T>>& cells, bool dx_wanted,
                 const WeightSums<T>& sums, const std::vector<WalkedRows<T>>& sets) {
    if (sums.wanted()) make_rows(shape, sums, sets);
    if (!dx_wanted) return;
    for (const BackwardCell<T>& cell : cells) dx_lowp.prepare(cell.weights->x_lowp, dx_rows);
    if (cells.size() > 1) dx.resize(static_cast<std::size_t>(dx_rows * shape.input));
  }

 private:
  void make_rows(const CellShape& shape, const WeightSums<T>& sums, const std::vector<WalkedRows<T>>& sets) {
    std::size_t size = 0;
    for (const WalkedRows<T>& set : sets) {
      Index most_steps = 0;
      for (const Range& steps : set.ranges) most_steps = std::max(most_steps, steps.size());
      const Index padding = most_steps * (sums.row_multiple() - 1);
      size = std::max(size, static_cast<std::size_t>(set.most_rows + padding));
    }
    rows.gates.resize(size);
    for (auto* pointers : {&rows.x, &rows.h_prev}) pointers->resize(size);
    for (auto* pointers : {&rows.norm_x, &rows.norm_h, &rows.statistics}) pointers->resize(shape.normed ? size : 0);
    for (auto* pointers : {&rows.activations, &rows.c_prev}) pointers->resize(sums.peephole_wanted() ? size : 0);
    for (auto* pointers : {&rows.m, &rows.dr}) pointers->resize(shape.projected ? size : 0);
    panel.resize(static_cast<std::size_t>(WeightGradient<T>::scratch_size(shape)));
    if (sums.row_multiple() > 1) lowp.prepare(shape);
  }
};

template <class T>
class LayerProducts {
 public:
  LayerProducts(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                const RowMap<T>& dx, WeightSums<T>& sums)
      : shape_(shape),
        schedule_(schedule),
        cells_(cells),
        dx_(dx),
        sums_(sums),
        directions_(static_cast<Index>(cells.size())) {
    const bool padded = sums.row_multiple() > 1;
    const Index widest =
        std::max({shape.padded(), shape.state, padded ? shape.input : 0, padded ? shape.gradients_width() : 0});
    zeros_.resize(static_cast<std::size_t>(widest), T(0));
  }

  /// Adds the gradients of a group's rows of a range of steps to the sums, for some blocks and a share of the columns.
  void add_weight_gradient(WalkedRows<T>& set, Index range, Index direction, Index group, Range blocks,
                           int column_parts, int column_part, ProductScratch<T>& scratch) {
    const RowSet& rows = sums_.group(group);
    gather(set, range, direction, rows, scratch.rows);
    const bool first = rows.longest(schedule_) <= set.steps(range).end;
    sums_.of(direction, group)
        .add(scratch.rows, first, blocks, column_parts, column_part, scratch.panel.data(), scratch.lowp);
  }

  /// dx = dgates W_ih for a share of the rows of a range of steps. With two directions, the one that reaches a row
  /// second adds its part to the other's; the order does not change the sum.
  void input_gradient(WalkedRows<T>& set, Index range, Index direction, Index share, Index shares,
                      ProductScratch<T>& scratch) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const Range& steps = set.steps(range);
    const GateGradients<T> dgates = set.dgates_of(shape_, range, direction);
    Index count = 0, sums = 0;
    const auto compute = [&] {
      const Range panels{0, (shape_.input + shape_.block_width() - 1) / shape_.block_width()};
      multiply(product_of<T>(count, scratch.dx_from.data(), shape_.gates_width(), cell.weights->x.data(), shape_.input,
                             scratch.dx_to.data(), panels),
               cell.weights->x_lowp, scratch.dx_lowp);
      for (Index i = 0; i < sums; ++i) {
        active_kernels<T>().add(scratch.dx.data() + i * shape_.input, scratch.dx_sum[static_cast<std::size_t>(i)],
                                shape_.input);
      }
      count = sums = 0;
    };
    const auto take = [&](Index step, Index row) {
      const Index time = schedule_.time(row, step, cell.reversed);
      const auto at = static_cast<std::size_t>(count++);
      scratch.dx_from[at] = dgates.at(step, row) + shape_.x_gradients();
      scratch.dx_to[at] = dx_.at(time, row);
      if (directions_ > 1) {
        const bool other_reversed = cells_[static_cast<std::size_t>(1 - direction)].reversed;
        const Index other_step = other_reversed ? schedule_.time(row, time, true) : time;
        if (other_step >= steps.end || (other_step >= steps.begin && direction == 1)) {
          scratch.dx_sum[static_cast<std::size_t>(sums)] = scratch.dx_to[at];
          scratch.dx_to[at] = scratch.dx.data() + sums++ * shape_.input;
        }
      }
      if (count == ProductScratch<T>::dx_rows) compute();
    };
    if (directions_ == 1) {
      // Shares of equal size.
      const Range rows = split(set.rows.count(steps), static_cast<int>(shares), static_cast<int>(share));
      Index first = 0;
      for (Index step = steps.begin; step < steps.end; first += set.rows.active(step++)) {
        const Index end = std::min(rows.end - first, set.rows.active(step));
        for (Index i = std::max<Index>(rows.begin - first, 0); i < end; ++i) take(step, set.rows.row(i));
      }
    } else {
      // Every share has rows of its own, because both directions add to them.
      for (Index step = steps.begin; step < steps.end; ++step) {
        for (Index i = share; i < set.rows.active(step); i += shares) take(step, set.rows.row(i));
      }
    }
    if (count > 0) compute();
  }

 private:
  /// A group's rows of a range of steps, for the sums of the weights' gradients.
  void gather(WalkedRows<T>& set, Index range, Index direction, const RowSet& group, StepRows<T>& rows) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const GateGradients<T> dgates = set.dgates_of(shape_, range, direction);
    const GateGradients<T> dr = set.dr_of(shape_, range, direction);
    const Range steps = set.steps(range);
    const bool fresh = steps.end >= group.longest(schedule_) || group.closes_at(steps.end);
    SumBlock block{0, 0, fresh, false, false};
    rows.blocks.clear();
    std::size_t at = 0;
    for (Index step = steps.end - 1; step >= steps.begin; --step) {
      for (Index i = 0; i < group.active(step); ++i, ++at) {
        const Index row = group.row(i);
        const Index time = schedule_.time(row, step, cell.reversed);
        rows.gates[at] = dgates.at(step, row);
        rows.x[at] = cell.x.at(time, row);
        const bool cut = schedule_.cut(row, step, cell.reversed);
        rows.h_prev[at] = cut ? zeros_.data() : cell.h_before(step, time, row);
        if (!rows.norm_x.empty()) {
          rows.norm_x[at] = cell.norm_x.at(step, row);
          rows.norm_h[at] = cell.norm_h.at(step, row);
          rows.statistics[at] = cell.statistics.at(step, row);
        }
        if (!rows.m.empty()) {
          rows.m[at] = cell.m.at(step, row);
          rows.dr[at] = dr.at(step, row);
        }
        if (rows.activations.empty()) continue;
        rows.activations[at] = cell.gates.at(step, row);
        rows.c_prev[at] = cut ? zeros_.data() : cell.c_before(step, row);
      }
      for (; static_cast<Index>(at) % sums_.row_multiple() != 0; ++at) pad(rows, at);
      if (step > steps.begin && !group.closes_at(step)) continue;
      block.end = static_cast<Index>(at);
      block.ends = group.closes_at(step);
      block.first = step >= group.first_closed;
      if (block.end > block.begin) rows.blocks.push_back(block);
      block = {block.end, block.end, true, false, false};
    }
    rows.count = static_cast<Index>(at);
  }

  /// A row of zeros, which adds nothing.
  void pad(StepRows<T>& rows, std::size_t at) {
    rows.gates[at] = zeros_.data();
    rows.x[at] = rows.h_prev[at] = zeros_.data();
    if (!rows.m.empty()) rows.m[at] = rows.dr[at] = zeros_.data();
    if (!rows.activations.empty()) rows.activations[at] = rows.c_prev[at] = zeros_.data();
  }

  const CellShape& shape_;
  const Schedule& schedule_;
  const std::vector<BackwardCell<T>>& cells_;
  const RowMap<T> dx_;
  WeightSums<T>& sums_;
  const Index directions_;
  std::vector<T> zeros_;
};

}  // namespace lstmcore
