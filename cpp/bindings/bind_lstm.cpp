#include <algorithm>
#include <cstring>
#include <lstmcore/lstm.hpp>
#include <lstmcore/precision.hpp>
#include <memory>
#include <variant>
#include <vector>

#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"

namespace lstmcore::bindings {

namespace {

// ---- the classes ----------------------------------------------------------------------------------------------------

/// A forward that waits for its backward, with the Lstm that it ran on.
template <class T>
struct TapeOf {
  Lstm<T> lstm;
  LstmTape<T> tape{};
};

class PyTape {
 public:
  template <class T>
  PyTape(const Lstm<T>& lstm, std::int64_t batch, std::int64_t steps, bool return_sequences, bool time_major = false)
      : kept_(TapeOf<T>{lstm}),
        config_(lstm.config()),
        batch_(batch),
        steps_(steps),
        sequences_(return_sequences),
        time_major_(time_major) {}

  template <class T>
  LstmTape<T>& tape() {
    return std::get<TapeOf<T>>(kept_).tape;
  }

  bool ready() {
    const Claim claim(taken_, "tape");
    return std::visit([](const auto& kept) { return kept.tape.ready(); }, kept_);
  }
  std::size_t bytes() {
    const Claim claim(taken_, "tape");
    return std::visit([](const auto& kept) { return kept.tape.bytes(); }, kept_);
  }
  py::dtype dtype() const {
    return std::holds_alternative<TapeOf<float>>(kept_) ? py::dtype::of<float>() : py::dtype::of<double>();
  }
  /// New arrays for the gradients of all weights, by name.
  py::dict new_gradients() const {
    return std::visit([](const auto& kept) { return gradients_of(kept); }, kept_);
  }
  py::list parameters() const {
    return std::visit([](const auto& kept) { return parameter_list(kept.lstm.parameters()); }, kept_);
  }
  bool return_sequences() const { return sequences_; }
  py::tuple output_shape() const { return py::make_tuple(batch_, steps_, config_.output_size()); }
  py::tuple state_shape() const {
    return py::make_tuple(config_.num_layers * config_.directions(), batch_, config_.state_size());
  }

  /// Starts from a state, with no step yet.
  template <class T>
  void begin(const LstmState<const T>& state, std::int64_t expected_steps, std::uint64_t seed) {
    auto& kept = std::get<TapeOf<T>>(kept_);
    kept.lstm.begin(batch_, state, kept.tape, expected_steps, seed);
  }

  py::object step(py::handle x, py::handle reset) {
    const Claim claim(taken_, "tape");
    return std::visit([&](auto& kept) { return step_of(kept, x, reset); }, kept_);
  }

  py::tuple get_state() {
    const Claim claim(taken_, "tape");
    return std::visit([&](auto& kept) { return get_state_of(kept); }, kept_);
  }

  py::tuple backward(py::handle dy, py::handle dh, py::handle dc, py::handle need_x, py::handle need_state,
                     py::handle weights) {
    const Claim claim(taken_, "tape");
    const bool with_x = to_bool(need_x, "need_x");
    const bool with_state = to_bool(need_state, "need_state");
    return std::visit([&](auto& kept) { return backward_of(kept, dy, dh, dc, with_x, with_state, weights); }, kept_);
  }

 private:
  template <class T>
  static py::dict gradients_of(const TapeOf<T>& kept) {
    py::dict gradients;
    for (const LstmParameter& parameter : kept.lstm.parameters()) {
      const auto& shape = parameter.shape;
      gradients[py::str(parameter.name)] =
          shape.size() == 1 ? allocate<T, 1>({shape[0]}).owner : allocate<T, 2>({shape[0], shape[1]}).owner;
    }
    return gradients;
  }

  template <class T>
  py::object step_of(TapeOf<T>& kept, py::handle x, py::handle reset) {
    const Reader<T> reader(tape_type);
    const auto input = reader.template strided<2>(x, "x_t", {{{"N", batch_}, {"C", config_.input_size}}});
    check_size("x_t", {batch_, steps_ + 1, config_.num_layers, config_.output_size()},
               24 * static_cast<std::int64_t>(sizeof(T)));
    Argument<const bool, 1> resets;
    if (!reset.is_none()) resets = read_bools<1>(reset, "reset", {{{"N", batch_}}});
    Argument<T, 2> y = allocate<T, 2>({batch_, config_.output_size()});
    {
      const WithoutGil released;
      kept.lstm.step(input.view, y.view, resets.view, kept.tape);
    }
    ++steps_;
    return std::move(y.owner);
  }

  template <class T>
  py::tuple get_state_of(TapeOf<T>& kept) {
    Argument<T, 3> h = allocate<T, 3>(h_shape(config_, batch_));
    Argument<T, 3> c = allocate<T, 3>(c_shape(config_, batch_));
    kept.lstm.get_state(kept.tape, {h.view, c.view});
    return py::make_tuple(std::move(h.owner), std::move(c.owner));
  }

  template <class T>
  py::tuple backward_of(TapeOf<T>& kept, py::handle dy, py::handle dh, py::handle dc, bool need_x, bool need_state,
                        py::handle weights) {
    if (!kept.tape.ready()) {
      fail_value("tape: expected one whose backward has not run yet, got one that was used already");
    }
    const HeldOutputGradients<T> outputs(config_, batch_, steps_, {dy, dh, dc}, {"dy", "dstate h", "dstate c"});
    std::vector<py::object> owners;
    LstmWeightGradients<T> weight_gradients = write_gradients<T>(weights, kept.lstm.parameters(), owners);

    HeldInputGradients<T> inputs(config_, batch_, steps_, need_x, need_state, time_major_);
    {
      const WithoutGil released;
      kept.lstm.backward(kept.tape, outputs.views(), inputs.views(std::move(weight_gradients)));
      kept.tape = LstmTape<T>();  // gives the memory back even if the caller holds on to the used tape
    }
    return py::make_tuple(inputs.x.take(), inputs.h.take(), inputs.c.take());
  }

  std::variant<TapeOf<float>, TapeOf<double>> kept_;
  LstmConfig config_;
  std::int64_t batch_;
  std::int64_t steps_;
  bool sequences_;
  bool time_major_;
  std::atomic<bool> taken_{false};
};

class PyLstm {
 public:
  PyLstm(const LstmConfig& config, py::handle weights, const std::string& precision)
      : lstm_(pack(config, weights, precision_of(precision, "precision"))) {}

  std::string precision() const {
    return std::visit([](const auto& lstm) { return precision_name(lstm.precision()); }, lstm_);
  }

  py::dtype dtype() const { return lstm_.index() == 0 ? py::dtype::of<float>() : py::dtype::of<double>(); }
  const std::variant<Lstm<float>, Lstm<double>>& engine() const { return lstm_; }

  py::tuple forward(py::handle x, py::handle h, py::handle c, py::handle lengths, py::handle reset,
                    py::handle return_sequences, py::handle training, py::handle seed, py::handle mask,
                    py::handle recompute, py::handle random, py::handle time_major) const {
    const Options options{to_bool(return_sequences, "return_sequences"),
                          to_bool(training, "training"),
                          to_uint64(seed, "seed"),
                          to_int64(recompute, "recompute"),
                          to_bool(random, "random"),
                          to_bool(time_major, "time_major")};
    return std::visit([&](const auto& lstm) { return forward_of(lstm, x, h, c, lengths, reset, mask, options); },
                      lstm_);
  }

  std::unique_ptr<PyTape> begin(py::handle batch_size, py::handle h, py::handle c, py::handle expected_steps,
                                py::handle seed) const {
    const std::int64_t batch = to_int64(batch_size, "batch_size");
    const std::int64_t steps = to_int64(expected_steps, "expected_steps");
    const std::uint64_t masks = to_uint64(seed, "seed");
    return std::visit([&](const auto& lstm) { return begin_of(lstm, batch, h, c, steps, masks); }, lstm_);
  }

 private:
  struct Options {
    bool return_sequences;
    bool training;
    std::uint64_t seed;
    std::int64_t recompute;
    bool random;
    bool time_major;
  };

  static std::variant<Lstm<float>, Lstm<double>> pack(const LstmConfig& config, py::handle weights,
                                                      Precision precision) {
    check_mapping(weights);
    const std::vector<LstmParameter> parameters = lstm_parameters(config);
    check_names(weights, parameters, "weights", parameters.size());
    const std::string& first = parameters.front().name;
    const py::object model = find_weight(weights, first);
    if (!model) fail_missing(weights, parameters, first);
    return dispatch(element_of(model, weight_name(first)), [&](auto zero) -> std::variant<Lstm<float>, Lstm<double>> {
      using T = decltype(zero);
      const HeldCells<const T> held = read_weights<T>(weights, parameters);
      const WithoutGil released;
      return Lstm<T>(config, held.cells, precision);
    });
  }

  template <class T>
  static py::tuple forward_of(const Lstm<T>& lstm, py::handle x, py::handle h, py::handle c, py::handle lengths,
                              py::handle reset, py::handle mask, const Options& options) {
    const LstmConfig& config = lstm.config();
    const HeldSequence<T> held(config, x, h, c, lengths, reset, mask, options.training);
    const std::int64_t batch = held.batch();
    const std::int64_t steps = held.steps();
    LstmSequence<T> sequence = held.views(options.seed);
    sequence.recompute = options.recompute;
    sequence.random = options.random;
    Argument<T, 3> y;
    if (options.return_sequences) {
      y = allocate_sequences<T>({batch, steps, config.output_size()}, options.time_major);
    }
    Argument<T, 3> h_after = new_state(held.h, h_shape(config, batch));
    Argument<T, 3> c_after = new_state(held.c, c_shape(config, batch));
    const LstmState<T> state{h_after.view, c_after.view};
    std::unique_ptr<PyTape> tape;
    if (options.training) {
      tape = std::make_unique<PyTape>(lstm, batch, steps, options.return_sequences, options.time_major);
    }
    {
      const WithoutGil released;
      if (tape) {
        lstm.forward(sequence, y.view, state, tape->template tape<T>());
      } else {
        lstm.forward(sequence, y.view, state);
      }
    }
    return py::make_tuple(y.take(), std::move(h_after.owner), std::move(c_after.owner), std::move(tape));
  }

  template <class T>
  static std::unique_ptr<PyTape> begin_of(const Lstm<T>& lstm, std::int64_t batch, py::handle h, py::handle c,
                                          std::int64_t expected_steps, std::uint64_t seed) {
    const LstmConfig& config = lstm.config();
    const Reader<T> reader(weights_type);
    check_size("batch_size", {batch, config.num_layers, config.output_size()},
               24 * static_cast<std::int64_t>(sizeof(T)));
    Argument<const T, 3> h_before;
    Argument<const T, 3> c_before;
    if (!h.is_none()) h_before = reader.template strided<3>(h, "state h", state_axes(h_shape(config, batch)));
    if (!c.is_none()) c_before = reader.template strided<3>(c, "state c", state_axes(c_shape(config, batch)));
    auto tape = std::make_unique<PyTape>(lstm, batch, 0, true);
    tape->template begin<T>({h_before.view, c_before.view}, expected_steps, seed);
    return tape;
  }

  std::variant<Lstm<float>, Lstm<double>> lstm_;
};

class PyStream {
 public:
  PyStream(const PyLstm& lstm, py::handle batch_size) : PyStream(lstm, to_int64(batch_size, "batch_size")) {}

  py::object step(py::handle x, py::handle out) {
    return std::visit([&](auto& stream) { return step_of(stream, x, out); }, stream_);
  }

  void reset(py::handle row) {
    const Claim claim(taken_, "stream");
    if (row.is_none()) {
      std::visit([](auto& stream) { stream.reset(); }, stream_);
      return;
    }
    const std::int64_t index = to_int64(row, "row");
    if (index < 0 || index >= batch_) {
      fail_value("row: expected 0 to " + std::to_string(batch_ - 1) + ", got " + std::to_string(index));
    }
    std::visit([=](auto& stream) { stream.reset(index); }, stream_);
  }

  py::tuple get_state() {
    const Claim claim(taken_, "stream");
    return std::visit([&](auto& stream) { return get_state_of(stream); }, stream_);
  }

  void set_state(py::handle h, py::handle c) {
    const Claim claim(taken_, "stream");
    std::visit([&](auto& stream) { set_state_of(stream, h, c); }, stream_);
  }

  std::int64_t batch_size() const { return batch_; }
  py::dtype dtype() const { return stream_.index() == 0 ? py::dtype::of<float>() : py::dtype::of<double>(); }

 private:
  using Variant = std::variant<LstmStream<float>, LstmStream<double>>;

  PyStream(const PyLstm& lstm, std::int64_t batch)
      : stream_(std::visit([=](const auto& engine) { return make(engine, batch); }, lstm.engine())), batch_(batch) {
    std::visit(
        [&](const auto& stream) {
          const LstmConfig& config = stream.config();
          layers_ = config.num_layers;
          input_size_ = config.input_size;
          hidden_size_ = config.hidden_size;
          state_size_ = config.state_size();
        },
        stream_);
    const double depth = static_cast<double>(input_size_ + layers_ * state_size_);
    small_ = 4.0 * depth * static_cast<double>(hidden_size_ * batch_) < small_work;
  }

  template <class T>
  static Variant make(const Lstm<T>& lstm, std::int64_t batch) {
    check_size("batch_size", {batch, lstm.config().num_layers, lstm.config().hidden_size},
               16 * static_cast<std::int64_t>(sizeof(T)));
    return LstmStream<T>(lstm, batch);
  }

  template <class T>
  py::object step_of(LstmStream<T>& stream, py::handle x, py::handle out) {
    const Reader<T> reader(weights_type);
    py::array input = reader.array(x, "x");
    const bool one_row = input.ndim() == 1 && batch_ == 1;
    check_step_shape(input, "x", one_row, "C", input_size_);
    input = contiguous<T>(input);
    py::array output;
    if (out.is_none()) {
      output = py::reinterpret_steal<py::array>(one_row ? allocate<T, 1>({state_size_}).owner.release()
                                                        : allocate<T, 2>({batch_, state_size_}).owner.release());
    } else {
      output = py::reinterpret_borrow<py::array>(reader.writable_flat(out, "out").owner);
      check_step_shape(output, "out", one_row, "H", state_size_);
      check_apart(input, output);
    }
    const T* from = data_of<const T>(input);
    T* to = data_of<T>(output);
    const Claim claim(taken_, "stream");
    if (small_) {
      stream.step(from, to);
    } else {
      const WithoutGil released;
      stream.step(from, to);
    }
    return std::move(output);
  }

  void check_step_shape(const py::array& array, const char* name, bool one_row, const char* letter,
                        std::int64_t width) const {
    if (one_row) {
      check_shape<1>(array, name, {{{letter, width}}});
    } else {
      check_shape<2>(array, name, {{{"N", batch_}, {letter, width}}});
    }
  }

  static void check_apart(const py::array& x, const py::array& out) {
    const auto begin = [](const py::array& array) { return reinterpret_cast<std::uintptr_t>(array.data()); };
    const auto end = [&](const py::array& array) { return begin(array) + static_cast<std::uintptr_t>(array.nbytes()); };
    if (begin(x) < end(out) && begin(out) < end(x)) {
      fail_value("out: expected memory apart from that of x, got arrays that overlap");
    }
  }

  template <class T>
  py::tuple get_state_of(const LstmStream<T>& stream) {
    Argument<T, 3> h = allocate<T, 3>({layers_, batch_, state_size_});
    Argument<T, 3> c = allocate<T, 3>({layers_, batch_, hidden_size_});
    stream.get_state({h.view, c.view});
    return py::make_tuple(std::move(h.owner), std::move(c.owner));
  }

  template <class T>
  void set_state_of(LstmStream<T>& stream, py::handle h, py::handle c) {
    const Reader<T> reader(weights_type);
    const auto axes = [&](std::int64_t width) { return Axes<3>{{{"layers", layers_}, {"N", batch_}, {"H", width}}}; };
    const Argument<const T, 3> h_new = reader.template strided<3>(h, "state h", axes(state_size_));
    const Argument<const T, 3> c_new = reader.template strided<3>(c, "state c", axes(hidden_size_));
    stream.set_state({h_new.view, c_new.view});
  }

  /// Multiplications of a step below which letting other threads in costs more than it gives them.
  static constexpr double small_work = 1 << 16;

  Variant stream_;
  std::int64_t batch_;
  std::int64_t layers_ = 0;
  std::int64_t input_size_ = 0;
  std::int64_t hidden_size_ = 0;
  std::int64_t state_size_ = 0;
  bool small_ = true;
  std::atomic<bool> taken_{false};
};

}  // namespace

const std::variant<Lstm<float>, Lstm<double>>& engine_of(py::handle lstm) {
  return lstm.cast<const PyLstm&>().engine();
}

namespace {

/// Whether arrays, pair by pair, hold the same bytes; false where one is not contiguous.
bool same_bytes(const py::list& arrays, const py::list& others) {
  if (arrays.size() != others.size()) fail_value("others: expected as many arrays as in arrays");
  struct Pair {
    const void* first;
    const void* second;
    std::size_t bytes;
  };
  std::vector<Pair> pairs;
  pairs.reserve(arrays.size());
  for (std::size_t index = 0; index < arrays.size(); ++index) {
    const py::array first = as_array(arrays[index], "arrays", "numbers");
    const py::array second = as_array(others[index], "others", "numbers");
    if (!is_contiguous(first) || !is_contiguous(second) || first.nbytes() != second.nbytes()) return false;
    if (first.nbytes() > 0) pairs.push_back({first.data(), second.data(), static_cast<std::size_t>(first.nbytes())});
  }
  return std::all_of(pairs.begin(), pairs.end(), [](const Pair& pair) {
    constexpr std::size_t small = 1 << 18;  // what to let other threads in would take longer than
    if (pair.bytes <= small) return std::memcmp(pair.first, pair.second, pair.bytes) == 0;
    const WithoutGil released;
    return std::memcmp(pair.first, pair.second, pair.bytes) == 0;
  });
}

}  // namespace

void bind_lstm(py::module_& module) {
  module.def("same_bytes", &same_bytes, py::arg("arrays"), py::arg("others"),
             "Whether arrays, pair by pair, hold the same bytes.");
  py::class_<PyLstm>(module, "Lstm", "Packed weights; immutable.")
      .def(py::init<const LstmConfig&, py::handle, const std::string&>(), py::arg("config"), py::arg("weights"),
           py::arg("precision") = "fp32")
      .def_property_readonly("dtype", &PyLstm::dtype, "Element type of the weights.")
      .def_property_readonly("precision", &PyLstm::precision, "How exactly products are computed.")
      .def("forward", &PyLstm::forward, py::arg("x"), py::arg("h") = py::none(), py::arg("c") = py::none(),
           py::arg("lengths") = py::none(), py::arg("reset") = py::none(), py::arg("return_sequences") = true,
           py::arg("training") = false, py::arg("seed") = 0, py::arg("mask") = py::none(), py::arg("recompute") = 0,
           py::arg("random") = true, py::arg("time_major") = false, "Return y, h, c and, when training, a tape.")
      .def("begin", &PyLstm::begin, py::arg("batch_size"), py::arg("h") = py::none(), py::arg("c") = py::none(),
           py::arg("expected_steps") = 0, py::arg("seed") = 0, "Return a tape that is fed step by step.");

  py::class_<PyTape>(module, "LstmTape", "What a training forward keeps for its one backward.")
      .def_property_readonly("ready", &PyTape::ready, "True until the backward has run.")
      .def_property_readonly("nbytes", &PyTape::bytes, "Bytes held.")
      .def_property_readonly("dtype", &PyTape::dtype, "Element type of the forward.")
      .def_property_readonly("return_sequences", &PyTape::return_sequences, "What the forward was asked for.")
      .def_property_readonly("output_shape", &PyTape::output_shape, "(N, T, D*H).")
      .def_property_readonly("state_shape", &PyTape::state_shape, "Of h: (layers*D, N, H or P).")
      .def("new_gradients", &PyTape::new_gradients, "Return new arrays for the gradients of all weights, by name.")
      .def("parameters", &PyTape::parameters, "Name and shape of every weight, in order.")
      .def("step", &PyTape::step, py::arg("x_t"), py::arg("reset") = py::none(), "Append a step; return its output.")
      .def("get_state", &PyTape::get_state, "Return copies of h and c after the last step.")
      .def("backward", &PyTape::backward, py::arg("dy"), py::arg("dh"), py::arg("dc"), py::arg("need_x") = true,
           py::arg("need_state") = true, py::arg("weights") = py::none(),
           "Return dx, dh and dc; write weight gradients into the arrays of `weights`. Consumes the tape.");

  py::class_<PyStream>(module, "LstmStream", "One step at a time.")
      .def(py::init<const PyLstm&, py::handle>(), py::arg("lstm"), py::arg("batch_size") = 1)
      .def("step", &PyStream::step, py::arg("x"), py::arg("out") = py::none(), "Return the last layer's h.")
      .def("reset", &PyStream::reset, py::arg("row") = py::none(), "Zero the state of every row, or of one.")
      .def("get_state", &PyStream::get_state, "Return copies of h and c.")
      .def("set_state", &PyStream::set_state, py::arg("h"), py::arg("c"), "Set h and c.")
      .def_property_readonly("batch_size", &PyStream::batch_size, "N.")
      .def_property_readonly("dtype", &PyStream::dtype, "Element type of the weights.");
}

}  // namespace lstmcore::bindings
