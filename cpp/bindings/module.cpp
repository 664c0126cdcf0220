#include <lstmcore/cpu.hpp>
#include <lstmcore/version.hpp>
#include <stdexcept>

#include "bind.hpp"

PYBIND11_MODULE(_core, module, pybind11::multiple_interpreters::not_supported()) {
  module.doc() = "The compiled engine of lstmcore.";
  module.attr("__version__") = LSTMCORE_VERSION;
  try {
    lstmcore::isa();  // report a wrong LSTMCORE_ISA at import, not in the middle of a training
  } catch (const std::invalid_argument& error) {
    throw pybind11::import_error(error.what());
  }
  using namespace lstmcore::bindings;
  find_main_thread();
  bind_cpu(module);
  bind_config(module);
  bind_memory(module);
  bind_tape(module);
  bind_packed(module);
  bind_stream(module);
  bind_cell(module);
  bind_tangent(module);
  bind_rnn(module);
  bind_embedding(module);
  bind_dense(module);
  bind_windows(module);
  bind_convolution(module);
  bind_pooling(module);
  bind_attention(module);
  bind_normalization(module);
  bind_dropout(module);
  bind_losses(module);
  bind_optimizers(module);
  bind_xla(module);
  bind_capture(module);
}
