// y = activation(x kernel + bias), packed once.
#pragma once

#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "../ops/activate.hpp"
#include "../ops/products.hpp"

namespace lstmcore::inference {

class DenseMap {
 public:
  /// kernel (C, U); bias (U), or empty for none.
  DenseMap(const std::vector<float>& kernel, const std::vector<float>& bias, Index inputs, Index units,
           Activation activation)
      : inputs_(inputs),
        units_(units),
        activation_(activation),
        bias_(ops::whole_vectors(bias.empty() ? View<const float, 1>() : View<const float, 1>(bias.data(), {units}))),
        factor_(ops::Factor<float>::plain(View<const float, 2>(kernel.data(), {inputs, units}))) {}

  Index inputs() const { return inputs_; }
  Index units() const { return units_; }
  double flops() const { return 2.0 * static_cast<double>(inputs_) * static_cast<double>(units_); }

  /// x (rows, C) to y (rows, U), shared among threads.
  void run(const float* x, Index rows, float* y) const {
    factor_.multiply(
        ops::PlainRows<const float>{x, inputs_}, rows, bias(), ops::PlainRows<float>{y, units_},
        [&](Index begin, Index end) { ops::activate(activation_, y + begin * units_, end - begin, units_); });
  }

  /// The same on the caller's thread alone, without allocating.
  void run_alone(const float* x, Index rows, float* y) const noexcept {
    factor_.multiply_alone(ops::PlainRows<const float>{x, inputs_}, rows, bias(), ops::PlainRows<float>{y, units_});
    ops::activate(activation_, y, rows, units_);
  }

 private:
  const float* bias() const { return bias_.size() > 0 ? bias_.data() : nullptr; }

  Index inputs_, units_;
  Activation activation_;
  Buffer<float> bias_;
  ops::Factor<float> factor_;
};

/// The activation of a Dense or Conv1D layer with this name.
Activation activation_of(const std::string& name);

}  // namespace lstmcore::inference
