#include "tensors.hpp"

#include <algorithm>

#include "arrays.hpp"

namespace lstmcore::bindings {

namespace {

/// The table of DLPack's C functions, of which only one is called.
struct ExchangeTable {
  std::uint32_t major;
  std::uint32_t minor;
  const ExchangeTable* older;
  void* allocate;
  void* to_managed;
  void* from_managed;
  int (*describe)(void* object, DlTensor* out);
  void* stream;
};

constexpr std::int32_t on_cpu = 1;
constexpr std::uint8_t floating_point = 2;

}  // namespace

TensorReader::TensorReader(const py::capsule& functions, const py::tuple& kinds)
    : functions_(functions), is_negated_(py::str("is_neg")) {
  const auto* table = static_cast<const ExchangeTable*>(PyCapsule_GetPointer(functions.ptr(), "dlpack_exchange_api"));
  if (table == nullptr) throw py::error_already_set();
  while (table != nullptr && table->major != 1) table = table->older;
  if (table == nullptr || table->describe == nullptr) {
    fail_value("functions: expected DLPack's of version 1, got another version");
  }
  describe_ = table->describe;
  for (const py::handle kind : kinds) kinds_.push_back(py::reinterpret_borrow<py::object>(kind));
}

bool TensorReader::read(py::handle tensor, DlTensor& read) const {
  const auto* kind = reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr()));
  if (std::none_of(kinds_.begin(), kinds_.end(), [&](const py::object& each) { return each.ptr() == kind; })) {
    return false;
  }
  if (describe_(tensor.ptr(), &read) == 0) return true;
  PyErr_Clear();  // of a tensor that DLPack cannot describe: sparse, say
  return false;
}

void* TensorReader::memory(py::handle tensor, int bytes, std::initializer_list<std::int64_t> shape) const {
  DlTensor found{};
  if (!read(tensor, found) || found.device_type != on_cpu || found.code != floating_point || found.lanes != 1 ||
      found.bits != 8 * bytes || found.rank != static_cast<std::int32_t>(shape.size())) {
    return nullptr;
  }
  if (!std::equal(shape.begin(), shape.end(), found.shape)) return nullptr;
  std::int64_t stride = 1;
  for (std::int32_t axis = found.rank; axis-- > 0;) {
    if (found.shape[axis] != 1 && found.strides != nullptr && found.strides[axis] != stride) return nullptr;
    stride *= found.shape[axis];
  }
  const auto negated = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor.ptr(), is_negated_.ptr()));
  if (!negated) throw py::error_already_set();
  if (negated.ptr() != Py_False) return nullptr;
  return static_cast<char*>(found.data) + found.byte_offset;
}

std::int64_t TensorReader::rows(py::handle tensor) const {
  DlTensor found{};
  return read(tensor, found) && found.rank == 2 ? found.shape[0] : -1;
}

}  // namespace lstmcore::bindings
