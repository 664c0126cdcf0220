#include "chain.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "../api/check.hpp"
#include "../runtime/errors.hpp"

namespace lstmcore::inference {

// ---- step by step ---------------------------------------------------------------------------------------------------

ChainStepper::ChainStepper(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Index>& widths,
                           Index rows)
    : copied_(static_cast<std::size_t>(rows * widths.front())) {
  for (std::size_t place = 0; place < layers.size(); ++place) {
    const Index size = place + 1 < layers.size() ? rows * widths[place + 1] : 0;
    parts_.push_back(
        {layers[place]->stepper(rows), layers[place]->state_size(), Buffer<float>(static_cast<std::size_t>(size))});
  }
}

void ChainStepper::step(const float* x, float* y) noexcept {
  if (parts_.empty()) std::copy_n(x, copied_, y);
  for (Part& part : parts_) {
    float* const output = &part == &parts_.back() ? y : part.output.data();
    part.stepper->step(x, output);
    x = output;
  }
}

void ChainStepper::reset(Index row) noexcept {
  for (Part& part : parts_) part.stepper->reset(row);
}

void ChainStepper::get_state(float* state, Index stride) const {
  for (const Part& part : parts_) {
    part.stepper->get_state(state, stride);
    state += part.state_size;
  }
}

void ChainStepper::set_state(const float* state, Index stride) {
  for (Part& part : parts_) {
    part.stepper->set_state(state, stride);
    state += part.state_size;
  }
}

// ---- the layers -----------------------------------------------------------------------------------------------------

namespace {

/// A wrapped layer sees each step as a row of its own, which here only changes nothing if it treats steps alone.
void check_wrapped(const ModelLayer& described, const Layer& layer) {
  if (!described.time_distributed || layer.each_step_alone()) return;
  raise<std::domain_error>("layer " + in_quotes(described.name) + ": cannot run a TimeDistributed around a " +
                           described.class_name + " here; expected one around Dense, Dropout or LayerNormalization");
}

}  // namespace

Chain::Chain(const ModelFile& file, const std::vector<ModelLayer>& layers, std::size_t first, Index width)
    : widths_{width} {
  bool steps = true;
  for (std::size_t place = first; place < layers.size(); ++place) {
    const ModelLayer& described = layers[place];
    std::unique_ptr<Layer> layer = make_layer(file, described);
    if (layer == nullptr) continue;
    check_wrapped(described, *layer);
    if (!steps && !layer->each_step_alone()) {
      raise<std::domain_error>("layer " + in_quotes(described.name) +
                               ": expected sequences, got one vector for each row");
    }
    steps = steps && !layer->makes_vectors();
    layers_.push_back(std::move(layer));
    widths_.push_back(described.output_size);
  }
}

void Chain::forward(Sequences& data) const {
  for (const auto& layer : layers_) layer->forward(data);
}

Index Chain::output_steps(Index steps) const {
  for (const auto& layer : layers_) steps = layer->makes_vectors() ? 1 : layer->output_steps(steps);
  return steps;
}

bool Chain::makes_vectors() const {
  return std::any_of(layers_.begin(), layers_.end(), [](const auto& layer) { return layer->makes_vectors(); });
}

bool Chain::each_step_alone() const {
  return std::all_of(layers_.begin(), layers_.end(), [](const auto& layer) { return layer->each_step_alone(); });
}

void Chain::check_steps(Index steps) const {
  for (const auto& layer : layers_) {
    require(steps >= layer->least_steps(), "steps: layer \"", layer->name(), "\" expected at least ",
            layer->least_steps(), " time steps, which one window takes, got ", steps);
    steps = layer->makes_vectors() ? 1 : layer->output_steps(steps);
  }
}

std::string Chain::no_stepper() const {
  for (const auto& layer : layers_) {
    if (!layer->streams()) return layer->no_stepper();
  }
  return {};
}

std::unique_ptr<ChainStepper> Chain::stepper(Index rows) const {
  return std::make_unique<ChainStepper>(layers_, widths_, rows);
}

Index Chain::state_size() const {
  Index size = 0;
  for (const auto& layer : layers_) size += layer->state_size();
  return size;
}

double Chain::flops() const {
  double sum = 0;
  for (const auto& layer : layers_) sum += layer->flops();
  return sum;
}

}  // namespace lstmcore::inference
