// Test data: the same numbers on every platform, which the standard library's distributions do not promise.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

/// `count` values, uniform in -scale..scale.
template <class T>
std::vector<T> random_values(std::int64_t count, std::uint64_t seed, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) {
    const double unit = static_cast<double>(generator() >> 11) / 9007199254740992.0;  // 2^53
    value = static_cast<T>(scale * (2 * unit - 1));
  }
  return values;
}
