#include "model_layers.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

#include "file_error.hpp"

namespace lstmcore {
namespace {

using json::Value;
using Kind = json::Value::Kind;
using Names = std::vector<std::string>;

// ---- what a class may be configured with: the arguments of the Python layers ----

Names operator+(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

/// What need not be there, in any class and in those with a cell: its absence says that nothing is asked for.
const Names optional = {"trainable"};
const Names optional_of_cells = {"trainable", "precision"};

const std::map<std::string, Names>& options() {
  static const Names cell = {"units",
                             "activation",
                             "recurrent_activation",
                             "output_activation",
                             "use_bias",
                             "peephole",
                             "coupled_gates",
                             "gate_clip",
                             "cell_clip",
                             "zoneout_h",
                             "zoneout_c",
                             "recurrent_dropout",
                             "input_dropout",
                             "weight_dropout",
                             "proj_size",
                             "proj_clip",
                             "layer_norm",
                             "layer_norm_epsilon",
                             "unit_forget_bias",
                             "forget_bias",
                             "recurrent_trainable",
                             "kernel_initializer",
                             "recurrent_initializer",
                             "kernel_regularizer",
                             "recurrent_regularizer",
                             "bias_regularizer",
                             "kernel_constraint",
                             "recurrent_constraint",
                             "bias_constraint",
                             "seed"};
  static const Names walk = {"return_sequences", "return_state",    "go_backwards",
                             "recompute",        "share_recurrent", "stateful"};
  static const std::map<std::string, Names> all = {
      {"Attention", {"kind", "units", "query_size", "scale", "kernel_initializer", "kernel_regularizer", "seed"}},
      {"Bidirectional", {"layer", "merge_mode"}},
      {"Conv1D",
       {"filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "kernel_initializer",
        "bias_initializer", "kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint", "seed"}},
      {"Dense",
       {"units", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer", "kernel_constraint", "bias_constraint", "seed"}},
      {"Dropout", {"rate", "seed"}},
      {"Embedding",
       {"input_dim", "output_dim", "mask_zero", "embeddings_initializer", "embeddings_regularizer", "seed"}},
      {"GlobalAveragePooling1D", {}},
      {"GlobalMaxPooling1D", {}},
      {"LSTM", cell + walk + Names{"num_layers", "dropout"}},
      {"LSTMCell", cell},
      {"LayerNormalization",
       {"epsilon", "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
        "beta_constraint", "gamma_constraint", "seed"}},
      {"MaxPooling1D", {"pool_size", "strides", "padding"}},
      {"RNN", walk + Names{"cell"}},
      {"Residual", {"layers", "projection"}},
      {"TextVectorization", {"max_tokens", "standardize", "split", "output_sequence_length", "vocabulary"}},
      {"TimeDistributed", {"layer"}},
  };
  return all;
}

// ---- one layer ----

/// A class and its options, where they stand.
struct Description {
  std::string where;  // for messages
  std::string class_name;
  const Value* config;

  Description(std::string place, const Value& value, bool nested) : where(std::move(place)) {
    require_exactly(where, value, nested ? Names{"class", "config"} : Names{"class", "name", "config"});
    class_name = require_member(where, value, "class", Kind::string).string;
    const auto known = options().find(class_name);
    if (known == options().end()) fail_reading(where + ": unknown class \"" + class_name + "\"");
    where += " (" + class_name + ")";
    config = &require_member(where, value, "config", Kind::object);
    const bool engine = class_name == "LSTM" || class_name == "LSTMCell";
    require_exactly(where, *config, nested ? known->second + Names{"name"} : known->second,
                    engine ? optional_of_cells : optional);
    if (config->find("trainable") != nullptr) flag("trainable");  // of training only
  }

  const Value& at(const char* option, Kind kind) const { return require_member(where, *config, option, kind); }
  bool flag(const char* option) const { return at(option, Kind::boolean).boolean; }

  std::int64_t count(const char* option) const {
    const std::int64_t value = at(option, Kind::integer).integer;
    if (value < 1) fail_reading(where + ": expected " + option + " of at least 1, got " + std::to_string(value));
    return value;
  }

  std::string choice(const char* option, const Names& choices) const {
    const std::string& value = at(option, Kind::string).string;
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      fail_reading(where + ": unknown " + option + " \"" + value + "\"");
    }
    return value;
  }

  /// A number, which JSON may write with or without a fraction.
  double number(const char* option) const {
    const Value* const value = config->find(option);
    if (value->is(Kind::integer)) return static_cast<double>(value->integer);
    return at(option, Kind::real).real;
  }
  /// The same for a parameter of an activation.
  double parameter(const Value& value, const char* option) const {
    if (value.is(Kind::integer)) return static_cast<double>(value.integer);
    if (!value.is(Kind::real)) fail_reading(where + ": expected " + option + " to be a name or [name, alpha, beta]");
    return value.real;
  }
};

void read_walk(const Description& from, ModelLayer& layer) {
  layer.return_sequences = from.flag("return_sequences");
  from.flag("return_state");
  from.flag("stateful");
  layer.lstm.go_backwards = from.flag("go_backwards");
  layer.share_recurrent = from.flag("share_recurrent");
  const Value& recompute = *from.config->find("recompute");  // of training only
  const bool every = recompute.is(Kind::integer) && recompute.integer >= 1;
  const bool root = recompute.is(Kind::string) && recompute.string == "sqrt";
  if (!every && !root && !recompute.is(Kind::null)) {
    fail_reading(from.where + ": expected recompute to be null, \"sqrt\" or an integer of at least 1");
  }
}

LstmActivation read_activation(const Description& from, const char* option) {
  const Value& value = *from.config->find(option);
  try {
    if (value.is(Kind::string)) return lstm_activation(value.string, option);
    if (value.is(Kind::array) && value.array.size() == 3 && value.array[0].is(Kind::string)) {
      LstmActivation activation = lstm_activation(value.array[0].string, option);
      activation.alpha = from.parameter(value.array[1], option);
      activation.beta = from.parameter(value.array[2], option);
      return activation;
    }
  } catch (const std::invalid_argument& error) {
    fail_reading(from.where + ": " + error.what());
  }
  fail_reading(from.where + ": expected " + option + " to be a name or [name, alpha, beta]");
}

/// The variants of the cell.
void read_cell(const Description& from, LstmConfig& lstm) {
  from.flag("recurrent_trainable");
  lstm.cell_activation = read_activation(from, "activation");
  lstm.gate_activation = read_activation(from, "recurrent_activation");
  const bool same = from.config->find("output_activation")->is(Kind::null);
  lstm.output_activation = same ? lstm.cell_activation : read_activation(from, "output_activation");
  lstm.bias = from.flag("use_bias");
  lstm.peephole = from.flag("peephole");
  lstm.coupled_gates = from.flag("coupled_gates");
  lstm.gate_clip = from.number("gate_clip");
  lstm.cell_clip = from.number("cell_clip");
  lstm.zoneout_h = from.number("zoneout_h");
  lstm.zoneout_c = from.number("zoneout_c");
  lstm.recurrent_dropout = from.number("recurrent_dropout");
  lstm.input_dropout = from.number("input_dropout");
  lstm.weight_dropout = from.number("weight_dropout");
  lstm.proj_size = from.at("proj_size", Kind::integer).integer;
  lstm.proj_clip = from.number("proj_clip");
  lstm.layer_norm = from.flag("layer_norm");
  lstm.layer_norm_epsilon = from.number("layer_norm_epsilon");
}

/// That of the products, if anything is said of it.
std::string read_precision(const Description& from) {
  const Value* const value = from.config->find("precision");
  if (value == nullptr || value->is(Kind::null)) return {};
  return from.choice("precision", precision_names());
}

void read_lstm(const Description& from, ModelLayer& layer) {
  read_walk(from, layer);
  layer.precision = read_precision(from);
  read_cell(from, layer.lstm);
  layer.lstm.hidden_size = from.count("units");
  layer.lstm.num_layers = from.count("num_layers");
  layer.lstm.dropout = from.number("dropout");
}

bool same_cell(const LstmConfig& a, const LstmConfig& b) {
  return a.cell_activation == b.cell_activation && a.gate_activation == b.gate_activation &&
         a.output_activation == b.output_activation && a.bias == b.bias && a.peephole == b.peephole &&
         a.coupled_gates == b.coupled_gates && a.gate_clip == b.gate_clip && a.cell_clip == b.cell_clip &&
         a.zoneout_h == b.zoneout_h && a.zoneout_c == b.zoneout_c && a.recurrent_dropout == b.recurrent_dropout &&
         a.input_dropout == b.input_dropout && a.weight_dropout == b.weight_dropout && a.proj_size == b.proj_size &&
         a.proj_clip == b.proj_clip && a.layer_norm == b.layer_norm && a.layer_norm_epsilon == b.layer_norm_epsilon;
}

void read_rnn(const Description& from, ModelLayer& layer) {
  read_walk(from, layer);
  const Value* const cell = from.config->find("cell");
  const std::vector<Value> cells = cell->is(Kind::array) ? cell->array : std::vector<Value>{*cell};
  if (cells.empty()) fail_reading(from.where + ": expected at least one cell");
  for (const Value& entry : cells) {
    const Description description(from.where + " cell", entry, true);
    if (description.class_name != "LSTMCell") fail_reading(description.where + ": expected an LSTMCell");
    const std::int64_t units = description.count("units");
    if (layer.lstm.hidden_size != 0 && layer.lstm.hidden_size != units) {
      fail_reading(description.where + ": expected cells of the same units, got " +
                   std::to_string(layer.lstm.hidden_size) + " and " + std::to_string(units));
    }
    LstmConfig options;
    read_cell(description, options);
    const std::string precision = read_precision(description);
    if (&entry == &cells.front()) {
      read_cell(description, layer.lstm);
      layer.precision = precision;
    }
    if (!same_cell(options, layer.lstm)) fail_reading(description.where + ": expected cells with the same options");
    if (precision != layer.precision) fail_reading(description.where + ": expected cells with the same precision");
    layer.lstm.hidden_size = units;
  }
  layer.lstm.num_layers = static_cast<std::int64_t>(cells.size());
}

void read_bidirectional(const Description& from, ModelLayer& layer) {
  layer.merge_mode = from.choice("merge_mode", {"concat", "sum", "mul", "ave"});
  const Description inner(from.where + " layer", from.at("layer", Kind::object), true);
  if (inner.class_name == "LSTM") {
    read_lstm(inner, layer);
  } else if (inner.class_name == "RNN") {
    read_rnn(inner, layer);
  } else {
    fail_reading(inner.where + ": expected an LSTM or RNN");
  }
  layer.lstm.bidirectional = true;
}

void finish_recurrent(const Description& from, ModelLayer& layer) {
  layer.lstm.input_size = layer.input_size;
  try {
    layer.lstm.validate();
  } catch (const std::invalid_argument& error) {
    fail_reading(from.where + ": " + error.what());
  }
  if (layer.share_recurrent && layer.lstm.num_layers * layer.lstm.directions() == 1) {
    fail_reading(from.where + ": expected at least two layers or directions with share_recurrent");
  }
  const bool side_by_side = layer.merge_mode.empty() || layer.merge_mode == "concat";
  layer.output_size = side_by_side ? layer.lstm.output_size() : layer.lstm.state_size();
}

void read_dense(const Description& from, ModelLayer& layer) {
  layer.output_size = from.count("units");
  layer.activation = from.choice("activation", {"linear", "relu", "tanh", "sigmoid", "softmax"});
  layer.use_bias = from.flag("use_bias");
}

/// The padding and the other numbers of a convolution or a pooling, which are in `windows` but for it.
void read_windows(const Description& from, ModelLayer& layer, const Names& paddings) {
  const std::string padding = from.choice("padding", paddings);
  layer.windows.padding = padding == "same" ? Padding::same : padding == "causal" ? Padding::causal : Padding::valid;
  try {
    layer.windows.validate();
  } catch (const std::invalid_argument& error) {
    fail_reading(from.where + ": " + error.what());
  }
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
  const bool apart = from.config->find("strides")->is(Kind::null);
  layer.windows.stride = apart ? layer.windows.size : from.count("strides");
  read_windows(from, layer, {"valid", "same"});
}

void read_normalization(const Description& from, ModelLayer& layer) {
  layer.epsilon = from.number("epsilon");
  if (!(layer.epsilon > 0)) fail_reading(from.where + ": expected epsilon greater than 0");
  layer.center = from.flag("center");
  layer.scale = from.flag("scale");
}

void read_embedding(const Description& from, ModelLayer& layer) {
  if (layer.input_size != 0) fail_reading(from.where + ": expected token ids to come in");
  layer.vocabulary_size = from.count("input_dim");
  layer.output_size = from.count("output_dim");
  layer.mask_zero = from.flag("mask_zero");
}

void read_attention(const Description& from, ModelLayer& layer) {
  if (!from.config->find("query_size")->is(Kind::null)) {
    fail_reading(from.where + ": expected null as query_size, since a layer of a model has one input");
  }
  layer.attention.kind = from.choice("kind", {"additive", "multiplicative"});
  const bool as_wide = from.config->find("units")->is(Kind::null);
  layer.attention.units = as_wide ? layer.input_size : from.count("units");
  layer.attention.scale = from.flag("scale");
  if (layer.attention.scale && layer.attention.kind == "additive") {
    fail_reading(from.where + ": expected no scale with additive scores");
  }
}

bool is_recurrent(const std::string& class_name) {
  return class_name == "LSTM" || class_name == "RNN" || class_name == "Bidirectional";
}

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// `most_tensors` are in the file: no more names are made.
void add_tensors(const ModelLayer& layer, const std::string& where, std::size_t most_tensors, Shapes& tensors) {
  if (layer.lstm.hidden_size > 0 && layer.lstm.num_layers > static_cast<std::int64_t>(most_tensors)) {
    fail_reading(where + ": has more layers than the file has tensors");
  }
  const std::string prefix = layer.name + ".";
  if (is_recurrent(layer.class_name)) {
    for (const LstmParameter& parameter : lstm_parameters(layer.lstm)) {
      tensors[prefix + stored_name(layer, parameter)] = parameter.shape;
    }
  } else if (layer.class_name == "Dense") {
    tensors[prefix + "kernel"] = {layer.input_size, layer.output_size};
    if (layer.use_bias) tensors[prefix + "bias"] = {layer.output_size};
  } else if (layer.class_name == "Attention") {
    const bool additive = layer.attention.kind == "additive";
    tensors[prefix + "kernel"] = {layer.input_size, layer.attention.units};
    if (additive) tensors[prefix + "bias"] = {layer.attention.units};
    tensors[prefix + (additive ? "score" : "query")] = {layer.attention.units};
  } else if (layer.class_name == "Conv1D") {
    tensors[prefix + "kernel"] = {layer.windows.size, layer.input_size, layer.output_size};
    if (layer.use_bias) tensors[prefix + "bias"] = {layer.output_size};
  } else if (layer.class_name == "LayerNormalization") {
    if (layer.scale) tensors[prefix + "gamma"] = {layer.output_size};
    if (layer.center) tensors[prefix + "beta"] = {layer.output_size};
  } else if (layer.class_name == "Residual") {
    for (const ModelLayer& inner : layer.layers) add_tensors(inner, where, most_tensors, tensors);
    if (layer.projection) tensors[prefix + "projection.kernel"] = {layer.input_size, layer.output_size};
  } else if (layer.class_name == "Embedding") {
    tensors[prefix + "embeddings"] = {layer.vocabulary_size, layer.output_size};
  }
}

/// Whether as many steps come out as go in, as a Residual needs.
bool keeps_steps(const ModelLayer& layer) {
  if (layer.time_distributed) return true;
  if (layer.class_name == "Conv1D" || layer.class_name == "MaxPooling1D") {
    return layer.windows.stride == 1 && (layer.windows.padding != Padding::valid || layer.windows.span() == 1);
  }
  const bool pooled = layer.class_name == "GlobalAveragePooling1D" || layer.class_name == "GlobalMaxPooling1D" ||
                      layer.class_name == "Attention";
  return !pooled && (!is_recurrent(layer.class_name) || layer.return_sequences);
}

void read_layer(const Description& from, ModelLayer& layer);

void read_residual(const Description& from, ModelLayer& layer) {
  const bool may_project = from.flag("projection");
  const Value& list = from.at("layers", Kind::array);
  if (list.array.empty()) fail_reading(from.where + ": expected at least one layer");
  for (const Value& entry : list.array) {
    const std::string place = std::to_string(layer.layers.size());
    const Description description(std::string(from.where).append(" layer ").append(place), entry, true);
    ModelLayer inner;
    inner.name = layer.name + "." + place;
    inner.input_size = layer.output_size;
    if (description.class_name == "Embedding" || description.class_name == "TextVectorization") {
      fail_reading(description.where + ": expected a layer that takes features");
    }
    read_layer(description, inner);
    if (!keeps_steps(inner)) fail_reading(description.where + ": expected a layer that keeps the time steps");
    layer.output_size = inner.output_size;
    layer.layers.push_back(std::move(inner));
  }
  layer.projection = layer.output_size != layer.input_size;
  if (layer.projection && !may_project) {
    fail_reading(from.where + ": expected layers that keep the width " + std::to_string(layer.input_size) + ", got " +
                 std::to_string(layer.output_size));
  }
}

void read_layer(const Description& from, ModelLayer& layer) {
  if (from.class_name == "TimeDistributed") {
    layer.time_distributed = true;
    read_layer(Description(from.where + " layer", from.at("layer", Kind::object), true), layer);
    return;
  }
  layer.class_name = from.class_name;
  const bool takes_ids = from.class_name == "Embedding" || from.class_name == "TextVectorization";
  if (!takes_ids && layer.input_size == 0) fail_reading(from.where + ": expected features to come in, not token ids");
  layer.output_size = layer.input_size;
  if (from.class_name == "LSTM") read_lstm(from, layer);
  if (from.class_name == "RNN") read_rnn(from, layer);
  if (from.class_name == "Bidirectional") read_bidirectional(from, layer);
  if (is_recurrent(from.class_name)) finish_recurrent(from, layer);
  if (from.class_name == "Attention") read_attention(from, layer);
  if (from.class_name == "Dense") read_dense(from, layer);
  if (from.class_name == "Conv1D") read_convolution(from, layer);
  if (from.class_name == "MaxPooling1D") read_pooling(from, layer);
  if (from.class_name == "LayerNormalization") read_normalization(from, layer);
  if (from.class_name == "Residual") read_residual(from, layer);
  if (from.class_name == "Embedding") read_embedding(from, layer);
  if (from.class_name == "LSTMCell") fail_reading(from.where + ": a cell is no layer of a model");
}

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string stored_name(const ModelLayer& layer, const LstmParameter& parameter) {
  const bool shared = layer.share_recurrent && parameter.tensor == LstmTensor::weight_hh;
  return shared ? "weight_hh_l0" : parameter.name;
}

bool outputs_first(const std::string& name) {
  const std::string last = name.substr(name.rfind('.') + 1);
  return last == "embeddings" || last.compare(0, 7, "weight_") == 0;
}

void require_exactly(const std::string& what, const Value& value, const std::vector<std::string>& names,
                     const std::vector<std::string>& optional) {
  if (!value.is(Kind::object)) fail_reading(what + ": expected an object");
  std::set<std::string> missing(names.begin(), names.end()), unknown;
  for (const json::Member& member : value.object) {
    const bool may_be = std::find(optional.begin(), optional.end(), member.name) != optional.end();
    if (missing.erase(member.name) == 0 && !may_be) unknown.insert(member.name);
  }
  if (!unknown.empty()) fail_reading(what + ": unknown " + joined(unknown));
  if (!missing.empty()) fail_reading(what + ": missing " + joined(missing));
}

const Value& require_member(const std::string& what, const Value& value, const char* name, Kind kind) {
  static const char* const kinds[] = {"null",   "true or false", "an integer", "a number",
                                      "a text", "a list",        "an object"};
  const Value* const member = value.find(name);
  if (member == nullptr) fail_reading(what + ": missing " + name);
  if (!member->is(kind)) fail_reading(what + ": expected " + kinds[static_cast<int>(kind)] + " as " + name);
  return *member;
}

ModelLayers read_model_layers(const Value& list, std::int64_t width, std::size_t most_tensors) {
  ModelLayers result;
  std::set<std::string> names;
  for (const Value& entry : list.array) {
    const std::string place = "layer " + std::to_string(result.layers.size());
    const Description description(place, entry, false);
    ModelLayer layer;
    layer.name = require_member(place, entry, "name", Kind::string).string;
    if (layer.name.empty() || layer.name.find('.') != std::string::npos) {
      fail_reading(place + ": expected a name without dots, got \"" + layer.name + "\"");
    }
    if (!names.insert(layer.name).second) fail_reading(place + ": the name \"" + layer.name + "\" stands twice");
    layer.input_size = width;
    read_layer(description, layer);
    add_tensors(layer, description.where, most_tensors, result.tensors);
    width = layer.output_size;
    result.layers.push_back(std::move(layer));
  }
  if (result.layers.empty()) fail_reading("layers: expected at least one");
  return result;
}

}  // namespace lstmcore
