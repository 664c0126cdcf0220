// Argument checks shared by the public functions. Everything here throws std::invalid_argument with a message of the
// form "argument: what was expected, what was passed".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <lstmcore/tensor.hpp>
#include <sstream>
#include <string>

#include "../runtime/errors.hpp"
#include "../runtime/text_streams.hpp"

namespace lstmcore {

/// Throws std::invalid_argument with the concatenated parts as its message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  make_strict(message);
  message.precision(std::numeric_limits<double>::max_digits10);
  (message << ... << parts);
  raise<std::invalid_argument>(message.str());
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) fail(parts...);
}

/// "(2, 3)"; one axis is "(2,)", as NumPy writes it.
template <std::size_t Rank>
std::string shape_text(const std::array<std::int64_t, Rank>& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < Rank; ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape[axis]);
  }
  return text + (Rank == 1 ? ",)" : ")");
}

template <class T, int Rank>
std::string shape_text(const View<T, Rank>& view) {
  return shape_text(view.shape);
}

/// True if the product of the extents, none of them negative, fits into std::int64_t.
template <std::size_t Rank>
bool size_fits(const std::array<std::int64_t, Rank>& shape) {
  std::int64_t size = 1;
  for (std::int64_t extent : shape) {
    if (extent == 0) return true;
    if (size > std::numeric_limits<std::int64_t>::max() / extent) return false;
    size *= extent;
  }
  return true;
}

template <class T, int Rank>
bool is_contiguous(const View<T, Rank>& view) {
  std::int64_t step = 1;
  for (std::size_t axis = Rank; axis-- > 0;) {
    if (view.shape[axis] == 0) return true;
    if (view.shape[axis] != 1 && view.stride[axis] != step) return false;
    step *= view.shape[axis];
  }
  return true;
}

/// The shape of a view, as a parameter that takes {2, 3} too.
template <class T, int Rank>
using ShapeOf = decltype(View<T, Rank>::shape);

/// Checks that the view has valid extents and, unless it has no elements, is not null.
template <class T, int Rank>
void require_present(const char* name, const View<T, Rank>& view) {
  for (std::int64_t extent : view.shape) {
    if (extent < 0) fail(name, ": expected no negative extent, got shape ", shape_text(view));
  }
  if (!size_fits(view.shape)) fail(name, ": expected a size that fits into 64 bits, got shape ", shape_text(view));
  if (view.data == nullptr && view.size() != 0) fail(name, ": expected an array, got none");
}

template <class T, int Rank>
void require_contiguous(const char* name, const View<T, Rank>& view) {
  require_present(name, view);
  if (is_contiguous(view)) return;
  fail(name, ": expected contiguous (row-major) memory, got strides ", shape_text(view.stride), " for shape ",
       shape_text(view));
}

template <class T, int Rank>
void require_shape(const char* name, const View<T, Rank>& view, const ShapeOf<T, Rank>& expected) {
  if (view.shape != expected) {
    fail(name, ": expected shape ", shape_text(expected), ", got ", shape_text(view));
  }
}

/// Checks that the view is a contiguous array of exactly this shape.
template <class T, int Rank>
void require_array(const char* name, const View<T, Rank>& view, const ShapeOf<T, Rank>& expected) {
  require_shape(name, view, expected);
  require_contiguous(name, view);
}

/// The same for an argument that may be absent.
template <class T, int Rank>
void require_array_or_none(const char* name, const View<T, Rank>& view, const ShapeOf<T, Rank>& expected) {
  if (view) require_array(name, view, expected);
}

}  // namespace lstmcore
