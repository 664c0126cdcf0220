#include "op_arguments.hpp"

#include <limits>

namespace lstmcore::bindings {

namespace {

constexpr Named<Activation> activations[] = {{"linear", Activation::linear},
                                             {"relu", Activation::relu},
                                             {"tanh", Activation::tanh},
                                             {"sigmoid", Activation::sigmoid},
                                             {"softmax", Activation::softmax}};

constexpr Named<Padding> paddings[] = {{"valid", Padding::valid}, {"same", Padding::same}, {"causal", Padding::causal}};

/// The engine checks these numbers too, but calls them by names of its own.
void check_window_number(const char* name, std::int64_t value) {
  if (value < 1 || value > std::numeric_limits<std::int32_t>::max()) {
    fail_value(std::string(name) + ": expected 1 to 2147483647, got " + std::to_string(value));
  }
}

}  // namespace

Argument<const std::int64_t, 1> optional_lengths(py::handle lengths, std::int64_t batch) {
  if (lengths.is_none()) return {};
  return read_integers<1>(lengths, "lengths", {{{"N", batch}}});
}

std::int64_t to_steps(py::handle steps) {
  const std::int64_t count = to_int64(steps, "steps");
  if (count < 0) fail_value("steps: expected at least 0, got " + std::to_string(count));
  return count;
}

const char* activation_name(Activation activation) {
  for (const Named<Activation>& known : activations) {
    if (known.value == activation) return known.name;
  }
  return "";
}

Activation activation_named(py::handle name) {
  if (!py::isinstance<py::str>(name)) fail_type("activation", "a string", name);
  const std::string text = py::str(name);
  const Activation* const found = find_named(activations, text);
  if (found == nullptr) {
    fail_value("activation: expected linear, relu, tanh, sigmoid or softmax, got '" + text + "'");
  }
  return *found;
}

Windows to_windows(const char* size_name, std::int64_t size, py::handle strides, py::handle padding,
                   py::handle dilation_rate) {
  Windows windows;
  windows.size = size;
  windows.stride = to_int64(strides, "strides");
  windows.dilation = to_int64(dilation_rate, "dilation_rate");
  if (!py::isinstance<py::str>(padding)) fail_type("padding", "a string", padding);
  const std::string text = py::str(padding);
  const Padding* const found = find_named(paddings, text);
  if (found == nullptr) fail_value("padding: expected valid, same or causal, got '" + text + "'");
  windows.padding = *found;
  check_window_number(size_name, windows.size);
  check_window_number("strides", windows.stride);
  check_window_number("dilation_rate", windows.dilation);
  return windows;
}

}  // namespace lstmcore::bindings
