// Lengths of the rows of a batch, as the operations over time take them.
#pragma once

#include <cstdint>
#include <lstmcore/tensor.hpp>

#include "../check.hpp"

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

}  // namespace lstmcore::ops
