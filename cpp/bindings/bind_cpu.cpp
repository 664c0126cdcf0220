#include <algorithm>
#include <atomic>
#include <limits>
#include <lstmcore/cpu.hpp>
#include <lstmcore/precision.hpp>
#include <string>

#include "arrays.hpp"
#include "bind.hpp"

/// By this symbol threadpoolctl tells the module from others of its name.
extern "C" PYBIND11_EXPORT int lstmcore_is_here() { return 1; }

namespace lstmcore::bindings {

namespace {

py::list list_of(const std::vector<std::string>& names) {
  py::list list;
  for (const std::string& name : names) list.append(name);
  return list;
}

void set_threads(py::handle count) {
  // Clamped, not wrapped, so that a count that is out of range remains so.
  constexpr std::int64_t smallest = std::numeric_limits<int>::min();
  constexpr std::int64_t largest = std::numeric_limits<int>::max();
  set_num_threads(static_cast<int>(std::clamp(to_int64(count, "count"), smallest, largest)));
}

std::atomic<Precision> chosen_precision{Precision::fp32};

}  // namespace

Precision default_precision() { return chosen_precision.load(std::memory_order_relaxed); }

void bind_cpu(py::module_& module) {
  module.def("isa", [] { return isa(); }, "Name of the instruction set in use.");
  module.def(
      "known_isas", [] { return list_of(known_isas()); },
      "Names of all instruction sets, on any machine, slowest first.");
  module.def(
      "supported_isas", [] { return list_of(supported_isas()); },
      "Instruction sets that this machine can run, slowest first.");
  module.def("get_num_threads", &get_num_threads, "Largest number of threads that one call may use.");
  module.def("set_num_threads", &set_threads, py::arg("count"), "Set the largest number of threads of one call.");
  module.def("precision_names", [] { return list_of(precision_names()); }, "Names of the precisions of products.");
  module.def(
      "product_unit", [](const std::string& name) { return product_unit_name(precision_of(name, "precision")); },
      py::arg("precision"), "What computes products of this precision here.");
  module.def(
      "get_precision", [] { return precision_name(default_precision()); },
      "Precision of products where none is named.");
  module.def(
      "set_precision", [](const std::string& name) { chosen_precision.store(precision_of(name, "precision")); },
      py::arg("precision"), "Set the precision of products where none is named.");
  module.def("thread_provider", &thread_provider, "What runs the threads of a call.");
}

}  // namespace lstmcore::bindings
