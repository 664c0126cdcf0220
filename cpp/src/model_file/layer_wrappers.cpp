// Layers that contain others: Residual and TimeDistributed.
#include <utility>

#include "layer_kind.hpp"

namespace lstmcore {
namespace {

using json::Value;
using Kind = json::Value::Kind;

ModelLayer read_inner(const std::string& where, const Value& entry, const std::string& name, std::int64_t width) {
  const Description description(where, entry, true);
  ModelLayer inner;
  inner.name = name;
  inner.input_size = width;
  if (takes_token_ids(description.kind().class_name)) description.fail("expected a layer that takes features");
  read_layer(description, inner);
  if (!keeps_steps(inner)) description.fail("expected a layer that keeps the time steps");
  return inner;
}

void read_residual(const Description& from, ModelLayer& layer) {
  const bool may_project = from.flag("projection");
  const Value& list = from.at("layers", Kind::array);
  if (list.array().empty()) from.fail("expected at least one layer");
  for (const Value& entry : list.array()) {
    const std::string place = std::to_string(layer.layers.size());
    ModelLayer inner = read_inner(from.where() + " layer " + place, entry, layer.name + "." + place, layer.output_size);
    layer.output_size = inner.output_size;
    layer.layers.push_back(std::move(inner));
  }
  layer.projection = layer.output_size != layer.input_size;
  if (layer.projection && !may_project) {
    from.fail("expected layers that keep the width " + std::to_string(layer.input_size) + ", got " +
              std::to_string(layer.output_size));
  }
}

void add_residual(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  for (const ModelLayer& inner : layer.layers) add_tensors(inner, tensors);
  if (layer.projection) tensors.shapes[prefix + "projection.kernel"] = {layer.input_size, layer.output_size};
}

}  // namespace

std::vector<LayerKind> wrapper_kinds() {
  return {
      {"Residual", {"layers", "projection"}, {}, read_residual, add_residual, nullptr},
      {"TimeDistributed", {"layer"}, {}, nullptr, nullptr, nullptr}};  // `read_layer` replaces it with the layer inside
}

}  // namespace lstmcore
