// The sums of the weights' gradients of a layer, in groups of rows.
#pragma once

#include "row_set.hpp"
#include "weight_gradient.hpp"

namespace lstmcore {

/// The gradients of all weights of a layer while they are summed up, in groups of rows. The groups determine the bits
/// of the sums, so they follow from the layer and the batch, never from the number of threads.
template <class T>
class WeightSums {
 public:
  /// `gradients`: where to write those of each direction. `in_lowp`: in the precision of the layer's products.
  WeightSums(const CellShape& shape, const Schedule& schedule, const std::vector<LstmCellWeights<T>>& gradients,
             T cell_clip, bool in_lowp);

  bool wanted() const { return wanted_; }
  bool peephole_wanted() const;
  /// The rows of each step of a group are padded to a multiple of this.
  Index row_multiple() const { return row_multiple_; }
  const std::vector<RowSet>& groups() const { return groups_; }
  const RowSet& group(Index index) const { return groups_[static_cast<std::size_t>(index)]; }
  WeightGradient<T>& of(Index direction, Index group) {
    return gradients_[static_cast<std::size_t>(direction) * groups_.size() + static_cast<std::size_t>(group)];
  }
  /// Adds up the groups' sums of some blocks and writes them to the caller's gradients.
  void write(const Schedule& schedule, Index direction, Range blocks);

 private:
  std::vector<RowSet> groups_;
  std::vector<WeightGradient<T>> gradients_;  ///< [direction][group]
  Index row_multiple_ = 1;
  bool wanted_ = false;
};

}  // namespace lstmcore
