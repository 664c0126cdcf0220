// What the reader of model files knows about each class of layers.
#pragma once

#include <lstmcore/model_file.hpp>
#include <map>
#include <string>
#include <vector>

#include "description.hpp"
#include "members.hpp"

namespace lstmcore {

/// The tensors that layers need.
struct NeededTensors {
  std::string where;             ///< the layer, for messages
  std::size_t most_tensors = 0;  ///< in the file: more names are never made
  std::map<std::string, std::vector<std::int64_t>>& shapes;
};

/// A class of layers. Its functions may be null: nothing but the names of the options is checked, or the layer has no
/// tensors.
struct LayerKind {
  const char* class_name;
  Names options;   ///< those that the Python layer of this class writes
  Names optional;  ///< those that need not be present: their absence means the default

  /// Reads options into a layer whose `input_size` is known and is the `output_size` too, unless this changes it.
  void (*read)(const Description& from, ModelLayer& layer);
  /// Adds the tensors of the layer, whose names begin with `prefix`.
  void (*add_tensors)(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors);
  /// Whether the output has as many steps as the input; null: always.
  bool (*keeps_steps)(const ModelLayer& layer);
};

// The classes, each in the file layer_*.cpp of this name.
std::vector<LayerKind> attention_kinds();
std::vector<LayerKind> dense_kinds();
std::vector<LayerKind> dropout_kinds();
std::vector<LayerKind> embedding_kinds();
std::vector<LayerKind> normalization_kinds();
std::vector<LayerKind> recurrent_kinds();
std::vector<LayerKind> windows_kinds();
std::vector<LayerKind> wrapper_kinds();

/// Throws std::runtime_error, naming `where`, if there is no such class.
const LayerKind& layer_kind(const std::string& class_name, const std::string& where);

/// Whether the input of such a layer is token ids or texts.
bool takes_token_ids(const std::string& class_name);

// For layers that contain others.
void read_layer(const Description& from, ModelLayer& layer);
void add_tensors(const ModelLayer& layer, NeededTensors& tensors);
bool keeps_steps(const ModelLayer& layer);

}  // namespace lstmcore
