#include "network.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "../ops/sequences.hpp"
#include "../runtime/errors.hpp"
#include "../runtime/float_mode.hpp"

namespace lstmcore::inference {
namespace {

/// A copy of the lengths, checked; empty if they are absent. What is checked and what is used are read once from the
/// caller's memory, so that no other thread can change it in between.
std::vector<Index> checked_lengths(const View<const std::int64_t, 1>& lengths, Index rows, Index steps) {
  if (!lengths) return {};
  require_array("lengths", lengths, {rows});
  std::vector<Index> copied(static_cast<std::size_t>(rows));
  for (Index row = 0; row < rows; ++row) copied[static_cast<std::size_t>(row)] = lengths(row);
  ops::check_lengths("lengths", {copied.data(), {rows}}, rows, steps);
  return copied;
}

}  // namespace

Network::Network(const ModelFile& file) : layers_(file.layers()) {
  const EngineFloats floats;
  if (file.dtype() != "float32") {
    raise<std::domain_error>("holds " + file.dtype() + ", expected float32, in which models run here");
  }
  std::size_t first = 0;
  if (layers_.front().class_name == "TextVectorization") ++first;  // whose outputs, tokens, are what the caller passes
  if (first < layers_.size() && layers_[first].class_name == "Embedding") read_embedding(file, layers_[first++]);
  if (layers_.front().class_name == "TextVectorization" && !takes_tokens()) {
    raise<std::domain_error>("layer " + in_quotes(layers_.front().name) + ": expected an Embedding after it");
  }
  input_size_ = takes_tokens() ? 0 : layers_.front().input_size;
  chain_ = std::make_unique<const Chain>(file, layers_, first, takes_tokens() ? embedding_size_ : input_size_);
}

void Network::read_embedding(const ModelFile& file, const ModelLayer& layer) {
  if (layer.time_distributed) {
    raise<std::domain_error>("layer " + in_quotes(layer.name) +
                             ": cannot run a TimeDistributed around an Embedding here");
  }
  vocabulary_size_ = layer.vocabulary_size;
  embedding_size_ = layer.output_size;
  mask_zero_ = layer.mask_zero;
  table_ = file.tensor<float>(layer.name + ".embeddings", {vocabulary_size_, embedding_size_});
}

void Network::forward(const View<const float, 3>& x, const View<const std::int64_t, 1>& lengths, float* y) const {
  const EngineFloats floats;
  const auto [rows, steps, width] = x.shape;
  Sequences data{rows, steps, width};
  data.lengths = checked_lengths(lengths, rows, steps);
  if (!lengths) chain_->check_steps(steps);
  data.values = data.room(steps, width);
  std::copy_n(x.data, rows * steps * width, data.values.data());
  run(data, y);
}

void Network::forward(const View<const std::int64_t, 2>& tokens, const View<const std::int64_t, 1>& lengths,
                      float* y) const {
  const EngineFloats floats;
  const auto [rows, steps] = tokens.shape;
  const std::vector<std::int64_t> copied(tokens.data, tokens.data + rows * steps);
  Sequences data{rows, steps, embedding_size_};
  data.lengths = token_lengths(copied, checked_lengths(lengths, rows, steps), rows, steps);
  if (!lengths && !mask_zero_) chain_->check_steps(steps);
  data.values = data.room(steps, embedding_size_);
  for (Index row = 0; row < rows; ++row) {
    float* x = data.values.data() + row * steps * embedding_size_;
    float* const end = x + steps * embedding_size_;
    for (Index step = 0; step < data.length(row); ++step) {
      x = std::copy_n(embed(copied[static_cast<std::size_t>(row * steps + step)]), embedding_size_, x);
    }
    std::fill(x, end, 0.0f);
  }
  run(data, y);
}

/// Checks the tokens within `given` lengths; returns where the rows end.
std::vector<Index> Network::token_lengths(const std::vector<std::int64_t>& tokens, const std::vector<Index>& given,
                                          Index rows, Index steps) const {
  std::vector<Index> ends;
  for (Index row = 0; row < rows; ++row) {
    const Index length = given.empty() ? steps : given[static_cast<std::size_t>(row)];
    Index end = length;
    for (Index step = 0; step < length; ++step) {
      const std::int64_t token = tokens[static_cast<std::size_t>(row * steps + step)];
      require(knows(token), "tokens: expected 0 to ", vocabulary_size_ - 1, ", got ", token, " at row ", row, ", step ",
              step);
      if (mask_zero_ && token == 0) end = std::min(end, step);
      require(step <= end || token == 0, "tokens: token 0 is padding and may appear only at the end of a row; row ",
              row, " has token ", token, " at step ", step, " after it");
    }
    ends.push_back(end);
  }
  if (given.empty() && !mask_zero_) ends.clear();
  return ends;
}

void Network::run(Sequences& data, float* y) const {
  chain_->forward(data);
  const Index width = output_size();
  for (Index row = 0; row < data.rows; ++row) {
    const float* const from = data.values.data() + row * data.steps * width;
    float* const to = y + row * data.steps * width;
    std::fill(std::copy_n(from, data.length(row) * width, to), to + data.steps * width, 0.0f);
  }
}

}  // namespace lstmcore::inference
