// The walk of one layer through time: what it reads and writes, and who does which part of it.
#pragma once

#include "../threads.hpp"
#include "cell_weights.hpp"
#include "schedule.hpp"

namespace lstmcore {

/// What a part of a walk covers: some rows and some blocks of hidden units of one direction.
struct Part {
  std::size_t direction = 0;
  std::vector<Index> rows;     ///< sorted rows, rising, so their lengths fall
  Range blocks;                ///< of hidden units
  Barrier* meeting = nullptr;  ///< where the parts of the same rows meet after each step, if there are several
};

/// How a layer's walk is cut into parts. Every part walks all steps of its rows. With enough rows each part has rows of
/// its own and never waits. With few rows, or weights too large for a core's own cache, the parts share the rows, split
/// the hidden units and meet once per step.
struct Partition {
  int parts = 1;  ///< per direction
  bool split_units = false;
  int threads = 1;  ///< that take the parts
};
Partition choose_partition(const CellShape& shape, const Schedule& schedule, int directions, int threads,
                           Index unit_granularity, Index tile_rows);

/// About the work of a layer's walk, in floating-point operations, for products of this depth.
double walk_work(const CellShape& shape, const Schedule& schedule, Index depth);

/// Runs Walk(part).run() for all parts of all directions. The walks are made before any runs, so that memory is taken
/// where its lack can still be told, and run() must not throw.
template <class Make>
void run_parts(const CellShape& shape, const Schedule& schedule, int directions, Partition partition,
               Index unit_granularity, Make&& make);

/// Forward of one direction of a layer. Rows are at (time, sorted row).
template <class T>
struct ForwardCell {
  const ForwardPanels<T>* weights = nullptr;
  bool reversed = false;
  RowMap<const T> x;       ///< `input` elements
  RowMap<const T> h0, c0;  ///< H and Hp elements; the time index is not used
  RowMap<T> gates;         ///< 4 Hp elements, kept for the backward; absent at inference
  RowMap<T> c;             ///< Hp elements
  RowMap<T> h;             ///< H elements
  RowMap<T> y;             ///< a second place for h, or absent
};

/// Backward of one direction of a layer.
template <class T>
struct BackwardCell {
  const BackwardPanels<T>* weights = nullptr;
  bool reversed = false;
  RowMap<const T> dy;  ///< H elements, or absent
  RowMap<const T> c0;  ///< Hp elements
  RowMap<T> gates;     ///< in: activations; out: gradients by the pre-activations
  RowMap<const T> c;
  RowMap<T> dh, dc;  ///< Hp elements per row: in by the final, out by the initial state
};

/// The forward walk of all directions of a layer.
template <class T>
void walk_forward(const CellShape& shape, const Schedule& schedule, const std::vector<ForwardCell<T>>& cells);

/// The backward walk of all directions of a layer.
template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells);

/// dx (+)= dgates W_ih for every row of every time: gates (4 Hp), dx (`input` elements).
template <class T>
void input_gradient(const CellShape& shape, const Schedule& schedule, const BackwardPanels<T>& weights,
                    const RowMap<const T>& gates, const RowMap<T>& dx, bool accumulate);

/// dW_ih, dW_hh and db as products over all rows of all times; absent views are not computed.
template <class T>
struct WeightGradientCell {
  bool reversed = false;
  RowMap<const T> gates;  ///< gradients by the pre-activations
  RowMap<const T> x;
  RowMap<const T> h, h0;
  LstmCellWeights<T> gradients;
};
template <class T>
void weight_gradient(const CellShape& shape, const Schedule& schedule, const WeightGradientCell<T>& cell);

/// The rows and blocks of part `share` of `count`, of one direction.
Part make_part(const CellShape& shape, const Schedule& schedule, std::size_t direction, Partition partition, int share,
               Index unit_granularity);

template <class Make>
void run_parts(const CellShape& shape, const Schedule& schedule, int directions, Partition partition,
               Index unit_granularity, Make&& make) {
  using Walk = decltype(make(Part{}));
  const int total = directions * partition.parts;
  std::vector<Walk> walks;
  walks.reserve(static_cast<std::size_t>(total));
  std::vector<Barrier> meetings(partition.split_units ? static_cast<std::size_t>(directions) : 0);
  for (int index = 0; index < total; ++index) {
    const auto direction = static_cast<std::size_t>(index % directions);
    Part part = make_part(shape, schedule, direction, partition, index / directions, unit_granularity);
    if (partition.split_units) {
      part.meeting = &meetings[direction];
      part.meeting->expect(partition.parts);
    }
    walks.push_back(make(std::move(part)));
  }
  const auto run = [&](int index) { walks[static_cast<std::size_t>(index)].run(); };
  if (!partition.split_units) {
    const int threads = std::min(total, partition.threads);
    parallel(threads, [&](int index) {
      for (int part = index; part < total; part += threads) run(part);
    });
    return;
  }
  if (parallel_together(total, run)) return;
  run_parts(shape, schedule, directions, Partition{}, unit_granularity, make);
}

}  // namespace lstmcore
