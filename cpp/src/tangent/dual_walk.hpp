// The base of the walks forward and back. Every thread walks rows of its own; all blocks of hidden units of a
// row are done with one stage of a step (products, cell, projection) before the next one begins.
#pragma once

#include "../runtime/isa.hpp"
#include "../sequence/caller_rows.hpp"
#include "walk.hpp"

namespace lstmcore {

/// Row pointers to values and their tangents.
template <class T>
struct DualPointers {
  std::vector<T*> value, tangent;

  explicit DualPointers(Index rows) : value(count(rows)), tangent(count(rows)) {}
  void set(Index i, const DualMap<T>& map, Index time, Index row) {
    value[count(i)] = map.value.at(time, row);
    tangent[count(i)] = map.tangent.at(time, row);
  }
  kernels::DualRows<T> rows() const { return {value.data(), tangent.data()}; }
  kernels::DualRows<const T> readable() const { return {value.data(), tangent.data()}; }
};

/// The rows of one part of a walk, and what its forward and backward share.
template <class T>
class DualWalk {
 protected:
  DualWalk(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell, std::vector<Index> rows)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        rows_(std::move(rows)),
        zeros_(count(std::max(shape.padded(), shape.state)), T(0)),
        zoneout_(shape, cell.variant, size()),
        gates_(size()),
        c_prev_(size()),
        norm_x_(size()),
        norm_h_(size()),
        statistics_(size()) {}

  Index size() const { return static_cast<Index>(rows_.size()); }
  Index row(Index i) const { return rows_[count(i)]; }
  Index length(Index i) const { return i < size() ? schedule_.length[count(row(i))] : 0; }
  Index time(Index i, Index step) const { return schedule_.time(row(i), step, cell_.reversed); }

  /// Points to the values before a step of row i: zeros after a reset, `first` at step 0, else `later` at `index`.
  void set_before(DualPointers<T>& pointers, const DualMap<T>& first, const DualMap<T>& later, Index index, Index i,
                  Index step) {
    if (schedule_.cut(row(i), step, cell_.reversed)) {
      pointers.value[count(i)] = pointers.tangent[count(i)] = zeros_.data();
    } else if (step == 0) {
      pointers.set(i, first, 0, row(i));
    } else {
      pointers.set(i, later, index, row(i));
    }
  }
  void set_h_before(DualPointers<T>& pointers, Index i, Index step) {
    set_before(pointers, cell_.h0, cell_.h, time(i, step - 1), i, step);
  }
  bool masks_h() const { return static_cast<bool>(cell_.h_factor); }

  /// Sets the pointers that the cell reads at a step of row i.
  void gather_cell(Index i, Index step) {
    const Index at = time(i, step), r = row(i);
    gates_.set(i, cell_.gates, step, r);
    set_before(c_prev_, cell_.c0, cell_.c, step - 1, i, step);
    if (shape_.normed) {
      norm_x_.set(i, cell_.norm_x, step, r);
      norm_h_.set(i, cell_.norm_h, step, r);
      statistics_.set(i, cell_.statistics, step, r);
    }
    zoneout_.fill(i, schedule_.rows, schedule_.order[count(r)], schedule_.caller_time(at, r), {0, shape_.blocks()});
  }
  kernels::CellExtras<T> extras() const {
    return {cell_.variant.options, cell_.variant.peephole, shape_.projected ? nullptr : zoneout_.h(), zoneout_.c()};
  }
  /// Sets the layer norms that a kernel reads.
  template <class Step>
  void set_norms(Step& s) const {
    s.norms = &cell_.variant.norms;
    s.norms_tangent = &cell_.norms_tangent;
    s.norm_x = norm_x_.readable();
    s.norm_h = norm_h_.readable();
  }
  /// Zoneout's mask of row i's projected h, or null.
  const T* mask_of_h(Index i) const { return zoneout_.h() != nullptr ? zoneout_.h()[i] : nullptr; }
  Range panels_of(Index columns) const { return {0, (columns + shape_.block_width() - 1) / shape_.block_width()}; }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const DualCell<T>& cell_;
  const std::vector<Index> rows_;  ///< sorted rows, rising, so their lengths fall
  std::vector<T> zeros_;
  ZoneoutRows<T> zoneout_;
  DualPointers<T> gates_, c_prev_, norm_x_, norm_h_, statistics_;
};

}  // namespace lstmcore
