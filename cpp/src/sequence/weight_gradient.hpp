// The gradients of the weights of one direction of a layer while they are summed, in a fixed order.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <mutex>

#include "../runtime/interrupt.hpp"
#include "gate_sums.hpp"

namespace lstmcore {

/// The gradients of one direction's weights while they are summed. Every element is one running sum over the rows of a
/// block, and then over the blocks, so that its bits depend neither on how rows are split into calls nor on which
/// thread computes it.
template <class T>
class WeightGradient {
 public:
  /// `rows`: how many will be added in all; a few are summed directly in the caller's arrays. `several_blocks`: whether
  /// they form more than one block. `in_lowp`: sum in a lower precision; the rows of each step are then padded with
  /// rows of zeros to a multiple of `WeightSums::row_multiple`.
  WeightGradient(const CellShape& shape, const LstmCellWeights<T>& gradients, T cell_clip,
                 Index rows = std::numeric_limits<Index>::max(), bool several_blocks = false, bool in_lowp = false);

  bool wanted() const {
    return gradients_.weight_ih || gradients_.weight_hh ||
           sums_.bias.size() + peephole_.size() + projection_.size() + norms_.size() > 0;
  }
  bool peephole_wanted() const { return peephole_.size() > 0; }
  /// Elements of scratch that `add` needs.
  static Index scratch_size(const CellShape& shape);
  /// Adds what these rows contribute, for some blocks of hidden units and for part `column_part` of `column_parts` of
  /// the columns of x and h. `first`: these rows begin the sums. Once the call of `watch` is to end, which it looks at
  /// between two blocks of rows, the rest is left out.
  void add(const StepRows<T>& rows, bool first, Range blocks, int column_parts, int column_part, T* scratch,
           LowpGradient& lowp, const InterruptWatch& watch = InterruptWatch(nullptr));
  /// Zeroes the sums of some blocks, for a batch without rows.
  void clear(Range blocks);
  /// Adds the separate sums, for some blocks, after all rows.
  void finish(Range blocks);
  /// Adds the sums over other rows, for some blocks.
  void add(const WeightGradient& other, Range blocks);
  /// Writes some blocks' sums where the caller wants them.
  void write(Range blocks) const;

 private:
  /// Sums that only some calls need.
  struct SumsApart {
    std::once_flag block_made, unsplit_made;
    GateSums<T> block;    ///< of a block that comes in several parts
    GateSums<T> unsplit;  ///< of products with a factor that cannot be split
    std::atomic<bool> any_unsplit{false};
  };
  GateSums<T> like_sums(bool zeros) const;
  GateSums<T>& block_sums();
  GateSums<T>& unsplit_sums();
  SumArea all_of(Range blocks) const;
  void add_block(const StepRows<T>& rows, const SumBlock& block, const SumArea& area, T* scratch, LowpGradient& lowp);
  /// Adds to a gradient (4H, columns) itself; the gates' gradients begin at column `offset` of the rows.
  void add_directly(const StepRows<T>& rows, bool first, Range blocks, Index offset,
                    const std::vector<const T*>& inputs, Range columns, const View<T, 2>& gradient);
  void add_projection(const StepRows<T>& rows, bool first, Range blocks, T* scratch);
  void add_peephole(const StepRows<T>& rows, bool first, Range blocks);
  void add_norms(const StepRows<T>& rows, bool first, Range blocks);
  /// Visits the sums of some blocks, in parts of the same meaning: visit(first, count).
  template <class Visit>
  void visit_norms(Range blocks, Visit&& visit) const;

  const kernels::Kernels<T>& kernels_;
  const CellShape shape_;
  const LstmCellWeights<T> gradients_;
  const T cell_clip_;
  const bool direct_;  ///< dW is summed in `gradients_` itself
  const bool several_blocks_, in_lowp_;
  GateSums<T> sums_;
  std::unique_ptr<SumsApart> apart_ = std::make_unique<SumsApart>();
  Buffer<T> peephole_;    ///< [3 Hp]
  Buffer<T> projection_;  ///< [H][padded P]
  Buffer<T> norms_;       ///< as in ForwardPanels
};

}  // namespace lstmcore
