// Reads tensors of another library through DLPack's C functions, which takes a fraction of the time of Python's
// attributes. A loop over single steps notices the difference.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace lstmcore::bindings {

namespace py = pybind11;

/// DLPack's description of a tensor, as its version 1 defines it: https://dmlc.github.io/dlpack/latest/c_api.html
struct DlTensor {
  void* data;
  std::int32_t device_type;
  std::int32_t device_id;
  std::int32_t rank;
  std::uint8_t code;  ///< 2: floating-point
  std::uint8_t bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  ///< in elements
  std::uint64_t byte_offset;
};

/// Reads contiguous tensors of certain classes.
class TensorReader {
 public:
  /// `functions`: what a class has as `__dlpack_c_exchange_api__`; `kinds`: exact classes, such as Tensor and
  /// Parameter.
  TensorReader(const py::capsule& functions, const py::tuple& kinds);

  /// The memory of a tensor on the CPU with this many bytes an element and this shape; null for any other, for another
  /// class, and where not every element is contiguous or the values are lazily negated.
  void* memory(py::handle tensor, int bytes, std::initializer_list<std::int64_t> shape) const;
  template <class T>
  T* memory(py::handle tensor, std::initializer_list<std::int64_t> shape) const {
    return static_cast<T*>(memory(tensor, static_cast<int>(sizeof(T)), shape));
  }

  /// The rows of a tensor with two axes; -1 for anything else.
  std::int64_t rows(py::handle tensor) const;

 private:
  bool read(py::handle tensor, DlTensor& read) const;

  py::object functions_;  ///< the owner of `describe_`
  int (*describe_)(void*, DlTensor*) = nullptr;
  std::vector<py::object> kinds_;
  py::object is_negated_;  ///< the name of the method
};

}  // namespace lstmcore::bindings
