// Residual: the input, or its projection, plus the outputs of the layers within.
#include <algorithm>
#include <optional>

#include "chain.hpp"
#include "dense.hpp"

namespace lstmcore::inference {
namespace {

/// sum[k] += straight[k]; the straight part is the first term, as in Python.
void add(const float* straight, float* sum, Index count) noexcept {
  for (Index k = 0; k < count; ++k) sum[k] = straight[k] + sum[k];
}

class ResidualStepper : public Stepper {
 public:
  ResidualStepper(const Chain& chain, const DenseMap* projection, Index rows)
      : inner_(chain.stepper(rows)),
        projection_(projection),
        rows_(rows),
        size_(rows * chain.width()),
        projected_(static_cast<std::size_t>(projection != nullptr ? size_ : 0)) {}

  void step(const float* x, float* y) noexcept override {
    inner_->step(x, y);
    if (projection_ != nullptr) {
      projection_->run_alone(x, rows_, projected_.data());
      x = projected_.data();
    }
    add(x, y, size_);
  }
  void reset(Index row) noexcept override { inner_->reset(row); }
  void get_state(float* state, Index stride) const override { inner_->get_state(state, stride); }
  void set_state(const float* state, Index stride) override { inner_->set_state(state, stride); }

 private:
  std::unique_ptr<ChainStepper> inner_;
  const DenseMap* projection_;  // null: none
  Index rows_, size_;
  Buffer<float> projected_;
};

class Residual : public Layer {
 public:
  Residual(const ModelFile& file, const ModelLayer& layer)
      : Residual(layer, Chain(file, layer.layers, 0, layer.input_size)) {
    if (!layer.projection) return;
    projection_.emplace(file.tensor<float>(layer.name + ".projection.kernel", {layer.input_size, layer.output_size}),
                        std::vector<float>(), layer.input_size, layer.output_size, Activation::linear);
  }

  void forward(Sequences& data) const override {
    const Index count = data.rows * data.steps;
    Buffer<float> straight = data.room(data.steps, chain_.width());
    if (projection_) {
      projection_->run(data.values.data(), count, straight.data());
    } else {
      std::copy_n(data.values.data(), count * data.width, straight.data());
    }
    chain_.forward(data);
    add(straight.data(), data.values.data(), count * chain_.width());
  }
  bool each_step_alone() const override { return chain_.each_step_alone(); }
  bool streams() const override { return chain_.no_stepper().empty(); }
  std::string no_stepper() const override { return chain_.no_stepper(); }
  std::unique_ptr<Stepper> stepper(Index rows) const override {
    return std::make_unique<ResidualStepper>(chain_, projection_ ? &*projection_ : nullptr, rows);
  }
  Index state_size() const override { return chain_.state_size(); }

 private:
  Residual(const ModelLayer& layer, Chain chain) : Layer(layer.name, chain.flops()), chain_(std::move(chain)) {}

  Chain chain_;
  std::optional<DenseMap> projection_;
};

}  // namespace

std::unique_ptr<Layer> make_residual(const ModelFile& file, const ModelLayer& layer) {
  return std::make_unique<Residual>(file, layer);
}

}  // namespace lstmcore::inference
