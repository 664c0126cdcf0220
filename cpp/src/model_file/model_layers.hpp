// The layers that a model file describes, and the tensors that they need.
#pragma once

#include <lstmcore/model_file.hpp>
#include <map>
#include <string>
#include <vector>

#include "json.hpp"

namespace lstmcore {

/// Name of a recurrent layer's parameter in the file, without the layer's name. Layers that share their recurrent
/// weights share one tensor.
std::string stored_name(const ModelLayer& layer, const LstmParameter& parameter);

/// Whether the outputs of a matrix of this name are its rows, as in an LSTM's weights and an embedding, and not its
/// last axis. A quantized matrix has one scale for each output.
bool outputs_first(const std::string& name);

struct ModelLayers {
  std::vector<ModelLayer> layers;
  std::map<std::string, std::vector<std::int64_t>> tensors;  ///< shape by name
};

/// Reads the metadata's list of layers. `width` is the number of features of the model's input, 0 for token ids;
/// `most_tensors` is the number of tensors in the file. Throws std::runtime_error if a class or an option is unknown or
/// missing or has an impossible value, or if the layers do not fit together.
ModelLayers read_model_layers(const json::Value& list, std::int64_t width, std::size_t most_tensors);

}  // namespace lstmcore
