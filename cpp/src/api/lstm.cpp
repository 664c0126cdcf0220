// The public face: checks, then all layers.
#include "../sequence/stack_backward.hpp"
#include "../sequence/stack_forward.hpp"
#include "lstm_checks.hpp"

namespace lstmcore {

// ---- Lstm -----------------------------------------------------------------------------------------------------------

template <class T>
Lstm<T>::Impl::Impl(const LstmConfig& configuration, Precision of_products, Index gates_of_a_cell)
    : config(configuration),
      precision(of_products),
      gates(gates_of_a_cell),
      arithmetic(std::is_same_v<T, float> ? arithmetic_for(of_products, configuration.hidden_size) : Arithmetic{}),
      plain(configuration.plain_cell()) {
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
  options.output_clip = static_cast<T>(config.output_clip);
  // With a projection, zoneout of h comes after the cell.
  options.zoneout_h = config.proj_size > 0 ? T(0) : static_cast<T>(config.zoneout_h);
  options.zoneout_c = static_cast<T>(config.zoneout_c);
}

template <class T>
void Lstm<T>::Impl::require_training() const {
  require(precision != Precision::int8,
          "precision: expected one that supports training, got \"int8\", which is for inference");
}

template <class T>
CellVariant<T> Lstm<T>::Impl::variant(std::size_t cell) const {
  CellVariant<T> variant;
  if (plain) return variant;
  variant.options = &options;
  variant.peephole = config.peephole ? forward[cell].peephole.data() : nullptr;
  if (config.layer_norm) {
    const CellShape shape = this->shape(static_cast<Index>(cell) / config.directions());
    variant.norms = norms_of(shape, forward[cell], static_cast<T>(config.layer_norm_epsilon));
  }
  if (config.proj_size > 0) variant.proj_zoneout = static_cast<T>(config.zoneout_h);
  return variant;
}

template <class T>
CellVariant<T> Lstm<T>::Impl::variant(std::size_t cell, std::uint64_t seed) const {
  CellVariant<T> variant = this->variant(cell);
  const auto index = static_cast<Index>(cell);
  variant.proj_zoneout = T(0);
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
Lstm<T>::Lstm(const LstmConfig& config, const LstmWeights<T>& weights, Precision precision) {
  const EngineFloats floats;
  std::vector<LstmParameter> parameters = lstm_parameters(config);
  if (!std::is_same_v<T, float> && precision != Precision::fp32 && precision != Precision::automatic) {
    fail("precision: expected \"fp32\" or \"auto\" for weights of double, got \"", precision_name(precision), "\"");
  }
  check_representable<T>(config);
  auto impl = std::make_shared<Impl>(config, precision);
  impl->pack(std::move(parameters), weights);
  impl_ = std::move(impl);
}

template <class T>
void Lstm<T>::Impl::pack(std::vector<LstmParameter> named, const LstmWeights<T>& weights) {
  check_weights(config, named, weights);
  parameters = std::move(named);
  forward.reserve(weights.size());
  for (std::size_t index = 0; index < weights.size(); ++index) {
    forward.emplace_back(shape(static_cast<Index>(index) / config.directions()), weights[index]);
  }
}

template <class T>
const LstmConfig& Lstm<T>::config() const {
  return impl_->config;
}

template <class T>
Precision Lstm<T>::precision() const {
  return impl_->precision;
}

template <class T>
const std::vector<LstmParameter>& Lstm<T>::parameters() const {
  return impl_->parameters;
}

template <class T>
void Lstm<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state) const {
  const EngineFloats floats;
  const LstmConfig& config = impl_->config;
  check_sequence(config, sequence);
  const Index batch = sequence.x.shape[0], steps = sequence.x.shape[1];
  if (y) {
    require_shape("y", y, {batch, steps, config.output_size()});
    require_unit_stride("y", y);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  const Schedule schedule(batch, steps, sequence.lengths, sequence.reset, sequence.mask);
  StackForward<T>(*impl_, sequence, y, state, schedule, nullptr).run();
}

template <class T>
void Lstm<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state,
                      LstmTape<T>& tape) const {
  const EngineFloats floats;
  const LstmConfig& config = impl_->config;
  check_sequence(config, sequence);
  const Index batch = sequence.x.shape[0], steps = sequence.x.shape[1];
  if (y) {
    require_shape("y", y, {batch, steps, config.output_size()});
    require_unit_stride("y", y);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  impl_->require_training();
  if (tape.impl_ == nullptr) tape = LstmTape<T>();  // moved from
  auto& held = *tape.impl_;
  held.ready = held.open = false;
  held.schedule = Schedule(batch, steps, sequence.lengths, sequence.reset, sequence.mask);
  held.config = sequence.random ? config : without_dropout(config);
  held.random = sequence.random;
  held.seed = sequence.seed;
  held.segments = Segments(held.schedule.longest, sequence.recompute);
  held.layers.resize(count(config.num_layers));
  held.cells.resize(impl_->forward.size());
  held.dropped.resize(held.config.weight_dropout > 0.0 ? held.cells.size() : 0);
  for (auto& layer : held.layers) layer.input.resize(0);
  StackForward<T>(*impl_, sequence, y, state, held.schedule, &held).run();
  held.lstm = impl_;
  held.ready = true;
}

template <class T>
void Lstm<T>::begin(std::int64_t batch, const LstmState<const T>& state, LstmTape<T>& tape, std::int64_t expected_steps,
                    std::uint64_t seed) const {
  const EngineFloats floats;
  const LstmConfig& config = impl_->config;
  require(!config.bidirectional && !config.go_backwards,
          "lstm: expected one that only walks forwards, to run step by step, got a bidirectional or reversed one");
  require(config.num_layers == 1 || config.dropout == 0.0,
          "dropout: expected 0 in an LSTM that runs step by step, got ", config.dropout);
  impl_->require_training();
  require(batch >= 1, "batch: expected at least 1, got ", batch);
  require(expected_steps >= 0, "expected_steps: expected at least 0, got ", expected_steps);
  const Index width = config.input_size + 16 * (config.hidden_size + 64);
  if (!size_fits(std::array<Index, 4>{batch, expected_steps, width, Index{sizeof(T)}})) {
    fail("expected_steps: expected sizes whose products fit into 64 bits, got ", expected_steps);
  }
  check_state("h", "c", config, batch, state.h, state.c);
  if (tape.impl_ == nullptr) tape = LstmTape<T>();  // moved from
  auto& held = *tape.impl_;
  held.ready = held.open = false;
  held.schedule = Schedule(batch, 0, {}, {});
  held.segments = {};
  held.seed = seed;
  held.config = config;
  held.random = true;
  held.layers.resize(count(config.num_layers));
  held.cells.resize(impl_->forward.size());
  held.dropped.resize(held.config.weight_dropout > 0.0 ? held.cells.size() : 0);
  const Index rows = batch * expected_steps;
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    StepState<T>& cell = held.cells[count(layer)];
    held.layers[count(layer)].input.reserve(layer == 0 ? count(rows * shape.input) : 0);
    held.layers[count(layer)].h.reserve(count(rows * shape.state));
    const auto buffers = step_buffers(shape, StepUse::every_step, config.recurrent_dropout > 0.0);
    cell.reserve(buffers, {batch, rows, 1, expected_steps});
    gather_state(held.schedule, state.h, count(layer), shape.state, shape.state, cell.h0.data());
    gather_state(held.schedule, state.c, count(layer), shape.hidden, shape.padded(), cell.c0.data());
    if (config.weight_dropout > 0.0) {
      const std::uint64_t stream = mask_seed(seed, MaskKind::weight_dropout, layer);
      held.dropped[count(layer)] = impl_->forward[count(layer)].with_dropout(shape, config.weight_dropout, stream);
    }
    if (config.recurrent_dropout > 0.0) {
      const std::uint64_t stream = mask_seed(seed, MaskKind::recurrent_dropout, layer);
      recurrent_mask(held.schedule, config.recurrent_dropout, stream, shape, cell.h_factor.data());
      mask_initial_state(held.schedule, shape, cell.h0.data(), cell.h_factor.data(), cell.h0_masked.data());
    }
  }
  held.lstm = impl_;
  held.ready = held.open = true;
}

template <class T>
void Lstm<T>::step(View<const T, 2> x, View<T, 2> y, View<const bool, 1> reset, LstmTape<T>& tape) const {
  const EngineFloats floats;
  const LstmConfig& config = impl_->config;
  check_open(tape);
  auto& held = *tape.impl_;
  Schedule& schedule = held.schedule;
  require_present("x", x);
  require_shape("x", x, {schedule.rows, config.input_size});
  if (y) {
    require_shape("y", y, {schedule.rows, config.state_size()});
    require_unit_stride("y", y);
  }
  if (reset) require_shape("reset", reset, {schedule.rows});
  held.ready = false;         // until the step is complete
  const Uninterrupted whole;  // half a step would spoil the steps before
  const Index now = schedule.steps;
  schedule.append(reset);
  held.segments = Segments(now + 1, 0);
  Buffer<T>& own_x = held.layers[0].input;
  own_x.grow(count(schedule.total * config.input_size));
  T* to = own_x.data() + schedule.packed(now, 0) * config.input_size;
  for (Index row = 0; row < schedule.rows; ++row) {
    for (Index feature = 0; feature < config.input_size; ++feature) *to++ = x(row, feature);
  }
  if (config.input_dropout > 0.0) {
    sequence_dropout(schedule, config.input_dropout, mask_seed(held.seed, MaskKind::input_dropout, 0),
                     config.input_size, {now, now + 1}, packed_rows(schedule, own_x.data(), config.input_size));
  }
  RowMap<const T> input = packed_rows<const T>(schedule, own_x.data(), config.input_size);
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    StepState<T>& own = held.cells[count(layer)];
    Buffer<T>& h = held.layers[count(layer)].h;
    const auto buffers = step_buffers(shape, StepUse::every_step, config.recurrent_dropout > 0.0);
    own.grow(buffers, room_of(schedule, held.segments));
    h.grow(count(schedule.total * shape.state));
    ForwardCell<T> cell;
    own.bind(buffers, schedule, cell);
    cell.weights = config.weight_dropout > 0.0 ? &held.dropped[count(layer)] : &impl_->forward[count(layer)];
    cell.x = input;
    cell.h = packed_rows(schedule, h.data(), shape.state);
    cell.proj_clip = static_cast<T>(config.proj_clip);
    cell.variant = impl_->variant(count(layer), held.seed);
    if (layer + 1 == config.num_layers && y) {
      cell.y = {y.data, schedule.iota.data(), schedule.order.data(), 0, y.stride[0]};
    }
    walk_forward<T>(shape, schedule, {cell}, {now, now + 1});
    input = cell.h.readable();
  }
  held.ready = true;
}

template <class T>
void Lstm<T>::get_state(const LstmTape<T>& tape, const LstmState<T>& state) const {
  check_open(tape);
  const auto& held = *tape.impl_;
  const Schedule& schedule = held.schedule;
  check_state("h", "c", impl_->config, schedule.rows, state.h, state.c);
  for (Index layer = 0; layer < impl_->config.num_layers; ++layer) {
    const CellShape shape = impl_->shape(layer);
    const auto& own = held.cells[count(layer)];
    const Index last = schedule.total - schedule.rows;
    const T* h = schedule.steps > 0 ? held.layers[count(layer)].h.data() + last * shape.state : own.h0.data();
    const T* c = schedule.steps > 0 ? own.c.data() + last * shape.padded() : own.c0.data();
    scatter_state(schedule, h, shape.state, shape.state, count(layer), state.h);
    scatter_state(schedule, c, shape.padded(), shape.hidden, count(layer), state.c);
  }
}

template <class T>
void Lstm<T>::check_open(const LstmTape<T>& tape) const {
  require(tape.ready() && tape.impl_->open,
          "tape: expected one from begin (in Python: lstm_begin) before its backward, got another");
  require(tape.impl_->lstm == impl_, "tape: expected one begun with these weights, got one with other weights");
}

template <class T>
void Lstm<T>::backward(LstmTape<T>& tape, const LstmOutputGradients<T>& outputs,
                       const LstmInputGradients<T>& inputs) const {
  const EngineFloats floats;
  if (!tape.ready()) {
    fail("tape: expected one that a training forward filled and no backward has used, got ",
         tape.impl_ != nullptr && tape.impl_->lstm != nullptr ? "a used one" : "an empty one");
  }
  auto& held = *tape.impl_;
  require(held.lstm == impl_, "tape: expected one of a forward with these weights, got one with other weights");
  check_gradients(impl_->config, impl_->parameters, held.schedule, outputs, inputs);
  held.ready = held.open = false;
  StackBackward<T>(*impl_, held, outputs, inputs).run();
}

// ---- LstmTape -------------------------------------------------------------------------------------------------------

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
  return impl_ != nullptr ? impl_->bytes() : 0;
}

template <class T>
std::size_t LstmTape<T>::Impl::bytes() const {
  std::size_t sum = 0;
  for (const Layer& layer : layers) sum += layer.input.bytes() + layer.h.bytes();
  for (const StepState<T>& cell : cells) sum += cell.bytes();
  for (const ForwardPanels<T>& weights : dropped) sum += weights.bytes();
  return sum;
}

template class Lstm<float>;
template class Lstm<double>;
template class LstmTape<float>;
template class LstmTape<double>;

}  // namespace lstmcore
