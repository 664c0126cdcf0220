#include "layer.hpp"

#include <stdexcept>

#include "../runtime/errors.hpp"

namespace lstmcore::inference {

std::unique_ptr<Stepper> Layer::stepper(Index /*rows*/) const {
  raise<std::logic_error>("layer " + in_quotes(name_) + " does not run step by step");
}

std::unique_ptr<Layer> make_layer(const ModelFile& file, const ModelLayer& layer) {
  const std::string& kind = layer.class_name;
  if (kind == "Dropout") return nullptr;
  if (layer.lstm.hidden_size > 0) return make_recurrent(file, layer);
  if (kind == "Dense") return make_dense(file, layer);
  if (kind == "Conv1D") return make_convolution(file, layer);
  if (kind == "MaxPooling1D") return make_pooling(layer);
  if (kind == "GlobalAveragePooling1D" || kind == "GlobalMaxPooling1D") return make_global_pooling(layer);
  if (kind == "LayerNormalization") return make_normalization(file, layer);
  if (kind == "Attention") return make_attention(file, layer);
  if (kind == "Residual") return make_residual(file, layer);
  raise<std::domain_error>("layer " + in_quotes(layer.name) + ": cannot run a layer of class " + kind + " here");
}

}  // namespace lstmcore::inference
