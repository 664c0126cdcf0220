#include "tensors.hpp"

#include <algorithm>
#include <array>

#include "file_error.hpp"

namespace lstmcore {

using safetensors::shape_text;

const safetensors::Tensor& require_tensor(const safetensors::File& content, const std::string& type,
                                          const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto found = content.tensors.find(name);
  if (found == content.tensors.end()) fail_reading("missing tensor " + in_quotes(name));
  const safetensors::Tensor& tensor = found->second;
  if (tensor.shape != shape || tensor.dtype != type) {
    fail_reading("tensor " + in_quotes(name) + ": expected " + type + " of shape " + shape_text(shape) + ", got " +
                 tensor.dtype + " of shape " + shape_text(tensor.shape));
  }
  return tensor;
}

void check_tensors(const safetensors::File& content, const std::string& dtype, const Shapes& tensors,
                   const TrainingTensors& training) {
  const std::string type = dtype == "float32" ? "F32" : "F64";
  const std::size_t bytes_each = dtype == "float32" ? 4 : 8;
  std::size_t parameters = 0;
  for (const auto& [name, shape] : tensors) {
    const safetensors::Tensor& tensor = require_tensor(content, type, name, shape);
    parameters += (tensor.end - tensor.begin) / bytes_each;
  }
  for (const std::string& slot : training.slots) {
    require_tensor(content, type, slot, {static_cast<std::int64_t>(parameters)});
  }
  for (const std::string& name : training.others) {
    if (content.tensors.count(name) == 0) fail_reading("missing tensor " + in_quotes(name));
  }
  const auto holds = [](const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, tensor] : content.tensors) {
    if (tensors.count(name) == 0 && !holds(training.slots, name) && !holds(training.others, name)) {
      fail_reading("unknown tensor " + in_quotes(name));
    }
    if (tensor.dtype == "I8") fail_reading("tensor " + in_quotes(name) + ": expected F32 or F64, got I8");
  }
}

std::uint32_t checksum(const safetensors::File& content) {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0xEDB88320u : 0u);
    table[byte] = rest;
  }
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const auto& [name, tensor] : content.tensors) {
    for (std::size_t k = tensor.begin; k < tensor.end; ++k) crc = (crc >> 8) ^ table[(crc ^ content.data[k]) & 0xFF];
  }
  return ~crc;
}

}  // namespace lstmcore
