#include <lstmcore/cpu.hpp>
#include <lstmcore/version.hpp>
#include <stdexcept>

#include "bind.hpp"

PYBIND11_MODULE(_core, module, pybind11::multiple_interpreters::not_supported()) {
  module.doc() = "The compiled engine of lstmcore.";
  module.attr("__version__") = LSTMCORE_VERSION;
  try {
    lstmcore::isa();  // a wrong LSTMCORE_ISA shall fail here, not in the middle of a training
  } catch (const std::invalid_argument& error) {
    throw pybind11::import_error(error.what());
  }
  lstmcore::bindings::bind_cpu(module);
  lstmcore::bindings::bind_config(module);
  lstmcore::bindings::bind_lstm(module);
  lstmcore::bindings::bind_memory(module);
  lstmcore::bindings::bind_tangent(module);
  lstmcore::bindings::bind_ops(module);
}
