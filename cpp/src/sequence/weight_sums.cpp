#include "weight_sums.hpp"

#include <algorithm>

namespace lstmcore {

namespace {

/// Where gradients are summed in a lower precision, the rows of each step are padded to a multiple of this, to whole
/// packed groups or tiles, so that neither the cut into calls nor into time segments changes the order of the sums. 1:
/// sum in float32, because padding would cost more than the unit gains, or because so few rows are summed in the
/// caller's array.
Index gradient_row_multiple(const CellShape& shape, const Schedule& schedule) {
  if (shape.arithmetic.quantized() || shape.normed || schedule.total <= kernels::most_outer_rows) return 1;
  const kernels::ProductUnit& unit = *shape.arithmetic.unit;
  const Index multiple = unit.group * unit.group_multiple;
  const int products = kernels::term_pair_counts[shape.arithmetic.terms - 1];
  const double most_filling = std::max(1.25, 0.75 * unit.speed / products);
  Index filled = 0;
  Index active = schedule.rows;
  for (Index step = 0; step < schedule.longest; ++step) {
    while (active > 0 && schedule.length[static_cast<std::size_t>(active - 1)] <= step) --active;
    filled += (active + multiple - 1) / multiple * multiple;
  }
  return static_cast<double>(filled) <= most_filling * static_cast<double>(schedule.total) ? multiple : 1;
}

}  // namespace

template <class T>
WeightSums<T>::WeightSums(const CellShape& shape, const Schedule& schedule,
                          const std::vector<LstmCellWeights<T>>& gradients, T cell_clip, bool in_lowp) {
  if (in_lowp) row_multiple_ = gradient_row_multiple(shape, schedule);
  const int groups = row_groups(shape, schedule.rows, row_multiple_);
  for (int group = 0; group < groups; ++group) {
    groups_.emplace_back(schedule, groups, group);
    groups_.back().cut_blocks(row_multiple_);
  }
  for (const LstmCellWeights<T>& direction : gradients) {
    for (int group = 0; group < groups; ++group) {
      gradients_.emplace_back(shape, direction, cell_clip,
                              groups == 1 ? schedule.total : std::numeric_limits<Index>::max(),
                              !groups_[static_cast<std::size_t>(group)].closes.empty(), row_multiple_ > 1);
      wanted_ = wanted_ || gradients_.back().wanted();
    }
  }
}

template <class T>
bool WeightSums<T>::peephole_wanted() const {
  return std::any_of(gradients_.begin(), gradients_.end(), [](const auto& sum) { return sum.peephole_wanted(); });
}

template <class T>
void WeightSums<T>::write(const Schedule& schedule, Index direction, Range blocks) {
  WeightGradient<T>& sum = of(direction, 0);
  if (schedule.total == 0) sum.clear(blocks);
  sum.finish(blocks);
  for (std::size_t group = 1; group < groups_.size(); ++group) {
    if (groups_[group].longest(schedule) == 0) continue;
    WeightGradient<T>& other = of(direction, static_cast<Index>(group));
    other.finish(blocks);
    sum.add(other, blocks);
  }
  sum.write(blocks);
}

template class WeightSums<float>;
template class WeightSums<double>;

}  // namespace lstmcore
