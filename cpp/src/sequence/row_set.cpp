#include "row_set.hpp"

#include <algorithm>

namespace lstmcore {

RowSet::RowSet(const Schedule& schedule, int parts, int part)
    : rows(deal_rows(schedule, parts, part)), position(static_cast<std::size_t>(schedule.rows)) {
  Index active = static_cast<Index>(rows.size());
  for (Index i = 0; i < active; ++i) position[static_cast<std::size_t>(row(i))] = i;
  offset.reserve(static_cast<std::size_t>(schedule.longest) + 1);
  offset.push_back(0);
  for (Index step = 0; step < schedule.longest; ++step) {
    while (active > 0 && schedule.length[static_cast<std::size_t>(row(active - 1))] <= step) --active;
    offset.push_back(offset.back() + active);
  }
}

void RowSet::cut_blocks(Index row_multiple) {
  const Index steps = static_cast<Index>(offset.size()) - 1;
  std::vector<char> ends(static_cast<std::size_t>(steps), 0);
  Index count = 0;
  for (Index step = steps - 1; step >= 0; --step) {
    const Index more = (active(step) + row_multiple - 1) / row_multiple * row_multiple;
    if (count > 0 && count + more > kernels::most_transposed_depth) {
      ends[static_cast<std::size_t>(step + 1)] = 1;
      first_closed = std::max(first_closed, step + 1);
      count = 0;
    }
    count += more;
  }
  if (first_closed == 0) return;  // one block
  ends[0] = 1;
  closes = std::move(ends);
}

}  // namespace lstmcore
