// The memory of a call, counted from the descriptions by which its buffers are allocated.
#include <algorithm>
#include <lstmcore/memory.hpp>

#include "../sequence/layers.hpp"
#include "../sequence/step_ranges.hpp"
#include "../sequence/weight_sums.hpp"
#include "check.hpp"

namespace lstmcore {
namespace {

void check_call(const LstmConfig& config, const LstmCall& call, Index itemsize) {
  require(call.batch >= 0, "batch: expected at least 0, got ", call.batch);
  require(call.steps >= 0, "steps: expected at least 0, got ", call.steps);
  require(call.valid_steps >= 0, "valid_steps: expected at least 0, got ", call.valid_steps);
  constexpr Index least = sizeof(float);  // where there are no vectors
  require(call.vector_bytes >= least, "vector_bytes: expected at least ", least, ", got ", call.vector_bytes);
  require(call.threads >= 1, "threads: expected at least 1, got ", call.threads);
  // More than any buffer has for a step, so that no sum of products overflows.
  const Index width = config.input_size + 64 * (config.hidden_size + call.vector_bytes);
  const std::array<Index, 5> sizes{std::max<Index>(call.batch, 1), std::max<Index>(call.steps, 1), width,
                                   2 * config.num_layers, 8 * itemsize};
  require(size_fits(sizes), "steps: expected sizes whose products fit into 64 bits, got ", call.steps);
}

/// Elements of the buffers of one configuration.
template <class T>
class Count {
 public:
  Count(const LstmConfig& config, const LstmCall& call)
      : config_(config),
        call_(call),
        segments_(call.steps, call.recompute),
        room_{call.batch, call.valid_steps, segments_.states(), call.steps},
        passed_(0) {
    if (segments_.again()) room_.steps = std::min(call.batch * segments_.of(0).size(), call.valid_steps);
    passed_ = passed_steps(config, segments_, room_.steps, call.valid_steps) * config.output_size();
  }

  Index weights() const {
    return of_layers([](const CellShape& shape) { return shape.weight_elements(); });
  }

  Index tape() const {
    Index sum = of_layers([&](const CellShape& shape) { return cell_of_tape(shape); });
    sum += call_.valid_steps * config_.input_size + config_.num_layers * passed_;
    if (config_.dropout > 0.0) sum += (config_.num_layers - 1) * passed_;
    if (config_.weight_dropout > 0.0) sum += weights();
    return sum;
  }

  Index inference() const {
    const StepRoom room{call_.batch, call_.valid_steps, 1, call_.steps};
    const Index between = call_.valid_steps * config_.output_size() * layers_between();
    const Index last_steps = room.count(Places::alternating) * config_.output_size();
    return between + last_steps + largest_layer([&](const CellShape& shape) {
             return config_.directions() * elements(step_buffers(shape, StepUse::next_step, false), room);
           });
  }

  Index backward() const {
    const Index of_all = of_layers([&](const CellShape& shape) {
      return (1 + groups(shape)) * shape.weight_elements() +
             elements(gradient_buffers(shape, config_.zoneout_h > 0.0), room_);
    });
    const Index of_one = largest_layer([&](const CellShape& shape) {
      const Index dropped = config_.weight_dropout > 0.0 ? config_.directions() * shape.weight_elements() : 0;
      return dropped +
             range_elements<T>(shape, config_.directions(), call_.batch, room_.steps, groups(shape), call_.threads);
    });
    return of_all + of_one + passed_ * layers_between();
  }

 private:
  /// The buffers of a cell, which in segments serve twice: the forward stores only the next step in them, and the
  /// backward later every step of a segment.
  Index cell_of_tape(const CellShape& shape) const {
    const bool drops = config_.recurrent_dropout > 0.0;
    Index sum = 0;
    StepFields<BufferShape>::visit(
        [&](const BufferShape& every_step, const BufferShape& next_step) {
          sum += std::max(room_.elements(every_step), segments_.again() ? room_.elements(next_step) : 0);
        },
        step_buffers(shape, StepUse::every_step, drops), step_buffers(shape, StepUse::next_step, drops));
    return sum;
  }

  CellShape shape(Index layer) const {
    const Index lanes = std::max<Index>(1, call_.vector_bytes / Index{sizeof(T)});
    return cell_shape(config_, layer, {lanes, kernels::panel_vectors * lanes}, Arithmetic{});
  }
  Index groups(const CellShape& shape) const { return row_groups(shape, call_.batch, 1); }
  /// Outputs of layers, or gradients of them, that exist at the same time.
  Index layers_between() const { return std::min<Index>(config_.num_layers - 1, 2); }

  /// The sum over all layers and directions.
  template <class Elements>
  Index of_layers(Elements&& elements_of) const {
    Index sum = 0;
    for (Index layer = 0; layer < config_.num_layers; ++layer) sum += elements_of(shape(layer));
    return config_.directions() * sum;
  }
  template <class Elements>
  Index largest_layer(Elements&& elements_of) const {
    Index most = 0;
    for (Index layer = 0; layer < config_.num_layers; ++layer) most = std::max(most, elements_of(shape(layer)));
    return most;
  }

  const LstmConfig& config_;
  const LstmCall& call_;
  const Segments segments_;
  StepRoom room_;
  Index passed_;  ///< elements that a layer passes on
};

}  // namespace

template <class T>
LstmMemory lstm_memory(const LstmConfig& config, const LstmCall& call) {
  constexpr Index itemsize = sizeof(T);
  check_call(config, call, itemsize);
  const Count<T> count(config, call);
  return {count.weights() * itemsize, count.inference() * itemsize, count.tape() * itemsize,
          count.backward() * itemsize};
}

template LstmMemory lstm_memory<float>(const LstmConfig&, const LstmCall&);
template LstmMemory lstm_memory<double>(const LstmConfig&, const LstmCall&);

}  // namespace lstmcore
