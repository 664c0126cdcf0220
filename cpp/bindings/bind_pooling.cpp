// Pooling: the maximum or mean over all valid steps, and the maximum of windows of steps.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

py::tuple max_over_time_forward_array(py::handle x, py::handle lengths) {
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    auto y = allocate<T, 2>({input.extent(0), input.extent(2)});
    auto argmax = allocate<std::int64_t, 2>({input.extent(0), input.extent(2)});
    interruptibly_over({input.view.size()},
                       [&] { max_over_time_forward<T>(input.view, rows.view, y.view, argmax.view); });
    return py::make_tuple(y.take(), argmax.take());
  });
}

py::object max_over_time_backward_array(py::handle argmax, py::handle dy, py::handle steps) {
  const std::int64_t count = to_steps(steps);
  return dispatch(element_of(dy, "dy"), [&](auto zero) {
    using T = decltype(zero);
    const auto gradient = Reader<T>("dy").template contiguous<2>(dy, "dy", {{{"N"}, {"C"}}});
    const auto places = read_integers<2>(argmax, "argmax", {{{"N", gradient.extent(0)}, {"C", gradient.extent(1)}}});
    check_size("steps", {gradient.extent(0), count, gradient.extent(1)}, sizeof(T));
    auto dx = allocate<T, 3>({gradient.extent(0), count, gradient.extent(1)});
    interruptibly_over({dx.view.size()}, [&] { max_over_time_backward<T>(places.view, gradient.view, dx.view); });
    return dx.take();
  });
}

py::object mean_over_time_forward_array(py::handle x, py::handle lengths) {
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    auto y = allocate<T, 2>({input.extent(0), input.extent(2)});
    interruptibly_over({input.view.size()}, [&] { mean_over_time_forward<T>(input.view, rows.view, y.view); });
    return y.take();
  });
}

py::object mean_over_time_backward_array(py::handle lengths, py::handle dy, py::handle steps) {
  const std::int64_t count = to_steps(steps);
  return dispatch(element_of(dy, "dy"), [&](auto zero) {
    using T = decltype(zero);
    const auto gradient = Reader<T>("dy").template contiguous<2>(dy, "dy", {{{"N"}, {"C"}}});
    const auto rows = optional_lengths(lengths, gradient.extent(0));
    check_size("steps", {gradient.extent(0), count, gradient.extent(1)}, sizeof(T));
    auto dx = allocate<T, 3>({gradient.extent(0), count, gradient.extent(1)});
    interruptibly_over({dx.view.size()}, [&] { mean_over_time_backward<T>(rows.view, gradient.view, dx.view); });
    return dx.take();
  });
}

py::tuple max_pool1d_forward_array(py::handle x, py::handle lengths, py::handle pool_size, py::handle strides,
                                   py::handle padding) {
  const Windows windows = to_windows("pool_size", to_int64(pool_size, "pool_size"), strides, padding, py::int_(1));
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    const std::int64_t outputs = windows.count(input.extent(1));
    auto y = allocate<T, 3>({input.extent(0), outputs, input.extent(2)});
    auto argmax = allocate<std::int64_t, 3>({input.extent(0), outputs, input.extent(2)});
    interruptibly_over({y.view.size(), windows.size},
                       [&] { max_pool1d_forward<T>(input.view, rows.view, windows, y.view, argmax.view); });
    return py::make_tuple(y.take(), argmax.take());
  });
}

py::object max_pool1d_backward_array(py::handle argmax, py::handle dy, py::handle steps) {
  const std::int64_t count = to_steps(steps);
  return dispatch(element_of(dy, "dy"), [&](auto zero) {
    using T = decltype(zero);
    const auto gradient = Reader<T>("dy").template contiguous<3>(dy, "dy", {{{"N"}, {"windows"}, {"C"}}});
    const std::int64_t batch = gradient.extent(0);
    const std::int64_t width = gradient.extent(2);
    const auto places =
        read_integers<3>(argmax, "argmax", {{{"N", batch}, {"windows", gradient.extent(1)}, {"C", width}}});
    check_size("steps", {batch, count, width}, sizeof(T));
    auto dx = allocate<T, 3>({batch, count, width});
    interruptibly_over({dx.view.size()}, [&] { max_pool1d_backward<T>(places.view, gradient.view, dx.view); });
    return dx.take();
  });
}

}  // namespace

void bind_pooling(py::module_& module) {
  module.def("max_over_time_forward", &max_over_time_forward_array, py::arg("x"), py::arg("lengths"));
  module.def("max_over_time_backward", &max_over_time_backward_array, py::arg("argmax"), py::arg("dy"),
             py::arg("steps"));
  module.def("mean_over_time_forward", &mean_over_time_forward_array, py::arg("x"), py::arg("lengths"));
  module.def("mean_over_time_backward", &mean_over_time_backward_array, py::arg("lengths"), py::arg("dy"),
             py::arg("steps"));
  module.def("max_pool1d_forward", &max_pool1d_forward_array, py::arg("x"), py::arg("lengths"), py::arg("pool_size"),
             py::arg("strides"), py::arg("padding"));
  module.def("max_pool1d_backward", &max_pool1d_backward_array, py::arg("argmax"), py::arg("dy"), py::arg("steps"));
}

}  // namespace lstmcore::bindings
