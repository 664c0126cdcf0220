// RTNeural's files: layers with the weights of Keras. An LSTM has a kernel (C, 4H), a recurrent kernel (H, 4H) and a
// bias (4H), columns i, f, g, o; a dense layer a kernel (C, U) and a bias (U). AIDA-X adds "in_skip", "in_gain" and
// "out_gain".
#include <cmath>
#include <limits>
#include <utility>

#include "../model_file/file_error.hpp"
#include "../model_file/members.hpp"
#include "formats.hpp"
#include "numbers.hpp"

namespace lstmcore::captures {
namespace {

/// The activation of a layer; "" is none.
Activation read_activation(const std::string& where, const Value& layer) {
  const std::string name = optional_text(where, layer, "activation");
  constexpr std::pair<const char*, Activation> known[] = {
      {"", Activation::linear},   {"linear", Activation::linear},   {"relu", Activation::relu},
      {"tanh", Activation::tanh}, {"sigmoid", Activation::sigmoid}, {"softmax", Activation::softmax}};
  for (const auto& [text, activation] : known) {
    if (name == text) return activation;
  }
  fail_reading(where + ": expected linear, relu, tanh, sigmoid, softmax or \"\" as activation, got " + in_quotes(name));
}

/// Exporters write the cell's own activations, or nothing; RTNeural reads neither.
void check_cell(const std::string& where, const Value& layer) {
  for (const auto& [name, usual] : {std::pair{"activation", "tanh"}, std::pair{"recurrent_activation", "sigmoid"}}) {
    const std::string found = optional_text(where, layer, name);
    if (!found.empty() && found != usual) {
      fail_reading(where + ": expected " + usual + " or \"\" as " + name + " of an LSTM, got " + in_quotes(found));
    }
  }
}

const Value& weights_of(const std::string& where, const Value& layer, std::size_t arrays) {
  const Value& weights = require_member(where, layer, "weights", Kind::array);
  if (weights.array().size() != arrays) {
    fail_reading(where + ": expected " + std::to_string(arrays) + " arrays as weights, got " +
                 std::to_string(weights.array().size()));
  }
  return weights;
}

CaptureLayer read_lstm(const std::string& where, const Value& description, std::int64_t input) {
  check_cell(where, description);
  const Value& weights = weights_of(where, description, 3);
  CaptureLayer layer;
  layer.recurrent = true;
  layer.input_size = input;
  layer.output_size = last_extent(where, description, "shape");
  const std::int64_t hidden = layer.output_size, gates = 4 * hidden;
  layer.weight_ih = transposed(matrix(where + ": kernel", weights.array()[0], input, gates), input, gates);
  layer.weight_hh = transposed(matrix(where + ": recurrent kernel", weights.array()[1], hidden, gates), hidden, gates);
  layer.bias = vector(where + ": bias", weights.array()[2], gates);
  layer.h = layer.c = std::vector<float>(static_cast<std::size_t>(hidden));
  return layer;
}

CaptureLayer read_dense(const std::string& where, const Value& description, std::int64_t input) {
  const Value& weights = weights_of(where, description, 2);
  CaptureLayer layer;
  layer.input_size = input;
  layer.output_size = last_extent(where, description, "shape");
  layer.kernel = matrix(where + ": kernel", weights.array()[0], input, layer.output_size);
  layer.bias = vector(where + ": bias", weights.array()[1], layer.output_size);
  layer.activation = read_activation(where, description);
  return layer;
}

/// Adds what one entry of "layers" describes. An activation on its own becomes that of the dense layer before it.
void add_layer(const std::string& place, const Value& description, Capture& capture) {
  const std::string& type = require_member(place, description, "type", Kind::string).string();
  const std::string where = place + " (" + type + ")";
  const std::int64_t input = capture.layers.empty() ? capture.input_size : capture.layers.back().output_size;
  if (type == "lstm") {
    capture.layers.push_back(read_lstm(where, description, input));
  } else if (type == "dense" || type == "time-distributed-dense") {
    capture.layers.push_back(read_dense(where, description, input));
  } else if (type == "activation") {
    CaptureLayer* const last = capture.layers.empty() ? nullptr : &capture.layers.back();
    if (last == nullptr || last->recurrent || last->activation != Activation::linear) {
      fail_reading(where + ": expected a dense layer without activation before it");
    }
    last->activation = read_activation(where, description);
  } else {
    fail_reading(place + ": expected lstm, dense, time-distributed-dense or activation as type, got " +
                 in_quotes(type));
  }
}

/// The factor of a gain, which the file has in decibels.
double gain_of(const Value& document, const char* name) {
  const double decibels = optional_number(document, name).value_or(0.0);
  const double gain = std::pow(10.0, decibels / 20.0);
  if (gain > static_cast<double>(std::numeric_limits<float>::max())) {
    fail_reading(std::string(name) + ": expected at most 770 dB, whose factor a float can hold, got " +
                 std::to_string(decibels));
  }
  return gain;
}

/// The first rate in the metadata or in the document itself, under the names that exporters use; 0 if there is none.
double read_sample_rate(const Value& document) {
  for (const Value* const object : {document.find("metadata"), &document}) {
    for (const char* const name : {"samplerate", "sample_rate"}) {
      if (object == nullptr) continue;
      if (const std::optional<double> rate = noted_rate(*object, name)) return *rate;
    }
  }
  return 0;
}

}  // namespace

Capture read_rtneural(const Value& document) {
  Capture capture;
  capture.format = CaptureFormat::rtneural;
  capture.input_size = last_extent("the capture", document, "in_shape");
  const Value& layers = require_member("the capture", document, "layers", Kind::array);
  std::size_t index = 0;
  for (const Value& layer : layers.array()) add_layer("layer " + std::to_string(index++), layer, capture);
  const Value* const skip = document.find("in_skip");
  capture.skip = skip != nullptr && !skip->is(Kind::null) && is_on("in_skip", *skip);
  capture.input_gain = gain_of(document, "in_gain");
  capture.output_gain = gain_of(document, "out_gain");
  capture.sample_rate = read_sample_rate(document);
  capture.name = name_of(document);
  return capture;
}

}  // namespace lstmcore::captures
