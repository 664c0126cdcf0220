// Many rows that take their steps together, through all layers of a model.
#pragma once

#include <memory>
#include <vector>

#include "network.hpp"

namespace lstmcore::inference {

/// The rows are divided into blocks, each of which passes through all layers on its own: its values stay in a cache,
/// and threads that share the blocks never wait for each other within a step. Bits do not depend on the division.
class Stream {
 public:
  enum class Threads { one, many };

  /// The network must be able to stream, and rows be at least 1.
  Stream(std::shared_ptr<const Network> network, Index rows, Threads threads);

  const Network& network() const { return *network_; }
  Index rows() const { return rows_; }

  /// x (rows, C) to y (rows, U). With one thread, it does not allocate, lock or throw.
  void step(const float* x, float* y);
  /// Copies tokens (rows), and returns the first row whose token is not in the vocabulary, or rows(): then
  /// `step_tokens` can be called. What is checked is the copy, in case another thread writes to the tokens.
  Index read(const std::int64_t* tokens) noexcept;
  std::int64_t token(Index row) const { return tokens_[static_cast<std::size_t>(row)]; }
  void step_tokens(float* y);
  /// Zeroes the state of a row.
  void reset(Index row) noexcept;
  /// The state of `count` rows from `first` on: state (count, state_size).
  void get_state(Index first, Index count, float* state) const;
  void set_state(Index first, Index count, const float* state);

 private:
  struct Block {
    Index begin, rows;
    std::unique_ptr<ChainStepper> stepper;
    Buffer<float> vectors;  ///< of tokens
  };

  void check_memory() const;
  template <class StepBlock>
  void step_blocks(StepBlock&& step_block);
  /// Calls visit(block, first, count) for the rows of each block among `count` rows from `first` on, first counted from
  /// the block's first row.
  template <class Blocks, class Visit>
  static void visit_blocks(Blocks& blocks, Index first, Index count, Visit&& visit);

  std::shared_ptr<const Network> network_;
  Index rows_;
  Threads threads_;
  double flops_;                 ///< of a step of all rows
  Buffer<std::int64_t> tokens_;  ///< of the step, or empty
  std::vector<Block> blocks_;
};

}  // namespace lstmcore::inference
