// How the work on a layer is cut: threads, parts of a walk, ranges of steps, groups of rows.
#pragma once

#include <vector>

#include "../packing/cell_weights.hpp"
#include "../runtime/threads.hpp"
#include "schedule.hpp"

namespace lstmcore {

/// Where the parts that share rows meet after each step; without a barrier there is only one part.
struct Meeting {
  StepBarrier* barrier = nullptr;
  int parts = 1;
  std::int64_t longest = 0;  ///< nanoseconds that a meeting may take so that sharing rows pays
  const Interruptible* call = nullptr;
  /// Before the first step.
  void begin() const {
    if (barrier != nullptr) barrier->measure(parts, longest);
  }
  void wait() const {
    if (barrier != nullptr) barrier->wait(parts, call);
  }
  /// Whether the parts should leave the remaining steps to one of them; between two meetings, all get the same answer.
  bool parted() const { return barrier != nullptr && barrier->parted(); }
};

/// What a part of a walk covers: some rows and some blocks of hidden units of one direction.
struct Part {
  std::size_t direction = 0;
  std::vector<Index> rows;    ///< sorted rows, rising, so their lengths fall
  Range blocks;               ///< of hidden units
  int share = 0, shares = 1;  ///< of everything else that parts with the same rows divide
  Meeting meeting;
  Interruptible* call = nullptr;  ///< what can stop the walk

  /// Whether the walk is to end before its next step because the call is to end. Parts that meet go on to their next
  /// meeting, where all of them see the same and part.
  bool ends(const InterruptWatch& watch) const { return watch.stopped() && meeting.barrier == nullptr; }
};

/// Whether a walk looks at every step, instead of once for the steps whose input parts are one product.
bool looks_often(const CellShape& shape);

/// How a layer's walk is cut into parts. Every part walks all steps of its rows. With enough rows each part has rows of
/// its own and never waits. With few rows, or weights too large for a core's own cache, the parts share the rows, split
/// the hidden units and meet once per step.
struct Partition {
  int parts = 1;  ///< per direction
  bool split_units = false;
  int threads = 1;                   ///< that take the parts
  std::int64_t longest_meeting = 0;  ///< nanoseconds, beyond which one part is better than several that meet
};
Partition choose_partition(const CellShape& shape, const Schedule& schedule, int directions, int threads,
                           Index unit_granularity, Index tile_rows);

/// Share `part` of a batch's rows, as sorted rows in rising order. A share of n consists of whole shares of any
/// multiple of n.
std::vector<Index> deal_rows(const Schedule& schedule, int parts, int part);

/// The rows and blocks of part `share` of `partition.parts`, of one direction, for a walk of the calling thread's call.
Part make_part(const CellShape& shape, const Schedule& schedule, std::size_t direction, Partition partition, int share,
               Index unit_granularity);

/// Estimated work of a layer's walk through some steps, in floating-point operations, for products of this depth.
double walk_work(const CellShape& shape, const Schedule& schedule, Range steps, Index depth);

/// Steps whose input parts are computed as one product, for a walk of this many rows; 1 if the product of a single step
/// is large enough.
Index input_chunk(Index rows, Index longest);

/// Threads for walking several layers at once; 1 if it is better to cut each layer into parts.
template <class T>
int wavefront_threads(const CellShape& shape, const Schedule& schedule, Range steps, Index layers);

/// The threads of a layer's backward through some steps, and how they cut its walk: parts that meet have a thread each.
struct BackwardTeam {
  int threads;
  Partition partition;
};
BackwardTeam choose_backward_team(const CellShape& shape, const Schedule& schedule, Range steps, int directions,
                                  Index unit_granularity, Index tile_rows);

/// Rows of a range of steps of the backward: few enough that what the walk has written is still in a cache when their
/// dx and dW are computed. `rows`: of all ranges together; `idle_threads`: whether threads without a part in the walk
/// compute the products after it.
Index range_rows(const CellShape& shape, Index rows, Index itemsize, bool idle_threads);

/// The number of row groups of a batch, whose shares of dW are summed separately. `row_multiple`: the rows of a step
/// are padded to a multiple of it.
int row_groups(const CellShape& shape, Index rows, Index row_multiple);

}  // namespace lstmcore
