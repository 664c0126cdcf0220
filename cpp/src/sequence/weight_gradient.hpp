// dW and db: products of depth "all rows of all times", summed in a fixed order.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <mutex>

#include "walk.hpp"

namespace lstmcore {

/// Some rows of a block, whose products are summed up by themselves before they are added to the sums of the blocks
/// before: over many rows the error of one long sum would grow with their number.
struct SumBlock {
  Index begin, end;
  bool starts, ends;  ///< whether the block's first rows, and its last ones, are among these
  bool first;         ///< of all blocks
};

/// The rows at work in a range of steps, in the order in which gradients of weights are summed: by falling step, then
/// by row. What a row was multiplied with, and where the gradient by its input goes.
template <class T>
struct StepRows {
  Index count = 0;
  std::vector<SumBlock> blocks;
  std::vector<T*> gates;  ///< rows of gradients (`CellShape::gradients_width`)
  std::vector<const T*> x, h_prev;
  std::vector<const T*> m, dr;                       ///< with a projection: its input and the gradient by its output
  std::vector<const T*> activations, c_prev;         ///< gates and c before the step, for peephole weights; else empty
  std::vector<const T*> norm_x, norm_h, statistics;  ///< with layer norms; else empty
};

/// What sums of a lower precision need: both factors of some rows, packed.
struct LowpGradient {
  Buffer<PackedGroup> left;    ///< [column of x or h][term][groups]
  Buffer<PackedGroup> turned;  ///< [term][groups][columns] of a panel
  Buffer<PackedGroup> right;   ///< [block][term][groups][4 V]
  std::vector<float*> out;

  void prepare(const CellShape& shape);
};

/// The gradients of one direction's weights while they are summed up. Every element is one running sum over the rows of
/// a block, and then over the blocks, so that neither the cut into calls nor who computes which element changes its
/// bits.
template <class T>
class WeightGradient {
 public:
  /// `rows`: how many there will be in all; few are summed where the caller wants the sums.
  /// `several_blocks`: whether they come in more than one. `in_lowp`: sums of a lower precision, whose rows come step
  /// by step, each filled up with rows of zeros to `WeightSums::row_multiple`.
  WeightGradient(const CellShape& shape, const LstmCellWeights<T>& gradients, T cell_clip,
                 Index rows = std::numeric_limits<Index>::max(), bool several_blocks = false, bool in_lowp = false);

  bool wanted() const {
    return gradients_.weight_ih || gradients_.weight_hh ||
           sums_.bias.size() + peephole_.size() + projection_.size() + norms_.size() > 0;
  }
  bool peephole_wanted() const { return peephole_.size() > 0; }
  /// Elements of scratch that `add` needs.
  static Index scratch_size(const CellShape& shape);
  /// Adds these rows' part for some blocks of hidden units, and of the columns of x and h the part `column_part` of
  /// `column_parts`. The first rows of all begin the sums.
  void add(const StepRows<T>& rows, bool first, Range blocks, int column_parts, int column_part, T* scratch,
           LowpGradient& lowp);
  /// The sums over no rows at all, for some blocks.
  void clear(Range blocks);
  /// Adds what was summed apart, for some blocks, after all rows.
  void finish(Range blocks);
  /// Adds the sums over other rows, for some blocks.
  void add(const WeightGradient& other, Range blocks);
  /// Writes some blocks' sums where the caller wants them.
  void write(Range blocks) const;

 private:
  /// By the matrices and biases.
  struct Sums {
    Buffer<T> x, h, bias;  ///< [columns][4 Hp]; empty: not wanted, or direct
  };
  /// Sums that most calls do without.
  struct SumsApart {
    std::once_flag block_made, unsplit_made;
    Sums block;    ///< of a block that comes in several parts
    Sums unsplit;  ///< of products with a factor that cannot be split, and is a zero among the words
    std::atomic<bool> any_unsplit{false};
  };
  /// Some rows of a block, and what becomes of their sums.
  struct Part {
    Index begin, depth;
    Sums& sums;
    bool accumulate, add;  ///< as in TransposedProduct
  };
  /// What a task computes.
  struct Area {
    Range blocks, x_columns, h_columns;
    bool with_bias;
  };

  Sums like_sums(bool zeros) const;
  Sums& block_sums();
  Sums& unsplit_sums();
  /// Adds, or copies, some of the sums.
  void add_sums(const Sums& from, Sums& to, const Area& area, bool copy) const;
  Area all_of(Range blocks) const;
  void add_block(const StepRows<T>& rows, const SumBlock& block, const Area& area, T* scratch, LowpGradient& lowp);
  void add_floats(const StepRows<T>& rows, const Part& part, const Area& area, T* scratch);
  /// Adds some rows' part in a lower precision.
  void add_lowp(const StepRows<T>& rows, const Part& part, const Area& area, LowpGradient& lowp);
  /// Adds products with what cannot be split.
  void add_unsplit(const StepRows<T>& rows, const Part& part, const Area& area);
  void add_bias(const StepRows<T>& rows, const Part& part, Range blocks);
  /// Adds to a gradient (4H, columns) itself; the gates' gradients begin at column `offset` of the rows.
  void add_directly(const StepRows<T>& rows, bool first, Range blocks, Index offset,
                    const std::vector<const T*>& inputs, Range columns, const View<T, 2>& gradient);
  void add_projection(const StepRows<T>& rows, bool first, Range blocks, T* scratch);
  void add_peephole(const StepRows<T>& rows, bool first, Range blocks);
  void add_norms(const StepRows<T>& rows, bool first, Range blocks);
  void copy_panels(const StepRows<T>& rows, Index begin, Index depth, Range blocks, Index offset, T* panels) const;
  /// Visits the sums of some blocks, in parts of the same meaning: visit(first, count).
  template <class Visit>
  void visit_norms(Range blocks, Visit&& visit) const;

  const kernels::Kernels<T>& kernels_;
  const CellShape shape_;
  const LstmCellWeights<T> gradients_;
  const T cell_clip_;
  const bool direct_;  ///< dW is summed in `gradients_` itself
  const bool several_blocks_, in_lowp_;
  Sums sums_;
  std::unique_ptr<SumsApart> apart_ = std::make_unique<SumsApart>();
  Buffer<T> peephole_;    ///< [3 Hp]
  Buffer<T> projection_;  ///< [H][padded P]
  Buffer<T> norms_;       ///< as in ForwardPanels
};

/// Sorted rows that are walked or summed together. They are packed by (step, row).
struct RowSet {
  std::vector<Index> rows;      ///< rising, so their lengths fall
  std::vector<Index> position;  ///< of a sorted row among these
  std::vector<Index> offset;    ///< (longest + 1) of a step's rows

  std::vector<char> closes;  ///< by step: not 0 where the last rows of a `SumBlock` are; empty: never
  Index first_closed = 0;    ///< the first such step, as they are walked

  /// Share `part` of `parts` of a batch.
  RowSet(const Schedule& schedule, int parts, int part);

  /// Cuts the rows into blocks of whole steps, each of which is filled up to a multiple of rows.
  void cut_blocks(Index row_multiple);
  bool closes_at(Index step) const { return !closes.empty() && closes[static_cast<std::size_t>(step)] != 0; }

  Index row(Index i) const { return rows[static_cast<std::size_t>(i)]; }
  Index begin(Index step) const { return offset[static_cast<std::size_t>(step)]; }
  Index alive(Index step) const { return begin(step + 1) - begin(step); }
  Index count(Range steps) const { return begin(steps.end) - begin(steps.begin); }
  Index longest(const Schedule& schedule) const {
    return rows.empty() ? 0 : schedule.length[static_cast<std::size_t>(row(0))];
  }
};

/// The gradients of all weights of a layer while they are summed up, in groups of rows that follow from the layer and
/// the batch, never from the number of threads, because the sums' bits do.
template <class T>
class WeightSums {
 public:
  /// `gradients`: where those of each direction are wanted. `in_lowp`: in the precision of the layer's products.
  WeightSums(const CellShape& shape, const Schedule& schedule, const std::vector<LstmCellWeights<T>>& gradients,
             T cell_clip, bool in_lowp);

  bool wanted() const { return wanted_; }
  bool peephole_wanted() const;
  /// The rows of each step of a group are filled up to a multiple of this.
  Index row_multiple() const { return row_multiple_; }
  const std::vector<RowSet>& groups() const { return groups_; }
  const RowSet& group(Index index) const { return groups_[static_cast<std::size_t>(index)]; }
  WeightGradient<T>& of(Index direction, Index group) {
    return gradients_[static_cast<std::size_t>(direction) * groups_.size() + static_cast<std::size_t>(group)];
  }
  /// Writes some blocks' sums over all groups where the caller wants them.
  void write(const Schedule& schedule, Index direction, Range blocks);

 private:
  std::vector<RowSet> groups_;
  std::vector<WeightGradient<T>> gradients_;  ///< [direction][group]
  Index row_multiple_ = 1;
  bool wanted_ = false;
};

}  // namespace lstmcore
