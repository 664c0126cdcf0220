// The tape: its backward, and the steps that are appended to it one at a time.
#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"
#include "signals.hpp"
#include "tape.hpp"

namespace lstmcore::bindings {

bool PyTape::ready() {
  const Claim claim(taken_, "tape");
  return std::visit([](const auto& pending) { return pending.tape.ready(); }, pending_);
}

std::size_t PyTape::bytes() {
  const Claim claim(taken_, "tape");
  return std::visit([](const auto& pending) { return pending.tape.bytes(); }, pending_);
}

py::tuple PyTape::output_shape() const { return py::make_tuple(batch_, steps_, config_.output_size()); }

py::tuple PyTape::state_shape() const {
  const auto [cells, batch, size] = h_shape(config_, batch_);
  return py::make_tuple(cells, batch, size);
}

py::list PyTape::parameters() const {
  return std::visit([](const auto& pending) { return parameter_list(pending.lstm.parameters()); }, pending_);
}

py::dict PyTape::new_gradients() const {
  return dispatch(pending_.index() == 0 ? Element::f32 : Element::f64, [&](auto zero) {
    using T = decltype(zero);
    return allocate_gradients<T>(std::get<PendingBackward<T>>(pending_).lstm.parameters());
  });
}

// ---- one step at a time ---------------------------------------------------------------------------------------------

py::object PyTape::step(py::handle x, py::handle reset) {
  const Claim claim(taken_, "tape");
  return std::visit([&](auto& pending) { return step_of(pending, x, reset); }, pending_);
}

template <class T>
py::object PyTape::step_of(PendingBackward<T>& pending, py::handle x, py::handle reset) {
  const Reader<T> reader(tape_type);
  const auto input = reader.template strided<2>(x, "x_t", {{{"N", batch_}, {"C", config_.input_size}}});
  check_size("x_t", {batch_, steps_ + 1, config_.num_layers, config_.output_size()}, growing_tape_bytes<T>);
  Argument<const bool, 1> resets;
  if (!reset.is_none()) resets = read_bools<1>(reset, "reset", {{{"N", batch_}}});
  Argument<T, 2> y = allocate<T, 2>({batch_, config_.output_size()});
  {
    const WithoutGil released;
    pending.lstm.step(input.view, y.view, resets.view, pending.tape);
  }
  ++steps_;
  return y.take();
}

py::tuple PyTape::get_state() {
  const Claim claim(taken_, "tape");
  return std::visit([&](const auto& pending) { return get_state_of(pending); }, pending_);
}

template <class T>
py::tuple PyTape::get_state_of(const PendingBackward<T>& pending) const {
  Argument<T, 3> h = allocate<T, 3>(h_shape(config_, batch_));
  Argument<T, 3> c = allocate<T, 3>(c_shape(config_, batch_));
  pending.lstm.get_state(pending.tape, {h.view, c.view});
  return py::make_tuple(h.take(), c.take());
}

// ---- the backward ---------------------------------------------------------------------------------------------------

py::tuple PyTape::backward(py::handle dy, py::handle dh, py::handle dc, py::handle need_x, py::handle need_state,
                           py::handle weights) {
  const Claim claim(taken_, "tape");
  const bool with_x = to_bool(need_x, "need_x");
  const bool with_state = to_bool(need_state, "need_state");
  return std::visit([&](auto& pending) { return backward_of(pending, dy, dh, dc, with_x, with_state, weights); },
                    pending_);
}

template <class T>
py::tuple PyTape::backward_of(PendingBackward<T>& pending, py::handle dy, py::handle dh, py::handle dc, bool need_x,
                              bool need_state, py::handle weights) {
  check_unused(pending.tape);
  const HeldOutputGradients<T> outputs(config_, batch_, steps_, {dy, dh, dc}, {"dy", "dstate h", "dstate c"});
  std::vector<py::object> owners;
  LstmWeightGradients<T> weight_gradients = write_gradients<T>(weights, pending.lstm.parameters(), owners);

  HeldInputGradients<T> inputs(config_, batch_, steps_, need_x, need_state, time_major_);
  interruptibly(steps_, [&] {
    pending.lstm.backward(pending.tape, outputs.views(), inputs.views(std::move(weight_gradients)));
    pending.tape = LstmTape<T>();  // frees the memory even if the caller holds on to the used tape
  });
  return py::make_tuple(inputs.x.take(), inputs.h.take(), inputs.c.take());
}

void bind_tape(py::module_& module) {
  py::class_<PyTape, std::shared_ptr<PyTape>>(module, "LstmTape",
                                              "What a training forward stores for its one backward.")
      .def_property_readonly("ready", &PyTape::ready, "True until the backward has run.")
      .def_property_readonly("nbytes", &PyTape::bytes, "Bytes held.")
      .def_property_readonly("dtype", &PyTape::dtype, "Element type of the forward.")
      .def_property_readonly("return_sequences", &PyTape::return_sequences, "Whether the forward returned y.")
      .def_property_readonly("output_shape", &PyTape::output_shape, "(N, T, D*H).")
      .def_property_readonly("state_shape", &PyTape::state_shape, "Shape of h: (layers*D, N, H or P).")
      .def("new_gradients", &PyTape::new_gradients, "Return new arrays for the gradients of all weights, by name.")
      .def("parameters", &PyTape::parameters, "Name and shape of every weight, in order.")
      .def("step", &PyTape::step, py::arg("x_t"), py::arg("reset") = py::none(), "Append a step; return its output.")
      .def("get_state", &PyTape::get_state, "Return copies of h and c after the last step.")
      .def("backward", &PyTape::backward, py::arg("dy"), py::arg("dh"), py::arg("dc"), py::arg("need_x") = true,
           py::arg("need_state") = true, py::arg("weights") = py::none(),
           "Return dx, dh and dc; write weight gradients into the arrays of `weights`. Consumes the tape.");
}

}  // namespace lstmcore::bindings
