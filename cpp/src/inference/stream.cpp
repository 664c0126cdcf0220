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
      flops_(network_->flops() * static_cast<double>(rows)),
      tokens_(static_cast<std::size_t>(network_->takes_tokens() ? rows : 0)) {
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

template <class StepBlock>
void Stream::step_blocks(StepBlock&& step_block) {
  const auto count = static_cast<Index>(blocks_.size());
  if (threads_ == Threads::one || count == 1) {
    const EngineMode mode;
    for (Block& block : blocks_) step_block(block);
    return;
  }
  const EngineFloats floats;
  const auto threads = static_cast<int>(std::min<Index>(threads_for(flops_), count));
  parallel_tasks(threads, count, [&](Index block, int) { step_block(blocks_[static_cast<std::size_t>(block)]); });
}

void Stream::step(const float* x, float* y) {
  step_blocks([&](Block& block) {
    block.stepper->step(x + block.begin * network_->input_size(), y + block.begin * network_->output_size());
  });
}

Index Stream::read(const std::int64_t* tokens) noexcept {
  std::int64_t* const copy = std::copy_n(tokens, rows_, tokens_.data()) - rows_;
  return std::find_if(copy, copy + rows_, [&](std::int64_t token) { return !network_->knows(token); }) - copy;
}

void Stream::step_tokens(float* y) {
  step_blocks([&](Block& block) {
    float* x = block.vectors.data();
    for (Index row = 0; row < block.rows; ++row) {
      x = std::copy_n(network_->embed(token(block.begin + row)), network_->embedding_size(), x);
    }
    block.stepper->step(block.vectors.data(), y + block.begin * network_->output_size());
  });
}

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
