// The metadata of a model file: one JSON document.
#pragma once

#include "json.hpp"
#include "safetensors.hpp"

namespace lstmcore {

/// Reads the document and checks its format, its members and the names of classes. Throws std::runtime_error.
json::Value read_document(const safetensors::File& content);

/// Features of the model's input; 0 if it takes token ids or texts. Throws std::runtime_error.
std::int64_t input_width(const json::Value& document);

}  // namespace lstmcore
