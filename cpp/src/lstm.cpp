// The public face: checks, then the layers in order, each a walk through time.
#include <cmath>
#include <utility>

#include "check.hpp"
#include "sequence/layers.hpp"

namespace lstmcore {
namespace {

std::size_t count(Index value) { return static_cast<std::size_t>(value); }

// ---- checks
// ----------------------------------------------------------------------------------------------------------

template <class T, int Rank>
void require_parameter_shape(const char* name, const LstmParameter& parameter, const View<T, Rank>& view) {
  std::array<Index, static_cast<std::size_t>(Rank)> expected{};
  std::copy(parameter.shape.begin(), parameter.shape.end(), expected.begin());
  require_shape(name, view, expected);
}

/// Refuses what the configuration does not have, which nobody would look at.
template <class Element>
void require_no_others(const LstmConfig& config, const std::vector<LstmCellWeights<Element>>& cells) {
  for (const LstmCellWeights<Element>& cell : cells) {
    require(config.bias || !cell.bias, "bias: expected none in a configuration without biases, got one");
    require(config.peephole || !cell.peephole, "peephole: expected none in a configuration without peepholes, got one");
    require(config.proj_size > 0 || !cell.weight_hr,
            "weight_hr: expected none in a configuration without a projection, got one");
  }
}

/// Options must not vanish, or become infinite, in the element type.
template <class T>
void check_representable(const LstmConfig& config) {
  const auto check = [](const char* name, double value) {
    const T rounded = static_cast<T>(value);
    require((value == 0.0) == (rounded == T(0)) && std::isfinite(rounded), name,
            ": expected a number that the element type of the weights can hold, got ", value);
  };
  check("gate_clip", config.gate_clip);
  check("cell_clip", config.cell_clip);
  check("proj_clip", config.proj_clip);
  const std::pair<const char*, const LstmActivation*> activations[] = {
      {"gate_activation", &config.gate_activation},
      {"cell_activation", &config.cell_activation},
      {"output_activation", &config.output_activation}};
  for (const auto& [name, activation] : activations) {
    check(name, activation->alpha);
    check(name, activation->beta);
  }
}

template <class T>
void check_weights(const LstmConfig& config, const LstmWeights<T>& weights) {
  const auto cells = count(config.num_layers * config.directions());
  require(weights.size() == cells, "weights: expected ", cells, " entries (layers x directions), got ", weights.size());
  require_no_others(config, weights);
  for (const LstmParameter& parameter : lstm_parameters(config)) {
    weights[count(parameter.cell)].visit(parameter.tensor, [&](const auto& view) {
      require_present(parameter.name.c_str(), view);
      require_parameter_shape(parameter.name.c_str(), parameter, view);
    });
  }
}

/// A matrix with unit stride on its last axis, or one that has nothing to step over.
template <class T, int Rank>
void require_unit_stride(const char* name, const View<T, Rank>& view) {
  if (view.shape[Rank - 1] > 1 && view.stride[Rank - 1] != 1) {
    fail(name, ": expected unit stride on the last axis, got stride ", view.stride[Rank - 1]);
  }
}

template <class T>
void check_sequence(const LstmConfig& config, const LstmSequence<T>& sequence) {
  const auto& x = sequence.x;
  require_present("x", x);
  if (x.shape[2] != config.input_size) fail("x: expected shape (N, T, ", config.input_size, "), got ", shape_text(x));
  const Index batch = x.shape[0], steps = x.shape[1];
  const Index width = 16 * (config.hidden_size + 64) * config.directions() + config.input_size;
  if (!size_fits(std::array<Index, 4>{batch, steps, width, Index{sizeof(T)}})) {
    fail("x: expected sizes whose products fit into 64 bits, got ", shape_text(x));
  }
  if (sequence.lengths) {
    require_shape("lengths", sequence.lengths, {batch});
    for (Index row = 0; row < batch; ++row) {
      const Index length = sequence.lengths(row);
      require(length >= 0 && length <= steps, "lengths: expected values from 0 to ", steps, ", got ", length,
              " at row ", row);
    }
  }
  if (sequence.reset) require_shape("reset", sequence.reset, {batch, steps});
  if (sequence.mask) {
    require_shape("mask", sequence.mask, {batch, steps});
    require(!sequence.lengths, "mask: expected none beside lengths, got both");
  }
}

template <class T>
void check_state(const char* h_name, const char* c_name, const LstmConfig& config, Index batch, const View<T, 3>& h,
                 const View<T, 3>& c) {
  const Index cells = config.num_layers * config.directions();
  if (h) require_shape(h_name, h, {cells, batch, config.state_size()});
  if (c) require_shape(c_name, c, {cells, batch, config.hidden_size});
}

// ---- moving rows between the caller's arrays and ours
// -------------------------------------------------------------------

/// From (N, width) of the caller to [N][padded] by sorted row, zeros behind; absent: zeros.
template <class T, class State>
void gather_state(const Schedule& schedule, const State& state, std::size_t cell, Index width, Index padded, T* to) {
  for (Index row = 0; row < schedule.rows; ++row, to += padded) {
    std::fill(to, to + padded, T(0));
    if (!state) continue;
    const Index from = schedule.order[count(row)];
    for (Index unit = 0; unit < width; ++unit) to[unit] = state(static_cast<Index>(cell), from, unit);
  }
}

template <class T>
void scatter_state(const Schedule& schedule, const T* from, Index padded, Index width, std::size_t cell,
                   const View<T, 3>& state) {
  if (!state) return;
  for (Index row = 0; row < schedule.rows; ++row, from += padded) {
    const Index to = schedule.order[count(row)];
    for (Index unit = 0; unit < width; ++unit) state(static_cast<Index>(cell), to, unit) = from[unit];
  }
}

/// x by packed index, [total][C].
template <class T>
void gather_input(const Schedule& schedule, const View<const T, 3>& x, T* to) {
  const Index width = x.shape[2];
  const int threads = threads_for(static_cast<double>(schedule.total * width) * 2);
  parallel(threads, [&](int index) {
    for (Index time = 0; time < schedule.longest; ++time) {
      const Range rows = split(schedule.alive[count(time)], threads, index);
      for (Index row = rows.begin; row < rows.end; ++row) {
        const T* const from = &x(schedule.order[count(row)], schedule.caller_time(time, row), 0);
        T* const target = to + schedule.packed(time, row) * width;
        if (x.stride[2] == 1) {
          std::copy(from, from + width, target);
        } else {
          for (Index feature = 0; feature < width; ++feature) target[feature] = from[feature * x.stride[2]];
        }
      }
    }
  });
}

/// The other way round: rows by packed index to where they belong in (N, T, width), whose last axis has unit stride;
/// zeros where no step is.
template <class T>
void scatter_steps(const Schedule& schedule, const T* from, const View<T, 3>& array) {
  const Index width = array.shape[2];
  const int threads = threads_for(static_cast<double>(array.size()) * 2);
  parallel(threads, [&](int index) {
    for (Index row = index; row < schedule.rows; row += threads) {
      const Index batch_row = schedule.order[count(row)];
      for (Index time = 0; time < schedule.steps; ++time) std::fill_n(&array(batch_row, time, 0), width, T(0));
      for (Index step = 0; step < schedule.length[count(row)]; ++step) {
        std::copy_n(from + schedule.packed(step, row) * width, width,
                    &array(batch_row, schedule.caller_time(step, row), 0));
      }
    }
  });
}

/// Zeroes what lies past each row's length in (N, T, width), whose last axis has unit stride.
template <class T>
void zero_padding(const Schedule& schedule, const View<T, 3>& array) {
  if (!array || schedule.total == schedule.rows * schedule.steps) return;
  const int threads = threads_for(static_cast<double>(array.size() - schedule.total * array.shape[2]) / 2);
  parallel(threads, [&](int index) {
    for (Index row = index; row < schedule.rows; row += threads) {
      for (Index time = schedule.length[count(row)]; time < schedule.steps; ++time) {
        T* const to = &array(schedule.order[count(row)], time, 0);
        std::fill(to, to + array.shape[2], T(0));
      }
    }
  });
}

// ---- forward
// ---------------------------------------------------------------------------------------------------------

/// One forward call. With a tape every layer's gates, c and h go there; without one, scratch is used again by each
/// layer.
template <class T>
class Forward {
 public:
  Forward(const typename Lstm<T>::Impl& lstm, const LstmSequence<T>& sequence, const View<T, 3>& y,
          const LstmState<T>& state, const Schedule& schedule, typename LstmTape<T>::Impl* tape)
      : lstm_(lstm),
        config_(lstm.config),
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
      cell.variant = tape_ != nullptr ? lstm_.variant(index, tape_->seed) : lstm_.variant(index);
      if (tape_ != nullptr && config_.recurrent_dropout > 0.0) drop_recurrent(place.shape, index, kept, cell);
      if (tape_ != nullptr && last(layer) && y_ && !passes_over()) {
        cell.y = caller_rows(schedule_, y_).shifted(direction * config_.state_size());
      }
    }
  }

  void finish(Index layer, const Layer& place) {
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      write_state(place.shape, lstm_.cell(layer, direction), place.cells[count(direction)]);
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

  /// The state after each row's last step; a row of length 0 keeps its own.
  void write_state(const CellShape& shape, std::size_t index, const ForwardCell<T>& cell) {
    for (Index row = 0; row < schedule_.rows; ++row) {
      const Index length = schedule_.length[count(row)];
      const Index time = cell.reversed ? 0 : length - 1;
      const T* const h = length > 0 ? cell.h.at(time, row) : cell.h0.at(0, row);
      const T* const c = length > 0 ? cell.c.at(time, row) : cell.c0.at(0, row);
      const Index to = schedule_.order[count(row)];
      const bool cut = schedule_.cut_at_end(row, cell.reversed);
      for (Index unit = 0; state_.h && unit < shape.state; ++unit) {
        state_.h(static_cast<Index>(index), to, unit) = cut ? T(0) : h[unit];
      }
      for (Index unit = 0; state_.c && unit < shape.hidden; ++unit) {
        state_.c(static_cast<Index>(index), to, unit) = cut ? T(0) : c[unit];
      }
    }
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

// ---- backward
// --------------------------------------------------------------------------------------------------------

template <class T>
class Backward {
 public:
  Backward(const typename Lstm<T>::Impl& lstm, typename LstmTape<T>::Impl& tape, const LstmOutputGradients<T>& outputs,
           const LstmInputGradients<T>& inputs)
      : lstm_(lstm), config_(lstm.config), tape_(tape), schedule_(tape.schedule), outputs_(outputs), inputs_(inputs) {}

  void run() {
    RowMap<const T> dy;
    if (outputs_.y) dy = output_gradients();
    for (Index layer = config_.num_layers - 1; layer >= 0; --layer) dy = run_layer(layer, dy);
    if (passes_over() && inputs_.x) {
      scatter_steps(schedule_, own_x_.data(), inputs_.x);
    } else {
      zero_padding(schedule_, inputs_.x);
    }
  }

 private:
  bool passes_over() const { return !schedule_.there.empty(); }

  RowMap<const T> output_gradients() {
    if (!passes_over()) return caller_rows(schedule_, outputs_.y);
    const Index width = config_.output_size();
    own_y_.resize(count(schedule_.total * width));
    gather_input(schedule_, outputs_.y, own_y_.data());
    return packed_rows<const T>(schedule_, own_y_.data(), width);
  }

  RowMap<const T> layer_input(Index layer) const {
    const auto& kept = tape_.layers[count(layer)];
    const Index width = config_.layer_input_size(layer);
    if (kept.input.size() > 0 || layer == 0) return packed_rows<const T>(schedule_, kept.input.data(), width);
    return packed_rows<const T>(schedule_, tape_.layers[count(layer) - 1].h.data(), width);
  }

  /// Returns the gradient by the layer's input, which is the next one's dy.
  RowMap<const T> run_layer(Index layer, const RowMap<const T>& dy) {
    const CellShape shape = lstm_.shape(layer);
    const auto state_size = count(schedule_.rows * shape.padded());
    const Index h_width = shape.state_padded();
    const Index width = config_.output_size();
    std::vector<BackwardCell<T>> cells(count(config_.directions()));
    std::vector<Buffer<T>> dh(cells.size()), dc(cells.size()), dh_kept(cells.size()), dm(cells.size());
    std::vector<BackwardPanels<T>> dropped;
    dropped.reserve(cells.size());
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      const std::size_t at = count(direction);
      auto& kept = tape_.cells[index];
      dh[at].resize(count(schedule_.rows * h_width));
      dc[at].resize(state_size);
      gather_state_gradients(index, shape, lstm_.reversed(direction), dh[at].data(), dc[at].data());
      BackwardCell<T>& cell = cells[at];
      if (config_.weight_dropout > 0.0) {
        dropped.emplace_back(shape, kept.dropped);
        cell.weights = &dropped.back();
      } else {
        cell.weights = &lstm_.backward()[index];
      }
      cell.reversed = lstm_.reversed(direction);
      cell.x = layer_input(layer);
      if (dy) cell.dy = dy.shifted(direction * shape.state);
      cell.h0 = single_rows<const T>(schedule_, kept.h0.data(), shape.state);
      cell.c0 = single_rows<const T>(schedule_, kept.c0.data(), shape.padded());
      cell.gates = packed_rows<const T>(schedule_, kept.gates.data(), shape.gates_width());
      cell.h =
          packed_rows<const T>(schedule_, tape_.layers[count(layer)].h.data(), width).shifted(direction * shape.state);
      cell.c = packed_rows<const T>(schedule_, kept.c.data(), shape.padded());
      cell.dh = single_rows(schedule_, dh[at].data(), h_width);
      if (shape.projected) {
        dm[at].resize(state_size);
        std::fill(dm[at].data(), dm[at].data() + state_size, T(0));
        cell.m = packed_rows<const T>(schedule_, kept.m.data(), shape.hidden);
        cell.dm = single_rows(schedule_, dm[at].data(), shape.padded());
        cell.proj_clip = static_cast<T>(config_.proj_clip);
      }
      cell.dc = single_rows(schedule_, dc[at].data(), shape.padded());
      if (!inputs_.weights.empty()) cell.gradients = inputs_.weights[index];
      cell.variant = lstm_.variant(index, tape_.seed);
      if (cell.variant.zoneout_h.at_work) {
        dh_kept[at].resize(state_size);
        cell.dh_kept = single_rows(schedule_, dh_kept[at].data(), shape.padded());
      }
      if (kept.h_fed.size() > 0) {
        cell.variant.h_factor = single_rows<const T>(schedule_, kept.h_factor.data(), shape.padded());
        cell.h0 = single_rows<const T>(schedule_, kept.h0_fed.data(), shape.hidden);
        cell.h = packed_rows<const T>(schedule_, kept.h_fed.data(), shape.hidden);
      }
    }
    const RowMap<T> dx = dx_rows(layer, shape);
    walk_backward(shape, schedule_, cells, dx);
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      scatter_state(schedule_, dh[count(direction)].data(), h_width, shape.state, index, inputs_.h);
      scatter_state(schedule_, dc[count(direction)].data(), shape.padded(), shape.hidden, index, inputs_.c);
      if (config_.weight_dropout > 0.0 && !inputs_.weights.empty()) drop_gradient(index, inputs_.weights[index]);
    }
    if (layer > 0 && config_.dropout > 0.0) {
      layer_dropout(schedule_, config_.dropout, tape_.seed, layer - 1, shape.input, dx.base, dx.base);
    }
    if (layer == 0 && dx && config_.input_dropout > 0.0) {
      sequence_dropout(schedule_, config_.input_dropout, mask_seed(tape_.seed, MaskKind::input_dropout, 0), shape.input,
                       dx);
    }
    return dx.readable();
  }

  /// The gradient by the recurrent weights, from that by what dropout left of them.
  void drop_gradient(std::size_t index, const LstmCellWeights<T>& gradients) const {
    const View<T, 2>& matrix = gradients.weight_hh;
    if (!matrix) return;
    const DropoutMask mask(config_.weight_dropout);
    const std::uint64_t seed = mask_seed(tape_.seed, MaskKind::weight_dropout, static_cast<Index>(index));
    const Index width = matrix.shape[1];
    std::vector<T> row(count(width));
    for (Index r = 0; r < matrix.shape[0]; ++r) {
      for (Index k = 0; k < width; ++k) row[count(k)] = matrix(r, k);
      active_kernels<T>().dropout(row.data(), row.data(), width, seed, static_cast<std::uint64_t>(r * width),
                                  mask.threshold, static_cast<T>(mask.factor));
      for (Index k = 0; k < width; ++k) matrix(r, k) = row[count(k)];
    }
  }

  void gather_state_gradients(std::size_t index, const CellShape& shape, bool reversed, T* dh, T* dc) const {
    gather_state(schedule_, outputs_.h, index, shape.state, shape.state_padded(), dh);
    gather_state(schedule_, outputs_.c, index, shape.hidden, shape.padded(), dc);
    for (Index row = 0; row < schedule_.rows; ++row) {
      if (!schedule_.cut_at_end(row, reversed)) continue;
      std::fill_n(dh + row * shape.state_padded(), shape.state_padded(), T(0));
      std::fill_n(dc + row * shape.padded(), shape.padded(), T(0));
    }
  }

  /// Where the gradient by the layer's input goes: the caller's dx, if wanted, or a place for the layer below.
  RowMap<T> dx_rows(Index layer, const CellShape& shape) {
    if (layer == 0 && !inputs_.x) return {};
    if (layer == 0 && !passes_over()) return caller_rows(schedule_, inputs_.x);
    if (layer == 0) {
      own_x_.resize(count(schedule_.total * shape.input));
      return packed_rows(schedule_, own_x_.data(), shape.input);
    }
    Buffer<T>& own = dx_[layer % 2];
    own.resize(count(schedule_.total * shape.input));
    return packed_rows(schedule_, own.data(), shape.input);
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  typename LstmTape<T>::Impl& tape_;
  const Schedule& schedule_;
  const LstmOutputGradients<T>& outputs_;
  const LstmInputGradients<T>& inputs_;
  Buffer<T> dx_[2];
  Buffer<T> own_x_, own_y_;  ///< dx and dy by packed index, where some steps are passed over
};

template <class T>
void check_gradients(const LstmConfig& config, const Schedule& schedule, const LstmOutputGradients<T>& outputs,
                     const LstmInputGradients<T>& inputs) {
  if (outputs.y) {
    require_shape("dy", outputs.y, {schedule.rows, schedule.steps, config.output_size()});
    require_unit_stride("dy", outputs.y);
  }
  check_state("dh", "dc", config, schedule.rows, outputs.h, outputs.c);
  if (inputs.x) {
    require_shape("dx", inputs.x, {schedule.rows, schedule.steps, config.input_size});
    require_unit_stride("dx", inputs.x);
  }
  check_state("dh0", "dc0", config, schedule.rows, inputs.h, inputs.c);
  if (inputs.weights.empty()) return;
  const auto cells = count(config.num_layers * config.directions());
  require(inputs.weights.size() == cells, "weight gradients: expected ", cells, " entries, got ",
          inputs.weights.size());
  require_no_others(config, inputs.weights);
  for (const LstmParameter& parameter : lstm_parameters(config)) {
    const std::string name = "gradient of " + parameter.name;
    inputs.weights[count(parameter.cell)].visit(parameter.tensor, [&](const auto& view) {
      if (view) require_parameter_shape(name.c_str(), parameter, view);
    });
  }
}

}  // namespace

// ---- Lstm
// ------------------------------------------------------------------------------------------------------------

template <class T>
Lstm<T>::Impl::Impl(const LstmConfig& configuration) : config(configuration), plain(configuration.plain_cell()) {
  options.gate = config.gate_activation.function;
  options.cell = config.cell_activation.function;
  options.output = config.output_activation.function;
  const LstmActivation* roles[] = {&config.gate_activation, &config.cell_activation, &config.output_activation};
  for (int role = 0; role < 3; ++role) {
    options.alpha[role] = static_cast<T>(roles[role]->alpha);
    options.beta[role] = static_cast<T>(roles[role]->beta);
  }
  options.coupled = config.coupled_gates;
  options.gate_clip = static_cast<T>(config.gate_clip);
  options.cell_clip = static_cast<T>(config.cell_clip);
  options.zoneout_h = static_cast<T>(config.zoneout_h);
  options.zoneout_c = static_cast<T>(config.zoneout_c);
}

template <class T>
CellVariant<T> Lstm<T>::Impl::variant(std::size_t cell) const {
  CellVariant<T> variant;
  if (plain) return variant;
  variant.options = &options;
  variant.peephole = config.peephole ? forward[cell].peephole.data() : nullptr;
  return variant;
}

template <class T>
CellVariant<T> Lstm<T>::Impl::variant(std::size_t cell, std::uint64_t seed) const {
  CellVariant<T> variant = this->variant(cell);
  const auto index = static_cast<Index>(cell);
  variant.zoneout_h = ZoneoutMask(config.zoneout_h, mask_seed(seed, MaskKind::zoneout_h, index));
  variant.zoneout_c = ZoneoutMask(config.zoneout_c, mask_seed(seed, MaskKind::zoneout_c, index));
  return variant;
}

template <class T>
const std::vector<BackwardPanels<T>>& Lstm<T>::Impl::backward() const {
  std::call_once(backward_packed_, [this] {
    std::vector<BackwardPanels<T>> packed;
    packed.reserve(forward.size());
    for (std::size_t index = 0; index < forward.size(); ++index) {
      packed.emplace_back(shape(static_cast<Index>(index) / config.directions()), forward[index]);
    }
    backward_ = std::move(packed);
  });
  return backward_;
}

template <class T>
Lstm<T>::Lstm(const LstmConfig& config, const LstmWeights<T>& weights) {
  config.validate();
  check_representable<T>(config);
  check_weights(config, weights);
  auto impl = std::make_shared<Impl>(config);
  impl->forward.reserve(weights.size());
  for (std::size_t index = 0; index < weights.size(); ++index) {
    impl->forward.emplace_back(impl->shape(static_cast<Index>(index) / config.directions()), weights[index]);
  }
  impl_ = std::move(impl);
}

template <class T>
const LstmConfig& Lstm<T>::config() const {
  return impl_->config;
}

template <class T>
void Lstm<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state) const {
  const LstmConfig& config = impl_->config;
  check_sequence(config, sequence);
  const Index batch = sequence.x.shape[0], steps = sequence.x.shape[1];
  if (y) {
    require_shape("y", y, {batch, steps, config.output_size()});
    require_unit_stride("y", y);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  const Schedule schedule(batch, steps, sequence.lengths, sequence.reset, sequence.mask);
  Forward<T>(*impl_, sequence, y, state, schedule, nullptr).run();
}

template <class T>
void Lstm<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state,
                      LstmTape<T>& tape) const {
  const LstmConfig& config = impl_->config;
  check_sequence(config, sequence);
  const Index batch = sequence.x.shape[0], steps = sequence.x.shape[1];
  if (y) {
    require_shape("y", y, {batch, steps, config.output_size()});
    require_unit_stride("y", y);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  if (tape.impl_ == nullptr) tape = LstmTape<T>();  // moved from
  auto& kept = *tape.impl_;
  kept.ready = kept.open = false;
  kept.schedule = Schedule(batch, steps, sequence.lengths, sequence.reset, sequence.mask);
  kept.seed = sequence.seed;
  kept.layers.resize(count(config.num_layers));
  kept.cells.resize(impl_->forward.size());
  for (auto& layer : kept.layers) layer.input.resize(0);
  for (auto& cell : kept.cells) cell.h_fed.resize(0);
  Forward<T>(*impl_, sequence, y, state, kept.schedule, &kept).run();
  kept.lstm = impl_;
  kept.ready = true;
}

template <class T>
void Lstm<T>::begin(std::int64_t batch, const LstmState<const T>& state, LstmTape<T>& tape,
                    std::int64_t expected_steps) const {
  const LstmConfig& config = impl_->config;
  require(!config.bidirectional && !config.go_backwards,
          "lstm: expected one that walks forwards only to be fed step by step, got a bidirectional or reversed one");
  const auto refuse = [](const char* name, double rate) {
    require(rate == 0.0, name, ": expected 0 in an LSTM that is fed step by step, got ", rate);
  };
  if (config.num_layers > 1) refuse("dropout", config.dropout);
  refuse("input_dropout", config.input_dropout);
  refuse("recurrent_dropout", config.recurrent_dropout);
  refuse("weight_dropout", config.weight_dropout);
  refuse("zoneout_h", config.zoneout_h);
  refuse("zoneout_c", config.zoneout_c);
  require(batch >= 1, "batch: expected at least 1, got ", batch);
  require(expected_steps >= 0, "expected_steps: expected at least 0, got ", expected_steps);
  const Index width = config.input_size + 16 * (config.hidden_size + 64);
  if (!size_fits(std::array<Index, 4>{batch, expected_steps, width, Index{sizeof(T)}})) {
    fail("expected_steps: expected sizes whose products fit into 64 bits, got ", expected_steps);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  if (tape.impl_ == nullptr) tape = LstmTape<T>();  // moved from
  auto& kept = *tape.impl_;
  kept.ready = kept.open = false;
  kept.schedule = Schedule(batch, 0, {}, {});
  kept.layers.resize(count(config.num_layers));
  kept.cells.resize(impl_->forward.size());
  const Index rows = batch * expected_steps;
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    auto& cell = kept.cells[count(layer)];
    kept.layers[count(layer)].input.reserve(layer == 0 ? count(rows * shape.input) : 0);
    kept.layers[count(layer)].h.reserve(count(rows * shape.state));
    if (shape.projected) cell.m.reserve(count(rows * shape.hidden));
    cell.h_fed.resize(0);
    cell.gates.reserve(count(rows * shape.gates_width()));
    cell.c.reserve(count(rows * shape.padded()));
    cell.h0.resize(count(batch * shape.state));
    cell.c0.resize(count(batch * shape.padded()));
    gather_state(kept.schedule, state.h, count(layer), shape.state, shape.state, cell.h0.data());
    gather_state(kept.schedule, state.c, count(layer), shape.hidden, shape.padded(), cell.c0.data());
  }
  kept.lstm = impl_;
  kept.ready = kept.open = true;
}

template <class T>
void Lstm<T>::step(View<const T, 2> x, View<T, 2> y, View<const bool, 1> reset, LstmTape<T>& tape) const {
  const LstmConfig& config = impl_->config;
  check_open(tape);
  auto& kept = *tape.impl_;
  Schedule& schedule = kept.schedule;
  require_present("x", x);
  require_shape("x", x, {schedule.rows, config.input_size});
  if (y) {
    require_shape("y", y, {schedule.rows, config.state_size()});
    require_unit_stride("y", y);
  }
  if (reset) require_shape("reset", reset, {schedule.rows});
  kept.ready = false;  // until the step is there
  const Index now = schedule.steps;
  schedule.append(reset);
  Buffer<T>& own_x = kept.layers[0].input;
  own_x.grow(count(schedule.total * config.input_size));
  T* to = own_x.data() + schedule.packed(now, 0) * config.input_size;
  for (Index row = 0; row < schedule.rows; ++row) {
    for (Index feature = 0; feature < config.input_size; ++feature) *to++ = x(row, feature);
  }
  RowMap<const T> input = packed_rows<const T>(schedule, own_x.data(), config.input_size);
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    auto& own = kept.cells[count(layer)];
    Buffer<T>& h = kept.layers[count(layer)].h;
    own.gates.grow(count(schedule.total * shape.gates_width()));
    own.c.grow(count(schedule.total * shape.padded()));
    h.grow(count(schedule.total * shape.state));
    ForwardCell<T> cell;
    cell.weights = &impl_->forward[count(layer)];
    cell.x = input;
    cell.h0 = single_rows<const T>(schedule, own.h0.data(), shape.state);
    cell.c0 = single_rows<const T>(schedule, own.c0.data(), shape.padded());
    cell.gates = packed_rows(schedule, own.gates.data(), shape.gates_width());
    cell.c = packed_rows(schedule, own.c.data(), shape.padded());
    cell.h = packed_rows(schedule, h.data(), shape.state);
    if (shape.projected) {
      own.m.grow(count(schedule.total * shape.hidden));
      cell.m = packed_rows(schedule, own.m.data(), shape.hidden);
      cell.proj_clip = static_cast<T>(config.proj_clip);
    }
    cell.variant = impl_->variant(count(layer));
    if (layer + 1 == config.num_layers && y) {
      cell.y = {y.data, schedule.iota.data(), schedule.order.data(), 0, y.stride[0]};
    }
    walk_forward<T>(shape, schedule, {cell}, {now, now + 1});
    input = cell.h.readable();
  }
  kept.ready = true;
}

template <class T>
void Lstm<T>::get_state(const LstmTape<T>& tape, const LstmState<T>& state) const {
  check_open(tape);
  const auto& kept = *tape.impl_;
  const Schedule& schedule = kept.schedule;
  check_state("h", "c", impl_->config, schedule.rows, state.h, state.c);
  for (Index layer = 0; layer < impl_->config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    const auto& own = kept.cells[count(layer)];
    const Index last = schedule.total - schedule.rows;
    const T* h = schedule.steps > 0 ? kept.layers[count(layer)].h.data() + last * shape.state : own.h0.data();
    const T* c = schedule.steps > 0 ? own.c.data() + last * shape.padded() : own.c0.data();
    scatter_state(schedule, h, shape.state, shape.state, count(layer), state.h);
    scatter_state(schedule, c, shape.padded(), shape.hidden, count(layer), state.c);
  }
}

template <class T>
void Lstm<T>::check_open(const LstmTape<T>& tape) const {
  require(tape.ready() && tape.impl_->open, "tape: expected one that was begun, to be fed step by step, got another");
  require(tape.impl_->lstm == impl_, "tape: expected one begun with these weights, got one with other weights");
}

template <class T>
void Lstm<T>::backward(LstmTape<T>& tape, const LstmOutputGradients<T>& outputs,
                       const LstmInputGradients<T>& inputs) const {
  if (!tape.ready()) {
    fail("tape: expected one that a training forward filled and no backward has used, got ",
         tape.impl_ != nullptr && tape.impl_->lstm != nullptr ? "a used one" : "an empty one");
  }
  auto& kept = *tape.impl_;
  require(kept.lstm == impl_, "tape: expected one of a forward with these weights, got one with other weights");
  check_gradients(impl_->config, kept.schedule, outputs, inputs);
  kept.ready = kept.open = false;
  Backward<T>(*impl_, kept, outputs, inputs).run();
}

// ---- LstmTape
// --------------------------------------------------------------------------------------------------------

template <class T>
LstmTape<T>::LstmTape() : impl_(std::make_unique<Impl>()) {}
template <class T>
LstmTape<T>::~LstmTape() = default;
template <class T>
LstmTape<T>::LstmTape(LstmTape&&) noexcept = default;
template <class T>
LstmTape<T>& LstmTape<T>::operator=(LstmTape&&) noexcept = default;

template <class T>
bool LstmTape<T>::ready() const {
  return impl_ != nullptr && impl_->ready;
}

template <class T>
std::size_t LstmTape<T>::bytes() const {
  if (impl_ == nullptr) return 0;
  std::size_t sum = 0;
  for (const auto& layer : impl_->layers) sum += layer.input.bytes() + layer.h.bytes();
  for (const auto& cell : impl_->cells) {
    sum += cell.gates.bytes() + cell.c.bytes() + cell.h0.bytes() + cell.c0.bytes() + cell.h_factor.bytes() +
           cell.h0_fed.bytes() + cell.h_fed.bytes() + cell.m.bytes() + cell.dropped.bytes();
  }
  return sum;
}

template class Lstm<float>;
template class Lstm<double>;
template class LstmTape<float>;
template class LstmTape<double>;

}  // namespace lstmcore
