// The forward of all layers: layer by layer or as a wavefront, of all steps at once or segment by segment.
#pragma once

#include "caller_rows.hpp"
#include "layers.hpp"

namespace lstmcore {

/// Whether the first step of a call takes the blocks of hidden units in falling order: the opposite of the last step of
/// the thread's call before. Among calls of few steps with the same weights, each then begins with weights that are
/// still in a cache. No result depends on it.
inline bool falling_at_first(Index steps) {
  thread_local bool next = false;
  const bool falling = next;
  next = falling != (steps % 2 != 0);
  return falling;
}

/// One forward call. With a tape every layer stores its gates, c and h in it; without one, the layers share scratch. A
/// tape in segments first stores the states between them, and later the rest, one segment at a time.
template <class T>
class StackForward {
 public:
  /// For a call; `tape`: null unless training.
  StackForward(const typename Lstm<T>::Impl& lstm, const LstmSequence<T>& sequence, const View<T, 3>& y,
               const LstmState<T>& state, const Schedule& schedule, typename LstmTape<T>::Impl* tape)
      : lstm_(lstm),
        config_(tape != nullptr ? tape->config : lstm.config),
        sequence_(sequence),
        y_(y),
        state_(state),
        schedule_(schedule),
        tape_(tape),
        segments_(tape != nullptr ? tape->segments : Segments(schedule.longest, 0)),
        work_(!segments_.again() ? Work::everything : Work::states) {}

  /// For recomputing the segments of a tape that a call has filled.
  StackForward(const typename Lstm<T>::Impl& lstm, typename LstmTape<T>::Impl& tape)
      : lstm_(lstm),
        config_(tape.config),
        schedule_(tape.schedule),
        tape_(&tape),
        segments_(tape.segments),
        work_(Work::segment_again) {}

  void run() {
    if (y_ && passes_over()) zero_gaps(schedule_, y_);
    RowMap<const T> input = first_input();
    const Index together = layers_together(config_, segments_);
    falling_ = falling_at_first(schedule_.longest);
    for (Index first = 0; first < config_.num_layers; first += together) {
      const Range layers{first, first + together};
      for (Index segment = 0; segment < segments_.count(); ++segment) {
        walk(layers, segment, input);
        if (by_segment()) scatter(layers, segments_.of(segment));
      }
      if (!by_segment()) scatter(layers, {0, schedule_.longest});
      if (!last(layers.end - 1)) input = next_input(layers.end - 1, output_, {0, schedule_.longest});
    }
    if (!passes_over()) zero_padding(schedule_, y_);
  }

  /// These layers through a segment; `input`: of the first of them.
  void walk(Range layers, Index segment, RowMap<const T> input) {
    const Range steps = segments_.of(segment);
    const int threads = layers.size() > 1 ? wavefront_threads(steps) : 1;
    std::vector<Layer> places(threads > 1 ? count(layers.size()) : 1);
    if (threads > 1) {
      std::vector<ForwardWavefrontLayer<T>> wave;
      for (Index layer = layers.begin; layer < layers.end; ++layer) {
        Layer& place = places[count(layer - layers.begin)];
        prepare(layer, segment, input, place);
        input = place.output.readable();
        wave.push_back({place.shape, &place.cells[0]});
      }
      walk_wavefront(schedule_, wave, steps, threads);
      for (Index layer = layers.begin; layer < layers.end; ++layer) {
        finish(layer, segment, places[count(layer - layers.begin)]);
      }
    } else {
      for (Index layer = layers.begin; layer < layers.end; ++layer) {
        prepare(layer, segment, input, places[0]);
        walk_forward(places[0].shape, schedule_, places[0].cells, steps);
        finish(layer, segment, places[0]);
        if (layer + 1 < layers.end) input = next_input(layer, output_, steps);
      }
    }
    output_h_ = std::move(places.back().h);
  }

 private:
  /// What a walk stores: all that the backward needs (without a tape, nothing), only the states between segments, or
  /// all of one segment.
  enum class Work { everything, states, segment_again };

  /// Whether a mask skips steps, so that our times differ from the caller's.
  bool passes_over() const { return static_cast<bool>(sequence_.mask); }

  /// A layer about to be walked.
  struct Layer {
    CellShape shape;
    std::vector<ForwardCell<T>> cells;
    RowMap<T> output;
    std::vector<StepState<T>> own;  ///< without a tape
    Buffer<T> h;
  };

  /// Copies the last layer's h to the caller's times, if a mask skips some.
  void scatter(Range layers, Range times) {
    if (!y_ || !passes_over() || !last(layers.end - 1)) return;
    scatter_steps(schedule_, output_.readable(), times, y_);
  }

  bool last(Index layer) const { return layer + 1 == config_.num_layers; }
  bool by_segment() const { return passes_segments(config_, segments_); }
  /// The first time for which layers hold what they pass to each other.
  Index first_kept(Range steps) const { return by_segment() ? steps.begin : 0; }
  Index rows_kept() const { return passed_steps(config_, segments_, room_.steps, schedule_.total); }

  /// Threads for walking all layers at once, each some steps behind the one below; 1: layer by layer.
  int wavefront_threads(Range steps) const {
    if (config_.num_layers == 1 || config_.directions() > 1) return 1;
    if (tape_ != nullptr && config_.dropout > 0.0) return 1;
    return lstmcore::wavefront_threads<T>(lstm_.shape(1), schedule_, steps, config_.num_layers);
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
                       {0, schedule_.longest}, rows);
    }
    return rows.readable();
  }

  /// Where the layer's h goes: to the tape, the caller's y, the next layer's input, or two places per row used in turn.
  RowMap<T> output_rows(Index layer, Range steps, Buffer<T>& own) {
    const Index width = config_.output_size();
    if (tape_ != nullptr) {
      Buffer<T>& h = tape_->layers[count(layer)].h;
      h.resize(count(rows_kept() * width));
      return packed_rows(schedule_, h.data(), width, first_kept(steps));
    }
    if (last(layer) && y_ && !passes_over()) return caller_rows(schedule_, y_);
    if (last(layer) && !y_) {
      own.resize(count(2 * schedule_.rows * width));
      return alternating_rows(schedule_, own.data(), width);
    }
    own.resize(count(schedule_.total * width));
    return packed_rows(schedule_, own.data(), width);
  }

  void prepare(Index layer, Index segment, const RowMap<const T>& input, Layer& place) {
    // The layer below wrote its h to `place`; it is this layer's input.
    input_ = std::move(place.h);
    place.shape = lstm_.shape(layer);
    place.output = output_rows(layer, segments_.of(segment), place.h);
    place.cells.clear();
    place.cells.resize(count(config_.directions()));
    if (tape_ == nullptr) place.own.resize(place.cells.size());
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      StepState<T>& state = tape_ != nullptr ? tape_->cells[index] : place.own[count(direction)];
      ForwardCell<T>& cell = place.cells[count(direction)];
      cell.weights = weights(place.shape, index, begins(segment));
      cell.reversed = lstm_.reversed(direction);
      cell.first = segments_.of(segment).begin;
      cell.falling = falling_;
      cell.x = input;
      cell.variant = tape_ != nullptr ? tape_->variant(lstm_, index) : lstm_.variant(index);
      cell.proj_clip = static_cast<T>(config_.proj_clip);
      bind(place.shape, index, segment, state, cell);
      cell.h = place.output.shifted(direction * config_.state_size());
      if (tape_ != nullptr && last(layer) && y_ && !passes_over()) {
        cell.y = caller_rows(schedule_, y_).shifted(direction * config_.state_size());
      }
    }
    output_ = place.output;
  }

  /// Whether a segment is the first of a call, and not of a recomputed tape.
  bool begins(Index segment) const { return segment == 0 && work_ != Work::segment_again; }

  const ForwardPanels<T>* weights(const CellShape& shape, std::size_t index, bool drop) {
    if (tape_ == nullptr || config_.weight_dropout == 0.0) return &lstm_.forward[index];
    if (drop) {
      const std::uint64_t seed = mask_seed(tape_->seed, MaskKind::weight_dropout, static_cast<Index>(index));
      tape_->dropped[index] = lstm_.forward[index].with_dropout(shape, config_.weight_dropout, seed);
    }
    return &tape_->dropped[index];
  }

  void finish(Index layer, Index segment, const Layer& place) {
    if (work_ == Work::segment_again) return;
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const ForwardCell<T>& cell = place.cells[count(direction)];
      const std::size_t index = lstm_.cell(layer, direction);
      if (work_ == Work::states) keep_h(place.shape, segment, tape_->cells[index], cell);
      if (segment + 1 == segments_.count()) write_state(place.shape, index, cell);
    }
  }

  /// Makes room for a cell's buffers, binds them and sets the state before a segment: the caller's before the first.
  void bind(const CellShape& shape, std::size_t index, Index segment, StepState<T>& state, ForwardCell<T>& cell) {
    const bool every_step = tape_ != nullptr && work_ != Work::states;
    const bool drops = tape_ != nullptr && config_.recurrent_dropout > 0.0;
    const auto buffers = step_buffers(shape, every_step ? StepUse::every_step : StepUse::next_step, drops);
    state.resize(buffers, room_);
    state.bind(buffers, schedule_, cell, segment, segments_.of(segment).begin);
    if (begins(segment)) {
      gather_state(schedule_, state_.h, index, shape.state, shape.state, state.h0.data());
      if (!shape.simple()) gather_state(schedule_, state_.c, index, shape.hidden, shape.padded(), state.c0.data());
      if (drops) {
        const std::uint64_t seed = mask_seed(tape_->seed, MaskKind::recurrent_dropout, static_cast<Index>(index));
        recurrent_mask(schedule_, config_.recurrent_dropout, seed, shape, state.h_factor.data());
      }
    }
    if (drops) mask_initial_state(schedule_, shape, cell.h0.base, state.h_factor.data(), state.h0_masked.data());
    if (!every_step && !shape.simple()) cell.c = c_in_place(cell.c0, shape.padded());
  }

  /// c is updated in place if no step's c is needed later; with segments, in the memory of the state before the next
  /// one.
  RowMap<T> c_in_place(const RowMap<T>& before, Index width) const {
    if (work_ != Work::states) return before;
    const Index size = schedule_.rows * width;
    std::copy_n(before.base, size, before.base + size);
    return before.shifted(size);
  }

  /// Stores h after a segment, as part of the state before the next one; c is already in place.
  void keep_h(const CellShape& shape, Index segment, StepState<T>& state, const ForwardCell<T>& cell) {
    T* const after = h_before(segment + 1, state, shape.state);
    for (Index row = 0; row < schedule_.rows; ++row) {
      const Index end = std::min(schedule_.length[count(row)], segments_.of(segment).end);
      const bool walked = end > cell.first;
      const T* const h = walked ? cell.h.at(schedule_.time(row, end - 1, cell.reversed), row) : cell.h0.at(0, row);
      std::copy(h, h + shape.state, after + row * shape.state);
    }
  }

  T* h_before(Index segment, StepState<T>& state, Index width) const {
    return state.h0.data() + segment * schedule_.rows * width;
  }

  /// The state after each row's last step; a row of length 0 keeps its own.
  void write_state(const CellShape& shape, std::size_t index, const ForwardCell<T>& cell) {
    if (work_ == Work::states) {
      const T* const h = h_before(segments_.count(), tape_->cells[index], shape.state);
      const auto last_h = [&](Index row) { return h + row * shape.state; };
      scatter_final<T>(schedule_, cell.reversed, last_h, shape.state, index, state_.h);
    } else {
      scatter_final<T>(schedule_, cell.reversed,
                       last_by_time(schedule_, cell.reversed, cell.h0.readable(), cell.h.readable()), shape.state,
                       index, state_.h);
    }
    scatter_final<T>(schedule_, cell.reversed, last_by_step(schedule_, cell.c0.readable(), cell.c.readable()),
                     shape.hidden, index, state_.c);
  }

  /// What the layer above `layer` reads at some times.
  RowMap<const T> next_input(Index layer, const RowMap<T>& output, Range times) {
    if (tape_ == nullptr || config_.dropout == 0.0) return output.readable();
    const Index width = config_.output_size();
    Buffer<T>& input = tape_->layers[count(layer) + 1].input;
    input.resize(count(rows_kept() * width));
    const RowMap<T> rows = packed_rows(schedule_, input.data(), width, first_kept(times));
    layer_dropout(schedule_, config_.dropout, tape_->seed, layer, width, times, output.readable(), rows);
    return rows.readable();
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  const LstmSequence<T> sequence_;
  const View<T, 3> y_;
  const LstmState<T> state_;
  const Schedule& schedule_;
  typename LstmTape<T>::Impl* const tape_ = nullptr;
  const Segments segments_;
  const StepRoom room_ = room_of(schedule_, segments_);
  const Work work_;
  bool falling_ = false;
  Buffer<T> x_;         ///< the first layer's input, if it had to be copied
  Buffer<T> input_;     ///< the input of any other layer
  RowMap<T> output_;    ///< of the last layer that was walked
  Buffer<T> output_h_;  ///< its memory, if neither tape nor caller owns it
};

}  // namespace lstmcore
