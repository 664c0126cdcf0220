// The functions that module.cpp registers, by subject, and helpers that several of them need.
#pragma once

#include <pybind11/pybind11.h>

#include <lstmcore/lstm.hpp>
#include <lstmcore/precision.hpp>
#include <vector>

namespace lstmcore::bindings {

/// Name and shape of every weight, in order.
pybind11::list parameter_list(const std::vector<LstmParameter>& parameters);

/// Finds the thread of Python's signal handlers, for signals.hpp.
void find_main_thread();
/// The precision of float products where none is named.
Precision default_precision();

void bind_cpu(pybind11::module_& module);

// The LSTM.
void bind_config(pybind11::module_& module);
void bind_memory(pybind11::module_& module);
void bind_packed(pybind11::module_& module);
void bind_tape(pybind11::module_& module);
void bind_stream(pybind11::module_& module);
void bind_cell(pybind11::module_& module);
void bind_tangent(pybind11::module_& module);
void bind_rnn(pybind11::module_& module);

// The operations around it.
void bind_embedding(pybind11::module_& module);
void bind_dense(pybind11::module_& module);
void bind_windows(pybind11::module_& module);
void bind_convolution(pybind11::module_& module);
void bind_pooling(pybind11::module_& module);
void bind_attention(pybind11::module_& module);
void bind_normalization(pybind11::module_& module);
void bind_dropout(pybind11::module_& module);
void bind_losses(pybind11::module_& module);
void bind_optimizers(pybind11::module_& module);

// Other programs.
void bind_xla(pybind11::module_& module);

// Files.
void bind_capture(pybind11::module_& module);

}  // namespace lstmcore::bindings
