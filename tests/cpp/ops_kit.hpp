// Helpers for the tests of the training operations: views of vectors, tolerances, thread counts.
#pragma once

#include <array>
#include <cstdint>
#include <lstmcore/tensor.hpp>
#include <vector>

#include "thread_count.hpp"

template <class T, std::size_t Rank>
lstmcore::View<T, static_cast<int>(Rank)> view_of(std::vector<T>& values, const std::int64_t (&shape)[Rank]) {
  std::array<std::int64_t, Rank> extents{};
  for (std::size_t axis = 0; axis < Rank; ++axis) extents[axis] = shape[axis];
  return {values.data(), extents};
}

template <class T, std::size_t Rank>
lstmcore::View<const T, static_cast<int>(Rank)> view_of(const std::vector<T>& values,
                                                        const std::int64_t (&shape)[Rank]) {
  std::array<std::int64_t, Rank> extents{};
  for (std::size_t axis = 0; axis < Rank; ++axis) extents[axis] = shape[axis];
  return {values.data(), extents};
}

template <class T>
lstmcore::View<T, 1> flat(std::vector<T>& values) {
  return view_of(values, {static_cast<std::int64_t>(values.size())});
}

template <class T>
lstmcore::View<const T, 1> flat(const std::vector<T>& values) {
  return view_of(values, {static_cast<std::int64_t>(values.size())});
}

/// `single` for float, `twice` for double.
template <class T>
constexpr double tolerance(double single, double twice) {
  return sizeof(T) == sizeof(float) ? single : twice;
}
