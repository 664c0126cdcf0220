// Arguments from Python: what they must be, the views that the engine wants of them, and new arrays for results.
//
// Errors name the argument, what was expected and what came. Nothing is converted between float32 and float64. An
// array that the engine cannot address (misaligned, foreign byte order, strides that are no multiple of an element) is
// copied, without a change of type.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <lstmcore/tensor.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace lstmcore::bindings {

namespace py = pybind11;

// ---- errors and numbers ---------------------------------------------------------------------------------------------

[[noreturn]] void fail_type(const std::string& name, const std::string& expected, py::handle got);
/// Of an element type that nothing here converts: names the conversion for the caller to write.
[[noreturn]] void fail_element(const std::string& name, const std::string& expected, const char* dtype, py::handle got);
[[noreturn]] void fail_value(const std::string& message);

/// "float32 array of shape (2, 3)" or the name of the type.
std::string describe(py::handle value);
/// "float32", or "dtype('>f4')" where the name alone would hide the difference.
std::string dtype_name(const py::array& array);

/// An integer (not a bool, not a float) that fits.
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

/// A NumPy array, or what another library's object exports through DLPack, the buffer protocol or `__array__`, without
/// a copy where its memory can be addressed. TypeError, in which `element` names what was expected, if it is neither.
py::array as_array(py::handle value, const std::string& name, const char* element);

/// Type of a floating-point array; TypeError if `value` is anything else.
Element element_of(py::handle value, const std::string& name);

template <class T>
constexpr const char* element_name() {
  return std::is_same_v<T, float> ? "float32" : "float64";
}

/// Calls body(T()) with T = float or double.
template <class Body>
auto dispatch(Element element, Body&& body) {
  return element == Element::f32 ? body(float()) : body(double());
}

// ---- shapes ---------------------------------------------------------------------------------------------------------

/// One axis of an expected shape: its letter, and its extent unless any will do.
struct Axis {
  const char* letter;
  std::int64_t extent = -1;
};

template <int Rank>
using Axes = std::array<Axis, static_cast<std::size_t>(Rank)>;

[[noreturn]] void fail_shape(const std::string& name, const Axis* axes, std::size_t rank, const py::array& got);

template <int Rank>
void check_shape(const py::array& array, const std::string& name, const Axes<Rank>& axes) {
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
  /// The array, or None.
  py::object take() { return owner ? std::move(owner) : py::object(py::none()); }
};

/// True if aligned and in the machine's byte order.
inline bool is_unsplit(const py::array& array) {
  const char order = array.dtype().byteorder();
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0 && (order == '=' || order == '|');
}

inline bool is_contiguous(const py::array& array) { return (array.flags() & py::array::c_style) != 0; }

/// The array as contiguous elements of T, itself if it is so already.
template <class T>
py::array contiguous(const py::array& array) {
  if (is_contiguous(array) && is_unsplit(array)) return array;
  using Result = py::array_t<T, py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_>;
  py::array result = Result::ensure(array);
  if (!result) throw std::bad_alloc();
  return result;
}

/// Address of the first element; never null, so that an array without elements is not taken for an absent one.
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

/// A view with the array's own strides, or of a copy where these are no whole elements or, with `unit_last`, the last
/// axis has not unit stride.
template <class T, int Rank>
Argument<const T, Rank> strided_view(py::array array, bool unit_last) {
  std::array<std::int64_t, static_cast<std::size_t>(Rank)> stride{};
  bool addressable = is_unsplit(array);
  for (std::size_t axis = stride.size(); axis-- > 0;) {
    const std::int64_t bytes = array.strides()[axis];
    addressable = addressable && bytes % static_cast<std::int64_t>(sizeof(T)) == 0;
    stride[axis] = bytes / static_cast<std::int64_t>(sizeof(T));
  }
  if (array.shape()[Rank - 1] == 1) stride.back() = 1;  // NumPy leaves the stride of an axis of one element undefined
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

/// Reads arguments that must have element type T because some other argument, `like`, has it.
template <class T>
class Reader {
 public:
  explicit Reader(const char* like) : like_(like) {}

  /// An array of element type T, any shape and strides.
  py::array array(py::handle value, const std::string& name) const {
    py::array array = as_array(value, name, element_name<T>());
    if (array.dtype().num() != py::dtype::num_of<T>()) {
      fail_element(name, std::string("dtype ") + element_name<T>() + " like " + like_, element_name<T>(), array);
    }
    return array;
  }

  /// To be read, any strides.
  template <int Rank>
  Argument<const T, Rank> strided(py::handle value, const std::string& name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return strided_view<T, Rank>(std::move(checked), false);
  }

  /// To be read, unit stride on the last axis: copied if it has not.
  template <int Rank>
  Argument<const T, Rank> rows(py::handle value, const std::string& name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return strided_view<T, Rank>(std::move(checked), true);
  }

  /// To be read, contiguous: copied if it is not.
  template <int Rank>
  Argument<const T, Rank> contiguous(py::handle value, const std::string& name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    return contiguous_view<const T, Rank>(bindings::contiguous<T>(checked));
  }

  /// To be read, any shape, as one contiguous axis.
  Argument<const T, 1> flat(py::handle value, const std::string& name) const {
    return flatten<const T>(bindings::contiguous<T>(array(value, name)));
  }
  /// The same, with the shape of another array.
  Argument<const T, 1> flat_like(py::handle value, const std::string& name, const py::array& model) const;

  /// To be written: contiguous and writable.
  template <int Rank>
  Argument<T, Rank> writable(py::handle value, const std::string& name, const Axes<Rank>& axes) const {
    py::array checked = array(value, name);
    check_shape<Rank>(checked, name, axes);
    check_writable(checked, name);
    return contiguous_view<T, Rank>(std::move(checked));
  }
  /// To be written, any shape, as one axis.
  Argument<T, 1> writable_flat(py::handle value, const std::string& name) const {
    py::array checked = array(value, name);
    check_writable(checked, name);
    return flatten<T>(std::move(checked));
  }
  Argument<T, 1> writable_flat_like(py::handle value, const std::string& name, const py::array& model) const;

 private:
  template <class U>
  static Argument<U, 1> flatten(py::array array) {
    View<U, 1> view(data_of<U>(array), {static_cast<std::int64_t>(array.size())});
    return {std::move(array), view};
  }
  static void check_writable(const py::array& array, const std::string& name);
  static void check_same_shape(const py::array& array, const std::string& name, const py::array& model);

  const char* like_;
};

extern template class Reader<float>;
extern template class Reader<double>;

/// An array of any integer type (not bool) as contiguous int64.
template <int Rank>
Argument<const std::int64_t, Rank> read_integers(py::handle value, const std::string& name, const Axes<Rank>& axes) {
  const py::array array = as_array(value, name, "integers");
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') fail_element(name, "an integer dtype", "int64", array);
  check_shape<Rank>(array, name, axes);
  // Always a copy: what was checked must not change under the engine, which runs without the GIL.
  py::array converted = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>(
      array.attr("astype")(py::dtype::of<std::int64_t>()));
  if (!converted) throw std::bad_alloc();
  return contiguous_view<const std::int64_t, Rank>(std::move(converted));
}

/// An array of bool, contiguous.
template <int Rank>
Argument<const bool, Rank> read_bools(py::handle value, const std::string& name, const Axes<Rank>& axes) {
  const py::array array = as_array(value, name, "bool");
  if (array.dtype().num() != py::dtype::num_of<bool>()) fail_element(name, "dtype bool", "bool", value);
  check_shape<Rank>(array, name, axes);
  return contiguous_view<const bool, Rank>(contiguous<bool>(array));
}

// ---- objects that one call at a time may use ------------------------------------------------------------------------

/// Claims an object that is not safe to use from two threads at once; RuntimeError if another thread holds it.
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
