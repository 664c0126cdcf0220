// The layers of a model file in order, on one sequence: what the page needs of a model.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <lstmcore/lstm.hpp>
#include <lstmcore/model_file.hpp>
#include <lstmcore/ops.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace example {

// One sequence, row-major: steps x width. Padding follows the first `valid` steps.
struct Sequence {
  std::int64_t steps = 0, width = 0, valid = 0;
  std::vector<float> values;

  Sequence(std::int64_t step_count, std::int64_t feature_count) : Sequence(step_count, feature_count, step_count) {}
  Sequence(std::int64_t step_count, std::int64_t feature_count, std::int64_t valid_steps)
      : steps(step_count),
        width(feature_count),
        valid(valid_steps),
        values(static_cast<std::size_t>(step_count * feature_count)) {}

  lstmcore::View<const std::int64_t, 1> lengths() const { return {&valid, {1}}; }
  lstmcore::View<const float, 3> view() const { return {values.data(), {1, steps, width}}; }
  lstmcore::View<float, 3> view() { return {values.data(), {1, steps, width}}; }
  lstmcore::View<const float, 2> rows() const { return {values.data(), {steps, width}}; }
  lstmcore::View<float, 2> rows() { return {values.data(), {steps, width}}; }
};

class Layer {
 public:
  virtual ~Layer() = default;
  virtual Sequence apply(const Sequence& x) const = 0;
};

inline std::runtime_error cannot_run(const lstmcore::ModelLayer& layer, const std::string& what) {
  return std::runtime_error("layer \"" + layer.name + "\": this page cannot run " + what);
}

class Recurrent : public Layer {
 public:
  Recurrent(const lstmcore::ModelFile& file, const lstmcore::ModelLayer& layer)
      : layer_(layer), lstm_(file.lstm<float>(layer.name)) {
    if (layer.lstm.bidirectional && layer.merge_mode != "concat") {
      throw cannot_run(layer, "merge_mode \"" + layer.merge_mode + "\", only \"concat\"");
    }
  }

  Sequence apply(const Sequence& x) const override {
    Sequence y(x.steps, layer_.output_size, x.valid);
    lstmcore::LstmSequence<float> sequence(x.view());
    sequence.lengths = x.lengths();
    lstm_.forward(sequence, y.view(), {});
    if (layer_.return_sequences) {
      if (layer_.lstm.go_backwards) put_in_order_of_processing(y);
      return y;
    }
    // The last step of each direction, in the order in which it reads the sequence; zeros if there is none.
    Sequence last(1, y.width);
    if (y.valid == 0) return last;
    const std::int64_t directions = layer_.lstm.bidirectional ? 2 : 1, units = y.width / directions;
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      const bool from_the_end = direction == 1 || layer_.lstm.go_backwards;
      const float* const from = y.values.data() + (from_the_end ? 0 : y.valid - 1) * y.width + direction * units;
      std::copy(from, from + units, last.values.data() + direction * units);
    }
    return last;
  }

 private:
  // A layer that walks backwards returns its steps in the order in which it walks, as in Keras; the engine's are those
  // of x.
  static void put_in_order_of_processing(Sequence& y) {
    float* const values = y.values.data();
    for (std::int64_t first = 0, last = y.valid - 1; first < last; ++first, --last) {
      std::swap_ranges(values + first * y.width, values + (first + 1) * y.width, values + last * y.width);
    }
  }

  lstmcore::ModelLayer layer_;
  lstmcore::Lstm<float> lstm_;
};

class Dense : public Layer {
 public:
  Dense(const lstmcore::ModelFile& file, const lstmcore::ModelLayer& layer)
      : width_(layer.input_size),
        units_(layer.output_size),
        activation_(activation_of(layer)),
        kernel_(file.tensor<float>(layer.name + ".kernel", {width_, units_})) {
    if (layer.use_bias) bias_ = file.tensor<float>(layer.name + ".bias", {units_});
  }

  Sequence apply(const Sequence& x) const override {
    Sequence y(x.steps, units_, x.valid);
    lstmcore::View<const float, 1> bias;
    if (!bias_.empty()) bias = {bias_.data(), {units_}};
    lstmcore::dense_forward<float>(x.rows(), {kernel_.data(), {width_, units_}}, bias, activation_, y.rows());
    return y;
  }

 private:
  static lstmcore::Activation activation_of(const lstmcore::ModelLayer& layer) {
    using lstmcore::Activation;
    const std::pair<const char*, Activation> known[] = {{"linear", Activation::linear},
                                                        {"relu", Activation::relu},
                                                        {"tanh", Activation::tanh},
                                                        {"sigmoid", Activation::sigmoid},
                                                        {"softmax", Activation::softmax}};
    for (const auto& [name, activation] : known) {
      if (layer.activation == name) return activation;
    }
    throw cannot_run(layer, "activation \"" + layer.activation + "\"");
  }

  std::int64_t width_, units_;
  lstmcore::Activation activation_;
  std::vector<float> kernel_, bias_;
};

enum class Pooling { maximum, mean };

class GlobalPooling : public Layer {
 public:
  explicit GlobalPooling(Pooling pooling) : pooling_(pooling) {}

  Sequence apply(const Sequence& x) const override {
    Sequence y(1, x.width);
    if (pooling_ == Pooling::mean) {
      lstmcore::mean_over_time_forward<float>(x.view(), x.lengths(), y.rows());
    } else {
      std::vector<std::int64_t> argmax(y.values.size());
      lstmcore::max_over_time_forward<float>(x.view(), x.lengths(), y.rows(), {argmax.data(), {1, x.width}});
    }
    return y;
  }

 private:
  Pooling pooling_;
};

// A model: token numbers or features in, outputs of every step or of the whole sequence out.
class Chain {
 public:
  explicit Chain(const lstmcore::ModelFile& file) {
    for (const lstmcore::ModelLayer& layer : file.layers()) {
      if (layer.class_name == "Embedding") {
        if (!layers_.empty()) throw cannot_run(layer, "an Embedding that is not the first layer");
        vocabulary_ = layer.vocabulary_size;
        input_width_ = layer.output_size;
        mask_zero_ = layer.mask_zero;
        embeddings_ = file.tensor<float>(layer.name + ".embeddings", {vocabulary_, input_width_});
      } else if (layer.class_name != "TextVectorization" && layer.class_name != "Dropout") {
        if (input_width_ == 0) input_width_ = layer.input_size;
        layers_.push_back(made(file, layer));
      }
      if (layer.output_size > 0) output_width_ = layer.output_size;
    }
  }

  // Number of different token numbers; 0 if the model takes features.
  std::int64_t vocabulary() const { return vocabulary_; }
  std::int64_t input_width() const { return input_width_; }
  std::int64_t output_width() const { return output_width_; }

  // `ids`: from 0 to vocabulary() - 1. With mask_zero, 0 is padding at the end; padding has its row of the table, as in
  // Python, and layers that know lengths pass over it.
  Sequence embedded(const std::int32_t* ids, std::int64_t steps) const {
    if (vocabulary_ == 0) throw std::invalid_argument("ids: the model takes features, not token numbers");
    Sequence x(steps, input_width_);
    for (std::int64_t t = 0; t < steps; ++t) {
      if (ids[t] < 0 || ids[t] >= vocabulary_) {
        throw std::invalid_argument("ids: expected 0 to " + std::to_string(vocabulary_ - 1) + ", got " +
                                    std::to_string(ids[t]) + " at step " + std::to_string(t));
      }
      if (mask_zero_ && ids[t] == 0) x.valid = std::min(x.valid, t);
      if (t > x.valid && ids[t] != 0) {
        throw std::invalid_argument("ids: 0 is padding and may appear only at the end, got " + std::to_string(ids[t]) +
                                    " at step " + std::to_string(t) + " after it");
      }
      const float* const row = embeddings_.data() + ids[t] * input_width_;
      std::copy(row, row + input_width_, x.values.data() + t * input_width_);
    }
    return x;
  }

  Sequence run(Sequence x) const {
    if (x.steps < 1) throw std::invalid_argument("steps: expected at least 1, got " + std::to_string(x.steps));
    for (const std::unique_ptr<Layer>& layer : layers_) x = layer->apply(x);
    return x;
  }

 private:
  static std::unique_ptr<Layer> made(const lstmcore::ModelFile& file, const lstmcore::ModelLayer& layer) {
    const std::string& name = layer.class_name;
    if (name == "LSTM" || name == "RNN" || name == "Bidirectional") return std::make_unique<Recurrent>(file, layer);
    if (name == "Dense") return std::make_unique<Dense>(file, layer);
    if (name == "GlobalMaxPooling1D") return std::make_unique<GlobalPooling>(Pooling::maximum);
    if (name == "GlobalAveragePooling1D") return std::make_unique<GlobalPooling>(Pooling::mean);
    throw cannot_run(layer, "layers of class " + name);
  }

  std::vector<std::unique_ptr<Layer>> layers_;
  std::int64_t vocabulary_ = 0, input_width_ = 0, output_width_ = 0;
  std::vector<float> embeddings_;
  bool mask_zero_ = false;
};

}  // namespace example
