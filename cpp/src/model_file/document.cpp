#include "document.hpp"

#include <string>

#include "../runtime/errors.hpp"
#include "file_error.hpp"
#include "layer_kind.hpp"
#include "members.hpp"

namespace lstmcore {

using json::Value;
using Kind = json::Value::Kind;

namespace {

constexpr std::int64_t plain_format = 1, quantized_format = 2;

std::int64_t read_format(const Value& document) {
  const std::int64_t format = require_member("metadata", document, "format", Kind::integer).integer();
  if (format != plain_format && format != quantized_format) {
    fail_reading(std::string("written") + (format > quantized_format ? " by a newer lstmcore" : "") + " in format " +
                 std::to_string(format) + ", expected format " + std::to_string(plain_format) + " or " +
                 std::to_string(quantized_format));
  }
  return format;
}

void check_class_names(const Value& document) {
  if (document.find("class_names") == nullptr) return;
  for (const Value& name : require_member("metadata", document, "class_names", Kind::array).array()) {
    if (!name.is(Kind::string)) fail_reading("class_names: expected a list of strings");
  }
}

/// Whether the layer that an object describes takes token ids, perhaps at each time step.
bool reads_tokens(const Value& layer) {
  const Value* const name = layer.find("class");
  if (name == nullptr) return false;
  const Value* const config = name->string() == "TimeDistributed" ? layer.find("config") : nullptr;
  const Value* const inner = config != nullptr ? config->find("layer") : nullptr;
  return inner != nullptr ? reads_tokens(*inner) : takes_token_ids(name->string());
}

}  // namespace

Value read_document(const safetensors::File& content) {
  const auto text = content.metadata.find("lstmcore");
  if (text == content.metadata.end()) fail_reading("not an lstmcore model: its metadata has no \"lstmcore\"");
  Value document = rephrased<std::invalid_argument>(
      [&] { return json::parse(text->second); },
      [](const std::string& error) { fail_reading("its metadata is not valid " + error); });
  const std::int64_t format = read_format(document);
  if (document.find("encoder_decoder") != nullptr) fail_reading("holds an EncoderDecoder, expected a Sequential");
  if (document.find("graph") != nullptr) fail_reading("holds a Model, a graph of layers, expected a Sequential");
  Names entries = {"format", "lstmcore", "dtype", "seed", "input_shape", "layers", "training", "checksum"};
  if (format == quantized_format) entries.emplace_back("quantization");
  require_exactly("metadata", document, entries, {"class_names"});
  check_class_names(document);
  return document;
}

std::int64_t input_width(const Value& document) {
  const Value& shape = require_member("metadata", document, "input_shape", Kind::array);
  for (const Value& extent : shape.array()) {
    if (!extent.is(Kind::null) && !(extent.is(Kind::integer) && extent.integer() >= 1)) {
      fail_reading("input_shape: expected numbers of at least 1 and null");
    }
  }
  const Value& layers = require_member("metadata", document, "layers", Kind::array);
  if (!layers.array().empty() && reads_tokens(layers.array().front())) return 0;
  if (shape.array().empty() || !shape.array().back().is(Kind::integer)) {
    fail_reading("input_shape: expected the number of features at the end");
  }
  return shape.array().back().integer();
}

}  // namespace lstmcore
