// Views: a pointer, a shape and strides. A view owns nothing and checks nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace lstmcore {

/// A strided view of `Rank` axes over memory that somebody else owns. Strides count elements, not bytes, and may be
/// zero or negative. A default-constructed view is absent, which `if (view)` tests.
///
/// The engine reads a view of bool byte by byte, and takes any byte but zero for true. C++ itself allows only 0 and 1
/// in a bool: memory of other libraries may hold others, so read it through `bytes_of`, and not through `operator()`.
template <class T, int Rank>
struct View {
  static constexpr int rank = Rank;

  T* data = nullptr;
  std::array<std::int64_t, Rank> shape{};
  std::array<std::int64_t, Rank> stride{};

  View() = default;

  /// A contiguous (row-major) view.
  View(T* pointer, std::array<std::int64_t, Rank> extents) : data(pointer), shape(extents) {
    std::int64_t step = 1;
    for (int axis = Rank - 1; axis >= 0; --axis) {
      stride[static_cast<std::size_t>(axis)] = step;
      step *= shape[static_cast<std::size_t>(axis)];
    }
  }

  View(T* pointer, std::array<std::int64_t, Rank> extents, std::array<std::int64_t, Rank> strides)
      : data(pointer), shape(extents), stride(strides) {}

  /// A view of mutable elements is a view of constant ones.
  template <class U, class = std::enable_if_t<std::is_same_v<T, const U> && !std::is_const_v<U>>>
  View(const View<U, Rank>& other) : data(other.data), shape(other.shape), stride(other.stride) {}

  explicit operator bool() const { return data != nullptr; }

  std::int64_t size() const {
    std::int64_t count = 1;
    for (std::int64_t extent : shape) count *= extent;
    return count;
  }

  template <class... Index>
  T& operator()(Index... index) const {
    static_assert(sizeof...(Index) == Rank, "one index per axis");
    const std::array<std::int64_t, Rank> position{static_cast<std::int64_t>(index)...};
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) offset += position[axis] * stride[axis];
    return data[offset];
  }
};

/// The bytes of bools: true where they are not zero.
template <int Rank>
View<const unsigned char, Rank> bytes_of(const View<const bool, Rank>& flags) {
  static_assert(sizeof(bool) == 1, "a bool is a byte");
  return {reinterpret_cast<const unsigned char*>(flags.data), flags.shape, flags.stride};
}

}  // namespace lstmcore
