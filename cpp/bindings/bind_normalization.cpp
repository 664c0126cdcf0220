// Layer normalization.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

py::tuple layer_norm_forward_array(py::handle x, py::handle lengths, py::handle gain, py::handle shift,
                                   py::handle epsilon) {
  const double offset = to_double(epsilon, "epsilon");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const std::int64_t width = input.extent(2);
    const auto rows = optional_lengths(lengths, input.extent(0));
    const auto factor = optional<T, 1>(reader, gain, "gain", {{{"C", width}}});
    const auto summand = optional<T, 1>(reader, shift, "shift", {{{"C", width}}});
    auto y = allocate<T, 3>(input.view.shape);
    auto moments = allocate<T, 3>({input.extent(0), input.extent(1), 2});
    interruptibly_over({input.view.size()}, [&] {
      layer_norm_forward<T>(input.view, rows.view, factor.view, summand.view, offset, y.view, moments.view);
    });
    return py::make_tuple(y.take(), moments.take());
  });
}

py::object layer_norm_backward_array(py::handle x, py::handle lengths, py::handle gain, py::handle moments,
                                     py::handle dy, py::handle need_x, py::handle dgain, py::handle dshift) {
  const bool with_x = to_bool(need_x, "need_x");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const std::int64_t batch = input.extent(0);
    const std::int64_t steps = input.extent(1);
    const std::int64_t width = input.extent(2);
    const auto rows = optional_lengths(lengths, batch);
    const auto factor = optional<T, 1>(reader, gain, "gain", {{{"C", width}}});
    const auto means = reader.template contiguous<3>(moments, "moments", {{{"N", batch}, {"T", steps}, {"2", 2}}});
    const auto gradient = reader.template contiguous<3>(dy, "dy", {{{"N", batch}, {"T", steps}, {"C", width}}});
    const auto dfactor = optional_writable<T, 1>(reader, dgain, "dgain", {{{"C", width}}});
    const auto dsummand = optional_writable<T, 1>(reader, dshift, "dshift", {{{"C", width}}});
    Argument<T, 3> dx;
    if (with_x) dx = allocate<T, 3>(input.view.shape);
    interruptibly_over({input.view.size()}, [&] {
      layer_norm_backward<T>(input.view, rows.view, factor.view, means.view, gradient.view, dx.view, dfactor.view,
                             dsummand.view);
    });
    return dx.take();
  });
}

}  // namespace

void bind_normalization(py::module_& module) {
  module.def("layer_norm_forward", &layer_norm_forward_array, py::arg("x"), py::arg("lengths"), py::arg("gain"),
             py::arg("shift"), py::arg("epsilon"));
  module.def("layer_norm_backward", &layer_norm_backward_array, py::arg("x"), py::arg("lengths"), py::arg("gain"),
             py::arg("moments"), py::arg("dy"), py::arg("need_x"), py::arg("dgain"), py::arg("dshift"));
}

}  // namespace lstmcore::bindings
