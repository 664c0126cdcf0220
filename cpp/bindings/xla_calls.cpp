#include "xla_calls.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "bind.hpp"

namespace lstmcore::bindings::xla {

namespace {

constexpr std::array<const char*, name_count> names{"x", "w_ih", "w_hh", "b", "h0", "c0", "mask", "lengths"};

std::array<int, name_count> places_of(const std::vector<std::string>& given) {
  std::array<int, name_count> places;
  places.fill(-1);
  for (std::size_t place = 0; place < given.size(); ++place) {
    const auto found = std::find(names.begin(), names.end(), given[place]);
    if (found == names.end()) throw std::invalid_argument("operands: expected names of operands, got " + given[place]);
    places[static_cast<std::size_t>(found - names.begin())] = static_cast<int>(place);
  }
  return places;
}

template <class T>
T* data_of(const Buffer& buffer) {
  return static_cast<T*>(buffer.data);
}

/// One call's arrays as the engine's views.
template <class T>
class Arrays {
 public:
  Arrays(const Plan& plan, const Frame& frame) : plan_(plan), frame_(frame) {
    const std::int64_t* const extents = plan.operand(frame, x)->extents;
    batch = extents[plan.time_major() ? 1 : 0];
    steps = extents[plan.time_major() ? 0 : 1];
    features = extents[2];
    units = plan.operand(frame, w_hh)->extents[1];
  }

  View<T, 3> sequences(const Buffer& buffer, std::int64_t width) const {
    const std::array<std::int64_t, 3> shape{batch, steps, width};
    if (plan_.time_major()) return {data_of<T>(buffer), shape, {width, batch * width, 1}};
    return {data_of<T>(buffer), shape};
  }
  View<T, 3> state(T* data) const { return {data, {1, batch, units}}; }
  View<T, 3> state(const Buffer& buffer) const { return state(data_of<T>(buffer)); }

  /// Weights, or the places of their gradients, whose buffers `find(name)` returns.
  template <class Element, class Find>
  LstmCellWeights<Element> weights(Find&& find) const {
    LstmCellWeights<Element> cell;
    if (const Buffer* const found = find(w_ih)) cell.weight_ih = {data_of<T>(*found), {4 * units, features}};
    if (const Buffer* const found = find(w_hh)) cell.weight_hh = {data_of<T>(*found), {4 * units, units}};
    if (const Buffer* const found = find(b)) cell.bias = {data_of<T>(*found), {4 * units}};
    return cell;
  }

  /// The mask, copied to `copy`: the engine reads it twice and must find as many valid steps the second time, but the
  /// buffer may be memory of an array that another thread writes to.
  View<const bool, 2> valid_steps(std::unique_ptr<bool[]>& copy) const {
    const Buffer* const found = plan_.operand(frame_, mask);
    if (found == nullptr) return {};
    const std::int64_t count = batch * steps;
    copy.reset(new bool[static_cast<std::size_t>(count)]);
    const auto* const from = data_of<unsigned char>(*found);
    std::transform(from, from + count, copy.get(), [](unsigned char byte) { return byte != 0; });
    const std::array<std::int64_t, 2> shape{batch, steps};
    if (plan_.time_major()) return {copy.get(), shape, {1, batch}};
    return {copy.get(), shape};
  }

  /// Copies an initial state, or zeros, to where the final one will be.
  void begin_state(Name name, const Buffer& to) const {
    const Buffer* const from = plan_.operand(frame_, name);
    const std::int64_t count = batch * units;
    if (from != nullptr) {
      std::copy_n(data_of<T>(*from), count, data_of<T>(to));
    } else {
      std::fill_n(data_of<T>(to), count, T(0));
    }
  }

  std::int64_t batch, steps, features, units;

 private:
  const Plan& plan_;
  const Frame& frame_;
};

template <class Integer>
std::vector<std::int64_t> integers(const Buffer& buffer) {
  const Integer* const first = data_of<Integer>(buffer);
  std::vector<std::int64_t> values(static_cast<std::size_t>(buffer.extents[0]));
  // A number beyond int64 is no length either.
  std::transform(first, first + values.size(), values.begin(),
                 [](Integer value) { return static_cast<std::int64_t>(value); });
  return values;
}

std::vector<std::int64_t> lengths_of(const Buffer* buffer) {
  if (buffer == nullptr) return {};
  switch (buffer->type) {
    case of_int8:
      return integers<std::int8_t>(*buffer);
    case of_int16:
      return integers<std::int16_t>(*buffer);
    case of_int32:
      return integers<std::int32_t>(*buffer);
    case of_int64:
      return integers<std::int64_t>(*buffer);
    case of_uint8:
      return integers<std::uint8_t>(*buffer);
    case of_uint16:
      return integers<std::uint16_t>(*buffer);
    case of_uint32:
      return integers<std::uint32_t>(*buffer);
    case of_uint64:
      return integers<std::uint64_t>(*buffer);
    default:
      throw std::invalid_argument("lengths: expected integers, got XLA's data type " + std::to_string(buffer->type));
  }
}

template <class T>
void record_of(const Plan& plan, TapeStore& tapes, const Frame& frame) {
  const Arrays<T> arrays(plan, frame);
  const auto operand = [&](Name name) { return plan.operand(frame, name); };
  const Precision precision = std::is_same_v<T, float> ? default_precision() : Precision::fp32;
  const Lstm<T> lstm(plan.config(arrays.features, arrays.units), {arrays.template weights<const T>(operand)},
                     precision);

  LstmSequence<T> sequence(arrays.sequences(*operand(x), arrays.features));
  const std::vector<std::int64_t> valid = lengths_of(operand(lengths));
  if (!valid.empty()) sequence.lengths = {valid.data(), {arrays.batch}};
  std::unique_ptr<bool[]> flags;
  sequence.mask = arrays.valid_steps(flags);

  const Buffer* const* const results = frame.results.places + (plan.sequences() ? 1 : 0);
  arrays.begin_state(h0, *results[0]);
  arrays.begin_state(c0, *results[1]);
  const View<T, 3> y = plan.sequences() ? arrays.sequences(*frame.results.places[0], arrays.units) : View<T, 3>();

  auto tape = std::make_shared<PyTape>(lstm, arrays.batch, arrays.steps, plan.sequences());
  lstm.forward(sequence, y, {arrays.state(*results[0]), arrays.state(*results[1])}, tape->template pending<T>().tape);
  const std::uint64_t number = tapes.put(std::move(tape));
  std::memcpy(results[2]->data, &number, sizeof(number));
}

template <class T>
void backward_of(const Plan& plan, PyTape& tape, const Frame& frame) {
  const Arrays<T> arrays(plan, frame);
  const auto gradient = [&](Name name) { return plan.gradient(frame, name); };
  const auto given = [&](std::int64_t index) -> const Buffer& { return plan.after_operands(frame, 1 + index); };

  LstmOutputGradients<T> outputs;
  const std::int64_t after_y = plan.sequences() ? 1 : 0;
  if (plan.sequences()) outputs.y = arrays.sequences(given(0), arrays.units);
  outputs.h = arrays.state(given(after_y));
  outputs.c = arrays.state(given(after_y + 1));

  LstmInputGradients<T> inputs;
  if (const Buffer* const found = gradient(x)) inputs.x = arrays.sequences(*found, arrays.features);
  std::vector<T> unwanted;
  if (gradient(h0) != nullptr || gradient(c0) != nullptr) {
    unwanted.resize(static_cast<std::size_t>(arrays.batch * arrays.units));
    inputs.h = gradient(h0) != nullptr ? arrays.state(*gradient(h0)) : arrays.state(unwanted.data());
    inputs.c = gradient(c0) != nullptr ? arrays.state(*gradient(c0)) : arrays.state(unwanted.data());
  }
  if (gradient(w_ih) != nullptr || gradient(w_hh) != nullptr || gradient(b) != nullptr) {
    inputs.weights = {arrays.template weights<T>(gradient)};
  }
  PendingBackward<T>& pending = tape.pending<T>();
  pending.lstm.backward(pending.tape, outputs, inputs);
}

bool suits(const Plan& plan, const Frame& frame) {
  const Buffer& input = *plan.operand(frame, x);
  return input.rank == 3 && input.extents[0] > 0 && input.extents[1] > 0;
}

}  // namespace

Plan::Plan(const LstmConfig& config, const std::vector<std::string>& operands, const std::vector<std::string>& wanted,
           bool time_major, bool sequences)
    : config_(config),
      operands_(places_of(operands)),
      wanted_(places_of(wanted)),
      operand_count_(static_cast<std::int64_t>(operands.size())),
      time_major_(time_major),
      sequences_(sequences) {
  for (const Name name : {x, w_ih, w_hh}) {
    if (operands_[name] < 0) throw std::invalid_argument(std::string("operands: expected x, w_ih and w_hh"));
  }
}

LstmConfig Plan::config(std::int64_t features, std::int64_t units) const {
  LstmConfig config = config_;
  config.input_size = features;
  config.hidden_size = units;
  return config;
}

const Buffer* Plan::operand(const Frame& frame, Name name) const {
  return operands_[name] < 0 ? nullptr : frame.operands.places[operands_[name]];
}

const Buffer* Plan::gradient(const Frame& frame, Name name) const {
  return wanted_[name] < 0 ? nullptr : frame.results.places[wanted_[name]];
}

const Buffer& Plan::after_operands(const Frame& frame, std::int64_t index) const {
  return *frame.operands.places[operand_count_ + index];
}

bool record(Plan& plan, TapeStore& tapes, const Frame& frame) {
  if (!suits(plan, frame)) return false;
  if (plan.operand(frame, x)->type == of_float) {
    record_of<float>(plan, tapes, frame);
  } else {
    record_of<double>(plan, tapes, frame);
  }
  ++plan.count;
  return true;
}

bool backward(Plan& plan, TapeStore& tapes, const Frame& frame) {
  if (!suits(plan, frame)) return false;
  std::uint64_t number = 0;
  std::memcpy(&number, plan.after_operands(frame, 0).data, sizeof(number));
  const std::shared_ptr<PyTape> tape = tapes.take(number);
  if (tape == nullptr) return false;
  if (plan.operand(frame, x)->type == of_float) {
    backward_of<float>(plan, *tape, frame);
  } else {
    backward_of<double>(plan, *tape, frame);
  }
  return true;
}

}  // namespace lstmcore::bindings::xla
