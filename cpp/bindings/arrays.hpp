// Arguments from Python: checks, views for the engine, and new arrays for results.
//
// Error messages say which argument was wrong, what was expected and what was received. float32 and float64 are never
// converted into each other. An array that the engine cannot address (misaligned, in foreign byte order, or with
// strides that are not multiples of an element's size) is copied without a change of type.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <lstmcore/tensor.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace lstmcore::bindings {

namespace py = pybind11;

// ---- errors and numbers ---------------------------------------------------------------------------------------------

[[noreturn]] void fail_type(const char* name, const std::string& expected, py::handle got);
/// For an array whose element type is wrong: the message tells the caller how to convert it.
[[noreturn]] void fail_element(const char* name, const std::string& expected, const char* dtype, py::handle got);
/// For an array whose element type differs from that of the argument `like`.
[[noreturn]] void fail_unlike(const py::array& got, const char* name, const char* dtype, const char* like);
[[noreturn]] void fail_value(const std::string& message);

/// "float32 array of shape (2, 3)" or the name of the type.
std::string describe(py::handle value);
/// "float32", or "dtype('>f4')" where the name alone would hide the difference.
std::string dtype_name(const py::array& array);

/// An integer (not a bool, not a float) that fits into 64 bits.
std::int64_t to_int64(py::handle value, const char* name);
std::uint64_t to_uint64(py::handle value, const char* name);
/// A real number (not a bool).
double to_double(py::handle value, const char* name);
/// Python's or NumPy's bool.
bool to_bool(py::handle value, const char* name);

/// Throws ValueError if the product of the extents and `bytes_each` exceeds what memory can hold.
void check_size(const char* name, std::initializer_list<std::int64_t> extents, std::int64_t bytes_each);

// ---- element types --------------------------------------------------------------------------------------------------

enum class Element { f32, f64 };

/// `value` itself if it is a NumPy array; otherwise an array of what it exports through DLPack, the buffer protocol or
/// `__array__`, without a copy where possible. TypeError if it exports nothing; `element` says what was expected.
py::array as_array(py::handle value, const char* name, const char* element);

/// Element type of a floating-point array; TypeError if `value` is anything else.
Element element_of(py::handle value, const char* name);

template <class T>
constexpr const char* element_name() {
  return std::is_same_v<T, float> ? "float32" : "float64";
}

/// The dtype of a variant whose first alternative is for float and whose second is for double.
template <class OfFloat, class OfDouble>
py::dtype dtype_of(const std::variant<OfFloat, OfDouble>& value) {
  return value.index() == 0 ? py::dtype::of<float>() : py::dtype::of<double>();
}

/// Calls body(T()) with T = float or double.
template <class Body>
auto dispatch(Element element, Body&& body) {
  return element == Element::f32 ? body(float()) : body(double());
}

// ---- shapes ---------------------------------------------------------------------------------------------------------

/// One axis of an expected shape: its letter, and its extent; -1 accepts any.
struct Axis {
  const char* letter;
  std::int64_t extent = -1;
};

template <int Rank>
using Axes = std::array<Axis, static_cast<std::size_t>(Rank)>;

[[noreturn]] void fail_shape(const char* name, const Axis* axes, std::size_t rank, const py::array& got);

template <int Rank>
void check_shape(const py::array& array, const char* name, const Axes<Rank>& axes) {
  bool matches = array.ndim() == Rank;
  for (std::size_t axis = 0; matches && axis < static_cast<std::size_t>(Rank); ++axis) {
    matches = axes[axis].extent < 0 || axes[axis].extent == array.shape()[axis];
  }
  if (!matches) fail_shape(name, axes.data(), static_cast<std::size_t>(Rank), array);
}

template <int Rank>
std::array<std::int64_t, static_cast<std::size_t>(Rank)> shape_of(const py::array& array) {
  std::array<std::int64_t, static_cast<std::size_t>(Rank)> shape{};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = array.shape()[axis];
  return shape;
}

// ---- arrays ---------------------------------------------------------------------------------------------------------

/// A view together with the array that keeps its memory alive. Default: absent.
template <class T, int Rank>
struct Argument {
  py::object owner;
  View<T, Rank> view;

  std::int64_t extent(std::size_t axis) const { return view.shape[axis]; }
  py::array array() const { return py::reinterpret_borrow<py::array>(owner); }
  /// Moves the array out, to be returned to Python; None if absent.
  py::object take() { return owner ? std::move(owner) : py::object(py::none()); }
};

/// True if aligned and in the machine's own byte order.
inline bool is_native(const py::array& array) {
  const char order = array.dtype().byteorder();
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0 && (order == '=' || order == '|');
}

inline bool is_contiguous(const py::array& array) { return (array.flags() & py::array::c_style) != 0; }

/// The array itself if its elements are contiguous and native, a contiguous copy otherwise.
template <class T>
py::array contiguous(const py::array& array) {
  if (is_contiguous(array) && is_native(array)) return array;
  using Result = py::array_t<T, py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_>;
  py::array result = Result::ensure(array);
  if (!result) throw std::bad_alloc();
  return result;
}

/// Address of the first element. Never null, because the engine takes a null view for an absent argument.
template <class T>
T* data_of(const py::array& array) {
  static std::remove_const_t<T> nothing{};
  const void* data = array.data();
  return data == nullptr ? &nothing : static_cast<T*>(const_cast<void*>(data));
}

template <class T, int Rank>
Argument<T, Rank> contiguous_view(py::array array) {
  T* data = data_of<T>(array);
  View<T, Rank> view(data, shape_of<Rank>(array));
  return {std::move(array), view};
}

/// A view with the array's own strides. The array is copied first if its strides are not whole elements or if, with
/// `unit_last`, the last axis does not have unit stride.
template <class T, int Rank>
Argument<const T, Rank> strided_view(py::array array, bool unit_last) {
  std::array<std::int64_t, static_cast<std::size_t>(Rank)> stride{};
  bool addressable = is_native(array);
  for (std::size_t axis = stride.size(); axis-- > 0;) {
    const std::int64_t bytes = array.strides()[axis];
    addressable = addressable && bytes % static_cast<std::int64_t>(sizeof(T)) == 0;
    stride[axis] = bytes / static_cast<std::int64_t>(sizeof(T));
  }
  if (array.shape()[Rank - 1] == 1) stride.back() = 1;  // NumPy does not define the stride of an axis of one element
  addressable = addressable && (!unit_last || stride.back() == 1);
  if (!addressable || is_contiguous(array)) return contiguous_view<const T, Rank>(contiguous<T>(array));
  View<const T, Rank> view(data_of<const T>(array), shape_of<Rank>(array), stride);
  return {std::move(array), view};
}

/// A new array, not initialized.
template <class T, int Rank>
Argument<T, Rank> allocate(const std::array<std::int64_t, static_cast<std::size_t>(Rank)>& shape) {
  const auto& api = py::detail::npy_api::get();
  std::array<Py_intptr_t, static_cast<std::size_t>(Rank)> extents{};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) extents[axis] = static_cast<Py_intptr_t>(shape[axis]);
  auto array = py::reinterpret_steal<py::array>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, py::dtype::of<T>().release().ptr(), Rank, extents.data(), nullptr, nullptr, 0, nullptr));
  if (!array) throw py::error_already_set();
  return contiguous_view<T, Rank>(std::move(array));
}

/// A new array with the shape of `model`, not initialized, and a view of it as one axis.
template <class T>
Argument<T, 1> allocate_like(const py::array& model) {
  py::array array(py::dtype::of<T>(), std::vector<py::ssize_t>(model.shape(), model.shape() + model.ndim()));
  View<T, 1> view(data_of<T>(array), {static_cast<std::int64_t>(array.size())});
  return {std::move(array), view};
}

/// Reads arguments whose element type must be T because another argument, called `like` in errors, has it.
template <class T>
class Reader {
 public:
  explicit Reader(const char* like) : like_(like) {}

  /// An array of element type T, any shape and strides.
  py::array array(py::handle value, const char* name) const {
    py::array array = as_array(value, name, element_name<T>());
    if (array.dtype().num() != py::dtype::num_of<T>()) {
      fail_unlike(array, name, element_name<T>(), like_);
    }
    return array;
  }

  /// To read, with any strides.
  template <int Rank>
  Argument<const T, Rank> strided(py::handle value, const char* name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return strided_view<T, Rank>(std::move(checked), false);
  }

  /// To read, with unit stride on the last axis: copied otherwise.
  template <int Rank>
  Argument<const T, Rank> rows(py::handle value, const char* name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return strided_view<T, Rank>(std::move(checked), true);
  }

  /// To read, contiguous: copied otherwise.
  template <int Rank>
  Argument<const T, Rank> contiguous(py::handle value, const char* name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return contiguous_view<const T, Rank>(bindings::contiguous<T>(checked));
  }

  /// To read, of any shape, as one contiguous axis.
  Argument<const T, 1> flat(py::handle value, const char* name) const {
    return flatten<const T>(bindings::contiguous<T>(array(value, name)));
  }
  /// The same, of the shape that `model` has.
  Argument<const T, 1> flat_like(py::handle value, const char* name, const py::array& model) const;

  /// To write: must be contiguous and writable.
  template <int Rank>
  Argument<T, Rank> writable(py::handle value, const char* name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    check_writable(checked, name);
    return contiguous_view<T, Rank>(std::move(checked));
  }
  /// To write, of any shape, as one axis.
  Argument<T, 1> writable_flat(py::handle value, const char* name) const {
    py::array checked = array(value, name);
    check_writable(checked, name);
    return flatten<T>(std::move(checked));
  }
  Argument<T, 1> writable_flat_like(py::handle value, const char* name, const py::array& model) const;

 private:
  template <class U>
  static Argument<U, 1> flatten(py::array array) {
    View<U, 1> view(data_of<U>(array), {static_cast<std::int64_t>(array.size())});
    return {std::move(array), view};
  }
  static void check_writable(const py::array& array, const char* name);
  static void check_same_shape(const py::array& array, const char* name, const py::array& model);

  const char* like_;
};

extern template class Reader<float>;
extern template class Reader<double>;

/// An array of any integer type (not bool) as contiguous int64.
template <int Rank>
Argument<const std::int64_t, Rank> read_integers(py::handle value, const char* name, const Axes<Rank>& axes) {
  const py::array array = as_array(value, name, "integers");
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') fail_element(name, "an integer dtype", "int64", array);
  check_shape<Rank>(array, name, axes);
  // Always a copy: the engine checks the values and then runs without the GIL, so nobody else may change them.
  py::array converted = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>(
      array.attr("astype")(py::dtype::of<std::int64_t>()));
  if (!converted) throw std::bad_alloc();
  return contiguous_view<const std::int64_t, Rank>(std::move(converted));
}

/// An array of bool as contiguous bools, each of which is true where the byte is not zero, as NumPy has it. A byte of a
/// bool array may be any: a mask of 255 that is viewed as bool holds 255, which C++ must not read as a bool.
template <int Rank>
Argument<const bool, Rank> read_bools(py::handle value, const char* name, const Axes<Rank>& axes) {
  const py::array array = as_array(value, name, "bool");
  if (array.dtype().num() != py::dtype::num_of<bool>()) fail_element(name, "dtype bool", "bool", value);
  check_shape<Rank>(array, name, axes);
  const py::array bytes = contiguous<bool>(array);
  // Always a copy: the engine reads a mask twice without the GIL, and must find as many valid steps the second time.
  Argument<bool, Rank> flags = allocate<bool, Rank>(shape_of<Rank>(array));
  const auto* from = data_of<const unsigned char>(bytes);
  std::transform(from, from + flags.view.size(), flags.view.data, [](unsigned char byte) { return byte != 0; });
  return {std::move(flags.owner), flags.view};
}

// ---- objects that one thread at a time may use ----------------------------------------------------------------------

/// Claims such an object for the current scope; RuntimeError if another thread is using it.
class Claim {
 public:
  Claim(std::atomic<bool>& taken, const char* name) : taken_(taken) {
    if (taken_.exchange(true, std::memory_order_acquire)) {
      throw std::runtime_error(std::string(name) +
                               ": expected use by one thread at a time, got a call while another "
                               "thread's is running");
    }
  }
  ~Claim() { taken_.store(false, std::memory_order_release); }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

 private:
  std::atomic<bool>& taken_;
};

}  // namespace lstmcore::bindings
