#include "step_ranges.hpp"

#include <algorithm>

#include "gate_sums.hpp"

namespace lstmcore {

std::vector<Range> cut_steps(const CellShape& shape, const RowSet& set, const RowSet& group, Range steps,
                             Index itemsize, bool idle_threads) {
  const Index most_rows = range_rows(shape, set.count(steps), itemsize, idle_threads);
  std::vector<Range> ranges;
  for (Index end = steps.end; end > steps.begin;) {
    Index begin = end - 1;
    while (begin > steps.begin && set.count({begin - 1, end}) <= most_rows) --begin;
    // A block that is cut needs sums of its own until it is complete.
    Index whole = end - 1;
    while (whole > steps.begin && 4 * set.count({whole - 1, end}) <= 5 * most_rows) --whole;
    while (whole < end && whole > steps.begin && !group.closes_at(whole)) ++whole;
    if (whole < end && !idle_threads) begin = whole;
    ranges.push_back({begin, end});
    end = begin;
  }
  return ranges;
}

bool walks_own_rows(Index directions, Index groups, const Partition& partition, int threads) {
  return threads > 1 && directions == 1 && !partition.split_units && partition.parts == threads &&
         groups % threads == 0;
}

template <class T>
Index range_elements(const CellShape& shape, Index directions, Index rows, Index valid_steps, Index groups,
                     int threads) {
  const int sets = walks_own_rows(directions, groups, {threads, false, threads}, threads) ? threads : 1;
  const Index rows_of_set = std::max<Index>(rows / sets, 1);
  const Index steps = std::max<Index>(range_rows(shape, valid_steps, sizeof(T), false) / rows_of_set, 1);
  const Index held = std::min(steps * rows_of_set * sets, valid_steps);
  const Index width = shape.gradients_width() + (shape.projected ? shape.state_padded() : 0);
  return directions * held * width + threads * panel_scratch_size<T>(shape);
}

template Index range_elements<float>(const CellShape&, Index, Index, Index, Index, int);
template Index range_elements<double>(const CellShape&, Index, Index, Index, Index, int);

}  // namespace lstmcore
