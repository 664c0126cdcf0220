// Neural Amp Modeler's files. For an LSTM, "weights" is one list: for each layer a matrix (4H, C + H) over [x, h] row
// by row, its bias (4H), the first h (H) and the first c (H); then the head's weights (H) and its bias.
#include <algorithm>
#include <iterator>
#include <utility>

#include "../model_file/file_error.hpp"
#include "../model_file/members.hpp"
#include "formats.hpp"
#include "numbers.hpp"

namespace lstmcore::captures {
namespace {

/// Takes numbers from a list, one after the other.
class Numbers {
 public:
  explicit Numbers(const Value& list) : list_(list) {}

  float next() {
    const std::size_t at = at_++;
    return number("weights: number " + std::to_string(at), list_.array()[at]);
  }
  std::vector<float> next(std::int64_t size) {
    std::vector<float> values(static_cast<std::size_t>(size));
    std::generate(values.begin(), values.end(), [this] { return next(); });
    return values;
  }

 private:
  const Value& list_;
  std::size_t at_ = 0;
};

struct NamSizes {
  std::int64_t input = 0, hidden = 0, layers = 0;

  std::int64_t layer_input(std::int64_t layer) const { return layer == 0 ? input : hidden; }
  /// Numbers of a layer. With at most 2^16 units it fits into 64 bits.
  std::int64_t of_layer(std::int64_t layer) const { return 4 * hidden * (layer_input(layer) + hidden) + 6 * hidden; }
  std::int64_t all() const {
    std::int64_t sum = hidden + 1;
    for (std::int64_t layer = 0; layer < layers; ++layer) sum += of_layer(layer);
    return sum;
  }
};

/// The formats of LSTMs did not change from 0.5 to 0.7.
void check_version(const std::string& version) {
  const char* const known[] = {"0.5.", "0.6.", "0.7."};
  const auto begins = [&](const char* text) { return version.rfind(text, 0) == 0; };
  if (std::none_of(std::begin(known), std::end(known), begins)) {
    fail_reading("version: expected one that begins with 0.5., 0.6. or 0.7., got " + in_quotes(version));
  }
}

NamSizes read_sizes(const Value& document) {
  const Value& config = require_member("the capture", document, "config", Kind::object);
  require_exactly("config", config, {"input_size", "hidden_size", "num_layers"}, {"in_channels", "out_channels"});
  for (const char* const channels : {"in_channels", "out_channels"}) {
    if (config.find(channels) != nullptr && count("config", config, channels) != 1) {
      fail_reading(std::string("config: expected 1 as ") + channels + ", since captures here have one channel, got " +
                   std::to_string(config.find(channels)->integer()));
    }
  }
  const NamSizes sizes{count("config", config, "input_size"), count("config", config, "hidden_size"),
                       count("config", config, "num_layers")};
  if (sizes.input != 1) {
    fail_reading("config: expected 1 as input_size, the sample, got " + std::to_string(sizes.input));
  }
  return sizes;
}

CaptureLayer read_nam_layer(const NamSizes& sizes, std::int64_t index, Numbers& numbers) {
  CaptureLayer layer;
  layer.recurrent = true;
  layer.input_size = sizes.layer_input(index);
  layer.output_size = sizes.hidden;
  for (std::int64_t row = 0; row < 4 * sizes.hidden; ++row) {
    for (const auto& [columns, matrix] :
         {std::pair{layer.input_size, &layer.weight_ih}, std::pair{sizes.hidden, &layer.weight_hh}}) {
      for (std::int64_t column = 0; column < columns; ++column) matrix->push_back(numbers.next());
    }
  }
  layer.bias = numbers.next(4 * sizes.hidden);
  layer.h = numbers.next(sizes.hidden);
  layer.c = numbers.next(sizes.hidden);
  return layer;
}

CaptureLayer read_head(const NamSizes& sizes, Numbers& numbers) {
  CaptureLayer head;
  head.input_size = sizes.hidden;
  head.output_size = 1;
  head.kernel = numbers.next(sizes.hidden);
  head.bias = numbers.next(1);
  return head;
}

}  // namespace

Capture read_nam(const Value& document) {
  check_version(require_member("the capture", document, "version", Kind::string).string());
  const std::string& architecture = require_member("the capture", document, "architecture", Kind::string).string();
  if (architecture != "LSTM") {
    fail_reading("architecture: expected LSTM, the only one that is read, got " + in_quotes(architecture));
  }
  const NamSizes sizes = read_sizes(document);
  const Value& weights = require_member("the capture", document, "weights", Kind::array);
  if (static_cast<std::int64_t>(weights.array().size()) != sizes.all()) {
    fail_reading("weights: expected " + std::to_string(sizes.all()) + " numbers for " + std::to_string(sizes.layers) +
                 " layers of " + std::to_string(sizes.hidden) + " units, got " +
                 std::to_string(weights.array().size()));
  }
  Capture capture;
  capture.format = CaptureFormat::nam;
  Numbers numbers(weights);
  for (std::int64_t index = 0; index < sizes.layers; ++index) {
    capture.layers.push_back(read_nam_layer(sizes, index, numbers));
  }
  capture.layers.push_back(read_head(sizes, numbers));
  capture.sample_rate = noted_rate(document, "sample_rate").value_or(0);
  capture.name = name_of(document);
  if (const Value* const metadata = document.find("metadata")) {
    capture.loudness = noted_number(*metadata, "loudness");
    capture.input_level = noted_number(*metadata, "input_level_dbu");
    capture.output_level = noted_number(*metadata, "output_level_dbu");
  }
  return capture;
}

}  // namespace lstmcore::captures
