// Layers one after the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layer.hpp"

namespace lstmcore::inference {

/// The steppers of a chain's layers.
class ChainStepper {
 public:
  ChainStepper(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Index>& widths, Index rows);

  /// As in Stepper; a chain without layers copies x.
  void step(const float* x, float* y) noexcept;
  void reset(Index row) noexcept;
  /// The state of row n begins at state + n * stride; layer follows layer.
  void get_state(float* state, Index stride) const;
  void set_state(const float* state, Index stride);

 private:
  struct Part {
    std::unique_ptr<Stepper> stepper;
    Index state_size;
    Buffer<float> output;  // empty for the last layer
  };
  std::vector<Part> parts_;
  std::size_t copied_;  // numbers of x, if there are no layers
};

class Chain {
 public:
  /// `width`: features of the input. Throws std::domain_error, naming the layer, if one cannot run here, or needs steps
  /// where only one vector of each row is left.
  Chain(const ModelFile& file, const std::vector<ModelLayer>& layers, std::size_t first, Index width);

  void forward(Sequences& data) const;
  Index output_steps(Index steps) const;
  bool makes_vectors() const;
  bool each_step_alone() const;
  /// Throws std::invalid_argument, naming a layer, if sequences of `steps` steps without lengths are too short.
  void check_steps(Index steps) const;

  /// The name of the first layer that does not run step by step; empty if all do.
  std::string no_stepper() const;
  std::unique_ptr<ChainStepper> stepper(Index rows) const;
  Index state_size() const;
  double flops() const;
  /// Features of the output.
  Index width() const { return widths_.back(); }

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Index> widths_;  // before the first layer, and after each
};

}  // namespace lstmcore::inference
