// MaxPooling1D over windows, and the layers that make one vector of all steps: global pooling and Attention.
#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>

#include "dense.hpp"
#include "layer.hpp"

namespace lstmcore::inference {
namespace {

class MaxPooling : public Layer {
 public:
  explicit MaxPooling(const ModelLayer& layer)
      : Layer(layer.name, static_cast<double>(layer.output_size)), windows_(layer.windows) {}

  void forward(Sequences& data) const override {
    const Index steps = windows_.count(data.steps);
    Buffer<float> y = data.room(steps, data.width);
    max_pool1d_forward<float>(data.view(), data.valid(), windows_, {y.data(), {data.rows, steps, data.width}}, {});
    for (Index& length : data.lengths) length = windows_.count(length);
    data.steps = steps;
    data.replace(data.width, std::move(y));
  }
  Index output_steps(Index steps) const override { return windows_.count(steps); }
  Index least_steps() const override { return windows_.padding == Padding::valid ? windows_.span() : 0; }

 private:
  Windows windows_;
};

class GlobalPooling : public Layer {
 public:
  explicit GlobalPooling(const ModelLayer& layer)
      : Layer(layer.name, static_cast<double>(layer.output_size)), maximum_(layer.class_name == "GlobalMaxPooling1D") {}

  void forward(Sequences& data) const override {
    Buffer<float> y = data.room(1, data.width);
    const View<float, 2> out(y.data(), {data.rows, data.width});
    if (maximum_) {
      max_over_time_forward<float>(data.view(), data.valid(), out, {});
    } else {
      mean_over_time_forward<float>(data.view(), data.valid(), out);
    }
    data.replace_by_vectors(data.width, std::move(y));
  }
  bool makes_vectors() const override { return true; }

 private:
  bool maximum_;
};

DenseMap key_map(const ModelFile& file, const ModelLayer& layer) {
  const Index units = layer.attention.units;
  const bool additive = layer.attention.kind == "additive";
  return DenseMap(file.tensor<float>(layer.name + ".kernel", {layer.input_size, units}),
                  additive ? file.tensor<float>(layer.name + ".bias", {units}) : std::vector<float>(), layer.input_size,
                  units, additive ? Activation::tanh : Activation::linear);
}

/// One learnt query for each row; see ModelAttention.
class Attention : public Layer {
 public:
  Attention(const ModelFile& file, const ModelLayer& layer) : Attention(file, layer, key_map(file, layer)) {}

  void forward(Sequences& data) const override {
    const Index N = data.rows, T = data.steps, C = data.width, U = keys_.units();
    Buffer<float> keys = data.room(T, U), queries = data.room(1, U), weights = data.room(T, 1),
                  context = data.room(1, C);
    keys_.run(data.values.data(), N * T, keys.data());
    for (Index row = 0; row < N; ++row) std::copy(query_.begin(), query_.end(), queries.data() + row * U);
    attention_forward<float>({keys.data(), {N, T, U}}, {queries.data(), {N, 1, U}}, data.view(), {}, scale_,
                             data.valid(), {}, {weights.data(), {N, 1, T}}, {context.data(), {N, 1, C}});
    data.replace_by_vectors(C, std::move(context));
  }
  bool makes_vectors() const override { return true; }

 private:
  Attention(const ModelFile& file, const ModelLayer& layer, DenseMap keys)
      : Layer(layer.name, keys.flops()),
        keys_(std::move(keys)),
        query_(file.tensor<float>(layer.name + (layer.attention.kind == "additive" ? ".score" : ".query"),
                                  {layer.attention.units})),
        scale_(layer.attention.scale ? 1.0 / std::sqrt(static_cast<double>(layer.attention.units)) : 1.0) {}

  DenseMap keys_;
  std::vector<float> query_;
  double scale_;
};

}  // namespace

std::unique_ptr<Layer> make_pooling(const ModelLayer& layer) {
  if (layer.windows.span() == 1 && layer.windows.stride == 1) return nullptr;  // the maximum of one step is the step
  return std::make_unique<MaxPooling>(layer);
}

std::unique_ptr<Layer> make_global_pooling(const ModelLayer& layer) { return std::make_unique<GlobalPooling>(layer); }

std::unique_ptr<Layer> make_attention(const ModelFile& file, const ModelLayer& layer) {
  return std::make_unique<Attention>(file, layer);
}

}  // namespace lstmcore::inference
