// The backward of all layers, from the top, of all steps at once or segment by segment from the end.
#pragma once

#include "stack_forward.hpp"
#include "weight_sums.hpp"

namespace lstmcore {

template <class T>
class StackBackward {
 public:
  StackBackward(const typename Lstm<T>::Impl& lstm, typename LstmTape<T>::Impl& tape,
                const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs)
      : lstm_(lstm),
        config_(tape.config),
        tape_(tape),
        schedule_(tape.schedule),
        segments_(tape.segments),
        outputs_(outputs),
        inputs_(inputs) {
    layers_.reserve(count(config_.num_layers));
  }

  void run() {
    for (Index layer = 0; layer < config_.num_layers; ++layer) layers_.push_back(begin_layer(layer));
    RowMap<const T> dy;
    if (outputs_.y) dy = output_gradients();
    const Index together = layers_together(config_, segments_);
    StackForward<T> forward(lstm_, tape_);
    for (Index first = config_.num_layers - together; first >= 0; first -= together) {
      const Range layers{first, first + together};
      for (Index segment = segments_.count() - 1; segment >= 0; --segment) {
        const Range steps = segments_.of(segment);
        if (segments_.again()) forward.walk(layers, segment, layer_input(first, steps));
        RowMap<const T> by_output = dy;
        for (Index layer = layers.end - 1; layer >= first; --layer) {
          const RowMap<T> dx = run_layer(layer, segment, by_output);
          if (layer > first) drop_input_gradient(layer, steps, dx);
          by_output = dx.readable();
        }
      }
      // What goes to the group below is complete now.
      if (first > 0) drop_input_gradient(first, {0, schedule_.longest}, dx_);
      dy = dx_.readable();
    }
    finish_x();
    for (Index layer = 0; layer < config_.num_layers; ++layer) finish_layer(layer);
  }

 private:
  /// What a layer's backward carries from segment to segment.
  struct Layer {
    CellShape shape;
    std::vector<GradientState<T>> gradients;  ///< by direction
    WeightSums<T> sums;
  };

  bool passes_over() const { return !schedule_.valid_times.empty(); }
  bool by_segment() const { return passes_segments(config_, segments_); }
  Index first_kept(Range steps) const { return by_segment() ? steps.begin : 0; }

  RowMap<const T> output_gradients() {
    if (!passes_over()) return caller_rows(schedule_, outputs_.y);
    const Index width = config_.output_size();
    own_y_.resize(count(schedule_.total * width));
    gather_input(schedule_, outputs_.y, own_y_.data());
    return packed_rows<const T>(schedule_, own_y_.data(), width);
  }

  RowMap<const T> layer_input(Index layer, Range steps) const {
    return packed_rows<const T>(schedule_, tape_.input_of(layer).data(), config_.layer_input_size(layer),
                                layer == 0 ? 0 : first_kept(steps));
  }

  Layer begin_layer(Index layer) const {
    const CellShape shape = lstm_.shape(layer);
    const auto buffers = gradient_buffers(shape, config_.zoneout_h > 0.0);
    std::vector<GradientState<T>> state(count(config_.directions()));
    std::vector<LstmCellWeights<T>> gradients;
    bool in_lowp = true;
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      const bool reversed = lstm_.reversed(direction);
      GradientState<T>& own = state[count(direction)];
      own.resize(buffers, room_of(schedule_, segments_));
      gather_final_gradient(schedule_, reversed, outputs_.h, index, shape.state, shape.state_padded(), own.dh.data());
      if (!shape.simple()) {
        gather_final_gradient(schedule_, reversed, outputs_.c, index, shape.hidden, shape.padded(), own.dc.data());
      }
      std::fill_n(own.dm.data(), own.dm.size(), T(0));  // no product writes the padding
      gradients.push_back(inputs_.weights.empty() ? LstmCellWeights<T>() : inputs_.weights[index]);
      in_lowp = in_lowp && lstm_.forward[index].x_lowp;
    }
    return {shape, std::move(state),
            WeightSums<T>(shape, schedule_, gradients, static_cast<T>(config_.cell_clip), in_lowp)};
  }

  /// Returns where the gradient with respect to the layer's input is.
  RowMap<T> run_layer(Index layer, Index segment, const RowMap<const T>& dy) {
    Layer& carried = layers_[count(layer)];
    const CellShape& shape = carried.shape;
    const Range steps = segments_.of(segment);
    const Index width = config_.output_size();
    std::vector<BackwardCell<T>> cells(count(config_.directions()));
    const auto values = step_buffers(shape, StepUse::every_step, config_.recurrent_dropout > 0.0);
    const auto gradients = gradient_buffers(shape, config_.zoneout_h > 0.0);
    std::vector<BackwardPanels<T>> dropped;
    dropped.reserve(cells.size());
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      BackwardCell<T>& cell = cells[count(direction)];
      if (config_.weight_dropout > 0.0) {
        dropped.emplace_back(shape, tape_.dropped[index]);
        cell.weights = &dropped.back();
      } else {
        cell.weights = &lstm_.backward()[index];
      }
      cell.reversed = lstm_.reversed(direction);
      cell.first = steps.begin;
      cell.x = layer_input(layer, steps);
      if (dy) cell.dy = dy.shifted(direction * shape.state);
      tape_.cells[index].bind(values, schedule_, cell, segment, steps.begin);
      carried.gradients[count(direction)].bind(gradients, schedule_, cell);
      cell.h = packed_rows(schedule_, tape_.layers[count(layer)].h.data(), width, first_kept(steps))
                   .shifted(direction * shape.state);
      cell.proj_clip = static_cast<T>(config_.proj_clip);
      cell.variant = tape_.variant(lstm_, index);
    }
    const RowMap<T> dx = dx_rows(layer, steps);
    walk_backward(shape, schedule_, cells, dx, carried.sums, steps);
    return dx;
  }

  void finish_layer(Index layer) {
    const Layer& carried = layers_[count(layer)];
    const CellShape& shape = carried.shape;
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction), at = count(direction);
      scatter_state(schedule_, carried.gradients[at].dh.data(), shape.state_padded(), shape.state, index, inputs_.h);
      scatter_state(schedule_, carried.gradients[at].dc.data(), shape.padded(), shape.hidden, index, inputs_.c);
      if (config_.weight_dropout > 0.0 && !inputs_.weights.empty() && inputs_.weights[index].weight_hh) {
        const std::uint64_t seed = mask_seed(tape_.seed, MaskKind::weight_dropout, static_cast<Index>(index));
        weight_dropout(config_.weight_dropout, seed, inputs_.weights[index].weight_hh);
      }
    }
  }

  /// Turns the gradient with respect to a layer's input, in place, into that with respect to the output of the layer
  /// below.
  void drop_input_gradient(Index layer, Range times, const RowMap<T>& dx) const {
    if (config_.dropout == 0.0) return;
    layer_dropout(schedule_, config_.dropout, tape_.seed, layer - 1, config_.layer_input_size(layer), times,
                  dx.readable(), dx);
  }

  void finish_x() {
    if (!inputs_.x) return;
    if (config_.input_dropout > 0.0) {
      sequence_dropout(schedule_, config_.input_dropout, mask_seed(tape_.seed, MaskKind::input_dropout, 0),
                       config_.input_size, {0, schedule_.longest}, dx_);
    }
    if (passes_over()) {
      zero_gaps(schedule_, inputs_.x);
      scatter_steps(schedule_, dx_.readable(), {0, schedule_.longest}, inputs_.x);
    } else {
      zero_padding(schedule_, inputs_.x);
    }
  }

  /// Where the gradient with respect to the layer's input goes: to the caller's dx, if wanted, or to memory that the
  /// layer below reads. It covers the segment, or all steps where the layer below is walked only after all segments.
  RowMap<T> dx_rows(Index layer, Range steps) {
    const Index width = config_.layer_input_size(layer);
    if (layer == 0 && !inputs_.x) return {};
    if (layer == 0 && !passes_over()) return dx_ = caller_rows(schedule_, inputs_.x);
    if (layer == 0) {
      own_x_.resize(count(schedule_.total * width));
      return dx_ = packed_rows(schedule_, own_x_.data(), width);
    }
    Buffer<T>& own = between_[layer % 2];
    own.resize(count(passed_steps(config_, segments_, segments_.most_rows(schedule_), schedule_.total) * width));
    return dx_ = packed_rows(schedule_, own.data(), width, first_kept(steps));
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  typename LstmTape<T>::Impl& tape_;
  const Schedule& schedule_;
  const Segments& segments_;
  const LstmOutputGradients<T>& outputs_;
  const LstmInputGradients<T>& inputs_;
  std::vector<Layer> layers_;
  RowMap<T> dx_;             ///< of the layer that was walked last
  Buffer<T> between_[2];     ///< gradients between layers
  Buffer<T> own_x_, own_y_;  ///< dx and dy by packed index, where some steps are passed over
};

}  // namespace lstmcore
