#include "model_layers.hpp"

#include <set>
#include <utility>

#include "file_error.hpp"
#include "layer_kind.hpp"
#include "members.hpp"

namespace lstmcore {

using json::Value;
using Kind = json::Value::Kind;

namespace {

std::map<std::string, LayerKind> collect_kinds() {
  std::map<std::string, LayerKind> kinds;
  for (const auto& kinds_of_a_file : {attention_kinds(), dense_kinds(), dropout_kinds(), embedding_kinds(),
                                      normalization_kinds(), recurrent_kinds(), windows_kinds(), wrapper_kinds()}) {
    for (const LayerKind& kind : kinds_of_a_file) kinds.emplace(kind.class_name, kind);
  }
  return kinds;
}

}  // namespace

const LayerKind& layer_kind(const std::string& class_name, const std::string& where) {
  static const std::map<std::string, LayerKind> kinds = collect_kinds();
  const auto found = kinds.find(class_name);
  if (found == kinds.end()) fail_reading(where + ": unknown class " + in_quotes(class_name));
  return found->second;
}

bool takes_token_ids(const std::string& class_name) {
  return class_name == "Embedding" || class_name == "TextVectorization";
}

void read_layer(const Description& from, ModelLayer& layer) {
  if (from.is("TimeDistributed")) {
    layer.time_distributed = true;
    read_layer(Description(from.where() + " layer", from.at("layer", Kind::object), true), layer);
    return;
  }
  layer.class_name = from.kind().class_name;
  if (!takes_token_ids(layer.class_name) && layer.input_size == 0) {
    from.fail("expected features as input, not token ids");
  }
  layer.output_size = layer.input_size;
  if (from.kind().read != nullptr) from.kind().read(from, layer);
}

void add_tensors(const ModelLayer& layer, NeededTensors& tensors) {
  const LayerKind& kind = layer_kind(layer.class_name, tensors.where);
  if (kind.add_tensors != nullptr) kind.add_tensors(layer, layer.name + ".", tensors);
}

bool keeps_steps(const ModelLayer& layer) {
  const LayerKind& kind = layer_kind(layer.class_name, layer.name);
  return layer.time_distributed || kind.keeps_steps == nullptr || kind.keeps_steps(layer);
}

std::string stored_name(const ModelLayer& layer, const LstmParameter& parameter) {
  const bool shared = layer.share_recurrent && parameter.tensor == LstmTensor::weight_hh;
  return shared ? "weight_hh_l0" : parameter.name;
}

bool outputs_first(const std::string& name) {
  const std::string last = name.substr(name.rfind('.') + 1);
  return last == "embeddings" || last.compare(0, 7, "weight_") == 0;
}

ModelLayers read_model_layers(const Value& list, std::int64_t width, std::size_t most_tensors) {
  ModelLayers result;
  std::set<std::string> names;
  for (const Value& entry : list.array()) {
    const std::string place = "layer " + std::to_string(result.layers.size());
    const Description description(place, entry, false);
    ModelLayer layer;
    layer.name = require_member(place, entry, "name", Kind::string).string();
    if (layer.name.empty() || layer.name.find('.') != std::string::npos) {
      fail_reading(place + ": expected a name without dots, got " + in_quotes(layer.name));
    }
    if (!names.insert(layer.name).second)
      fail_reading(place + ": the name " + in_quotes(layer.name) + " appears twice");
    layer.input_size = width;
    read_layer(description, layer);
    NeededTensors tensors{description.where(), most_tensors, result.tensors};
    add_tensors(layer, tensors);
    width = layer.output_size;
    result.layers.push_back(std::move(layer));
  }
  if (result.layers.empty()) fail_reading("layers: expected at least one");
  return result;
}

}  // namespace lstmcore
