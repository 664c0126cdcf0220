#include "quantized.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>

#include "file_error.hpp"
#include "model_layers.hpp"

namespace lstmcore {
namespace {

std::vector<float> floats_of(const safetensors::File& content, const safetensors::Tensor& tensor) {
  std::vector<float> values((tensor.end - tensor.begin) / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), content.data.data() + tensor.begin, tensor.end - tensor.begin);
  return values;
}

std::string scale_name(const std::string& name) { return name + ".scale"; }

std::string number_text(float value) {
  char text[24];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

constexpr int largest_number = 127;

/// A scale has 16 binary digits, so that its products with the integers are exact.
void check_scales(const std::string& name, const std::vector<float>& scales) {
  constexpr float least_scale = 1e-37f, largest_scale = std::numeric_limits<float>::max() / largest_number;
  const std::string where = "tensor " + in_quotes(scale_name(name)) + ": ";
  for (const float scale : scales) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &scale, sizeof bits);
    if (bits != 0 && !(scale >= least_scale && scale <= largest_scale)) {
      fail_reading(where + "expected scales of 0 or from " + number_text(least_scale) + " to " +
                   number_text(largest_scale) + ", got " + number_text(scale));
    }
    if ((bits & 0xFFu) != 0) fail_reading(where + "expected scales of 16 binary digits, got " + number_text(scale));
  }
}

/// The largest magnitude of each output is 127, or 0 if its scale is 0.
void check_numbers(const std::string& name, const QuantizedMatrix& matrix) {
  std::vector<int> largest(matrix.outputs);
  for (std::size_t at = 0; at < matrix.size; ++at) {
    int& own = largest[matrix.output(at)];
    own = std::max(own, std::abs(matrix.number(at)));
  }
  for (std::size_t output = 0; output < matrix.outputs; ++output) {
    const int expected = matrix.scales[output] > 0 ? largest_number : 0;
    if (largest[output] != expected) {
      fail_reading("tensor " + in_quotes(name) + ": expected " + std::to_string(expected) +
                   " as the largest magnitude of the integers of scale " + std::to_string(output) + ", got " +
                   std::to_string(largest[output]));
    }
  }
}

}  // namespace

QuantizedMatrix read_quantized(const safetensors::File& content, const std::string& name,
                               const std::vector<std::int64_t>& shape) {
  const safetensors::Tensor& tensor = require_tensor(content, "I8", name, shape);
  const bool first = outputs_first(name);
  const std::int64_t outputs = first ? shape.front() : shape.back();
  QuantizedMatrix matrix;
  matrix.size = tensor.end - tensor.begin;
  matrix.outputs = static_cast<std::size_t>(outputs);
  matrix.stride = first ? matrix.size / matrix.outputs : 1;
  matrix.numbers = content.data.data() + tensor.begin;
  matrix.scales = floats_of(content, require_tensor(content, "F32", scale_name(name), {outputs}));
  return matrix;
}

void check_quantized_tensors(const safetensors::File& content, const Shapes& tensors) {
  std::set<std::string> known;
  for (const auto& [name, shape] : tensors) {
    known.insert(name);
    if (shape.size() > 1) {
      known.insert(scale_name(name));
      const QuantizedMatrix matrix = read_quantized(content, name, shape);
      check_scales(name, matrix.scales);
      check_numbers(name, matrix);
    } else {
      require_tensor(content, "F32", name, shape);
    }
  }
  for (const auto& [name, tensor] : content.tensors) {
    if (known.count(name) == 0) fail_reading("unknown tensor " + in_quotes(name));
  }
}

}  // namespace lstmcore
