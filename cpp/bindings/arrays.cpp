#include "arrays.hpp"

#include <limits>

namespace lstmcore::bindings {

namespace {

std::string extents_text(const py::array& array) {
  std::string text = "(";
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(array.shape(axis));
  }
  return text + (array.ndim() == 1 ? ",)" : ")");
}

std::string axes_text(const Axis* axes, std::size_t rank) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (axis > 0) text += ", ";
    text += axes[axis].letter;
    if (axes[axis].extent >= 0) text += "=" + std::to_string(axes[axis].extent);
  }
  return text + (rank == 1 ? ",)" : ")");
}

bool is_integer(py::handle value) { return !PyBool_Check(value.ptr()) && PyIndex_Check(value.ptr()) != 0; }

py::object as_integer(py::handle value, const char* name) {
  if (!is_integer(value)) fail_type(name, "an integer", value);
  auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) {  // arrays of several elements pass PyIndex_Check
    PyErr_Clear();
    fail_type(name, "an integer", value);
  }
  return number;
}

[[noreturn]] void fail_range(const char* name, const char* range, py::handle value) {
  PyErr_Clear();
  fail_value(std::string(name) + ": expected an integer " + range + ", got " + std::string(py::str(value)));
}

}  // namespace

void fail_type(const char* name, const std::string& expected, py::handle got) {
  throw py::type_error(std::string(name) + ": expected " + expected + ", got " + describe(got));
}

void fail_element(const char* name, const std::string& expected, const char* dtype, py::handle got) {
  std::string advice;
  if (py::isinstance<py::array>(got)) {
    const char kind = py::reinterpret_borrow<py::array>(got).dtype().kind();
    if (std::string("fiub").find(kind) != std::string::npos) {
      advice = std::string("; convert it with .astype('") + dtype + "')";
    }
  } else if (py::isinstance<py::list>(got) || py::isinstance<py::tuple>(got)) {
    advice = std::string("; convert it with numpy.asarray(..., dtype='") + dtype + "')";
  }
  throw py::type_error(std::string(name) + ": expected " + expected + ", got " + describe(got) + advice);
}

void fail_unlike(const py::array& got, const char* name, const char* dtype, const char* like) {
  fail_element(name, std::string("dtype ") + dtype + " like " + like, dtype, got);
}

void fail_value(const std::string& message) { throw py::value_error(message); }

std::string dtype_name(const py::array& array) { return std::string(py::str(array.dtype())); }

std::string describe(py::handle value) {
  if (value.is_none()) return "None";
  if (!py::isinstance<py::array>(value)) return std::string(py::str(py::type::handle_of(value).attr("__name__")));
  const auto array = py::reinterpret_borrow<py::array>(value);
  return dtype_name(array) + " array of shape " + extents_text(array);
}

std::int64_t to_int64(py::handle value, const char* name) {
  const py::object number = as_integer(value, name);
  const long long result = PyLong_AsLongLong(number.ptr());
  if (result == -1 && PyErr_Occurred() != nullptr) fail_range(name, "that fits into 64 bits", value);
  return result;
}

std::uint64_t to_uint64(py::handle value, const char* name) {
  const py::object number = as_integer(value, name);
  const unsigned long long result = PyLong_AsUnsignedLongLong(number.ptr());
  if (result == std::numeric_limits<unsigned long long>::max() && PyErr_Occurred() != nullptr) {
    fail_range(name, "from 0 to 2**64 - 1", value);
  }
  return result;
}

double to_double(py::handle value, const char* name) {
  if (PyFloat_CheckExact(value.ptr()) != 0) return PyFloat_AS_DOUBLE(value.ptr());
  // bool and arrays would convert as well, but passing one is most likely a mistake.
  const bool number = !PyBool_Check(value.ptr()) && !py::isinstance<py::array>(value);
  const double result = number ? PyFloat_AsDouble(value.ptr()) : -1.0;
  if (!number || PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    fail_type(name, "a number", value);
  }
  return result;
}

bool to_bool(py::handle value, const char* name) {
  if (value.ptr() == Py_True) return true;
  if (value.ptr() == Py_False) return false;
  py::detail::make_caster<bool> caster;
  if (!caster.load(value, false)) fail_type(name, "True or False", value);
  return py::detail::cast_op<bool>(caster);
}

void check_size(const char* name, std::initializer_list<std::int64_t> extents, std::int64_t bytes_each) {
  constexpr std::int64_t largest = std::numeric_limits<std::ptrdiff_t>::max();
  std::int64_t bytes = bytes_each;
  for (std::int64_t extent : extents) {
    if (extent == 0) return;
  }
  for (std::int64_t extent : extents) {
    if (bytes > largest / extent) {
      std::string text;
      for (std::int64_t factor : extents) text += (text.empty() ? "" : " * ") + std::to_string(factor);
      fail_value(std::string(name) + ": expected sizes whose product fits into memory, got " + text);
    }
    bytes *= extent;
  }
}

py::array as_array(py::handle value, const char* name, const char* element) {
  if (py::isinstance<py::array>(value)) return py::reinterpret_borrow<py::array>(value);
  // Objects of other libraries are read by Python code: this path is not hot.
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> converter;
  const py::object& convert =
      converter.call_once_and_store_result([] { return py::module_::import("lstmcore._arrays").attr("as_array"); })
          .get_stored();
  py::object array = convert(value, name);
  if (!py::isinstance<py::array>(array)) {
    const std::string expected = std::string("an array of ") + element;
    if (std::string(element).rfind("float", 0) != 0) fail_type(name, expected, value);
    fail_element(name, expected, std::string(element) == "float64" ? "float64" : "float32", value);
  }
  return array;
}

Element element_of(py::handle value, const char* name) {
  constexpr const char* expected = "float32 or float64";
  const py::array array = as_array(value, name, expected);
  const int number = array.dtype().num();
  if (number == py::dtype::num_of<float>()) return Element::f32;
  if (number == py::dtype::num_of<double>()) return Element::f64;
  fail_element(name, std::string("an array of ") + expected, "float32", array);
}

void fail_shape(const char* name, const Axis* axes, std::size_t rank, const py::array& got) {
  fail_value(std::string(name) + ": expected shape " + axes_text(axes, rank) + ", got " + extents_text(got));
}

template <class T>
void Reader<T>::check_writable(const py::array& array, const char* name) {
  if (!is_contiguous(array) || !is_native(array) || !array.writeable()) {
    fail_value(std::string(name) + ": expected a writable C-contiguous array in native byte order, got " +
               (array.writeable() ? "" : "read-only ") + (is_contiguous(array) ? "" : "non-contiguous ") +
               (is_native(array) ? "" : "misaligned or byte-swapped ") + describe(array));
  }
}

template <class T>
void Reader<T>::check_same_shape(const py::array& array, const char* name, const py::array& model) {
  bool same = array.ndim() == model.ndim();
  for (py::ssize_t axis = 0; same && axis < array.ndim(); ++axis) same = array.shape(axis) == model.shape(axis);
  if (!same) fail_value(std::string(name) + ": expected shape " + extents_text(model) + ", got " + extents_text(array));
}

template <class T>
Argument<const T, 1> Reader<T>::flat_like(py::handle value, const char* name, const py::array& model) const {
  const py::array checked = array(value, name);
  check_same_shape(checked, name, model);
  return flatten<const T>(bindings::contiguous<T>(checked));
}

template <class T>
Argument<T, 1> Reader<T>::writable_flat_like(py::handle value, const char* name, const py::array& model) const {
  py::array checked = array(value, name);
  check_same_shape(checked, name, model);
  check_writable(checked, name);
  return flatten<T>(std::move(checked));
}

template class Reader<float>;
template class Reader<double>;

}  // namespace lstmcore::bindings
