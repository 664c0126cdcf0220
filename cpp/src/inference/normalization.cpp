#include <lstmcore/ops.hpp>
#include <vector>

#include "../runtime/isa.hpp"
#include "layer.hpp"

namespace lstmcore::inference {
namespace {

struct Weights {
  std::vector<float> gain, shift;  // empty: none
  double epsilon;
  Index width;
};

class NormalizationStepper : public Stepper {
 public:
  NormalizationStepper(const Weights& weights, Index rows) : weights_(weights), rows_(rows) {}

  void step(const float* x, float* y) noexcept override {
    const Index width = weights_.width;
    const float* const gain = weights_.gain.empty() ? nullptr : weights_.gain.data();
    const float* const shift = weights_.shift.empty() ? nullptr : weights_.shift.data();
    for (Index row = 0; row < rows_; ++row) {
      float moments[2];
      kernels_.normalize(x + row * width, gain, shift, weights_.epsilon, y + row * width, moments, width);
    }
  }

 private:
  const kernels::Kernels<float>& kernels_ = active_kernels<float>();
  const Weights& weights_;
  Index rows_;
};

class Normalization : public Layer {
 public:
  Normalization(const ModelFile& file, const ModelLayer& layer)
      : Layer(layer.name, 10.0 * static_cast<double>(layer.output_size)) {
    weights_.epsilon = layer.epsilon;
    weights_.width = layer.output_size;
    if (layer.scale) weights_.gain = file.tensor<float>(layer.name + ".gamma", {layer.output_size});
    if (layer.center) weights_.shift = file.tensor<float>(layer.name + ".beta", {layer.output_size});
  }

  void forward(Sequences& data) const override {
    Buffer<float> y = data.room(data.steps, weights_.width);
    layer_norm_forward<float>(data.view(), data.valid(), view_of(weights_.gain), view_of(weights_.shift),
                              weights_.epsilon, {y.data(), {data.rows, data.steps, weights_.width}}, {});
    data.replace(weights_.width, std::move(y));
  }
  bool each_step_alone() const override { return true; }
  bool streams() const override { return true; }
  std::unique_ptr<Stepper> stepper(Index rows) const override {
    return std::make_unique<NormalizationStepper>(weights_, rows);
  }

 private:
  static View<const float, 1> view_of(const std::vector<float>& values) {
    if (values.empty()) return {};
    return {values.data(), {static_cast<std::int64_t>(values.size())}};
  }

  Weights weights_{};
};

}  // namespace

std::unique_ptr<Layer> make_normalization(const ModelFile& file, const ModelLayer& layer) {
  return std::make_unique<Normalization>(file, layer);
}

}  // namespace lstmcore::inference
