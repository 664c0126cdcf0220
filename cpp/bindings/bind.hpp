// What module.cpp registers.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore::bindings {

void bind_cpu(pybind11::module_& module);
void bind_lstm(pybind11::module_& module);
void bind_ops(pybind11::module_& module);

}  // namespace lstmcore::bindings
