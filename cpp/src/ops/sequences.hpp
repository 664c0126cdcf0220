// Batches of sequences of different lengths: which steps are valid, and how threads share them.
#pragma once

#include <algorithm>
#include <lstmcore/ops.hpp>
#include <utility>
#include <vector>

#include "../api/check.hpp"
#include "elements.hpp"

namespace lstmcore::ops {

/// Checks that `lengths`, if present, has shape (rows) and values from 0 to `steps`.
inline void check_lengths(const char* name, const View<const std::int64_t, 1>& lengths, std::int64_t rows,
                          std::int64_t steps) {
  require_array_or_none(name, lengths, {rows});
  if (!lengths) return;
  for (std::int64_t n = 0; n < rows; ++n) {
    if (lengths.data[n] < 0 || lengths.data[n] > steps) {
      fail(name, ": expected values from 0 to ", steps, " (the time steps), got ", lengths.data[n], " at position ", n);
    }
  }
}

inline std::int64_t length_of(const View<const std::int64_t, 1>& lengths, std::int64_t row, std::int64_t steps) {
  return lengths ? lengths.data[row] : steps;
}

/// Calls body(n) for every sequence of x (N, T, C), shared among threads.
template <class T, int Rank, class Body>
void parallel_rows(const View<T, Rank>& x, Body&& body) {
  const double row_size = static_cast<double>(x.shape[1]) * static_cast<double>(x.shape[2]);
  parallel_ranges(x.shape[0], policy::cost::visited * row_size, 1, [&](std::int64_t begin, std::int64_t count) {
    for (std::int64_t n = begin; n < begin + count; ++n) body(n);
  });
}

/// The valid steps of a batch, numbered: those of the first sequence, then those of the second, and so on.
class ValidSteps {
 public:
  /// counts[n]: valid steps of sequence n.
  explicit ValidSteps(const std::vector<std::int64_t>& counts) : first_(counts.size() + 1, 0) {
    for (std::size_t n = 0; n < counts.size(); ++n) first_[n + 1] = first_[n] + counts[n];
  }

  /// The steps of x (N, T, C) within `lengths`; all of them if that is absent.
  template <class T>
  static ValidSteps within(const View<T, 3>& x, const View<const std::int64_t, 1>& lengths) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(x.shape[0]));
    for (std::int64_t n = 0; n < x.shape[0]; ++n) counts[n] = length_of(lengths, n, x.shape[1]);
    return ValidSteps(counts);
  }

  /// The windows of each sequence of x, numbered likewise.
  template <class T>
  static ValidSteps of_windows(const Windows& windows, const View<T, 3>& x,
                               const View<const std::int64_t, 1>& lengths) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(x.shape[0]));
    for (std::int64_t n = 0; n < x.shape[0]; ++n) counts[n] = windows.count(length_of(lengths, n, x.shape[1]));
    return ValidSteps(counts);
  }

  std::int64_t total() const { return first_.back(); }
  std::int64_t count(std::int64_t sequence) const { return first_[sequence + 1] - first_[sequence]; }
  /// The number of a sequence's first step.
  std::int64_t first(std::int64_t sequence) const { return first_[sequence]; }

  /// Cuts the numbers begin .. end - 1 into runs of steps of one sequence: calls body(sequence, step, number, count)
  /// for each, with its first step and number.
  template <class Body>
  void for_runs(std::int64_t begin, std::int64_t end, Body&& body) const {
    if (begin >= end) return;
    auto next = std::upper_bound(first_.begin(), first_.end(), begin);
    for (std::int64_t sequence = next - first_.begin() - 1; begin < end; ++sequence, ++next) {
      const std::int64_t stop = std::min(end, *next);
      if (stop > begin) body(sequence, begin - first_[sequence], begin, stop - begin);
      begin = stop;
    }
  }

 private:
  std::vector<std::int64_t> first_;
};

/// Fills the steps of y (N, T, C) past the valid ones of each sequence.
template <class T>
void fill_padding(const View<T, 3>& y, const ValidSteps& valid, T value) {
  const std::int64_t row = y.shape[1] * y.shape[2];
  if (valid.total() == y.shape[0] * y.shape[1]) return;
  parallel_rows(y, [&](std::int64_t n) {
    std::fill(y.data + n * row + valid.count(n) * y.shape[2], y.data + (n + 1) * row, value);
  });
}

template <class T>
void zero_padding(const View<T, 3>& y, const ValidSteps& valid) {
  fill_padding(y, valid, T(0));
}

}  // namespace lstmcore::ops
