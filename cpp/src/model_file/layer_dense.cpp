// Dense: a product, a bias, an activation.
#include "layer_kind.hpp"

namespace lstmcore {
namespace {

void read_dense(const Description& from, ModelLayer& layer) {
  layer.output_size = from.count("units");
  layer.activation = from.choice("activation", {"linear", "relu", "tanh", "sigmoid", "softmax"});
  layer.use_bias = from.flag("use_bias");
}

void add_dense(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  tensors.shapes[prefix + "kernel"] = {layer.input_size, layer.output_size};
  if (layer.use_bias) tensors.shapes[prefix + "bias"] = {layer.output_size};
}

}  // namespace

std::vector<LayerKind> dense_kinds() {
  return {{"Dense",
           {"units", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "kernel_constraint", "bias_constraint", "seed"},
           {},
           read_dense,
           add_dense,
           nullptr}};
}

}  // namespace lstmcore
