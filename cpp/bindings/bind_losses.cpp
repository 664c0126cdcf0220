// Losses, with their gradients.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

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
    const double loss = interruptibly_over({rows, classes}, [&] {
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
    const double loss = interruptibly_over({rows, units}, [&] {
      return mean_squared_error<T>(guess.view, truth.view, importance.view, factor, gradient.view);
    });
    return py::make_tuple(loss, gradient.take());
  });
}

py::tuple ctc_array(py::handle logits, py::handle lengths, py::handle targets, py::handle target_lengths,
                    py::handle blank, py::handle weights, py::handle zero_infinite, py::handle scale,
                    py::handle need_gradient) {
  const std::int64_t blank_class = to_int64(blank, "blank");
  const double factor = to_double(scale, "scale");
  const bool zeroed = to_bool(zero_infinite, "zero_infinite"), with_gradient = to_bool(need_gradient, "need_gradient");
  return dispatch(element_of(logits, "logits"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("logits");
    const auto scores = reader.template contiguous<3>(logits, "logits", {{{"N"}, {"T"}, {"U"}}});
    const std::int64_t rows = scores.extent(0);
    const auto steps = optional_lengths(lengths, rows);
    const auto labels = read_integers<2>(targets, "targets", {{{"N", rows}, {"S"}}});
    const auto counts = read_integers<1>(target_lengths, "target_lengths", {{{"N", rows}}});
    const auto importance = optional<T, 1>(reader, weights, "weights", {{{"N", rows}}});
    Argument<T, 3> gradient;
    if (with_gradient) gradient = allocate<T, 3>({rows, scores.extent(1), scores.extent(2)});
    const double loss = interruptibly(rows * scores.extent(1), [&] {
      return ctc<T>(scores.view, steps.view, labels.view, counts.view, blank_class, importance.view, zeroed, factor,
                    gradient.view);
    });
    return py::make_tuple(loss, gradient.take());
  });
}

}  // namespace

void bind_losses(py::module_& module) {
  module.def("softmax_cross_entropy", &softmax_cross_entropy_array, py::arg("logits"), py::arg("targets"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
  module.def("mean_squared_error", &mean_squared_error_array, py::arg("prediction"), py::arg("target"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
  module.def("ctc", &ctc_array, py::arg("logits"), py::arg("lengths"), py::arg("targets"), py::arg("target_lengths"),
             py::arg("blank"), py::arg("weights"), py::arg("zero_infinite"), py::arg("scale"),
             py::arg("need_gradient"));
}

}  // namespace lstmcore::bindings
