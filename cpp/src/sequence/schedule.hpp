// Which rows of a batch are active at which step, and where their data lies.
#pragma once

#include <lstmcore/lstm.hpp>
#include <vector>

namespace lstmcore {

using Index = std::int64_t;

/// The rows of a batch in order of falling length, so that the active rows of step t are the first `active[t]`. Data of
/// row r at time t have the packed index offset[t] + r: nothing is stored for padding.
struct Schedule {
  Index rows = 0;                  ///< N
  Index steps = 0;                 ///< T
  Index longest = 0;               ///< largest length
  Index total = 0;                 ///< sum of lengths
  std::vector<Index> order;        ///< (N) the caller's row of sorted row r
  std::vector<Index> length;       ///< (N) of sorted row r, falling
  std::vector<Index> active;       ///< (longest)
  std::vector<Index> offset;       ///< (longest)
  std::vector<Index> iota;         ///< 0, 1, 2, ... as many as the larger of N and T
  std::vector<Index> parity;       ///< 0, 1, 0, 1, ...
  std::vector<char> resets;        ///< (total) by packed index, or empty
  std::vector<Index> valid_times;  ///< (total) the caller's time by packed index, if a mask skips steps; or empty

  Schedule() = default;
  Schedule(Index batch, Index time, View<const Index, 1> lengths, View<const bool, 2> reset,
           View<const bool, 2> mask = {});

  /// One more step of all rows, which must all have the same length; absent: no row is reset.
  void append(View<const bool, 1> reset);

  /// True if rows differ in length.
  bool ragged() const { return rows > 0 && length.back() != longest; }
  /// Valid steps of all rows within some steps.
  Index work(Index begin, Index end) const {
    if (begin >= end) return 0;
    const Index after = end < longest ? offset[static_cast<std::size_t>(end)] : total;
    return after - offset[static_cast<std::size_t>(begin)];
  }
  Index packed(Index time, Index row) const { return offset[static_cast<std::size_t>(time)] + row; }
  /// The caller's time of a row's valid step number `time`.
  Index caller_time(Index time, Index row) const {
    return valid_times.empty() ? time : valid_times[static_cast<std::size_t>(packed(time, row))];
  }
  /// Time index that the walk of sorted row `row` visits at its step `step`.
  Index time(Index row, Index step, bool reversed) const {
    return reversed ? length[static_cast<std::size_t>(row)] - 1 - step : step;
  }
  /// True if the state is zeroed before the walk's step `step` of sorted row `row`.
  bool cut(Index row, Index step, bool reversed) const {
    if (resets.empty()) return false;
    if (!reversed) return resets[static_cast<std::size_t>(packed(step, row))] != 0;
    return step > 0 && resets[static_cast<std::size_t>(packed(time(row, step, true) + 1, row))] != 0;
  }
  /// True if the state is zeroed after the walk's last step of sorted row `row`: a reset at the first time index.
  bool cut_at_end(Index row, bool reversed) const {
    return reversed && !resets.empty() && length[static_cast<std::size_t>(row)] > 0 &&
           resets[static_cast<std::size_t>(packed(0, row))] != 0;
  }
};

/// Where the vector of (time t, sorted row r) lies: base + time_index[t] * time_stride + row_index[r] * row_stride.
template <class T>
struct RowMap {
  T* base = nullptr;
  const Index* time_index = nullptr;
  const Index* row_index = nullptr;
  Index time_stride = 0;
  Index row_stride = 0;

  explicit operator bool() const { return base != nullptr; }
  T* at(Index time, Index row) const { return base + time_index[time] * time_stride + row_index[row] * row_stride; }

  RowMap<const T> readable() const { return {base, time_index, row_index, time_stride, row_stride}; }
  /// The same rows, `columns` elements further in; none if there are none.
  RowMap shifted(Index columns) const {
    return {base != nullptr ? base + columns : nullptr, time_index, row_index, time_stride, row_stride};
  }
};

/// Packed by (time, row): [total][width].
template <class T>
RowMap<T> packed_rows(const Schedule& schedule, T* base, Index width) {
  return {base, schedule.offset.data(), schedule.iota.data(), width, width};
}

/// Packed by (step, row), from the step `first` on.
template <class T>
RowMap<T> packed_rows(const Schedule& schedule, T* base, Index width, Index first) {
  return {base - schedule.work(0, first) * width, schedule.offset.data(), schedule.iota.data(), width, width};
}

/// The caller's array (N, T, width) with unit stride on its last axis.
template <class T>
RowMap<T> caller_rows(const Schedule& schedule, const View<T, 3>& array) {
  return {array.data, schedule.iota.data(), schedule.order.data(), array.stride[1], array.stride[0]};
}

/// One place per row for every even and one for every odd time: [2][N][width].
template <class T>
RowMap<T> alternating_rows(const Schedule& schedule, T* base, Index width) {
  return {base, schedule.parity.data(), schedule.iota.data(), schedule.rows * width, width};
}

/// One place per row for all times: [N][width].
template <class T>
RowMap<T> single_rows(const Schedule& schedule, T* base, Index width) {
  return {base, schedule.parity.data(), schedule.iota.data(), 0, width};
}

}  // namespace lstmcore
