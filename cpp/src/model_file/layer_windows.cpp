// Layers over windows of steps: Conv1D, and pooling over windows or over all steps.

#include "../runtime/errors.hpp"
#include "layer_kind.hpp"

namespace lstmcore {
namespace {

/// Reads the padding, then checks all of `layer.windows`, whose other members have been read before.
void read_windows(const Description& from, ModelLayer& layer, const Names& paddings) {
  const std::string padding = from.choice("padding", paddings);
  layer.windows.padding = padding == "same" ? Padding::same : padding == "causal" ? Padding::causal : Padding::valid;
  rephrased<std::invalid_argument>([&] { layer.windows.validate(); },
                                   [&](const std::string& text) { from.fail(text); });
}

void read_convolution(const Description& from, ModelLayer& layer) {
  layer.output_size = from.count("filters");
  layer.windows.size = from.count("kernel_size");
  layer.windows.stride = from.count("strides");
  layer.windows.dilation = from.count("dilation_rate");
  read_windows(from, layer, {"valid", "same", "causal"});
  layer.activation = from.choice("activation", {"linear", "relu", "tanh", "sigmoid", "softmax"});
  layer.use_bias = from.flag("use_bias");
}

void read_pooling(const Description& from, ModelLayer& layer) {
  layer.windows.size = from.count("pool_size");
  layer.windows.stride = from.is_null("strides") ? layer.windows.size : from.count("strides");
  read_windows(from, layer, {"valid", "same"});
}

void add_convolution(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  tensors.shapes[prefix + "kernel"] = {layer.windows.size, layer.input_size, layer.output_size};
  if (layer.use_bias) tensors.shapes[prefix + "bias"] = {layer.output_size};
}

bool windows_keep_steps(const ModelLayer& layer) {
  return layer.windows.stride == 1 && (layer.windows.padding != Padding::valid || layer.windows.span() == 1);
}

bool global_pooling_keeps_steps(const ModelLayer&) { return false; }

}  // namespace

std::vector<LayerKind> windows_kinds() {
  return {
      {"Conv1D",
       {"filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "kernel_initializer",
        "bias_initializer", "kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint", "seed"},
       {},
       read_convolution,
       add_convolution,
       windows_keep_steps},
      {"MaxPooling1D", {"pool_size", "strides", "padding"}, {}, read_pooling, nullptr, windows_keep_steps},
      {"GlobalAveragePooling1D", {}, {}, nullptr, nullptr, global_pooling_keeps_steps},
      {"GlobalMaxPooling1D", {}, {}, nullptr, nullptr, global_pooling_keeps_steps}};
}

}  // namespace lstmcore
