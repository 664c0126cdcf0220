// The public interface of the tangents: checks, then all layers. The values are computed by Lstm itself.
#include <lstmcore/tangent.hpp>

#include "../api/lstm_checks.hpp"
#include "../sequence/layers.hpp"
#include "walk.hpp"

namespace lstmcore {

template <class T>
struct LstmTangent<T>::Impl {
  Lstm<T> lstm;
  std::vector<ForwardPanels<T>> weights;  ///< tangents, entry layer * D + direction
};

template <class T>
struct LstmTangentTape<T>::Impl {
  LstmTape<T> value;
  typename LstmTape<T>::Impl tangent;  ///< tangents of what `value` stores; only its layers and cells are used
  bool ready = false;
  std::shared_ptr<const typename LstmTangent<T>::Impl> lstm;
};

namespace {

/// All layers: what the two tapes hold, side by side.
template <class T>
class TangentStack {
 public:
  using Tape = typename LstmTape<T>::Impl;

  TangentStack(const typename Lstm<T>::Impl& lstm, const std::vector<ForwardPanels<T>>& weights, Tape& value,
               Tape& tangent)
      : lstm_(lstm),
        config_(value.config),
        schedule_(value.schedule),
        weights_(weights),
        value_(value),
        tangent_(tangent) {}

  void forward(const View<const T, 3>& x, const View<T, 3>& y, const LstmState<T>& state) {
    tangent_.layers.resize(value_.layers.size());
    tangent_.cells.resize(value_.cells.size());
    for (auto& layer : tangent_.layers) layer.input.resize(0);
    gather_steps(x, config_.input_size, tangent_.layers[0].input);
    if (config_.input_dropout > 0.0) drop_input(tangent_.layers[0].input);
    for (Index layer = 0; layer < config_.num_layers; ++layer) {
      const CellShape shape = lstm_.shape_of_tangents(layer);
      tangent_.layers[count(layer)].h.resize(count(schedule_.total * config_.output_size()));
      for (Index direction = 0; direction < config_.directions(); ++direction) {
        const std::size_t index = lstm_.cell(layer, direction);
        allocate(shape, state, index);
        const Dropped panels(*this, shape, index);
        DualCell<T> cell = cell_of(layer, direction);
        const TangentForwardPanels<T> stacked(shape, *panels.value, *panels.tangent);
        tangent_forward(shape, schedule_, cell, stacked, weights_[index].bias.data());
        const auto last_h =
            last_by_time(schedule_, cell.reversed, cell.h0.tangent.readable(), cell.h.tangent.readable());
        const auto last_c = last_by_step(schedule_, cell.c0.tangent.readable(), cell.c.tangent.readable());
        scatter_final<T>(schedule_, cell.reversed, last_h, shape.state, index, state.h);
        scatter_final<T>(schedule_, cell.reversed, last_c, shape.hidden, index, state.c);
      }
      if (layer + 1 < config_.num_layers && config_.dropout > 0.0) {
        Buffer<T>& input = tangent_.layers[count(layer) + 1].input;
        input.resize(count(schedule_.total * config_.output_size()));
        drop_between(layer, config_.output_size(), tangent_.layers[count(layer)].h, input);
      }
    }
    if (y) scatter(tangent_.layers.back().h, y);
  }

  void backward(const LstmOutputGradients<T>& outputs, const LstmOutputGradients<T>& outputs_tangent,
                const LstmInputGradients<T>& inputs) {
    Buffer<T> dy, dy_tangent, dx, dx_tangent;
    gather_steps(outputs.y, config_.output_size(), dy);
    gather_steps(outputs_tangent.y, config_.output_size(), dy_tangent);
    for (Index layer = config_.num_layers - 1; layer >= 0; --layer) {
      const CellShape shape = lstm_.shape_of_tangents(layer);
      DualGradients<T> gradients;
      if (layer > 0) dx.resize(count(schedule_.total * shape.input));
      if (layer > 0 || inputs.x) dx_tangent.resize(count(schedule_.total * shape.input));
      if (layer > 0) gradients.dx.value = packed_rows(schedule_, dx.data(), shape.input);
      if (layer > 0 || inputs.x) gradients.dx.tangent = packed_rows(schedule_, dx_tangent.data(), shape.input);
      for (Index direction = 0; direction < config_.directions(); ++direction) {
        gradients.dy = packed(dy, dy_tangent, config_.output_size()).shifted(direction * shape.state);
        gradients.add_dx = direction > 0;
        backward(layer, direction, outputs, outputs_tangent, inputs, gradients);
      }
      if (layer == 0) break;
      if (config_.dropout > 0.0) {
        for (Buffer<T>* gradient : {&dx, &dx_tangent}) drop_between(layer - 1, shape.input, *gradient, *gradient);
      }
      std::swap(dx, dy);
      std::swap(dx_tangent, dy_tangent);
    }
    if (!inputs.x) return;
    if (config_.input_dropout > 0.0) drop_input(dx_tangent);
    scatter(dx_tangent, inputs.x);
  }

 private:
  /// Weights as the forward saw them, and the tangents of these.
  struct Dropped {
    const ForwardPanels<T>*value, *tangent;

    Dropped(const TangentStack& stack, const CellShape& shape, std::size_t index)
        : value(&stack.lstm_.forward[index]), tangent(&stack.weights_[index]) {
      const double rate = stack.config_.weight_dropout;
      if (rate == 0.0) return;
      own_ = tangent->with_dropout(shape, rate, stack.seed(MaskKind::weight_dropout, index));
      value = &stack.value_.dropped[index];
      tangent = &own_;
    }

   private:
    ForwardPanels<T> own_;
  };

  std::uint64_t seed(MaskKind kind, std::size_t index) const {
    return mask_seed(value_.seed, kind, static_cast<Index>(index));
  }

  /// [total][width]; zeros if absent.
  void gather_steps(const View<const T, 3>& array, Index width, Buffer<T>& to) const {
    to.resize(count(schedule_.total * width));
    if (array) {
      gather_input(schedule_, array, to.data());
    } else {
      std::fill_n(to.data(), schedule_.total * width, T(0));
    }
  }

  Range all_steps() const { return {0, schedule_.longest}; }

  /// To the caller's array; zeros where no step is.
  void scatter(const Buffer<T>& rows, const View<T, 3>& to) const {
    zero_gaps(schedule_, to);
    scatter_steps(schedule_, packed_rows<const T>(schedule_, rows.data(), to.shape[2]), all_steps(), to);
  }

  /// Dropout of the output of a layer, or its backward.
  void drop_between(Index layer, Index width, const Buffer<T>& from, Buffer<T>& to) const {
    layer_dropout(schedule_, config_.dropout, value_.seed, layer, width, all_steps(),
                  packed_rows<const T>(schedule_, from.data(), width), packed_rows(schedule_, to.data(), width));
  }

  void drop_input(Buffer<T>& rows) const {
    sequence_dropout(schedule_, config_.input_dropout, seed(MaskKind::input_dropout, 0), config_.input_size,
                     all_steps(), packed_rows(schedule_, rows.data(), config_.input_size));
  }

  /// The buffers of values and tangents alike. Masks and what only the next step reads exist once, with the values.
  StepFields<BufferShape> buffers(const CellShape& shape) const {
    StepFields<BufferShape> buffers = step_buffers(shape, StepUse::every_step, config_.recurrent_dropout > 0.0);
    buffers.h_factor = buffers.fresh_c = {};
    return buffers;
  }

  /// Room for a cell's tangents, and those of its initial state.
  void allocate(const CellShape& shape, const LstmState<T>& state, std::size_t index) {
    StepState<T>& tangent = tangent_.cells[index];
    tangent.resize(buffers(shape), room_of(schedule_, value_.segments));
    gather_state(schedule_, state.h, index, shape.state, shape.state, tangent.h0.data());
    gather_state(schedule_, state.c, index, shape.hidden, shape.padded(), tangent.c0.data());
    if (config_.recurrent_dropout == 0.0) return;
    mask_initial_state(schedule_, shape, tangent.h0.data(), value_.cells[index].h_factor.data(),
                       tangent.h0_masked.data());
  }

  DualMap<T> packed(Buffer<T>& value, Buffer<T>& tangent, Index width) const {
    return {packed_rows(schedule_, value.data(), width), packed_rows(schedule_, tangent.data(), width)};
  }

  DualCell<T> cell_of(Index layer, Index direction) {
    const CellShape shape = lstm_.shape_of_tangents(layer);
    const std::size_t index = lstm_.cell(layer, direction), at = count(layer);
    StepFields<RowMap<T>> value, tangent;
    value_.cells[index].bind(buffers(shape), schedule_, value);
    tangent_.cells[index].bind(buffers(shape), schedule_, tangent);
    DualCell<T> cell;
    cell.reversed = lstm_.reversed(direction);
    cell.x = packed(value_.input_of(layer), tangent_.input_of(layer), shape.input);
    cell.h = packed(value_.layers[at].h, tangent_.layers[at].h, config_.output_size()).shifted(direction * shape.state);
    cell.h0 = {value.h0, tangent.h0};
    cell.c0 = {value.c0, tangent.c0};
    cell.gates = {value.gates, tangent.gates};
    cell.c = {value.c, tangent.c};
    cell.m = {value.m, tangent.m};
    cell.h0_masked = {value.h0_masked, tangent.h0_masked};
    cell.h_masked = {value.h_masked, tangent.h_masked};
    cell.norm_x = {value.norm_x, tangent.norm_x};
    cell.norm_h = {value.norm_h, tangent.norm_h};
    cell.statistics = {value.statistics, tangent.statistics};
    cell.proj_clip = static_cast<T>(config_.proj_clip);
    cell.variant = value_.variant(lstm_, index);
    cell.variant.options = &lstm_.options;
    if (config_.peephole) cell.peephole_tangent = weights_[index].peephole.data();
    if (shape.normed) cell.norms_tangent = norms_of(shape, weights_[index], T(0));
    if (config_.recurrent_dropout > 0.0) {
      cell.h_factor = single_rows<const T>(schedule_, value_.cells[index].h_factor.data(), shape.state_padded());
    }
    return cell;
  }

  void backward(Index layer, Index direction, const LstmOutputGradients<T>& outputs,
                const LstmOutputGradients<T>& outputs_tangent, const LstmInputGradients<T>& inputs,
                DualGradients<T> gradients) {
    const CellShape shape = lstm_.shape_of_tangents(layer);
    const std::size_t index = lstm_.cell(layer, direction);
    const DualCell<T> cell = cell_of(layer, direction);
    auto carried = gradient_buffers(shape, false);
    carried.dm = {};  // the walk has its own
    GradientState<T> state[2];
    GradientFields<RowMap<T>> rows[2];
    for (int k = 0; k < 2; ++k) {
      const LstmOutputGradients<T>& from = k == 0 ? outputs : outputs_tangent;
      state[k].resize(carried, room_of(schedule_, value_.segments));
      state[k].bind(carried, schedule_, rows[k]);
      gather_final_gradient(schedule_, cell.reversed, from.h, index, shape.state, shape.state_padded(),
                            state[k].dh.data());
      gather_final_gradient(schedule_, cell.reversed, from.c, index, shape.hidden, shape.padded(), state[k].dc.data());
    }
    gradients.dh = {rows[0].dh, rows[1].dh};
    gradients.dc = {rows[0].dc, rows[1].dc};
    if (!inputs.weights.empty()) gradients.weights = inputs.weights[index];
    const Dropped panels(*this, shape, index);
    const BackwardPanels<T> dropped =
        config_.weight_dropout > 0.0 ? BackwardPanels<T>(shape, *panels.value) : BackwardPanels<T>();
    const BackwardPanels<T>& value = config_.weight_dropout > 0.0 ? dropped : lstm_.backward()[index];
    const TangentBackwardPanels<T> stacked(shape, value, BackwardPanels<T>(shape, *panels.tangent));
    tangent_backward(shape, schedule_, cell, value, stacked, gradients);
    scatter_state(schedule_, state[1].dh.data(), shape.state_padded(), shape.state, index, inputs.h);
    scatter_state(schedule_, state[1].dc.data(), shape.padded(), shape.hidden, index, inputs.c);
    if (config_.weight_dropout > 0.0 && gradients.weights.weight_hh) {
      weight_dropout(config_.weight_dropout, seed(MaskKind::weight_dropout, index), gradients.weights.weight_hh);
    }
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  const Schedule& schedule_;
  const std::vector<ForwardPanels<T>>& weights_;
  Tape &value_, &tangent_;
};

/// Tangents of weights: each may be absent.
template <class T>
void check_weight_tangents(const LstmConfig& config, const std::vector<LstmParameter>& parameters,
                           const LstmWeights<T>& weights) {
  if (weights.empty()) return;
  const auto cells = count(config.num_layers * config.directions());
  require(weights.size() == cells, "tangents of weights: expected ", cells, " entries (layers x directions), got ",
          weights.size());
  require_no_others(config, weights);
  for (const LstmParameter& parameter : parameters) {
    const std::string name = "tangent of " + parameter.name;
    weights[count(parameter.cell)].visit(parameter.tensor, [&](const auto& view) {
      if (view) require_parameter_shape(name.c_str(), parameter, view);
    });
  }
}

}  // namespace

template <class T>
LstmTangent<T>::LstmTangent(const Lstm<T>& lstm, const LstmWeights<T>& weights) {
  const EngineFloats floats;
  const LstmConfig& config = lstm.config();
  lstm.impl().require_training();
  check_weight_tangents(config, lstm.parameters(), weights);
  auto impl = std::make_shared<Impl>(Impl{lstm, {}});
  const auto cells = count(config.num_layers * config.directions());
  for (std::size_t index = 0; index < cells; ++index) {
    const CellShape shape = lstm.impl().shape_of_tangents(static_cast<Index>(index) / config.directions());
    impl->weights.push_back(
        pack_tangent<T>(config, shape, weights.empty() ? LstmCellWeights<const T>() : weights[index]));
  }
  impl_ = std::move(impl);
}

template <class T>
const LstmConfig& LstmTangent<T>::config() const {
  return impl_->lstm.config();
}

template <class T>
void LstmTangent<T>::forward(const LstmSequence<T>& sequence, View<const T, 3> x_tangent, View<T, 3> y,
                             View<T, 3> y_tangent, const LstmState<T>& state, const LstmState<T>& state_tangent,
                             LstmTangentTape<T>& tape) const {
  const EngineFloats floats;
  const LstmConfig& config = this->config();
  check_sequence(config, sequence);
  require(sequence.recompute == 0,
          "recompute: expected 0 in a forward with tangents, whose tape stores every step, got ", sequence.recompute);
  const Index batch = sequence.x.shape[0], steps = sequence.x.shape[1];
  if (x_tangent) require_shape("x_tangent", x_tangent, sequence.x.shape);
  if (y_tangent) {
    require_shape("y_tangent", y_tangent, {batch, steps, config.output_size()});
    require_unit_stride("y_tangent", y_tangent);
  }
  check_state("h_tangent", "c_tangent", config, batch, state_tangent.h, state_tangent.c);
  if (tape.impl_ == nullptr) tape = LstmTangentTape<T>();  // moved from
  auto& held = *tape.impl_;
  held.ready = false;
  impl_->lstm.forward(sequence, y, state, held.value);
  TangentStack<T>(impl_->lstm.impl(), impl_->weights, *held.value.impl_, held.tangent)
      .forward(x_tangent, y_tangent, state_tangent);
  held.lstm = impl_;
  held.ready = true;
}

template <class T>
void LstmTangent<T>::backward(LstmTangentTape<T>& tape, const LstmOutputGradients<T>& outputs,
                              const LstmOutputGradients<T>& outputs_tangent, const LstmInputGradients<T>& inputs,
                              const LstmInputGradients<T>& inputs_tangent) const {
  const EngineFloats floats;
  require(tape.ready(), "tape: expected one that a forward with tangents filled and no backward has used, got another");
  auto& held = *tape.impl_;
  require(held.lstm == impl_, "tape: expected one of a forward with these tangents, got one with others");
  auto& value = *held.value.impl_;
  check_gradients(config(), impl_->lstm.parameters(), value.schedule, outputs, inputs);
  check_gradients(config(), impl_->lstm.parameters(), value.schedule, outputs_tangent, inputs_tangent, "tangent of ");
  held.ready = false;
  TangentStack<T>(impl_->lstm.impl(), impl_->weights, value, held.tangent)
      .backward(outputs, outputs_tangent, inputs_tangent);
  const bool wanted = inputs.x || inputs.h || inputs.c || !inputs.weights.empty();
  if (wanted) impl_->lstm.backward(held.value, outputs, inputs);
}

template <class T>
LstmTangentTape<T>::LstmTangentTape() : impl_(std::make_unique<Impl>()) {}
template <class T>
LstmTangentTape<T>::~LstmTangentTape() = default;
template <class T>
LstmTangentTape<T>::LstmTangentTape(LstmTangentTape&&) noexcept = default;
template <class T>
LstmTangentTape<T>& LstmTangentTape<T>::operator=(LstmTangentTape&&) noexcept = default;

template <class T>
bool LstmTangentTape<T>::ready() const {
  return impl_ != nullptr && impl_->ready;
}

template <class T>
std::size_t LstmTangentTape<T>::bytes() const {
  return impl_ != nullptr ? impl_->value.bytes() + impl_->tangent.bytes() : 0;
}

template class LstmTangent<float>;
template class LstmTangent<double>;
template class LstmTangentTape<float>;
template class LstmTangentTape<double>;

}  // namespace lstmcore
