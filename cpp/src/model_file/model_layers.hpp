// The layers that a model file describes, and the tensors that they need.
#pragma once

#include <lstmcore/model_file.hpp>
#include <map>
#include <string>
#include <vector>

#include "json.hpp"

namespace lstmcore {

/// Throws std::runtime_error unless `value` is an object with exactly these names.
void require_exactly(const std::string& what, const json::Value& value, const std::vector<std::string>& names,
                     const std::vector<std::string>& optional = {});

/// A member that must be there and of this kind.
const json::Value& require_member(const std::string& what, const json::Value& value, const char* name,
                                  json::Value::Kind kind);

/// What a recurrent layer's parameter is called in the file, after the layer's name: several may be one tensor there.
std::string stored_name(const ModelLayer& layer, const LstmParameter& parameter);

/// Whether the rows of a matrix of this name are its outputs, as of an LSTM's weights and an embedding; else its
/// columns are, whatever the rank. In a file of a quantized model each output has a scale.
bool outputs_first(const std::string& name);

struct ModelLayers {
  std::vector<ModelLayer> layers;
  std::map<std::string, std::vector<std::int64_t>> tensors;  ///< shape by name
};

/// From the metadata's list of layers; `width` is that of the model's input, 0 for token ids; `most_tensors` are in the
/// file. Throws std::runtime_error if a class or an option is unknown or missing or has an impossible value, or if the
/// layers do not fit together.
ModelLayers read_model_layers(const json::Value& list, std::int64_t width, std::size_t most_tensors);

}  // namespace lstmcore
