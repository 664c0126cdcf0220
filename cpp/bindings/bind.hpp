// What module.cpp registers, and what more than one part of it needs.
#pragma once

#include <pybind11/pybind11.h>

#include <lstmcore/lstm.hpp>
#include <variant>

namespace lstmcore::bindings {

/// Name and shape of every weight, in order.
pybind11::list parameter_list(const std::vector<LstmParameter>& parameters);

/// What a Python `Lstm` holds.
const std::variant<Lstm<float>, Lstm<double>>& engine_of(pybind11::handle lstm);

void bind_config(pybind11::module_& module);
void bind_cpu(pybind11::module_& module);
void bind_lstm(pybind11::module_& module);
void bind_memory(pybind11::module_& module);
void bind_ops(pybind11::module_& module);
void bind_tangent(pybind11::module_& module);

}  // namespace lstmcore::bindings
