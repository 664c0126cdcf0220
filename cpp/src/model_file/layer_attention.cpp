// Attention with a learnt query, which makes one vector of all steps.
#include "layer_kind.hpp"

namespace lstmcore {
namespace {

void read_attention(const Description& from, ModelLayer& layer) {
  if (!from.is_null("query_size")) {
    from.fail("expected null as query_size, since a layer of a model has one input");
  }
  layer.attention.kind = from.choice("kind", {"additive", "multiplicative"});
  layer.attention.units = from.is_null("units") ? layer.input_size : from.count("units");
  layer.attention.scale = from.flag("scale");
  if (layer.attention.scale && layer.attention.kind == "additive") from.fail("expected no scale with additive scores");
}

void add_attention(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  const bool additive = layer.attention.kind == "additive";
  tensors.shapes[prefix + "kernel"] = {layer.input_size, layer.attention.units};
  if (additive) tensors.shapes[prefix + "bias"] = {layer.attention.units};
  tensors.shapes[prefix + (additive ? "score" : "query")] = {layer.attention.units};
}

bool attention_keeps_steps(const ModelLayer&) { return false; }

}  // namespace

std::vector<LayerKind> attention_kinds() {
  return {{"Attention",
           {"kind", "units", "query_size", "scale", "kernel_initializer", "kernel_regularizer", "seed"},
           {},
           read_attention,
           add_attention,
           attention_keeps_steps}};
}

}  // namespace lstmcore
