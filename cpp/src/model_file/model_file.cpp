// The public class: a file is read and checked as a whole, then asked for its layers and tensors.
#include <algorithm>
#include <array>
#include <cstring>
#include <istream>
#include <lstmcore/model_file.hpp>
#include <streambuf>
#include <type_traits>
#include <utility>

#include "../api/lstm_checks.hpp"
#include "../runtime/errors.hpp"
#include "document.hpp"
#include "file_error.hpp"
#include "members.hpp"
#include "model_layers.hpp"
#include "open_file.hpp"
#include "quantized.hpp"
#include "safetensors.hpp"
#include "tensors.hpp"
#include "training_tensors.hpp"

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

/// Throws if an option of an LSTM is not a number of the element type, and could not be computed with.
void check_options(const ModelLayer& layer, const std::string& dtype) {
  rephrased<std::invalid_argument>(
      [&] { dtype == "float32" ? check_representable<float>(layer.lstm) : check_representable<double>(layer.lstm); },
      [&](const std::string& text) { fail_reading("layer " + in_quotes(layer.name) + ": " + text); });
}

/// Options and precisions fit the element type. The lower precisions are those of products of float32.
void check_types(const std::vector<ModelLayer>& layers, const std::string& dtype) {
  for (const ModelLayer& layer : layers) {
    check_options(layer, dtype);
    const bool own = layer.precision.empty() || layer.precision == "fp32" || layer.precision == "auto";
    if (dtype == "float64" && !own) {
      fail_reading("layer " + in_quotes(layer.name) + ": expected \"fp32\" or \"auto\" as precision for float64, got " +
                   in_quotes(layer.precision));
    }
    check_types(layer.layers, dtype);
  }
}

void check_int8(const std::vector<ModelLayer>& layers) {
  for (const ModelLayer& layer : layers) {
    if (layer.lstm.hidden_size > 0 && layer.precision != "int8") {
      fail_reading("layer " + in_quotes(layer.name) + ": expected \"int8\" as precision in a quantized model, got " +
                   in_quotes(layer.precision));
    }
    check_int8(layer.layers);
  }
}

/// What the metadata of a quantized model says beyond that of another.
void check_quantization(const Value& document, const std::string& dtype, const std::vector<ModelLayer>& layers) {
  const std::string& kind = require_member("metadata", document, "quantization", Kind::string).string();
  if (kind != "int8") fail_reading("quantization: expected int8, got " + in_quotes(kind));
  if (dtype != "float32") fail_reading("dtype: expected float32 in a quantized model, got " + in_quotes(dtype));
  if (!document.find("training")->is(Kind::null)) fail_reading("training: expected null in a quantized model");
  check_int8(layers);
}

std::shared_ptr<const ModelFile::Impl> checked_model(const std::string& path, safetensors::File content) {
  auto impl = std::make_shared<ModelFile::Impl>();
  impl->path = path;
  impl->content = std::move(content);
  const Value document = read_document(impl->content);
  if (require_member("metadata", document, "checksum", Kind::integer).integer() != checksum(impl->content)) {
    fail_reading("the tensors are not those that were saved (wrong checksum)");
  }
  impl->dtype = require_member("metadata", document, "dtype", Kind::string).string();
  if (impl->dtype != "float32" && impl->dtype != "float64") {
    fail_reading("dtype: expected float32 or float64, got " + in_quotes(impl->dtype));
  }
  impl->model = read_model_layers(*document.find("layers"), input_width(document), impl->content.tensors.size());
  check_types(impl->model.layers, impl->dtype);
  impl->quantized = document.find("quantization") != nullptr;
  if (impl->quantized) {
    check_quantization(document, impl->dtype, impl->model.layers);
    check_quantized_tensors(impl->content, impl->model.tensors);
  } else {
    check_tensors(impl->content, impl->dtype, impl->model.tensors, training_tensors(*document.find("training")));
  }
  return impl;
}

[[noreturn]] void refuse(const std::string& what) { raise<std::invalid_argument>(what); }

template <class T>
void require_type(const ModelFile::Impl& impl) {
  const char* const asked = std::is_same_v<T, float> ? "float32" : "float64";
  if (impl.dtype != asked) refuse(impl.path + ": holds " + impl.dtype + ", asked for " + asked);
}

/// Memory of the caller, read as a stream without copying it.
class MemoryStream : private std::streambuf, public std::istream {
 public:
  MemoryStream(const void* bytes, std::size_t size) : std::istream(static_cast<std::streambuf*>(this)) {
    char* const begin = const_cast<char*>(static_cast<const char*>(bytes));  // a get area is never written to
    setg(begin, begin, begin + size);
  }
};

/// Calls read(), which returns the content of the file `name`, and checks it. `name` begins the text of an error.
template <class Read>
std::shared_ptr<const ModelFile::Impl> model_of(const std::string& name, Read&& read) {
  return rephrased<std::runtime_error>([&] { return checked_model(name, read()); },
                                       [&](const std::string& text) { fail_reading(name + ": " + text); });
}

}  // namespace

ModelFile::ModelFile(const std::filesystem::path& path)
    : impl_(model_of(text_of(path), [&] { return safetensors::read(path); })) {}

ModelFile ModelFile::from_memory(const void* bytes, std::size_t size, const std::string& name) {
  return ModelFile(model_of(name, [&] {
    MemoryStream stream(bytes, size);
    return safetensors::read(stream, size);
  }));
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
  refuse(impl_->path + ": has no layer " + in_quotes(name) + "; its layers are " +
         listed(impl_->model.layers, &ModelLayer::name));
}

template <class T>
std::vector<T> ModelFile::tensor(const std::string& name, const std::vector<std::int64_t>& shape) const {
  require_type<T>(*impl_);
  const auto found = impl_->content.tensors.find(name);
  if (found == impl_->content.tensors.end()) refuse(impl_->path + ": has no tensor " + in_quotes(name));
  const safetensors::Tensor& tensor = found->second;
  if (tensor.shape != shape) {
    refuse(impl_->path + ": tensor " + in_quotes(name) + " has shape " + shape_text(tensor.shape) + ", asked for " +
           shape_text(shape));
  }
  if (tensor.dtype == "I8") {
    const QuantizedMatrix matrix = read_quantized(impl_->content, name, shape);
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
  if (config.hidden_size == 0)
    refuse(impl_->path + ": layer " + in_quotes(name) + " is not an LSTM but a " + found.class_name);
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
