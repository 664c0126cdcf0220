// The forward of all layers, one after the other or as a wavefront.
#pragma once

#include "caller_rows.hpp"
#include "layers.hpp"

namespace lstmcore {

/// One forward call. With a tape every layer's gates, c and h go there; without one, scratch is used again by each
/// layer.
template <class T>
class StackForward {
 public:
  StackForward(const typename Lstm<T>::Impl& lstm, const LstmSequence<T>& sequence, const View<T, 3>& y,
               const LstmState<T>& state, const Schedule& schedule, typename LstmTape<T>::Impl* tape)
      : lstm_(lstm),
        config_(tape != nullptr ? tape->config : lstm.config),
        sequence_(sequence),
        y_(y),
        state_(state),
        schedule_(schedule),
        tape_(tape) {}

  void run() {
    RowMap<const T> input = first_input();
    std::vector<Layer> layers(1);
    const int threads = wavefront_threads();
    if (threads > 1) {
      layers.resize(count(config_.num_layers));
      for (Index layer = 0; layer < config_.num_layers; ++layer) {
        prepare(layer, input, layers[count(layer)]);
        input = layers[count(layer)].output.readable();
      }
      std::vector<ForwardWavefrontLayer<T>> wave;
      for (const Layer& layer : layers) wave.push_back({layer.shape, &layer.cells[0]});
      walk_wavefront(schedule_, wave, threads);
      for (Index layer = 0; layer < config_.num_layers; ++layer) finish(layer, layers[count(layer)]);
    } else {
      for (Index layer = 0; layer < config_.num_layers; ++layer) {
        prepare(layer, input, layers[0]);
        walk_forward(layers[0].shape, schedule_, layers[0].cells, {0, schedule_.longest});
        finish(layer, layers[0]);
        if (!last(layer)) input = next_input(layer, layers[0].output);
      }
    }
    if (passes_over() && y_) {
      scatter_steps(schedule_, layers.back().output.base, y_);
    } else {
      zero_padding(schedule_, y_);
    }
  }

 private:
  /// Whether a mask has to be respected between the caller's times and ours.
  bool passes_over() const { return static_cast<bool>(sequence_.mask); }

  /// A layer about to be walked.
  struct Layer {
    CellShape shape;
    std::vector<ForwardCell<T>> cells;
    RowMap<T> output;
    std::vector<typename LstmTape<T>::Impl::Cell> own;  ///< what the tape does not keep
    Buffer<T> h;
  };

  bool last(Index layer) const { return layer + 1 == config_.num_layers; }

  /// Threads for walking all layers at once, each a little behind the one below; 1: layer after layer.
  int wavefront_threads() const {
    if (config_.num_layers == 1 || config_.directions() > 1) return 1;
    if (tape_ != nullptr && config_.dropout > 0.0) return 1;
    return lstmcore::wavefront_threads<T>(lstm_.shape(1), schedule_, config_.num_layers);
  }

  RowMap<const T> first_input() {
    const auto& x = sequence_.x;
    const bool in_place = tape_ == nullptr && !passes_over() && (x.stride[2] == 1 || x.shape[2] == 1);
    if (in_place) return caller_rows(schedule_, x);
    Buffer<T>& copy = tape_ != nullptr ? tape_->layers[0].input : x_;
    copy.resize(count(schedule_.total * x.shape[2]));
    gather_input(schedule_, x, copy.data());
    const RowMap<T> rows = packed_rows(schedule_, copy.data(), x.shape[2]);
    if (tape_ != nullptr && config_.input_dropout > 0.0) {
      sequence_dropout(schedule_, config_.input_dropout, mask_seed(tape_->seed, MaskKind::input_dropout, 0), x.shape[2],
                       rows);
    }
    return rows.readable();
  }

  /// Where the layer's h goes: the tape, the caller's y, the next layer's input, or a place for the last two steps.
  RowMap<T> output_rows(Index layer, Buffer<T>& own) {
    const Index width = config_.output_size();
    if (tape_ != nullptr) {
      Buffer<T>& h = tape_->layers[count(layer)].h;
      h.resize(count(schedule_.total * width));
      return packed_rows(schedule_, h.data(), width);
    }
    if (last(layer) && y_ && !passes_over()) return caller_rows(schedule_, y_);
    if (last(layer) && !y_) {
      own.resize(count(2 * schedule_.rows * width));
      return alternating_rows(schedule_, own.data(), width);
    }
    own.resize(count(schedule_.total * width));
    return packed_rows(schedule_, own.data(), width);
  }

  void prepare(Index layer, const RowMap<const T>& input, Layer& place) {
    // What the layer below has left here is this one's input.
    input_ = std::move(place.h);
    place.shape = lstm_.shape(layer);
    place.output = output_rows(layer, place.h);
    place.cells.assign(count(config_.directions()), {});
    if (tape_ == nullptr) place.own.resize(place.cells.size());
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      auto& kept = tape_ != nullptr ? tape_->cells[index] : place.own[count(direction)];
      ForwardCell<T>& cell = place.cells[count(direction)];
      cell.weights = &lstm_.forward[index];
      if (tape_ != nullptr && config_.weight_dropout > 0.0) {
        const std::uint64_t seed = mask_seed(tape_->seed, MaskKind::weight_dropout, static_cast<Index>(index));
        kept.dropped = lstm_.forward[index].with_dropout(place.shape, config_.weight_dropout, seed);
        cell.weights = &kept.dropped;
      }
      cell.reversed = lstm_.reversed(direction);
      cell.x = input;
      set_state(place.shape, index, kept, cell);
      cell.h = place.output.shifted(direction * config_.state_size());
      cell.variant = tape_ != nullptr ? tape_->variant(lstm_, index) : lstm_.variant(index);
      if (tape_ != nullptr && config_.recurrent_dropout > 0.0) drop_recurrent(place.shape, index, kept, cell);
      if (tape_ != nullptr && last(layer) && y_ && !passes_over()) {
        cell.y = caller_rows(schedule_, y_).shifted(direction * config_.state_size());
      }
    }
  }

  void finish(Index layer, const Layer& place) {
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const ForwardCell<T>& cell = place.cells[count(direction)];
      const std::size_t index = lstm_.cell(layer, direction);
      scatter_final(schedule_, cell.reversed, cell.h0, cell.h.readable(), place.shape.state, index, state_.h);
      scatter_final(schedule_, cell.reversed, cell.c0, cell.c.readable(), place.shape.hidden, index, state_.c);
    }
  }

  void set_state(const CellShape& shape, std::size_t index, typename LstmTape<T>::Impl::Cell& kept,
                 ForwardCell<T>& cell) {
    kept.h0.resize(count(schedule_.rows * shape.state));
    kept.c0.resize(count(schedule_.rows * shape.padded()));
    gather_state(schedule_, state_.h, index, shape.state, shape.state, kept.h0.data());
    gather_state(schedule_, state_.c, index, shape.hidden, shape.padded(), kept.c0.data());
    cell.h0 = single_rows<const T>(schedule_, kept.h0.data(), shape.state);
    cell.c0 = single_rows<const T>(schedule_, kept.c0.data(), shape.padded());
    if (shape.projected) {
      kept.m.resize(count((tape_ != nullptr ? schedule_.total : schedule_.rows) * shape.hidden));
      cell.m = tape_ != nullptr ? packed_rows(schedule_, kept.m.data(), shape.hidden)
                                : single_rows(schedule_, kept.m.data(), shape.hidden);
      cell.proj_clip = static_cast<T>(config_.proj_clip);
    }
    if (tape_ == nullptr) {
      cell.c = single_rows(schedule_, kept.c0.data(), shape.padded());
      return;
    }
    kept.c.resize(count(schedule_.total * shape.padded()));
    kept.gates.resize(count(schedule_.total * shape.gates_width()));
    cell.c = packed_rows(schedule_, kept.c.data(), shape.padded());
    cell.gates = packed_rows(schedule_, kept.gates.data(), shape.gates_width());
  }

  /// The mask of h for all steps of a row, and what the product sees of h.
  void drop_recurrent(const CellShape& shape, std::size_t index, typename LstmTape<T>::Impl::Cell& kept,
                      ForwardCell<T>& cell) {
    const DropoutMask mask(config_.recurrent_dropout);
    const std::uint64_t seed = mask_seed(tape_->seed, MaskKind::recurrent_dropout, static_cast<Index>(index));
    const std::vector<T> ones(count(shape.hidden), T(1));
    kept.h_factor.resize(count(schedule_.rows * shape.padded()));
    kept.h0_fed.resize(kept.h0.size());
    kept.h_fed.resize(count(schedule_.total * shape.hidden));
    std::fill(kept.h_factor.data(), kept.h_factor.data() + kept.h_factor.size(), T(0));
    std::copy(kept.h0.data(), kept.h0.data() + kept.h0.size(), kept.h0_fed.data());
    for (Index row = 0; row < schedule_.rows; ++row) {
      T* const factor = kept.h_factor.data() + row * shape.padded();
      const auto first = static_cast<std::uint64_t>(schedule_.order[count(row)] * shape.hidden);
      active_kernels<T>().dropout(ones.data(), factor, shape.hidden, seed, first, mask.threshold,
                                  static_cast<T>(mask.factor));
      active_kernels<T>().multiply(factor, kept.h0_fed.data() + row * shape.hidden, shape.hidden);
    }
    cell.variant.h_factor = single_rows<const T>(schedule_, kept.h_factor.data(), shape.padded());
    cell.h0_fed = single_rows<const T>(schedule_, kept.h0_fed.data(), shape.hidden);
    cell.h_fed = packed_rows(schedule_, kept.h_fed.data(), shape.hidden);
  }

  RowMap<const T> next_input(Index layer, const RowMap<T>& output) {
    if (tape_ == nullptr || config_.dropout == 0.0) return output.readable();
    const Index width = config_.output_size();
    Buffer<T>& input = tape_->layers[count(layer) + 1].input;
    input.resize(count(schedule_.total * width));
    layer_dropout(schedule_, config_.dropout, tape_->seed, layer, width, output.base, input.data());
    return packed_rows<const T>(schedule_, input.data(), width);
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  const LstmSequence<T>& sequence_;
  const View<T, 3>& y_;
  const LstmState<T>& state_;
  const Schedule& schedule_;
  typename LstmTape<T>::Impl* const tape_;
  Buffer<T> x_;      ///< the first layer's input, if it had to be copied
  Buffer<T> input_;  ///< any other's
};

}  // namespace lstmcore
