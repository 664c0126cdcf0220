#include "schedule.hpp"

#include <algorithm>
#include <numeric>

namespace lstmcore {

Schedule::Schedule(Index batch, Index time, View<const Index, 1> lengths, View<const bool, 2> reset,
                   View<const bool, 2> mask)
    : rows(batch), steps(time) {
  const View<const unsigned char, 2> valid = bytes_of(mask), cut = bytes_of(reset);
  const auto size = [](Index count) { return static_cast<std::size_t>(count); };
  iota.assign(size(std::max(rows, steps)), 0);
  std::iota(iota.begin(), iota.end(), Index{0});
  order.assign(iota.begin(), iota.begin() + static_cast<std::ptrdiff_t>(rows));
  length.assign(size(rows), steps);
  std::vector<Index> counts;
  if (mask) {
    counts.assign(size(rows), 0);
    for (Index row = 0; row < rows; ++row) {
      for (Index t = 0; t < steps; ++t) counts[size(row)] += valid(row, t) != 0 ? 1 : 0;
    }
    lengths = {counts.data(), {rows}};
  }
  if (lengths) {
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return lengths(a) > lengths(b); });
    for (Index row = 0; row < rows; ++row) length[size(row)] = lengths(order[size(row)]);
  }
  longest = rows > 0 ? length[0] : 0;

  active.assign(size(longest), 0);
  offset.assign(size(longest), 0);
  parity.assign(size(std::max<Index>(longest, 1)), 0);  // initial states have a place even if nothing runs
  Index count = rows;
  for (Index t = 0; t < longest; ++t) {
    while (length[size(count - 1)] <= t) --count;
    active[size(t)] = count;
    offset[size(t)] = total;
    parity[size(t)] = t % 2;
    total += count;
  }
  if (mask) {
    valid_times.resize(size(total));
    if (reset) resets.assign(size(total), 0);
    for (Index row = 0; row < rows; ++row) {
      const Index from = order[size(row)];
      Index reached = 0;
      bool pending = false;
      for (Index t = 0; t < steps; ++t) {
        pending = pending || (reset && cut(from, t) != 0);
        if (valid(from, t) == 0) continue;
        const std::size_t at = size(packed(reached++, row));
        valid_times[at] = t;
        if (reset) resets[at] = pending ? 1 : 0;
        pending = false;
      }
    }
  } else if (reset) {
    resets.resize(size(total));
    for (Index t = 0; t < longest; ++t) {
      for (Index row = 0; row < active[size(t)]; ++row) {
        resets[size(packed(t, row))] = cut(order[size(row)], t) != 0 ? 1 : 0;
      }
    }
  }
}

void Schedule::append(View<const bool, 1> reset) {
  const View<const unsigned char, 1> cut = bytes_of(reset);
  const auto first = static_cast<std::size_t>(total);
  active.push_back(rows);
  offset.push_back(total);
  if (static_cast<Index>(parity.size()) <= steps) parity.push_back(steps % 2);
  if (static_cast<Index>(iota.size()) <= steps) iota.push_back(steps);
  total += rows;
  longest = ++steps;
  std::fill(length.begin(), length.end(), steps);
  if (!reset && resets.empty()) return;
  resets.resize(static_cast<std::size_t>(total), 0);
  if (!reset) return;
  for (Index row = 0; row < rows; ++row) resets[first + static_cast<std::size_t>(row)] = cut(row) != 0 ? 1 : 0;
}

}  // namespace lstmcore
