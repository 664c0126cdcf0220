// The simple RNN: packed weights, whole sequences, and the tape of its backward.
#include <lstmcore/rnn.hpp>
#include <memory>

#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

RnnConfig make_rnn_config(py::handle input_size, py::handle hidden_size, py::handle num_layers,
                          py::handle bidirectional, py::handle go_backwards, py::handle bias,
                          const std::string& activation, py::handle dropout, py::handle recurrent_dropout,
                          py::handle input_dropout) {
  RnnConfig config;
  config.input_size = to_int64(input_size, "input_size");
  config.hidden_size = to_int64(hidden_size, "hidden_size");
  config.num_layers = to_int64(num_layers, "num_layers");
  config.bidirectional = to_bool(bidirectional, "bidirectional");
  config.go_backwards = to_bool(go_backwards, "go_backwards");
  config.bias = to_bool(bias, "bias");
  config.activation = lstm_activation(activation, "activation").function;
  config.dropout = to_double(dropout, "dropout");
  config.recurrent_dropout = to_double(recurrent_dropout, "recurrent_dropout");
  config.input_dropout = to_double(input_dropout, "input_dropout");
  config.validate();
  return config;
}

/// The sizes, as the arguments that an LSTM and an RNN share are checked against.
LstmConfig sizes_of(const RnnConfig& config) {
  LstmConfig sizes;
  sizes.input_size = config.input_size;
  sizes.hidden_size = config.hidden_size;
  sizes.num_layers = config.num_layers;
  sizes.bidirectional = config.bidirectional;
  return sizes;
}

class PyRnnTape {
 public:
  template <class T>
  struct Pending {
    Rnn<T> rnn;
    LstmTape<T> tape{};
  };

  template <class T>
  PyRnnTape(const Rnn<T>& rnn, std::int64_t batch, std::int64_t steps, bool return_sequences)
      : pending_(Pending<T>{rnn}),
        sizes_(sizes_of(rnn.config())),
        batch_(batch),
        steps_(steps),
        sequences_(return_sequences) {}

  template <class T>
  Pending<T>& pending() {
    return std::get<Pending<T>>(pending_);
  }
  bool ready() {
    const Claim claim(taken_, "tape");
    return std::visit([](const auto& pending) { return pending.tape.ready(); }, pending_);
  }
  std::size_t bytes() {
    const Claim claim(taken_, "tape");
    return std::visit([](const auto& pending) { return pending.tape.bytes(); }, pending_);
  }
  py::dtype dtype() const { return dtype_of(pending_); }
  bool return_sequences() const { return sequences_; }
  py::tuple output_shape() const { return py::make_tuple(batch_, steps_, sizes_.output_size()); }
  py::tuple state_shape() const {
    const auto [cells, batch, size] = h_shape(sizes_, batch_);
    return py::make_tuple(cells, batch, size);
  }
  py::list parameters() const {
    return std::visit([](const auto& pending) { return parameter_list(pending.rnn.parameters()); }, pending_);
  }

  py::dict new_gradients() const {
    return dispatch(pending_.index() == 0 ? Element::f32 : Element::f64, [&](auto zero) {
      using T = decltype(zero);
      return allocate_gradients<T>(std::get<Pending<T>>(pending_).rnn.parameters());
    });
  }

  /// Returns dx and dh; writes the gradients of `weights` into its arrays. The tape is used up.
  py::tuple backward(py::handle dy, py::handle dh, py::handle need_x, py::handle need_state, py::handle weights) {
    const Claim claim(taken_, "tape");
    const bool with_x = to_bool(need_x, "need_x");
    const bool with_state = to_bool(need_state, "need_state");
    return std::visit([&](auto& pending) { return backward_of(pending, dy, dh, with_x, with_state, weights); },
                      pending_);
  }

 private:
  template <class T>
  py::tuple backward_of(Pending<T>& pending, py::handle dy, py::handle dh, bool need_x, bool need_state,
                        py::handle weights) {
    check_unused(pending.tape);
    const HeldOutputGradients<T> outputs(sizes_, batch_, steps_, {dy, dh, py::none()}, {"dy", "dh", ""});
    std::vector<py::object> owners;
    LstmWeightGradients<T> weight_gradients = write_gradients<T>(weights, pending.rnn.parameters(), owners);
    Argument<T, 3> dx;
    Argument<T, 3> dh_before;
    if (need_x) dx = allocate<T, 3>({batch_, steps_, sizes_.input_size});
    if (need_state) dh_before = allocate<T, 3>(h_shape(sizes_, batch_));
    interruptibly(steps_, [&] {
      pending.rnn.backward(pending.tape, {outputs.y.view, outputs.h.view},
                           {dx.view, dh_before.view, std::move(weight_gradients)});
      pending.tape = LstmTape<T>();  // frees the memory even if the caller holds on to the used tape
    });
    return py::make_tuple(dx.take(), dh_before.take());
  }

  std::variant<Pending<float>, Pending<double>> pending_;
  LstmConfig sizes_;
  std::int64_t batch_;
  std::int64_t steps_;
  bool sequences_;
  std::atomic<bool> taken_{false};
};

class PyRnn {
 public:
  using Engine = std::variant<Rnn<float>, Rnn<double>>;

  PyRnn(const RnnConfig& config, py::handle weights) : engine_(pack(config, weights)) {}

  py::dtype dtype() const { return dtype_of(engine_); }

  /// Returns y, h and, when training, a tape.
  py::tuple forward(py::handle x, py::handle h, py::handle lengths, py::handle reset, py::handle mask,
                    py::handle return_sequences, py::handle training, py::handle seed, py::handle recompute) const {
    const bool sequences = to_bool(return_sequences, "return_sequences");
    const bool with_tape = to_bool(training, "training");
    const std::uint64_t masks = to_uint64(seed, "seed");
    const std::int64_t again = to_int64(recompute, "recompute");
    return std::visit(
        [&](const auto& rnn) {
          return forward_of(rnn, x, h, lengths, reset, mask, sequences, with_tape, masks, again);
        },
        engine_);
  }

 private:
  static Engine pack(const RnnConfig& config, py::handle weights) {
    check_mapping(weights);
    const std::vector<LstmParameter> parameters = rnn_parameters(config);
    check_names(weights, parameters, "weights", parameters.size());
    const std::string& first = parameters.front().name;
    const py::object model = find_weight(weights, first);
    if (!model) fail_missing(weights, parameters, first);
    return dispatch(element_of(model, weight_name(first).c_str()), [&](auto zero) -> Engine {
      using T = decltype(zero);
      const HeldCells<const T> held = read_weights<T>(weights, parameters);
      const WithoutGil released;
      return Rnn<T>(config, held.cells);
    });
  }

  template <class T>
  static py::tuple forward_of(const Rnn<T>& rnn, py::handle x, py::handle h, py::handle lengths, py::handle reset,
                              py::handle mask, bool sequences, bool training, std::uint64_t seed,
                              std::int64_t recompute) {
    const LstmConfig sizes = sizes_of(rnn.config());
    const HeldSequence<T> held(sizes, x, h, py::none(), lengths, reset, mask, training);
    LstmSequence<T> sequence = held.views(seed);
    sequence.recompute = recompute;
    Argument<T, 3> y;
    if (sequences) y = allocate<T, 3>({held.batch(), held.steps(), sizes.output_size()});
    Argument<T, 3> h_after = new_state(held.h, h_shape(sizes, held.batch()));
    std::unique_ptr<PyRnnTape> tape;
    if (training) tape = std::make_unique<PyRnnTape>(rnn, held.batch(), held.steps(), sequences);
    interruptibly(held.steps(), [&] {
      if (tape) {
        rnn.forward(sequence, y.view, h_after.view, tape->template pending<T>().tape);
      } else {
        rnn.forward(sequence, y.view, h_after.view);
      }
    });
    return py::make_tuple(y.take(), h_after.take(), std::move(tape));
  }

  Engine engine_;
};

}  // namespace

void bind_rnn(py::module_& module) {
  py::class_<RnnConfig>(module, "RnnConfig", "Sizes and options of a simple RNN.")
      .def(py::init(&make_rnn_config), py::kw_only(), py::arg("input_size"), py::arg("hidden_size"),
           py::arg("num_layers") = 1, py::arg("bidirectional") = false, py::arg("go_backwards") = false,
           py::arg("bias") = true, py::arg("activation") = "tanh", py::arg("dropout") = 0.0,
           py::arg("recurrent_dropout") = 0.0, py::arg("input_dropout") = 0.0)
      .def(
          "parameters", [](const RnnConfig& config) { return parameter_list(rnn_parameters(config)); },
          "Name and shape of every weight, in order.");
  py::class_<PyRnnTape>(module, "RnnTape", "What a training forward stores for its one backward.")
      .def_property_readonly("ready", &PyRnnTape::ready, "True until the backward has run.")
      .def_property_readonly("nbytes", &PyRnnTape::bytes, "Bytes held.")
      .def_property_readonly("dtype", &PyRnnTape::dtype, "Element type of the forward.")
      .def_property_readonly("return_sequences", &PyRnnTape::return_sequences, "Whether the forward returned y.")
      .def_property_readonly("output_shape", &PyRnnTape::output_shape, "(N, T, D*H).")
      .def_property_readonly("state_shape", &PyRnnTape::state_shape, "Shape of h: (layers*D, N, H).")
      .def("new_gradients", &PyRnnTape::new_gradients, "Return new arrays for the gradients of all weights, by name.")
      .def("parameters", &PyRnnTape::parameters, "Name and shape of every weight, in order.")
      .def("backward", &PyRnnTape::backward, py::arg("dy"), py::arg("dh"), py::arg("need_x") = true,
           py::arg("need_state") = true, py::arg("weights") = py::none(),
           "Return dx and dh; write weight gradients into the arrays of `weights`. Consumes the tape.");
  py::class_<PyRnn>(module, "Rnn", "Packed weights of a simple RNN; immutable.")
      .def(py::init<const RnnConfig&, py::handle>(), py::arg("config"), py::arg("weights"))
      .def_property_readonly("dtype", &PyRnn::dtype, "Element type of the weights.")
      .def("forward", &PyRnn::forward, py::arg("x"), py::arg("h") = py::none(), py::arg("lengths") = py::none(),
           py::arg("reset") = py::none(), py::arg("mask") = py::none(), py::arg("return_sequences") = true,
           py::arg("training") = false, py::arg("seed") = 0, py::arg("recompute") = 0,
           "Return y, h and, when training, a tape.");
}

}  // namespace lstmcore::bindings
