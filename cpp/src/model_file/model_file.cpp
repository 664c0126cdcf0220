#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <lstmcore/model_file.hpp>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "file_error.hpp"
#include "model_layers.hpp"
#include "safetensors.hpp"

namespace lstmcore {

struct ModelFile::Impl {
  std::string path;
  safetensors::File content;
  std::string dtype;
  bool quantized = false;
  ModelLayers model;
};

namespace {

using json::Value;
using Kind = json::Value::Kind;
using safetensors::shape_text;

constexpr std::int64_t plain_format = 1, quantized_format = 2;

const char* name_in_file(const std::string& dtype) { return dtype == "float32" ? "F32" : "F64"; }

// ---- the metadata ----

Value read_document(const safetensors::File& content) {
  const auto text = content.metadata.find("lstmcore");
  if (text == content.metadata.end()) fail_reading("no lstmcore model: its metadata has no \"lstmcore\"");
  Value document;
  try {
    document = json::parse(text->second);
  } catch (const std::invalid_argument& error) {
    fail_reading(std::string("its metadata is not proper ") + error.what());
  }
  const std::int64_t format = require_member("metadata", document, "format", Kind::integer).integer;
  if (format != plain_format && format != quantized_format) {
    fail_reading(std::string("written") + (format > quantized_format ? " by a newer lstmcore" : "") + " in format " +
                 std::to_string(format) + ", expected format " + std::to_string(plain_format) + " or " +
                 std::to_string(quantized_format));
  }
  if (document.find("encoder_decoder") != nullptr) fail_reading("holds an EncoderDecoder, expected a Sequential");
  std::vector<std::string> entries = {"format",      "lstmcore", "dtype",    "seed",
                                      "input_shape", "layers",   "training", "checksum"};
  if (format == quantized_format) entries.emplace_back("quantization");
  require_exactly("metadata", document, entries, {"class_names"});
  if (document.find("class_names") != nullptr) {
    for (const Value& name : require_member("metadata", document, "class_names", Kind::array).array) {
      if (!name.is(Kind::string)) fail_reading("class_names: expected a list of texts");
    }
  }
  return document;
}

/// Features of the model's input: the last extent if the model takes features, 0 if it takes token ids or texts.
std::int64_t input_width(const Value& document) {
  const Value& shape = require_member("metadata", document, "input_shape", Kind::array);
  for (const Value& extent : shape.array) {
    if (!extent.is(Kind::null) && !(extent.is(Kind::integer) && extent.integer >= 1)) {
      fail_reading("input_shape: expected numbers of at least 1 and null");
    }
  }
  const Value& layers = require_member("metadata", document, "layers", Kind::array);
  const Value* const first = layers.array.empty() ? nullptr : layers.array.front().find("class");
  const bool takes_ids = first != nullptr && (first->string == "Embedding" || first->string == "TextVectorization");
  if (takes_ids) return 0;
  if (shape.array.empty() || !shape.array.back().is(Kind::integer)) {
    fail_reading("input_shape: expected the number of features at the end");
  }
  return shape.array.back().integer;
}

// ---- the tensors ----

/// What an optimizer remembers: each slot has one value for each parameter of the model.
std::vector<std::string> optimizer_slots(const Value& training) {
  if (training.is(Kind::null)) return {};
  require_exactly("training", training, {"compile", "iterations", "epoch"}, {"callbacks", "state"});
  const Value& compiled = require_member("training", training, "compile", Kind::object);
  const Value& optimizer = require_member("training", compiled, "optimizer", Kind::object);
  const std::string& name = require_member("optimizer", optimizer, "class", Kind::string).string;
  const Value& config = require_member("optimizer", optimizer, "config", Kind::object);
  if (name == "Adam" || name == "AdamW") return {"optimizer.m", "optimizer.v"};
  if (name == "RMSprop") return {"optimizer.mean_square"};
  if (name != "SGD") fail_reading("optimizer: unknown class \"" + name + "\"");
  const Value* const momentum = config.find("momentum");
  if (momentum == nullptr) fail_reading("optimizer: missing momentum");
  if (momentum->integer == 0 && momentum->real == 0) return {};
  return {"optimizer.velocity"};
}

/// What callbacks remember in arrays of their own shapes: tensors "callbacks.<place>.<name>".
std::vector<std::string> callback_tensors(const Value& training) {
  std::vector<std::string> names;
  if (training.find("callbacks") == nullptr) return names;
  std::size_t place = 0;
  for (const Value& callback : require_member("training", training, "callbacks", Kind::array).array) {
    require_exactly("callbacks", callback, {"class", "number", "state", "tensors"});
    require_member("callbacks", callback, "class", Kind::string);
    require_member("callbacks", callback, "number", Kind::integer);
    require_member("callbacks", callback, "state", Kind::object);
    for (const Value& name : require_member("callbacks", callback, "tensors", Kind::array).array) {
      if (!name.is(Kind::string)) fail_reading("callbacks: expected a list of texts as tensors");
      names.push_back("callbacks." + std::to_string(place) + "." + name.string);
    }
    ++place;
  }
  return names;
}

/// The state that a fit over batches that continue each other ended with: tensors "state.<layer>.h" and ".c".
std::vector<std::string> state_tensors(const Value& training) {
  std::vector<std::string> names;
  if (training.find("state") == nullptr) return names;
  for (const Value& layer : require_member("training", training, "state", Kind::array).array) {
    if (!layer.is(Kind::string)) fail_reading("state: expected a list of texts");
    names.push_back("state." + layer.string + ".h");
    names.push_back("state." + layer.string + ".c");
  }
  return names;
}

/// `type` as the file calls it. Throws if the file's tensor is another.
const safetensors::Tensor& require_tensor(const safetensors::File& content, const std::string& type,
                                          const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto found = content.tensors.find(name);
  if (found == content.tensors.end()) fail_reading("missing tensor \"" + name + "\"");
  const safetensors::Tensor& tensor = found->second;
  if (tensor.shape != shape || tensor.dtype != type) {
    fail_reading("tensor \"" + name + "\": expected " + type + " of shape " + shape_text(shape) + ", got " +
                 tensor.dtype + " of shape " + shape_text(tensor.shape));
  }
  return tensor;
}

/// Returns the number of elements.
std::int64_t check_tensor(const safetensors::File& content, const std::string& dtype, const std::string& name,
                          const std::vector<std::int64_t>& shape) {
  const safetensors::Tensor& tensor = require_tensor(content, name_in_file(dtype), name, shape);
  return static_cast<std::int64_t>((tensor.end - tensor.begin) / (dtype == "float32" ? 4 : 8));
}

// ---- matrices of 8 bits: `quantize_panel` in kernels/lowp/factors.hpp makes such numbers and scales ----

/// A matrix whose outputs, along its first axis or its last, have a scale each.
struct Quantized {
  std::size_t size = 0, outputs = 0, stride = 0;  // elements; scales; elements from one output's to the next one's
  const unsigned char* numbers = nullptr;
  std::vector<float> scales;

  std::size_t output(std::size_t at) const { return at / stride % outputs; }
  int number(std::size_t at) const { return static_cast<std::int8_t>(numbers[at]); }
};

std::vector<float> floats_of(const safetensors::File& content, const safetensors::Tensor& tensor) {
  std::vector<float> values((tensor.end - tensor.begin) / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), content.data.data() + tensor.begin, tensor.end - tensor.begin);
  return values;
}

std::string scale_name(const std::string& name) { return name + ".scale"; }

Quantized read_quantized(const safetensors::File& content, const std::string& name,
                         const std::vector<std::int64_t>& shape) {
  const safetensors::Tensor& tensor = require_tensor(content, "I8", name, shape);
  const bool first = outputs_first(name);
  const std::int64_t outputs = first ? shape.front() : shape.back();
  Quantized matrix;
  matrix.size = tensor.end - tensor.begin;
  matrix.outputs = static_cast<std::size_t>(outputs);
  matrix.stride = first ? matrix.size / matrix.outputs : 1;
  matrix.numbers = content.data.data() + tensor.begin;
  matrix.scales = floats_of(content, require_tensor(content, "F32", scale_name(name), {outputs}));
  return matrix;
}

std::string number_text(float value) {
  char text[24];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

/// Throws unless quantizing the matrix once more would give the same numbers and scales, so that the engine, which does
/// that to an LSTM's weights, computes with just these.
void check_quantized(const std::string& name, const Quantized& matrix) {
  constexpr int largest_number = 127;
  constexpr float least_scale = 1e-37f, largest_scale = std::numeric_limits<float>::max() / largest_number;
  for (const float scale : matrix.scales) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &scale, sizeof bits);
    if (bits != 0 && !(scale >= least_scale && scale <= largest_scale)) {
      fail_reading("tensor \"" + scale_name(name) + "\": expected scales of 0 or from " + number_text(least_scale) +
                   " to " + number_text(largest_scale) + ", got " + number_text(scale));
    }
    if ((bits & 0xFFu) != 0) {
      fail_reading("tensor \"" + scale_name(name) + "\": expected scales of 16 binary digits, got " +
                   number_text(scale));
    }
  }
  std::vector<int> largest(matrix.outputs);
  for (std::size_t at = 0; at < matrix.size; ++at) {
    int& own = largest[matrix.output(at)];
    own = std::max(own, std::abs(matrix.number(at)));
  }
  for (std::size_t output = 0; output < matrix.outputs; ++output) {
    const int expected = matrix.scales[output] > 0 ? largest_number : 0;
    if (largest[output] != expected) {
      fail_reading("tensor \"" + name + "\": expected " + std::to_string(expected) +
                   " as the largest magnitude of what scale " + std::to_string(output) + " belongs to, got " +
                   std::to_string(largest[output]));
    }
  }
}

void check_quantized_tensors(const safetensors::File& content,
                             const std::map<std::string, std::vector<std::int64_t>>& tensors) {
  std::set<std::string> known;
  for (const auto& [name, shape] : tensors) {
    known.insert(name);
    if (shape.size() > 1) {
      known.insert(scale_name(name));
      check_quantized(name, read_quantized(content, name, shape));
    } else {
      require_tensor(content, "F32", name, shape);
    }
  }
  for (const auto& [name, tensor] : content.tensors) {
    if (known.count(name) == 0) fail_reading("unknown tensor \"" + name + "\"");
  }
}

void check_tensors(const safetensors::File& content, const std::string& dtype, const ModelLayers& model,
                   const std::vector<std::string>& slots, const std::vector<std::string>& others) {
  std::int64_t parameters = 0;
  for (const auto& [name, shape] : model.tensors) parameters += check_tensor(content, dtype, name, shape);
  for (const std::string& slot : slots) check_tensor(content, dtype, slot, {parameters});
  const auto holds = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : others) {
    if (content.tensors.count(name) == 0) fail_reading("missing tensor \"" + name + "\"");
  }
  for (const auto& [name, tensor] : content.tensors) {
    if (model.tensors.count(name) == 0 && !holds(slots, name) && !holds(others, name))
      fail_reading("unknown tensor \"" + name + "\"");
    if (tensor.dtype == "I8") fail_reading("tensor \"" + name + "\": expected F32 or F64, got I8");
  }
}

/// double is computed as such.
void check_precisions(const std::vector<ModelLayer>& layers, const std::string& dtype) {
  for (const ModelLayer& layer : layers) {
    const bool own = layer.precision.empty() || layer.precision == "fp32" || layer.precision == "auto";
    if (dtype == "float64" && !own) {
      fail_reading("layer \"" + layer.name + "\": expected \"fp32\" or \"auto\" as precision for float64, got \"" +
                   layer.precision + "\"");
    }
    check_precisions(layer.layers, dtype);
  }
}

/// CRC-32 (ISO 3309, as in zlib) of all tensors' bytes in the order of their names.
std::uint32_t checksum(const safetensors::File& content) {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0xEDB88320u : 0u);
    table[byte] = rest;
  }
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const auto& [name, tensor] : content.tensors) {
    for (std::size_t k = tensor.begin; k < tensor.end; ++k) crc = (crc >> 8) ^ table[(crc ^ content.data[k]) & 0xFF];
  }
  return ~crc;
}

void check_int8(const std::vector<ModelLayer>& layers) {
  for (const ModelLayer& layer : layers) {
    if (layer.lstm.hidden_size > 0 && layer.precision != "int8") {
      fail_reading("layer \"" + layer.name + "\": expected \"int8\" as precision in a quantized model, got \"" +
                   layer.precision + "\"");
    }
    check_int8(layer.layers);
  }
}

/// What the metadata of a quantized model says beyond that of another.
void check_quantization(const Value& document, const std::string& dtype, const std::vector<ModelLayer>& layers) {
  const std::string& kind = require_member("metadata", document, "quantization", Kind::string).string;
  if (kind != "int8") fail_reading("quantization: expected int8, got \"" + kind + "\"");
  if (dtype != "float32") fail_reading("dtype: expected float32 in a quantized model, got \"" + dtype + "\"");
  if (!document.find("training")->is(Kind::null)) fail_reading("training: expected null in a quantized model");
  check_int8(layers);
}

std::shared_ptr<const ModelFile::Impl> read_model(const std::string& path) {
  auto impl = std::make_shared<ModelFile::Impl>();
  impl->path = path;
  impl->content = safetensors::read(path);
  const Value document = read_document(impl->content);
  if (require_member("metadata", document, "checksum", Kind::integer).integer != checksum(impl->content)) {
    fail_reading("the tensors are not those that were saved (wrong checksum)");
  }
  impl->dtype = require_member("metadata", document, "dtype", Kind::string).string;
  if (impl->dtype != "float32" && impl->dtype != "float64") {
    fail_reading("dtype: expected float32 or float64, got \"" + impl->dtype + "\"");
  }
  impl->model = read_model_layers(*document.find("layers"), input_width(document), impl->content.tensors.size());
  check_precisions(impl->model.layers, impl->dtype);
  const Value& training = *document.find("training");
  impl->quantized = document.find("quantization") != nullptr;
  if (impl->quantized) {
    check_quantization(document, impl->dtype, impl->model.layers);
    check_quantized_tensors(impl->content, impl->model.tensors);
  } else {
    const std::vector<std::string> slots = optimizer_slots(training);
    std::vector<std::string> others = callback_tensors(training);
    for (std::string& name : state_tensors(training)) others.push_back(std::move(name));
    check_tensors(impl->content, impl->dtype, impl->model, slots, others);
  }
  return impl;
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

template <class T>
void require_type(const ModelFile::Impl& impl) {
  const char* const asked = std::is_same_v<T, float> ? "float32" : "float64";
  if (impl.dtype != asked) refuse(impl.path + ": holds " + impl.dtype + ", asked for " + asked);
}

}  // namespace

ModelFile::ModelFile(const std::string& path) {
  try {
    impl_ = read_model(path);
  } catch (const std::runtime_error& error) {
    fail_reading(path + ": " + error.what());
  }
}

const std::string& ModelFile::dtype() const { return impl_->dtype; }

bool ModelFile::quantized() const { return impl_->quantized; }

const std::vector<ModelLayer>& ModelFile::layers() const { return impl_->model.layers; }

namespace {

/// The layer of this name among `layers` and those within them; null if there is none.
const ModelLayer* find_layer(const std::vector<ModelLayer>& layers, const std::string& name) {
  for (const ModelLayer& layer : layers) {
    if (layer.name == name) return &layer;
    if (const ModelLayer* const inner = find_layer(layer.layers, name)) return inner;
  }
  return nullptr;
}

}  // namespace

const ModelLayer& ModelFile::layer(const std::string& name) const {
  if (const ModelLayer* const found = find_layer(impl_->model.layers, name)) return *found;
  std::string known;
  for (const ModelLayer& layer : impl_->model.layers) {
    known += (known.empty() ? "" : ", ") + layer.name;
  }
  refuse(impl_->path + ": has no layer \"" + name + "\"; its layers are " + known);
}

template <class T>
std::vector<T> ModelFile::tensor(const std::string& name, const std::vector<std::int64_t>& shape) const {
  require_type<T>(*impl_);
  const auto found = impl_->content.tensors.find(name);
  if (found == impl_->content.tensors.end()) refuse(impl_->path + ": has no tensor \"" + name + "\"");
  const safetensors::Tensor& tensor = found->second;
  if (tensor.shape != shape) {
    refuse(impl_->path + ": tensor \"" + name + "\" has shape " + shape_text(tensor.shape) + ", asked for " +
           shape_text(shape));
  }
  if (tensor.dtype == "I8") {
    const Quantized matrix = read_quantized(impl_->content, name, shape);
    std::vector<T> values(matrix.size);
    for (std::size_t at = 0; at < matrix.size; ++at) {
      values[at] = static_cast<T>(matrix.number(at)) * static_cast<T>(matrix.scales[matrix.output(at)]);
    }
    return values;
  }
  std::vector<T> values((tensor.end - tensor.begin) / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), impl_->content.data.data() + tensor.begin, values.size() * sizeof(T));
  return values;
}

template <class T>
Lstm<T> ModelFile::lstm(const std::string& name, Precision precision) const {
  require_type<T>(*impl_);
  const ModelLayer& found = layer(name);
  const LstmConfig& config = found.lstm;
  if (config.hidden_size == 0) refuse(impl_->path + ": layer \"" + name + "\" is no LSTM but a " + found.class_name);
  std::vector<std::vector<T>> values;
  LstmWeights<T> weights(static_cast<std::size_t>(config.num_layers * config.directions()));
  for (const LstmParameter& parameter : lstm_parameters(config)) {
    values.push_back(tensor<T>(name + "." + stored_name(found, parameter), parameter.shape));
    const T* const data = values.back().data();
    weights[static_cast<std::size_t>(parameter.cell)].visit(parameter.tensor, [&](auto& view) {
      std::array<std::int64_t, std::decay_t<decltype(view)>::rank> shape{};
      std::copy(parameter.shape.begin(), parameter.shape.end(), shape.begin());
      view = {data, shape};
    });
  }
  if (!found.precision.empty()) precision = precision_of(found.precision, "precision");
  return Lstm<T>(config, weights, precision);
}

template Lstm<float> ModelFile::lstm<float>(const std::string&, Precision) const;
template Lstm<double> ModelFile::lstm<double>(const std::string&, Precision) const;
template std::vector<float> ModelFile::tensor<float>(const std::string&, const std::vector<std::int64_t>&) const;
template std::vector<double> ModelFile::tensor<double>(const std::string&, const std::vector<std::int64_t>&) const;

}  // namespace lstmcore
