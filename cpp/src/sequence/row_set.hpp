// Rows of a batch that are walked or summed together.
#pragma once

#include "walk.hpp"

namespace lstmcore {

/// Sorted rows that are walked or summed together. Their data is packed by (step, row).
struct RowSet {
  std::vector<Index> rows;      ///< rising, so their lengths fall
  std::vector<Index> position;  ///< of a sorted row among these
  std::vector<Index> offset;    ///< (longest + 1) of a step's rows

  std::vector<char> closes;  ///< by step: not 0 if it has the last rows of a `SumBlock`; empty: never
  Index first_closed = 0;    ///< the first such step in the order of the walk

  /// Share `part` of `parts` of a batch.
  RowSet(const Schedule& schedule, int parts, int part);

  /// Cuts the rows into blocks of whole steps, each of which is padded to a multiple of `row_multiple` rows.
  void cut_blocks(Index row_multiple);
  bool closes_at(Index step) const { return !closes.empty() && closes[static_cast<std::size_t>(step)] != 0; }

  Index row(Index i) const { return rows[static_cast<std::size_t>(i)]; }
  Index begin(Index step) const { return offset[static_cast<std::size_t>(step)]; }
  Index active(Index step) const { return begin(step + 1) - begin(step); }
  Index count(Range steps) const { return begin(steps.end) - begin(steps.begin); }
  Index longest(const Schedule& schedule) const {
    return rows.empty() ? 0 : schedule.length[static_cast<std::size_t>(row(0))];
  }
};

}  // namespace lstmcore
