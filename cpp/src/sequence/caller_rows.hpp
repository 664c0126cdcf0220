// Moving rows between the caller's arrays and ours, which are sorted by length and packed.
#pragma once

#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"
#include "schedule.hpp"

namespace lstmcore {

inline std::size_t count(Index value) { return static_cast<std::size_t>(value); }

/// From (N, width) of the caller to [N][padded] by sorted row, padded with zeros; absent: zeros.
template <class T, class State>
void gather_state(const Schedule& schedule, const State& state, std::size_t cell, Index width, Index padded, T* to) {
  for (Index row = 0; row < schedule.rows; ++row, to += padded) {
    std::fill(to, to + padded, T(0));
    if (!state) continue;
    const Index from = schedule.order[count(row)];
    for (Index unit = 0; unit < width; ++unit) to[unit] = state(static_cast<Index>(cell), from, unit);
  }
}

template <class T>
void scatter_state(const Schedule& schedule, const T* from, Index padded, Index width, std::size_t cell,
                   const View<T, 3>& state) {
  if (!state) return;
  for (Index row = 0; row < schedule.rows; ++row, from += padded) {
    const Index to = schedule.order[count(row)];
    for (Index unit = 0; unit < width; ++unit) state(static_cast<Index>(cell), to, unit) = from[unit];
  }
}

/// Locates each row's state after its last step among rows by time or by step; in `first` if the row has no step.
template <class T>
auto last_by_time(const Schedule& schedule, bool reversed, const RowMap<const T>& first, const RowMap<const T>& rows) {
  return [&schedule, reversed, first, rows](Index row) {
    const Index length = schedule.length[count(row)];
    return length > 0 ? rows.at(schedule.time(row, length - 1, reversed), row) : first.at(0, row);
  };
}
template <class T>
auto last_by_step(const Schedule& schedule, const RowMap<const T>& first, const RowMap<const T>& rows) {
  return [&schedule, first, rows](Index row) {
    const Index length = schedule.length[count(row)];
    return length > 0 ? rows.at(length - 1, row) : first.at(0, row);
  };
}

/// The state after each row's last step, `last(row)`; zeros if a reset cuts it off.
template <class T, class Last>
void scatter_final(const Schedule& schedule, bool reversed, Last&& last, Index width, std::size_t cell,
                   const View<T, 3>& state) {
  if (!state) return;
  for (Index row = 0; row < schedule.rows; ++row) {
    const T* const from = last(row);
    const Index to = schedule.order[count(row)];
    const bool cut = schedule.cut_at_end(row, reversed);
    for (Index unit = 0; unit < width; ++unit) state(static_cast<Index>(cell), to, unit) = cut ? T(0) : from[unit];
  }
}

/// The gradient with respect to that state, laid out as by `gather_state`; zeros where a reset cut the state off.
template <class T, class State>
void gather_final_gradient(const Schedule& schedule, bool reversed, const State& state, std::size_t cell, Index width,
                           Index padded, T* to) {
  gather_state(schedule, state, cell, width, padded, to);
  for (Index row = 0; row < schedule.rows; ++row) {
    if (schedule.cut_at_end(row, reversed)) std::fill_n(to + row * padded, padded, T(0));
  }
}

/// x by packed index, [total][C].
template <class T>
void gather_input(const Schedule& schedule, const View<const T, 3>& x, T* to) {
  const Index width = x.shape[2];
  const int threads = threads_for(static_cast<double>(schedule.total * width) * policy::cost::gathered);
  parallel(threads, [&](int index) {
    for (Index time = 0; time < schedule.longest; ++time) {
      const Range rows = split(schedule.active[count(time)], threads, index);
      for (Index row = rows.begin; row < rows.end; ++row) {
        const T* const from = &x(schedule.order[count(row)], schedule.caller_time(time, row), 0);
        T* const target = to + schedule.packed(time, row) * width;
        if (x.stride[2] == 1) {
          std::copy(from, from + width, target);
        } else {
          for (Index feature = 0; feature < width; ++feature) target[feature] = from[feature * x.stride[2]];
        }
      }
    }
  });
}

/// Zeroes the steps of (N, T, width) that a mask skips; its last axis has unit stride.
template <class T>
void zero_gaps(const Schedule& schedule, const View<T, 3>& array) {
  const Index width = array.shape[2];
  const auto zero = [&](Index batch_row, Range times) {
    for (Index time = times.begin; time < times.end; ++time) std::fill_n(&array(batch_row, time, 0), width, T(0));
  };
  const int threads = threads_for(static_cast<double>(array.size() - schedule.total * width + schedule.total));
  parallel(threads, [&](int index) {
    for (Index row = index; row < schedule.rows; row += threads) {
      Index next = 0;
      for (Index step = 0; step < schedule.length[count(row)]; ++step) {
        const Index time = schedule.caller_time(step, row);
        zero(schedule.order[count(row)], {next, time});
        next = time + 1;
      }
      zero(schedule.order[count(row)], {next, schedule.steps});
    }
  });
}

/// The reverse: copies rows of some times to their places in (N, T, width), whose last axis has unit stride.
template <class T>
void scatter_steps(const Schedule& schedule, const RowMap<const T>& from, Range times, const View<T, 3>& array) {
  const Index width = array.shape[2];
  const int threads =
      threads_for(static_cast<double>(schedule.work(times.begin, times.end) * width) * policy::cost::scattered);
  parallel(threads, [&](int index) {
    for (Index time = times.begin; time < times.end; ++time) {
      const Range rows = split(schedule.active[count(time)], threads, index);
      for (Index row = rows.begin; row < rows.end; ++row) {
        std::copy_n(from.at(time, row), width, &array(schedule.order[count(row)], schedule.caller_time(time, row), 0));
      }
    }
  });
}

/// Zeroes what lies past each row's length in (N, T, width), whose last axis has unit stride.
template <class T>
void zero_padding(const Schedule& schedule, const View<T, 3>& array) {
  if (!array || schedule.total == schedule.rows * schedule.steps) return;
  const int threads =
      threads_for(static_cast<double>(array.size() - schedule.total * array.shape[2]) * policy::cost::zeroed);
  parallel(threads, [&](int index) {
    for (Index row = index; row < schedule.rows; row += threads) {
      for (Index time = schedule.length[count(row)]; time < schedule.steps; ++time) {
        T* const to = &array(schedule.order[count(row)], time, 0);
        std::fill(to, to + array.shape[2], T(0));
      }
    }
  });
}

}  // namespace lstmcore
