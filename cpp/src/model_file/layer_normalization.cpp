// LayerNormalization of the features of every step.
#include "layer_kind.hpp"

namespace lstmcore {
namespace {

void read_normalization(const Description& from, ModelLayer& layer) {
  layer.epsilon = from.number("epsilon");
  if (!(layer.epsilon > 0)) from.fail("expected epsilon greater than 0");
  layer.center = from.flag("center");
  layer.scale = from.flag("scale");
}

void add_normalization(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  if (layer.scale) tensors.shapes[prefix + "gamma"] = {layer.output_size};
  if (layer.center) tensors.shapes[prefix + "beta"] = {layer.output_size};
}

}  // namespace

std::vector<LayerKind> normalization_kinds() {
  return {{"LayerNormalization",
           {"epsilon", "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer",
            "gamma_regularizer", "beta_constraint", "gamma_constraint", "seed"},
           {},
           read_normalization,
           add_normalization,
           nullptr}};
}

}  // namespace lstmcore
