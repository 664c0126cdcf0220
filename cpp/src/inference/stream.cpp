#include "stream.hpp"

#include <algorithm>
#include <utility>

#include "../runtime/float_mode.hpp"
#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"

namespace lstmcore::inference {

Stream::Stream(std::shared_ptr<const Network> network, Index rows, Threads threads)
    : network_(std::move(network)),
      rows_(rows),
      threads_(threads),
      flops_(network_->flops() * static_cast<double>(rows)) {
  const EngineFloats floats;
  check_memory();
  for (Index begin = 0; begin < rows; begin += policy::stream_block_rows) {
    const Index size = std::min(policy::stream_block_rows, rows - begin);
    const Index numbers = network_->takes_tokens() ? size * network_->embedding_size() : 0;
    blocks_.push_back({begin, size, network_->stepper(size), Buffer<float>(static_cast<std::size_t>(numbers))});
  }
}

/// Throws std::bad_alloc if the system has less memory than the state of all rows needs. The blocks alone would fill
/// all of it before one of them fails.
void Stream::check_memory() const {
  const Index numbers = rows_ * (network_->state_size() + network_->output_size());
  const Buffer<float> untouched(static_cast<std::size_t>(numbers));
}

void Stream::step_block(Block& block, const float* x, float* y) noexcept {
  block.stepper->step(x + block.begin * network_->input_size(), y + block.begin * network_->output_size());
}

void Stream::step_block(Block& block, const std::int64_t* tokens, float* y) noexcept {
  float* x = block.vectors.data();
  for (Index row = 0; row < block.rows; ++row) {
    x = std::copy_n(network_->embed(tokens[block.begin + row]), network_->embedding_size(), x);
  }
  block.stepper->step(block.vectors.data(), y + block.begin * network_->output_size());
}

template <class Input>
void Stream::step_blocks(const Input* inputs, float* y) {
  const auto count = static_cast<Index>(blocks_.size());
  if (threads_ == Threads::one || count == 1) {
    const EngineMode mode;
    for (Block& block : blocks_) step_block(block, inputs, y);
    return;
  }
  const EngineFloats floats;
  const auto threads = static_cast<int>(std::min<Index>(threads_for(flops_), count));
  parallel_tasks(threads, count,
                 [&](Index block, int) { step_block(blocks_[static_cast<std::size_t>(block)], inputs, y); });
}

void Stream::step(const float* x, float* y) { step_blocks(x, y); }

void Stream::step(const std::int64_t* tokens, float* y) { step_blocks(tokens, y); }

void Stream::reset(Index row) noexcept {
  Block& block = blocks_[static_cast<std::size_t>(row / policy::stream_block_rows)];
  block.stepper->reset(row - block.begin);
}

template <class Blocks, class Visit>
void Stream::visit_blocks(Blocks& blocks, Index first, Index count, Visit&& visit) {
  for (auto& block : blocks) {
    const Index begin = std::max(first, block.begin), end = std::min(first + count, block.begin + block.rows);
    if (begin < end) visit(block, begin - block.begin, end - begin);
  }
}

void Stream::get_state(Index first, Index count, float* state) const {
  const Index size = network_->state_size();
  std::vector<float> whole;
  visit_blocks(blocks_, first, count, [&](const Block& block, Index begin, Index rows) {
    whole.resize(static_cast<std::size_t>(block.rows * size));
    block.stepper->get_state(whole.data(), size);
    state = std::copy_n(whole.data() + begin * size, rows * size, state);
  });
}

void Stream::set_state(Index first, Index count, const float* state) {
  const Index size = network_->state_size();
  std::vector<float> whole;
  visit_blocks(blocks_, first, count, [&](Block& block, Index begin, Index rows) {
    whole.resize(static_cast<std::size_t>(block.rows * size));
    block.stepper->get_state(whole.data(), size);
    std::copy_n(state, rows * size, whole.data() + begin * size);
    block.stepper->set_state(whole.data(), size);
    state += rows * size;
  });
}

}  // namespace lstmcore::inference
