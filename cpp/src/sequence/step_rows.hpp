// Rows whose gradients are summed into those of the weights.
#pragma once

#include "schedule.hpp"

namespace lstmcore {

/// A run of rows that belong to one block. The products of a block are summed by themselves before they are added to
/// the sums of the blocks before it, because the error of one long sum would grow with the number of its rows.
struct SumBlock {
  Index begin, end;
  bool starts, ends;  ///< whether the block's first rows, and its last ones, are among these
  bool first;         ///< of all blocks
};

/// The active rows of a range of steps, in the order in which gradients of weights are summed: by falling step, then by
/// row. For each row its gradients and what they are multiplied with.
template <class T>
struct StepRows {
  Index count = 0;
  std::vector<SumBlock> blocks;
  std::vector<T*> gates;  ///< rows of gradients (`CellShape::gradients_width`)
  std::vector<const T*> x, h_prev;
  std::vector<const T*> m, dr;                       ///< with a projection: its input and the gradient of its output
  std::vector<const T*> activations, c_prev;         ///< gates and c before the step, for peephole weights; else empty
  std::vector<const T*> norm_x, norm_h, statistics;  ///< with layer norms; else empty
};

}  // namespace lstmcore
