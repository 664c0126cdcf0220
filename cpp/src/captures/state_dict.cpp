// A state dict of PyTorch as JSON: an nn.LSTM of any number of layers, and an nn.Linear. GuitarML's trainers call them
// "rec" and "lin", and describe the network in "model_data".
#include <algorithm>
#include <cmath>
#include <utility>

#include "../model_file/file_error.hpp"
#include "../model_file/members.hpp"
#include "formats.hpp"
#include "numbers.hpp"

namespace lstmcore::captures {
namespace {

const std::string first_tensor = "weight_ih_l0";

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The tensors of a state dict. Each must be used.
class Tensors {
 public:
  explicit Tensors(const Value& dict) : dict_(dict) {}

  /// What precedes `end` in the one name that ends so.
  std::string prefix(const std::string& end) const {
    std::string found;
    int names = 0;
    for (const json::Member& member : dict_.object()) {
      if (!ends_with(member.name, end)) continue;
      found = member.name.substr(0, member.name.size() - end.size());
      ++names;
    }
    if (names != 1) fail_reading("state_dict: expected one tensor ..." + end + ", got " + std::to_string(names));
    return found;
  }

  bool has(const std::string& name) const { return dict_.find(name) != nullptr; }

  const Value& take(const std::string& name) {
    const Value* const found = dict_.find(name);
    if (found == nullptr) fail_reading("state_dict: missing " + name);
    taken_.push_back(name);
    return *found;
  }

  void require_all_taken() const {
    for (const json::Member& member : dict_.object()) {
      if (std::find(taken_.begin(), taken_.end(), member.name) == taken_.end()) {
        fail_reading("state_dict: expected one LSTM and one Linear, got also " + member.name);
      }
    }
  }

 private:
  const Value& dict_;
  Names taken_;
};

/// Extent of the first axis, or of the second; 0 if there is none.
std::int64_t rows_of(const Value& value) {
  return value.is(Kind::array) ? static_cast<std::int64_t>(value.array().size()) : 0;
}
std::int64_t columns_of(const Value& value) { return rows_of(value) == 0 ? 0 : rows_of(value.array().front()); }

std::string shape_text(const Value& value) {
  return "(" + std::to_string(rows_of(value)) + ", " + std::to_string(columns_of(value)) + ")";
}

/// PyTorch has two biases, of which only the sum matters.
std::vector<float> summed_bias(const std::string& prefix, const std::string& suffix, std::int64_t size,
                               Tensors& tensors) {
  std::vector<float> sum(static_cast<std::size_t>(size));
  if (!tensors.has(prefix + "bias_ih" + suffix) && !tensors.has(prefix + "bias_hh" + suffix)) return sum;
  for (const char* const half : {"bias_ih", "bias_hh"}) {
    const std::string name = prefix + half + suffix;
    const std::vector<float> values = vector(name, tensors.take(name), size);
    for (std::size_t at = 0; at < sum.size(); ++at) sum[at] += values[at];
  }
  if (!std::all_of(sum.begin(), sum.end(), [](float value) { return std::isfinite(value); })) {
    fail_reading(prefix + "bias_ih" + suffix + " + bias_hh" + suffix +
                 ": expected sums that a float can hold, got one above 3.4e38");
  }
  return sum;
}

/// `width`: the units of the layer below; 0 for the first layer, which decides itself.
CaptureLayer read_torch_lstm(const std::string& prefix, std::size_t index, std::int64_t width, Tensors& tensors) {
  const std::string suffix = "_l" + std::to_string(index);
  const std::string ih = prefix + "weight_ih" + suffix, hh = prefix + "weight_hh" + suffix;
  const Value& input = tensors.take(ih);
  const Value& recurrent = tensors.take(hh);
  CaptureLayer layer;
  layer.recurrent = true;
  layer.input_size = columns_of(input);
  layer.output_size = columns_of(recurrent);
  const std::int64_t gates = gate_count * layer.output_size;
  if (gates == 0 || layer.input_size == 0 || rows_of(input) != gates) {
    fail_reading("state_dict: expected the matrices (4H, C) and (4H, H) of an LSTM as " + ih + " and " + hh + ", got " +
                 shape_text(input) + " and " + shape_text(recurrent) + "; other recurrent units are not read");
  }
  if (width != 0 && layer.input_size != width) {
    fail_reading("state_dict: expected " + std::to_string(width) + " columns in " + ih +
                 ", the units of the layer below, got " + std::to_string(layer.input_size));
  }
  if (std::max(layer.input_size, layer.output_size) > most_units) {
    fail_reading("state_dict: expected at most " + std::to_string(most_units) + " columns in " + ih + " and " + hh +
                 ", got " + shape_text(input) + " and " + shape_text(recurrent));
  }
  layer.weight_ih = matrix(ih, input, gates, layer.input_size);
  layer.weight_hh = matrix(hh, recurrent, gates, layer.output_size);
  layer.bias = summed_bias(prefix, suffix, gates, tensors);
  layer.h = layer.c = std::vector<float>(static_cast<std::size_t>(layer.output_size));
  return layer;
}

CaptureLayer read_torch_linear(const std::string& prefix, std::int64_t input, Tensors& tensors) {
  CaptureLayer layer;
  layer.input_size = input;
  layer.output_size = 1;
  layer.kernel = matrix(prefix + "weight", tensors.take(prefix + "weight"), 1, input);
  layer.bias = {0.0f};
  if (tensors.has(prefix + "bias")) layer.bias = vector(prefix + "bias", tensors.take(prefix + "bias"), 1);
  return layer;
}

void require_text(const Value& description, const char* name, const char* expected) {
  const std::string& found = require_member("model_data", description, name, Kind::string).string();
  if (found != expected) {
    fail_reading(std::string("model_data: expected ") + expected + " as " + name + ", the only one that is read, got " +
                 in_quotes(found));
  }
}

/// What "model_data" says beyond the shapes, and that it says the same as they do.
void read_model_data(const Value& description, Capture& capture) {
  const CaptureLayer& first = capture.layers.front();
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"input_size", first.input_size},
      {"hidden_size", first.output_size},
      {"num_layers", static_cast<std::int64_t>(capture.layers.size()) - 1},
      {"output_size", 1}};
  for (const auto& [name, size] : sizes) {
    const std::int64_t said = count("model_data", description, name);
    if (said != size) {
      fail_reading(std::string("model_data: ") + name + " is " + std::to_string(said) + ", but the tensors have " +
                   std::to_string(size));
    }
  }
  const Value* const skip = description.find("skip");
  if (skip == nullptr) fail_reading("model_data: missing skip");
  capture.skip = is_on("model_data: skip", *skip);
}

}  // namespace

bool holds_state_dict(const Value& document) {
  const auto is_first = [](const json::Member& member) { return ends_with(member.name, first_tensor); };
  return document.find("state_dict") != nullptr ||
         std::any_of(document.object().begin(), document.object().end(), is_first);
}

Capture read_state_dict(const Value& document) {
  const bool alone = document.find("state_dict") == nullptr;
  Tensors tensors(alone ? document : require_member("the capture", document, "state_dict", Kind::object));
  const Value* const description = document.find("model_data");
  if (description != nullptr) {
    require_text(*description, "model", "SimpleRNN");
    require_text(*description, "unit_type", "LSTM");
  }
  Capture capture;
  capture.format = CaptureFormat::state_dict;
  const std::string recurrent = tensors.prefix(first_tensor);
  for (std::size_t index = 0; index == 0 || tensors.has(recurrent + "weight_ih_l" + std::to_string(index)); ++index) {
    const std::int64_t width = capture.layers.empty() ? 0 : capture.layers.back().output_size;
    capture.layers.push_back(read_torch_lstm(recurrent, index, width, tensors));
  }
  const std::string linear = tensors.prefix("weight");
  capture.layers.push_back(read_torch_linear(linear, capture.layers.back().output_size, tensors));
  tensors.require_all_taken();
  capture.input_size = capture.layers.front().input_size;
  if (description != nullptr) read_model_data(*description, capture);
  if (!alone) capture.sample_rate = noted_rate(document, "samplerate").value_or(0);
  return capture;
}

}  // namespace lstmcore::captures
