// Jacobian-vector products of the LSTM, and their backward.
#include <lstmcore/tangent.hpp>
#include <memory>

#include "bind.hpp"
#include "lstm_arguments.hpp"
#include "packed.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

/// Tangents of the weights; absent where `weights` does not name one.
template <class T>
HeldCells<const T> read_weight_tangents(py::handle weights, const std::vector<LstmParameter>& parameters) {
  HeldCells<const T> held(parameters);
  if (weights.is_none()) return held;
  check_mapping(weights, "weights_tangent");
  check_names(weights, parameters, "weights_tangent");
  const Reader<T> reader(weights_type);
  for (const LstmParameter& parameter : parameters) {
    const py::object value = find_weight(weights, parameter.name);
    if (!value) continue;
    held.put(
        parameter,
        [&](const auto& axes, const char* name) {
          return reader.template strided<rank_of<decltype(axes)>>(value, name, axes);
        },
        "weights_tangent");
  }
  return held;
}

/// A forward with tangents whose backward has not run yet, with the engine that computed it.
template <class T>
struct PendingTangentBackward {
  LstmTangent<T> lstm;
  LstmTangentTape<T> tape{};
};

class PyTangentTape {
 public:
  template <class T>
  PyTangentTape(LstmTangent<T> lstm, std::int64_t batch, std::int64_t steps)
      : pending_(PendingTangentBackward<T>{std::move(lstm)}),
        config_(std::get<PendingTangentBackward<T>>(pending_).lstm.config()),
        batch_(batch),
        steps_(steps) {}

  template <class T>
  PendingTangentBackward<T>& pending() {
    return std::get<PendingTangentBackward<T>>(pending_);
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
  py::list parameters() const { return parameter_list(lstm_parameters(config_)); }

  py::tuple backward(py::handle dy, py::handle dh, py::handle dc, py::handle dy_tangent, py::handle dh_tangent,
                     py::handle dc_tangent, py::handle weights, py::handle weights_tangent) {
    const Claim claim(taken_, "tape");
    const std::array<py::handle, 3> outputs{dy, dh, dc};
    const std::array<py::handle, 3> tangents{dy_tangent, dh_tangent, dc_tangent};
    return std::visit([&](auto& pending) { return backward_of(pending, outputs, tangents, weights, weights_tangent); },
                      pending_);
  }

 private:
  template <class T>
  py::tuple backward_of(PendingTangentBackward<T>& pending, const std::array<py::handle, 3>& values,
                        const std::array<py::handle, 3>& tangents, py::handle weights, py::handle weights_tangent) {
    check_unused(pending.tape);
    const HeldOutputGradients<T> outputs(config_, batch_, steps_, values, {"dy", "dstate h", "dstate c"});
    const HeldOutputGradients<T> outputs_tangent(config_, batch_, steps_, tangents,
                                                 {"dy_tangent", "dstate_tangent h", "dstate_tangent c"});
    const std::vector<LstmParameter> parameters = lstm_parameters(config_);
    std::vector<py::object> owners;
    std::vector<py::object> owners_tangent;
    LstmWeightGradients<T> gradients = write_gradients<T>(weights, parameters, owners);
    LstmWeightGradients<T> gradients_tangent = write_gradients<T>(weights_tangent, parameters, owners_tangent);
    HeldInputGradients<T> inputs(config_, batch_, steps_, true, true);
    HeldInputGradients<T> inputs_tangent(config_, batch_, steps_, true, true);
    interruptibly(steps_, [&] {
      pending.lstm.backward(pending.tape, outputs.views(), outputs_tangent.views(), inputs.views(std::move(gradients)),
                            inputs_tangent.views(std::move(gradients_tangent)));
      pending.tape = LstmTangentTape<T>();  // frees the memory even if the caller holds on to the used tape
    });
    return py::make_tuple(inputs.x.take(), inputs.h.take(), inputs.c.take(), inputs_tangent.x.take(),
                          inputs_tangent.h.take(), inputs_tangent.c.take());
  }

  std::variant<PendingTangentBackward<float>, PendingTangentBackward<double>> pending_;
  LstmConfig config_;
  std::int64_t batch_;
  std::int64_t steps_;
  std::atomic<bool> taken_{false};
};

struct JvpArguments {
  py::handle x, h, c, lengths, reset, mask, x_tangent, h_tangent, c_tangent, weights_tangent;
  bool training;
  std::uint64_t seed;
};

template <class T>
py::tuple jvp_of(const Lstm<T>& engine, const JvpArguments& arguments) {
  const LstmConfig& config = engine.config();
  const HeldSequence<T> held(config, arguments.x, arguments.h, arguments.c, arguments.lengths, arguments.reset,
                             arguments.mask, true);
  const std::int64_t batch = held.batch();
  const std::int64_t steps = held.steps();
  LstmSequence<T> sequence = held.views(arguments.seed);
  sequence.random = arguments.training;
  const Reader<T> reader(weights_type);
  Argument<const T, 3> x_tangent;
  Argument<const T, 3> h_before;
  Argument<const T, 3> c_before;
  if (!arguments.x_tangent.is_none()) {
    x_tangent = reader.template strided<3>(arguments.x_tangent, "x_tangent",
                                           {{{"N", batch}, {"T", steps}, {"C", config.input_size}}});
  }
  if (!arguments.h_tangent.is_none()) {
    h_before = reader.template strided<3>(arguments.h_tangent, "state_tangent h", state_axes(h_shape(config, batch)));
  }
  if (!arguments.c_tangent.is_none()) {
    c_before = reader.template strided<3>(arguments.c_tangent, "state_tangent c", state_axes(c_shape(config, batch)));
  }
  const HeldCells<const T> weights = read_weight_tangents<T>(arguments.weights_tangent, lstm_parameters(config));

  Argument<T, 3> y = allocate<T, 3>({batch, steps, config.output_size()});
  Argument<T, 3> y_tangent = allocate<T, 3>({batch, steps, config.output_size()});
  Argument<T, 3> h = new_state(held.h, h_shape(config, batch));
  Argument<T, 3> c = new_state(held.c, c_shape(config, batch));
  Argument<T, 3> h_tangent = new_state(h_before, h_shape(config, batch));
  Argument<T, 3> c_tangent = new_state(c_before, c_shape(config, batch));
  std::unique_ptr<PyTangentTape> tape;
  interruptibly(steps, [&] {
    tape = std::make_unique<PyTangentTape>(LstmTangent<T>(engine, weights.cells), batch, steps);
    PendingTangentBackward<T>& pending = tape->pending<T>();
    pending.lstm.forward(sequence, x_tangent.view, y.view, y_tangent.view, {h.view, c.view},
                         {h_tangent.view, c_tangent.view}, pending.tape);
  });
  return py::make_tuple(y.take(), h.take(), c.take(), y_tangent.take(), h_tangent.take(), c_tangent.take(),
                        std::move(tape));
}

py::tuple jvp(py::handle lstm, py::handle x, py::handle h, py::handle c, py::handle lengths, py::handle reset,
              py::handle mask, py::handle x_tangent, py::handle h_tangent, py::handle c_tangent,
              py::handle weights_tangent, py::handle training, py::handle seed) {
  const JvpArguments arguments{x,
                               h,
                               c,
                               lengths,
                               reset,
                               mask,
                               x_tangent,
                               h_tangent,
                               c_tangent,
                               weights_tangent,
                               to_bool(training, "training"),
                               to_uint64(seed, "seed")};
  return std::visit([&](const auto& engine) { return jvp_of(engine, arguments); }, lstm.cast<const PyLstm&>().engine());
}

}  // namespace

void bind_tangent(py::module_& module) {
  py::class_<PyTangentTape>(module, "LstmTangentTape", "What a forward with tangents stores for its one backward.")
      .def_property_readonly("ready", &PyTangentTape::ready, "True until the backward has run.")
      .def_property_readonly("nbytes", &PyTangentTape::bytes, "Bytes held.")
      .def_property_readonly("dtype", &PyTangentTape::dtype, "Element type of the forward.")
      .def("parameters", &PyTangentTape::parameters, "Name and shape of every weight, in order.")
      .def("backward", &PyTangentTape::backward, py::arg("dy"), py::arg("dh"), py::arg("dc"), py::arg("dy_tangent"),
           py::arg("dh_tangent"), py::arg("dc_tangent"), py::arg("weights") = py::none(),
           py::arg("weights_tangent") = py::none(),
           "Return dx, dh and dc, and their tangents; write weight gradients and their tangents into the arrays of the "
           "mappings. Consumes the tape.");
  module.def("lstm_jvp", &jvp, py::arg("lstm"), py::arg("x"), py::arg("h"), py::arg("c"), py::arg("lengths"),
             py::arg("reset"), py::arg("mask"), py::arg("x_tangent"), py::arg("h_tangent"), py::arg("c_tangent"),
             py::arg("weights_tangent"), py::arg("training"), py::arg("seed"),
             "Return y, h and c, their tangents, and a tape.");
}

}  // namespace lstmcore::bindings
