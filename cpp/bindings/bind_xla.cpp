// Functions of Python's that XLA calls with the memory of its arrays: nothing is copied on the way in, and results are
// written in place. A call that C++ can compute alone (`xla_calls.hpp`) does so without the GIL.
#include <pybind11/stl.h>

#include <array>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "fork_mutex.hpp"
#include "xla_calls.hpp"

namespace lstmcore::bindings {

namespace xla {
namespace {

/// The type of XLA's data type with this number.
py::dtype dtype_of(int type) {
  switch (type) {
    case of_bool:
      return py::dtype::of<bool>();
    case of_int8:
      return py::dtype::of<std::int8_t>();
    case of_int16:
      return py::dtype::of<std::int16_t>();
    case of_int32:
      return py::dtype::of<std::int32_t>();
    case of_int64:
      return py::dtype::of<std::int64_t>();
    case of_uint8:
      return py::dtype::of<std::uint8_t>();
    case of_uint16:
      return py::dtype::of<std::uint16_t>();
    case of_uint32:
      return py::dtype::of<std::uint32_t>();
    case of_uint64:
      return py::dtype::of<std::uint64_t>();
    case of_float:
      return py::dtype::of<float>();
    case of_double:
      return py::dtype::of<double>();
    default:
      throw py::type_error("expected booleans, integers, float32 or float64, got XLA's data type " +
                           std::to_string(type));
  }
}

/// Arrays that share the memory of operands or results. With `base`, which may be any object, nothing is copied.
py::list arrays_of(const Buffers& buffers, py::handle base) {
  py::list arrays(static_cast<std::size_t>(buffers.size));
  for (std::int64_t index = 0; index < buffers.size; ++index) {
    const Buffer& buffer = *buffers.places[index];
    const std::vector<py::ssize_t> shape(buffer.extents, buffer.extents + buffer.rank);
    // An empty buffer may have no address.
    arrays[static_cast<std::size_t>(index)] = py::array(dtype_of(buffer.type), shape, buffer.data, base);
  }
  return arrays;
}

/// Answers if XLA asks for the version of the interface, as it does at registration.
bool describes(Extension* extension) {
  if (extension == nullptr || extension->type != metadata_extension) return false;
  Version& version = reinterpret_cast<MetadataExtension*>(extension)->metadata->version;
  version.major_version = interface_major;
  version.minor_version = interface_minor;
  return true;
}

/// An error of XLA's.
void* failure(const Frame& frame, const std::string& message, ErrorCode code) {
  ErrorArguments arguments{sizeof(ErrorArguments), nullptr, message.c_str(), code};
  return frame.api->create_error(&arguments);
}

void* failure(const Frame& frame, const py::error_already_set& error) {
  const std::string kind = py::str(error.type().attr("__name__")), text = py::str(error.value());
  ErrorCode code = internal;
  if (error.matches(PyExc_ValueError) || error.matches(PyExc_TypeError)) code = invalid_argument;
  if (error.matches(PyExc_MemoryError)) code = resource_exhausted;
  return failure(frame, kind + ": " + text, code);
}

/// A function that XLA calls. Never freed, since XLA holds the address of its handler for as long as the process runs.
struct Function {
  PyObject* python = nullptr;   ///< takes the text of a call, its operands and its results
  PyObject* planner = nullptr;  ///< takes the text and returns a Plan
  TapeStore* tapes = nullptr;
  bool (*compute)(Plan&, TapeStore&, const Frame&) = nullptr;  ///< in C++; absent: Python computes all calls
};

std::string text_of(const Frame& frame) {
  const Text& text = *frame.attributes.values[0];
  return {text.start, text.size};
}

/// Calls the function of Python's.
void* call(const Function& function, const Frame& frame) {
  const py::gil_scoped_acquire held;
  try {
    const py::bytes text(text_of(frame));
    py::reinterpret_borrow<py::object>(function.python)(text, arrays_of(frame.operands, text),
                                                        arrays_of(frame.results, text));
    return nullptr;
  } catch (const py::error_already_set& error) {
    return failure(frame, error);
  } catch (const py::type_error& error) {
    return failure(frame, std::string("TypeError: ") + error.what(), invalid_argument);
  } catch (const std::exception& error) {
    return failure(frame, error.what(), internal);
  }
}

/// The plan of a call, which Python makes when it first sees the text.
Plan* plan_of(const Function& function, const std::string& text) {
  static auto& plans = *new std::unordered_map<std::string, Plan*>;  // XLA's threads may outlive static objects
  std::mutex& mutex = fork_mutex<Plan>();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = plans.find(text);
    if (found != plans.end()) return found->second;
  }
  Plan* plan = nullptr;
  {
    const py::gil_scoped_acquire held;
    py::object made = py::reinterpret_borrow<py::object>(function.planner)(py::bytes(text));
    plan = made.cast<Plan*>();
    made.release();  // never freed, as no program is ever known to be the last one with this text
  }
  const std::lock_guard<std::mutex> lock(mutex);
  return plans.emplace(text, plan).first->second;
}

/// Computes the call without Python; false if that is impossible.
bool compute(const Function& function, const Frame& frame) {
  if (function.compute == nullptr) return false;
  Plan* const plan = plan_of(function, text_of(frame));
  return plan->allowed.load(std::memory_order_relaxed) && function.compute(*plan, *function.tapes, frame);
}

void* run(const Function& function, const Frame& frame) {
  if (describes(frame.extension_start)) return nullptr;
  // No exception may cross XLA's own code.
  try {
    return compute(function, frame) ? nullptr : call(function, frame);
  } catch (const std::invalid_argument& error) {
    return failure(frame, std::string("ValueError: ") + error.what(), invalid_argument);
  } catch (const std::bad_alloc&) {
    return failure(frame, "MemoryError: the engine could not allocate the memory of a call", resource_exhausted);
  } catch (const std::exception& error) {
    return failure(frame, error.what(), internal);
  }
}

constexpr std::size_t most_functions = 8;
std::array<Function, most_functions> functions{};

template <std::size_t place>
void* handler(Frame* frame) {
  return run(functions[place], *frame);
}

template <std::size_t... places>
auto handlers(std::index_sequence<places...>) {
  return std::array<void* (*)(Frame*), sizeof...(places)>{&handler<places>...};
}

py::capsule add(const Function& function) {
  static std::size_t count = 0;
  if (count == most_functions) throw std::length_error("expected at most 8 functions, got another one");
  functions[count] = function;
  const auto chosen = handlers(std::make_index_sequence<most_functions>())[count++];
  return py::capsule(reinterpret_cast<const void*>(chosen));
}

/// A reference that is never released.
PyObject* forever(const py::object& object) { return py::object(object).release().ptr(); }

py::capsule foreign_function(const py::function& function) { return add({forever(function)}); }

py::capsule foreign_call(const py::function& function, const py::function& planner, const py::object& tapes,
                         bool (*compute)(Plan&, TapeStore&, const Frame&)) {
  auto* const store = tapes.cast<TapeStore*>();
  forever(tapes);
  return add({forever(function), forever(planner), store, compute});
}

}  // namespace
}  // namespace xla

void bind_xla(py::module_& module) {
  using xla::Plan;
  py::class_<TapeStore>(module, "TapeStore", "Stores tapes by number.")
      .def(py::init<std::size_t, std::size_t, std::uint64_t>(), py::arg("most_tapes"), py::arg("most_bytes"),
           py::arg("first_number"))
      .def("put", &TapeStore::put, py::arg("tape").none(false), "Store a tape and return its number.")
      .def("take", &TapeStore::take, py::arg("number"), "Return a tape that is then no longer stored, or None.")
      .def("clear", &TapeStore::clear, "Release all tapes.")
      .def("stored", &TapeStore::stored, "How many tapes are stored, and their bytes.")
      .def_property("most_tapes", &TapeStore::most_tapes, &TapeStore::set_most_tapes)
      .def_property("most_bytes", &TapeStore::most_bytes, &TapeStore::set_most_bytes);
  py::class_<Plan>(module, "ForeignPlan", "What a program says about its calls.")
      .def(py::init<const LstmConfig&, const std::vector<std::string>&, const std::vector<std::string>&, bool, bool>(),
           py::arg("config"), py::arg("operands"), py::arg("wanted"), py::arg("time_major"), py::arg("sequences"))
      .def_property(
          "allowed", [](const Plan& plan) { return plan.allowed.load(); },
          [](Plan& plan, bool allowed) { plan.allowed.store(allowed); })
      .def_property_readonly("count", [](const Plan& plan) { return plan.count.load(); });
  module.def("foreign_function", &xla::foreign_function, py::arg("function"));
  module.def(
      "foreign_record",
      [](const py::function& function, const py::function& plan_of, const py::object& tapes) {
        return xla::foreign_call(function, plan_of, tapes, &xla::record);
      },
      py::arg("function"), py::arg("plan_of"), py::arg("tapes"));
  module.def(
      "foreign_backward",
      [](const py::function& function, const py::function& plan_of, const py::object& tapes) {
        return xla::foreign_call(function, plan_of, tapes, &xla::backward);
      },
      py::arg("function"), py::arg("plan_of"), py::arg("tapes"));
}

}  // namespace lstmcore::bindings
