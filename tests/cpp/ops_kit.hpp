// What the tests of the training operations share: views of vectors, thread counts, types.
#pragma once

#include <array>
#include <cstdint>
#include <lstmcore/cpu.hpp>
#include <lstmcore/tensor.hpp>
#include <vector>

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

/// Sets the number of threads for a block.
class Threads {
 public:
  explicit Threads(int count) : before_(lstmcore::get_num_threads()) { lstmcore::set_num_threads(count); }
  ~Threads() { lstmcore::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// `single` for float, `twice` for double.
template <class T>
constexpr double tolerance(double single, double twice) {
  return sizeof(T) == sizeof(float) ? single : twice;
}
