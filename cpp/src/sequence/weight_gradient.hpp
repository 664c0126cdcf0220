// dW and db: products of depth "all rows of all times", summed in a fixed order.
#pragma once

#include "walk.hpp"

namespace lstmcore {

/// The rows at work in a range of steps, in the order in which gradients of weights are summed: by falling step, then
/// by row. What a row was multiplied with, and where the gradient by its input goes.
template <class T>
struct StepRows {
  Index count = 0;
  std::vector<T*> gates;  ///< gradients by the pre-activations
  std::vector<const T*> x, h_prev;
  std::vector<const T*> m, dr;                ///< with a projection: its input and the gradient by its output
  std::vector<const T*> activations, c_prev;  ///< gates and c before the step, for peephole weights; else empty
};

/// The gradients of one direction's weights while they are summed up. Every element is one running sum over all rows,
/// so that neither the cut into calls nor who computes which element changes its bits.
template <class T>
class WeightGradient {
 public:
  WeightGradient(const CellShape& shape, const LstmCellWeights<T>& gradients, T cell_clip);

  bool wanted() const { return x_.size() + h_.size() + bias_.size() + peephole_.size() + projection_.size() > 0; }
  bool peephole_wanted() const { return peephole_.size() > 0; }
  /// Elements of scratch that `add` needs.
  static Index scratch_size(const CellShape& shape);
  /// Adds these rows' part for some blocks of hidden units, and of the columns of x and h the part `column_part` of
  /// `column_parts`. The first rows of all begin the sums.
  void add(const StepRows<T>& rows, bool first, Range blocks, int column_parts, int column_part, T* scratch);
  /// The sums over no rows at all, for some blocks.
  void clear(Range blocks);
  /// Adds the sums over other rows, for some blocks.
  void add(const WeightGradient& other, Range blocks);
  /// Writes some blocks' sums where the caller wants them.
  void write(Range blocks) const;

 private:
  void add_blocks(const StepRows<T>& rows, Index begin, Index depth, bool accumulate, Range blocks, Range x_columns,
                  Range h_columns, bool with_bias, T* scratch);
  void add_projection(const StepRows<T>& rows, bool first, Range blocks, T* scratch);
  void add_peephole(const StepRows<T>& rows, bool first, Range blocks);

  const kernels::Kernels<T>& kernels_;
  const CellShape shape_;
  const LstmCellWeights<T> gradients_;
  const T cell_clip_;
  Buffer<T> x_, h_, bias_;  ///< [columns][4 Hp]; empty: not wanted
  Buffer<T> peephole_;      ///< [3 Hp]
  Buffer<T> projection_;    ///< [H][padded P]
};

}  // namespace lstmcore
