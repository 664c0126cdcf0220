// Whether a file has the tensors that it should have, and no others.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "safetensors.hpp"
#include "training_tensors.hpp"

namespace lstmcore {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// Returns the tensor. Throws std::runtime_error if the file lacks it, or has it with another shape or with a type
/// other than `type`, "F32", "F64" or "I8".
const safetensors::Tensor& require_tensor(const safetensors::File& content, const std::string& type,
                                          const std::string& name, const std::vector<std::int64_t>& shape);

/// Throws std::runtime_error unless the file has these tensors, of type `dtype`, "float32" or "float64", with those of
/// the training, and no others.
void check_tensors(const safetensors::File& content, const std::string& dtype, const Shapes& tensors,
                   const TrainingTensors& training);

/// CRC-32 (ISO 3309, as in zlib) of the bytes of all tensors, in the order of their names.
std::uint32_t checksum(const safetensors::File& content);

}  // namespace lstmcore
