// All layers of a model, one step at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <lstmcore/lstm.hpp>
#include <lstmcore/model_file.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace example {

// y = activation(x kernel + bias) for one step. A plain loop is fast enough for that and allocates nothing; for batches
// use lstmcore::dense_forward.
class Dense {
 public:
  Dense(const lstmcore::ModelFile& file, const lstmcore::ModelLayer& layer)
      : kernel_(file.tensor<float>(layer.name + ".kernel", {layer.input_size, layer.output_size})),
        bias_(static_cast<std::size_t>(layer.output_size), 0.0f),
        activation_(layer.activation) {
    if (layer.use_bias) bias_ = file.tensor<float>(layer.name + ".bias", {layer.output_size});
    const char* const known[] = {"linear", "relu", "tanh", "sigmoid", "softmax"};
    if (std::find(std::begin(known), std::end(known), activation_) == std::end(known)) {
      throw std::runtime_error("layer " + layer.name + ": this program does not know the activation " + activation_);
    }
  }

  void step(const float* x, std::vector<float>& y) const {
    std::copy(bias_.begin(), bias_.end(), y.begin());
    const std::size_t width = y.size();
    for (std::size_t c = 0; c * width < kernel_.size(); ++c) {
      for (std::size_t u = 0; u < width; ++u) y[u] += x[c] * kernel_[c * width + u];
    }
    activate(y);
  }

 private:
  void activate(std::vector<float>& y) const {
    if (activation_ == "softmax") {
      const float largest = *std::max_element(y.begin(), y.end());
      float sum = 0.0f;
      for (float& value : y) sum += value = std::exp(value - largest);
      for (float& value : y) value /= sum;
      return;
    }
    for (float& value : y) {
      if (activation_ == "relu") value = std::max(value, 0.0f);
      if (activation_ == "tanh") value = std::tanh(value);
      if (activation_ == "sigmoid") value = 1.0f / (1.0f + std::exp(-value));
    }
  }

  std::vector<float> kernel_, bias_;
  std::string activation_;
};

// Any number of forward LSTM, RNN and Dense layers, in any order. Each step passes through all of them before the next
// one is read; nothing is allocated on the way.
class Pipeline {
 public:
  explicit Pipeline(const lstmcore::ModelFile& file) {
    bool recurrent = false;
    for (const lstmcore::ModelLayer& layer : file.layers()) {
      if (layer.class_name == "Dropout") continue;  // does nothing outside training
      if (layers_.empty()) input_size_ = layer.input_size;
      const auto width = static_cast<std::size_t>(layer.output_size);
      if (layer.class_name == "LSTM" || layer.class_name == "RNN") {
        layers_.push_back({Stream(file.lstm<float>(layer.name)), std::vector<float>(width)});
        recurrent = true;
      } else if (layer.class_name == "Dense") {
        layers_.push_back({Dense(file, layer), std::vector<float>(width)});
      } else {
        throw std::runtime_error("cannot stream through a layer of class " + layer.class_name);
      }
    }
    if (!recurrent) throw std::runtime_error("expected at least one LSTM or RNN layer");
  }

  std::int64_t input_size() const { return input_size_; }

  // Returns the model's output after this step.
  const std::vector<float>& step(const float* x) {
    for (Layer& layer : layers_) {
      if (auto* stream = std::get_if<Stream>(&layer.kind)) {
        stream->step(x, layer.output.data());
      } else {
        std::get<Dense>(layer.kind).step(x, layer.output);
      }
      x = layer.output.data();
    }
    return layers_.back().output;
  }

 private:
  using Stream = lstmcore::LstmStream<float>;
  struct Layer {
    std::variant<Stream, Dense> kind;
    std::vector<float> output;
  };

  std::vector<Layer> layers_;
  std::int64_t input_size_ = 0;
};

}  // namespace example
