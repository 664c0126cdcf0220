// The walk of one layer through time: what it reads and writes, and who does which part of it.
#pragma once

#include <cmath>
#include <cstddef>

#include "masks.hpp"
#include "partition.hpp"
#include "pointer_arrays.hpp"
#include "step_state.hpp"

namespace lstmcore {

/// out = a B for some panels of B: `rows` row pointers each.
template <class T>
kernels::Product<T> product_of(Index rows, const T* const* a, Index depth, const T* panels, Index columns,
                               T* const* out, Range some) {
  kernels::Product<T> product{};
  product.rows = rows;
  product.depth = depth;
  product.columns = columns;
  product.a = a;
  product.panels = panels;
  product.out = out;
  product.panel_begin = some.begin;
  product.panel_end = some.end;
  return product;
}

/// Makes Walk(part) for all parts of all directions: walk i is part i / directions of direction i % directions. All are
/// made before any runs, so that a lack of memory throws, instead of leaving the other threads waiting at the barrier.
/// None are made unless `wanted`.
template <class Walk, class Cell>
class Walks {
 public:
  Walks(const CellShape& shape, const Schedule& schedule, const std::vector<Cell>& cells, Partition partition,
        Index unit_granularity, bool wanted = true)
      : meetings_(wanted && partition.split_units ? cells.size() : 0) {
    if (!wanted) return;
    const int directions = static_cast<int>(cells.size());
    const int count = directions * partition.parts;
    walks_.reserve(static_cast<std::size_t>(count));
    for (int index = 0; index < count; ++index) {
      const auto direction = static_cast<std::size_t>(index % directions);
      Part part = make_part(shape, schedule, direction, partition, index / directions, unit_granularity);
      if (partition.split_units) {
        part.meeting = {&meetings_[direction], partition.parts, partition.longest_meeting, part.call};
      }
      walks_.emplace_back(shape, schedule, cells[direction], std::move(part));
    }
  }
  Index size() const { return static_cast<Index>(walks_.size()); }
  Walk& operator[](Index index) { return walks_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<StepBarrier> meetings_;
  std::vector<Walk> walks_;
};

/// How a cell differs from the plain one.
template <class T>
struct CellVariant {
  const kernels::CellOptions<T>* options = nullptr;  ///< null: it is plain
  const T* peephole = nullptr;                       ///< packed, or null
  kernels::CellNorms<T> norms{};                     ///< of a shape with layer norms
  ZoneoutMask zoneout_h, zoneout_c;                  ///< if zoneout draws masks
  T proj_zoneout = 0;                                ///< otherwise: the share of a projected h that stays
};

/// Zoneout of `count` elements of h if no kernel of the cell applies it: `before` where the mask is not 0.
template <class T>
void zone_out(const T* before, const T* kept, T* h, Index count) {
  for (Index k = 0; k < count; ++k) h[k] = kept[k] != T(0) ? before[k] : h[k];
}
/// Its expectation.
template <class T>
T expected_h(T before, T rate, T fresh) {
  return rate * before + (T(1) - rate) * fresh;
}
template <class T>
void zone_out(const T* before, T rate, T* h, Index count) {
  for (Index k = 0; k < count; ++k) h[k] = expected_h(before[k], rate, h[k]);
}

/// Whether an element of a projected h was inside its bound. With the expectation of zoneout, which includes `rate`
/// times the value before, h was outside if it is the expectation of a bound.
template <class T>
bool inside_bound(T h, T clip, T before, T rate) {
  if (!(clip > 0)) return true;
  if (!(rate > 0)) return std::abs(h) < clip;
  return h != expected_h(before, rate, clip) && h != expected_h(before, rate, -clip);
}

/// The share of a gradient that belongs to the fresh value; `passed` is set to the share of the value before. Without a
/// mask, both are those of the expectation.
template <class T>
T fresh_share(T gradient, const T* kept, T rate, T& passed) {
  if (kept == nullptr) {
    passed = rate * gradient;
    return (T(1) - rate) * gradient;
  }
  passed = *kept != T(0) ? gradient : T(0);
  return *kept != T(0) ? T(0) : gradient;
}

/// Masks of zoneout for the rows of a step, computed where they are needed, forward and backward.
template <class T>
class ZoneoutRows {
 public:
  ZoneoutRows(const CellShape& shape, const CellVariant<T>& variant, Index rows);

  /// Masks of row i of a step (batch row `batch_row` of `batch`, at `time`), for some blocks; with a projection, the
  /// mask of h covers all its features.
  void fill(Index i, Index batch, Index batch_row, Index time, Range blocks);
  const T* const* h() const { return h_.empty() ? nullptr : h_.data(); }
  const T* const* c() const { return c_.empty() ? nullptr : c_.data(); }

 private:
  void fill(const ZoneoutMask& mask, T* row, Index place, Range units);

  const CellShape shape_;
  const ZoneoutMask of_h_, of_c_;
  std::vector<T> ones_, h_masks_, c_masks_;
  std::vector<const T*> h_, c_;
};

/// Forward of one direction of a layer, and where the rows of its buffers are. What layers pass to each other is
/// indexed by (time, sorted row), a direction's own data by (step, sorted row). Absent are gates and statistics if no
/// backward reads them, and whatever the cell's options do not need.
template <class T>
struct ForwardCell : StepFields<RowMap<T>> {
  const ForwardPanels<T>* weights = nullptr;
  bool reversed = false;
  Index first = 0;       ///< the step that h0 and c0 come before
  bool falling = false;  ///< whether even steps take the blocks of units in falling order, instead of odd ones
  RowMap<const T> x;     ///< at (time, row); `input` elements
  RowMap<T> y;           ///< at (time, row); a second place for h, or absent
  T proj_clip = 0;
  CellVariant<T> variant;
};

/// Backward of one direction of a layer; indices as in the forward.
template <class T>
struct BackwardCell : StepFields<RowMap<T>>, GradientFields<RowMap<T>> {
  const BackwardPanels<T>* weights = nullptr;
  bool reversed = false;
  Index first = 0;     ///< the step that h0 and c0 come before
  RowMap<const T> x;   ///< at (time, row); what the forward read
  RowMap<const T> dy;  ///< at (time, row); `state` elements, or absent
  T proj_clip = 0;
  CellVariant<T> variant;

  /// h before a step, as the product of the step read it. Not for steps at which the row is reset.
  const T* h_before(Index step, Index time, Index row) const {
    if (step == first) return (this->h0_masked ? this->h0_masked : this->h0).at(0, row);
    return this->h_masked ? this->h_masked.at(step - 1, row) : this->h.at(reversed ? time + 1 : time - 1, row);
  }
  const T* c_before(Index step, Index row) const {
    return step == first ? this->c0.at(0, row) : this->c.at(step - 1, row);
  }
};

template <class T>
class WeightSums;

/// The forward walk of all directions of a layer, through some steps.
template <class T>
void walk_forward(const CellShape& shape, const Schedule& schedule, const std::vector<ForwardCell<T>>& cells,
                  Range steps);

/// One direction of a layer of a stack.
template <class T>
struct ForwardWavefrontLayer {
  CellShape shape;
  const ForwardCell<T>* cell = nullptr;
};

/// The forward walk of all layers of a stack through some steps, each a little behind the one below.
template <class T>
void walk_wavefront(const Schedule& schedule, const std::vector<ForwardWavefrontLayer<T>>& layers, Range steps,
                    int threads);

/// The backward of all directions of a layer through some steps: the walk, dx (at (time, row), `input` elements; absent
/// if not wanted) and the sums of the weights' gradients. Call it for the last steps first; the call for the first
/// steps completes the sums and writes the gradients.
template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                   const RowMap<T>& dx, WeightSums<T>& sums, Range steps);

}  // namespace lstmcore
