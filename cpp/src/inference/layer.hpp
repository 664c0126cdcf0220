// A layer of a model file, with its weights, that runs on whole sequences or step by step. Both ways give the same
// bits.
#pragma once

#include <lstmcore/model_file.hpp>
#include <memory>

#include "sequences.hpp"

namespace lstmcore::inference {

/// A layer that takes one step of `rows` rows at a time, and holds their state. It refers to the layer's weights, which
/// must outlive it. The caller sets the engine's floating-point mode.
class Stepper {
 public:
  virtual ~Stepper() = default;
  Stepper() = default;
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  /// From x (rows, C) to y (rows, U), contiguous and not overlapping. Does not allocate, lock or throw.
  virtual void step(const float* x, float* y) noexcept = 0;
  /// Zeroes the state of a row.
  virtual void reset(Index /*row*/) noexcept {}
  /// Copies the state of all rows to or from memory in which they are `stride` numbers apart.
  virtual void get_state(float* /*state*/, Index /*stride*/) const {}
  virtual void set_state(const float* /*state*/, Index /*stride*/) {}
};

class Layer {
 public:
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  /// Replaces the values by the layer's outputs.
  virtual void forward(Sequences& data) const = 0;
  /// Steps of the outputs for a sequence of `steps` steps; not called if `makes_vectors`.
  virtual Index output_steps(Index steps) const { return steps; }
  /// The fewest steps of a sequence without lengths.
  virtual Index least_steps() const { return 0; }
  /// Whether the outputs are one vector for each row.
  virtual bool makes_vectors() const { return false; }
  /// Whether each step's output follows from that step's input alone, so that vectors without steps pass as well.
  virtual bool each_step_alone() const { return false; }

  /// Whether the layer can run step by step; if not, `stepper` must not be called.
  virtual bool streams() const { return false; }
  virtual std::unique_ptr<Stepper> stepper(Index rows) const;
  /// Where it cannot: the name of the layer, in this one, because of which.
  virtual std::string no_stepper() const { return name_; }
  /// Numbers in the state of a row.
  virtual Index state_size() const { return 0; }

  const std::string& name() const { return name_; }
  /// About how many floating-point operations a step of a row takes.
  double flops() const { return flops_; }

 protected:
  Layer(std::string name, double flops) : name_(std::move(name)), flops_(flops) {}

 private:
  std::string name_;
  double flops_;
};

/// The layer that a file describes; null if it does nothing at inference. Throws std::domain_error, naming the layer,
/// if a model with it cannot be run.
std::unique_ptr<Layer> make_layer(const ModelFile& file, const ModelLayer& layer);

// What `make_layer` is made of, each in the file of this name.
std::unique_ptr<Layer> make_attention(const ModelFile& file, const ModelLayer& layer);
std::unique_ptr<Layer> make_convolution(const ModelFile& file, const ModelLayer& layer);
std::unique_ptr<Layer> make_dense(const ModelFile& file, const ModelLayer& layer);
std::unique_ptr<Layer> make_global_pooling(const ModelLayer& layer);
std::unique_ptr<Layer> make_normalization(const ModelFile& file, const ModelLayer& layer);
std::unique_ptr<Layer> make_pooling(const ModelLayer& layer);
std::unique_ptr<Layer> make_recurrent(const ModelFile& file, const ModelLayer& layer);
std::unique_ptr<Layer> make_residual(const ModelFile& file, const ModelLayer& layer);

}  // namespace lstmcore::inference
