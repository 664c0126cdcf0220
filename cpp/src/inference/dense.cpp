#include "dense.hpp"

#include <iterator>
#include <stdexcept>

#include "../runtime/errors.hpp"
#include "layer.hpp"

namespace lstmcore::inference {
namespace {

class DenseStepper : public Stepper {
 public:
  DenseStepper(const DenseMap& map, Index rows) : map_(map), rows_(rows) {}
  void step(const float* x, float* y) noexcept override { map_.run_alone(x, rows_, y); }

 private:
  const DenseMap& map_;
  Index rows_;
};

/// A Dense layer, or a Conv1D whose windows are single steps.
class DenseLayer : public Layer {
 public:
  DenseLayer(const std::string& name, DenseMap map) : Layer(name, map.flops()), map_(std::move(map)) {}

  void forward(Sequences& data) const override {
    Buffer<float> y = data.room(data.steps, map_.units());
    map_.run(data.values.data(), data.rows * data.steps, y.data());
    data.replace(map_.units(), std::move(y));
  }
  bool each_step_alone() const override { return true; }
  bool streams() const override { return true; }
  std::unique_ptr<Stepper> stepper(Index rows) const override { return std::make_unique<DenseStepper>(map_, rows); }

 private:
  DenseMap map_;
};

DenseMap read_map(const ModelFile& file, const ModelLayer& layer, const std::vector<std::int64_t>& kernel) {
  const Index units = layer.output_size;
  const std::vector<float> bias =
      layer.use_bias ? file.tensor<float>(layer.name + ".bias", {units}) : std::vector<float>();
  return DenseMap(file.tensor<float>(layer.name + ".kernel", kernel), bias, layer.input_size, units,
                  activation_of(layer.activation));
}

class Convolution : public Layer {
 public:
  Convolution(const ModelFile& file, const ModelLayer& layer)
      : Layer(layer.name, 2.0 * static_cast<double>(layer.windows.size * layer.input_size * layer.output_size)),
        windows_(layer.windows),
        activation_(activation_of(layer.activation)),
        shape_{layer.windows.size, layer.input_size, layer.output_size},
        kernel_(file.tensor<float>(layer.name + ".kernel", {shape_[0], shape_[1], shape_[2]})) {
    if (layer.use_bias) bias_ = file.tensor<float>(layer.name + ".bias", {layer.output_size});
  }

  void forward(Sequences& data) const override {
    const Index steps = windows_.count(data.steps), filters = shape_[2];
    Buffer<float> y = data.room(steps, filters);
    const View<const float, 1> bias =
        bias_.empty() ? View<const float, 1>() : View<const float, 1>(bias_.data(), {filters});
    conv1d_forward<float>(data.view(), data.valid(), {kernel_.data(), shape_}, bias, windows_, activation_,
                          {y.data(), {data.rows, steps, filters}});
    for (Index& length : data.lengths) length = windows_.count(length);
    data.steps = steps;
    data.replace(filters, std::move(y));
  }
  Index output_steps(Index steps) const override { return windows_.count(steps); }
  Index least_steps() const override { return windows_.padding == Padding::valid ? windows_.span() : 0; }

 private:
  Windows windows_;
  Activation activation_;
  std::array<std::int64_t, 3> shape_;
  std::vector<float> kernel_, bias_;
};

}  // namespace

Activation activation_of(const std::string& name) {
  constexpr const char* names[] = {"linear", "relu", "tanh", "sigmoid", "softmax"};  // in the order of Activation
  for (std::size_t place = 0; place < std::size(names); ++place) {
    if (name == names[place]) return static_cast<Activation>(place);
  }
  raise<std::domain_error>("cannot run the activation " + in_quotes(name) + " here");
}

std::unique_ptr<Layer> make_dense(const ModelFile& file, const ModelLayer& layer) {
  return std::make_unique<DenseLayer>(layer.name, read_map(file, layer, {layer.input_size, layer.output_size}));
}

std::unique_ptr<Layer> make_convolution(const ModelFile& file, const ModelLayer& layer) {
  if (layer.windows.span() > 1 || layer.windows.stride > 1) return std::make_unique<Convolution>(file, layer);
  return std::make_unique<DenseLayer>(layer.name, read_map(file, layer, {1, layer.input_size, layer.output_size}));
}

}  // namespace lstmcore::inference
