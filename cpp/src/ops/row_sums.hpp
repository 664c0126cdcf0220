// Sums and maxima over the elements of a row, and over the losses of all rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <lstmcore/tensor.hpp>

#include "../runtime/buffer.hpp"

namespace lstmcore::ops {

/// Sum of term(0) ... term(count - 1) in double. Eight independent accumulators hide the latency of the addition.
template <class Term>
double sum_of(std::int64_t count, Term&& term) {
  constexpr std::int64_t parts = 8;
  double sums[parts] = {};
  std::int64_t k = 0;
  for (; k + parts <= count; k += parts) {
    for (std::int64_t part = 0; part < parts; ++part) sums[part] += term(k + part);
  }
  for (std::int64_t part = 0; k + part < count; ++part) sums[part] += term(k + part);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// The largest of count >= 1 elements; unspecified if one is NaN.
template <class T>
T largest_of(const T* x, std::int64_t count) {
  constexpr std::int64_t parts = 8;
  T best[parts];
  std::fill_n(best, parts, x[0]);
  std::int64_t k = 0;
  for (; k + parts <= count; k += parts) {
    for (std::int64_t part = 0; part < parts; ++part) best[part] = x[k + part] > best[part] ? x[k + part] : best[part];
  }
  for (; k < count; ++k) best[0] = x[k] > best[0] ? x[k] : best[0];
  for (T value : best) best[0] = value > best[0] ? value : best[0];
  return best[0];
}

/// Added in the order of the rows.
inline double sum_in_order(const Buffer<double>& values, std::int64_t count) {
  double total = 0;
  for (std::int64_t m = 0; m < count; ++m) total += values[static_cast<std::size_t>(m)];
  return total;
}

template <class T>
double weight_of(const View<const T, 1>& weights, std::int64_t row) {
  return weights ? static_cast<double>(weights.data[row]) : 1.0;
}

}  // namespace lstmcore::ops
