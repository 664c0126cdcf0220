// Matrices of 8-bit integers with a scale for each output, as `quantize_panel` of the kernels makes them.
#pragma once

#include <string>
#include <vector>

#include "safetensors.hpp"
#include "tensors.hpp"

namespace lstmcore {

/// A matrix in the file. Its element `at` is number(at) times scales[output(at)].
struct QuantizedMatrix {
  std::size_t size = 0;     ///< elements
  std::size_t outputs = 0;  ///< and scales
  std::size_t stride = 0;   ///< elements from one output to the next
  const unsigned char* numbers = nullptr;
  std::vector<float> scales;

  std::size_t output(std::size_t at) const { return at / stride % outputs; }
  int number(std::size_t at) const { return static_cast<std::int8_t>(numbers[at]); }
};

/// Throws std::runtime_error if the file lacks the matrix or its scales, or has them with other shapes or types.
QuantizedMatrix read_quantized(const safetensors::File& content, const std::string& name,
                               const std::vector<std::int64_t>& shape);

/// Throws std::runtime_error unless the file has these tensors, quantized where they have more than one axis, and no
/// others, and unless quantizing the matrices again would return the same numbers and scales. The engine does that to
/// an LSTM's weights, and must compute with exactly these.
void check_quantized_tensors(const safetensors::File& content, const Shapes& tensors);

}  // namespace lstmcore
