// Losses, with their gradients.
#include "bind.hpp"
#include "op_arguments.hpp"

namespace lstmcore::bindings {

namespace {

py::tuple softmax_cross_entropy_array(py::handle logits, py::handle targets, py::handle weights, py::handle scale,
                                      py::handle need_gradient) {
  const double factor = to_double(scale, "scale");
  const bool with_gradient = to_bool(need_gradient, "need_gradient");
  return dispatch(element_of(logits, "logits"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("logits");
    const auto scores = reader.template contiguous<2>(logits, "logits", {{{"M"}, {"U"}}});
    const std::int64_t rows = scores.extent(0);
    const std::int64_t classes = scores.extent(1);
    const auto importance = optional<T, 1>(reader, weights, "weights", {{{"M", rows}}});
    const bool distribution =
        py::isinstance<py::array>(targets) && py::reinterpret_borrow<py::array>(targets).dtype().kind() == 'f';
    Argument<const T, 2> distributions;
    Argument<const std::int64_t, 1> labels;
    if (distribution) {
      distributions = reader.template contiguous<2>(targets, "targets", {{{"M", rows}, {"U", classes}}});
    } else {
      labels = read_integers<1>(targets, "targets", {{{"M", rows}}});
    }
    Argument<T, 2> gradient;
    if (with_gradient) gradient = allocate<T, 2>({rows, classes});
    const double loss = without_gil([&] {
      return distribution
                 ? softmax_cross_entropy<T>(scores.view, distributions.view, importance.view, factor, gradient.view)
                 : softmax_cross_entropy<T>(scores.view, labels.view, importance.view, factor, gradient.view);
    });
    return py::make_tuple(loss, gradient.take());
  });
}

py::tuple mean_squared_error_array(py::handle prediction, py::handle target, py::handle weights, py::handle scale,
                                   py::handle need_gradient) {
  const double factor = to_double(scale, "scale");
  const bool with_gradient = to_bool(need_gradient, "need_gradient");
  return dispatch(element_of(prediction, "prediction"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("prediction");
    const auto guess = reader.template contiguous<2>(prediction, "prediction", {{{"M"}, {"U"}}});
    const std::int64_t rows = guess.extent(0);
    const std::int64_t units = guess.extent(1);
    const auto truth = reader.template contiguous<2>(target, "target", {{{"M", rows}, {"U", units}}});
    const auto importance = optional<T, 1>(reader, weights, "weights", {{{"M", rows}}});
    Argument<T, 2> gradient;
    if (with_gradient) gradient = allocate<T, 2>({rows, units});
    const double loss = without_gil(
        [&] { return mean_squared_error<T>(guess.view, truth.view, importance.view, factor, gradient.view); });
    return py::make_tuple(loss, gradient.take());
  });
}

}  // namespace

void bind_losses(py::module_& module) {
  module.def("softmax_cross_entropy", &softmax_cross_entropy_array, py::arg("logits"), py::arg("targets"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
  module.def("mean_squared_error", &mean_squared_error_array, py::arg("prediction"), py::arg("target"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
}

}  // namespace lstmcore::bindings
