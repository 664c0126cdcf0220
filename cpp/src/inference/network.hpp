// A whole model file, ready to run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chain.hpp"

namespace lstmcore::inference {

/// The layers of a file with their weights. Immutable: any number of threads may use it at once.
class Network {
 public:
  /// Throws std::domain_error if the file holds float64, or a layer that cannot run here.
  explicit Network(const ModelFile& file);

  const std::vector<ModelLayer>& layers() const { return layers_; }
  bool takes_tokens() const { return vocabulary_size_ > 0; }
  Index vocabulary_size() const { return vocabulary_size_; }  ///< 0: the model takes features
  Index input_size() const { return input_size_; }            ///< features of a step; 0: tokens
  Index output_size() const { return chain_->width(); }
  Index state_size() const { return chain_->state_size(); }
  bool output_has_steps() const { return !chain_->makes_vectors(); }
  /// Steps of the output for sequences of `steps` steps; 1 where the output has no steps.
  Index output_steps(Index steps) const { return chain_->output_steps(steps); }
  double flops() const { return chain_->flops(); }
  /// The name of a layer that does not run step by step; empty if all do.
  std::string no_stepper() const { return chain_->no_stepper(); }

  /// x (rows, steps, C), lengths (rows) or absent, y (rows, output_steps, U), which is zero past a row's length. Throws
  /// std::invalid_argument, before y is written, if an argument does not fit.
  void forward(const View<const float, 3>& x, const View<const std::int64_t, 1>& lengths, float* y) const;
  /// The same for tokens (rows, steps). With padding tokens (`mask_zero`), a row also ends where they begin.
  void forward(const View<const std::int64_t, 2>& tokens, const View<const std::int64_t, 1>& lengths, float* y) const;

  /// For streams: whether a token is in the vocabulary, and its vector (`embedding_size`).
  bool knows(std::int64_t token) const noexcept { return token >= 0 && token < vocabulary_size_; }
  const float* embed(std::int64_t token) const noexcept { return table_.data() + token * embedding_size_; }
  Index embedding_size() const { return embedding_size_; }
  std::unique_ptr<ChainStepper> stepper(Index rows) const { return chain_->stepper(rows); }

 private:
  void read_embedding(const ModelFile& file, const ModelLayer& layer);
  std::vector<Index> token_lengths(const std::vector<std::int64_t>& tokens, const std::vector<Index>& given, Index rows,
                                   Index steps) const;
  void run(Sequences& data, float* y) const;

  std::vector<ModelLayer> layers_;
  Index input_size_ = 0, vocabulary_size_ = 0, embedding_size_ = 0;
  bool mask_zero_ = false;
  std::vector<float> table_;            // (V, E)
  std::unique_ptr<const Chain> chain_;  ///< never null
};

}  // namespace lstmcore::inference
