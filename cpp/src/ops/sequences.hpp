// Batches of sequences of different lengths: which steps count, and sharing them out among threads.
#pragma once

#include <algorithm>
#include <lstmcore/tensor.hpp>
#include <utility>
#include <vector>

#include "../api/check.hpp"
#include "elements.hpp"

namespace lstmcore::ops {

/// `lengths`, if present, are (rows) with values from 0 to steps.
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

/// Calls body(n) for every row.
template <class T, int Rank, class Body>
void parallel_rows(const View<T, Rank>& x, Body&& body) {
  const double row_size = static_cast<double>(x.shape[1]) * static_cast<double>(x.shape[2]);
  parallel_ranges(x.shape[0], policy::cost::visited * row_size, 1, [&](std::int64_t begin, std::int64_t count) {
    for (std::int64_t n = begin; n < begin + count; ++n) body(n);
  });
}

/// The steps that count, numbered: all of the first sequence, then those of the second, and so on.
class Steps {
 public:
  /// counts[n] steps of sequence n.
  explicit Steps(const std::vector<std::int64_t>& counts) : first_(counts.size() + 1, 0) {
    for (std::size_t n = 0; n < counts.size(); ++n) first_[n + 1] = first_[n] + counts[n];
  }

  /// Those within the lengths of x (N, T, C).
  template <class T>
  static Steps within(const View<T, 3>& x, const View<const std::int64_t, 1>& lengths) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(x.shape[0]));
    for (std::int64_t n = 0; n < x.shape[0]; ++n) counts[n] = length_of(lengths, n, x.shape[1]);
    return Steps(counts);
  }

  std::int64_t total() const { return first_.back(); }
  std::int64_t count(std::int64_t sequence) const { return first_[sequence + 1] - first_[sequence]; }
  /// Number of a sequence's first step.
  std::int64_t first(std::int64_t sequence) const { return first_[sequence]; }

  /// Calls body(sequence, step, number, count) for each run of steps of one sequence among the numbers begin .. end
  /// - 1.
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

/// Zeroes the steps of y (N, T, C) beyond the first counts.count(n) of each sequence.
template <class T>
void zero_behind(const View<T, 3>& y, const Steps& counts) {
  const std::int64_t row = y.shape[1] * y.shape[2];
  if (counts.total() == y.shape[0] * y.shape[1]) return;
  parallel_rows(y, [&](std::int64_t n) {
    std::fill(y.data + n * row + counts.count(n) * y.shape[2], y.data + (n + 1) * row, T(0));
  });
}

}  // namespace lstmcore::ops
