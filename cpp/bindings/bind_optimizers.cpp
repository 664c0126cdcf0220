// Optimizer steps, in place: all arrays of a step have the same shape, which may be any.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

void sgd_step_array(py::handle parameter, py::handle gradient, py::handle velocity, py::handle learning_rate,
                    py::handle momentum, py::handle nesterov) {
  const double rate = to_double(learning_rate, "learning_rate");
  const double inertia = to_double(momentum, "momentum");
  const bool ahead = to_bool(nesterov, "nesterov");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = values.array();
    const auto gradients = reader.flat_like(gradient, "gradient", model);
    Argument<T, 1> velocities;
    if (!velocity.is_none()) velocities = reader.writable_flat_like(velocity, "velocity", model);
    without_gil([&] { sgd_step<T>(values.view, gradients.view, velocities.view, rate, inertia, ahead); });
  });
}

void rmsprop_step_array(py::handle parameter, py::handle gradient, py::handle mean_square, py::handle learning_rate,
                        py::handle rho, py::handle epsilon) {
  const double rate = to_double(learning_rate, "learning_rate");
  const double decay = to_double(rho, "rho");
  const double offset = to_double(epsilon, "epsilon");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = values.array();
    const auto gradients = reader.flat_like(gradient, "gradient", model);
    const auto squares = reader.writable_flat_like(mean_square, "mean_square", model);
    without_gil([&] { rmsprop_step<T>(values.view, gradients.view, squares.view, rate, decay, offset); });
  });
}

void adam_step_array(py::handle parameter, py::handle gradient, py::handle m, py::handle v, py::handle step,
                     py::handle learning_rate, py::handle beta1, py::handle beta2, py::handle epsilon,
                     py::handle weight_decay) {
  const std::int64_t count = to_int64(step, "step");
  const double rate = to_double(learning_rate, "learning_rate");
  const double decay1 = to_double(beta1, "beta1");
  const double decay2 = to_double(beta2, "beta2");
  const double offset = to_double(epsilon, "epsilon");
  const double shrinkage = to_double(weight_decay, "weight_decay");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = values.array();
    const auto gradients = reader.flat_like(gradient, "gradient", model);
    const auto first = reader.writable_flat_like(m, "m", model);
    const auto second = reader.writable_flat_like(v, "v", model);
    without_gil([&] {
      adam_step<T>(values.view, gradients.view, first.view, second.view, count, rate, decay1, decay2, offset,
                   shrinkage);
    });
  });
}

double squared_norm_array(py::handle values) {
  return dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").flat(values, "values");
    return interruptibly_over({flat.view.size()}, [&] { return squared_norm<T>(flat.view); });
  });
}

void scale_array(py::handle values, py::handle factor) {
  const double number = to_double(factor, "factor");
  dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").writable_flat(values, "values");
    without_gil([&] { scale<T>(flat.view, number); });
  });
}

void clip_array(py::handle values, py::handle limit) {
  const double number = to_double(limit, "limit");
  dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").writable_flat(values, "values");
    without_gil([&] { clip<T>(flat.view, number); });
  });
}

}  // namespace

void bind_optimizers(py::module_& module) {
  module.def("sgd_step", &sgd_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("velocity"),
             py::arg("learning_rate"), py::arg("momentum"), py::arg("nesterov"));
  module.def("rmsprop_step", &rmsprop_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("mean_square"),
             py::arg("learning_rate"), py::arg("rho"), py::arg("epsilon"));
  module.def("adam_step", &adam_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("m"), py::arg("v"),
             py::arg("step"), py::arg("learning_rate"), py::arg("beta1"), py::arg("beta2"), py::arg("epsilon"),
             py::arg("weight_decay"));
  module.def("squared_norm", &squared_norm_array, py::arg("values"));
  module.def("scale", &scale_array, py::arg("values"), py::arg("factor"));
  module.def("clip", &clip_array, py::arg("values"), py::arg("limit"));
}

}  // namespace lstmcore::bindings
