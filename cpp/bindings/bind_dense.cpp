// Dense layers.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

py::object dense_forward_array(py::handle x, py::handle kernel, py::handle bias, py::handle activation) {
  const Activation function = activation_named(activation);
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<2>(x, "x", {{{"M"}, {"C"}}});
    const auto matrix = reader.template contiguous<2>(kernel, "kernel", {{{"C", input.extent(1)}, {"U"}}});
    const auto offset = optional<T, 1>(reader, bias, "bias", {{{"U", matrix.extent(1)}}});
    check_size("x", {input.extent(0), matrix.extent(1)}, sizeof(T));
    auto y = allocate<T, 2>({input.extent(0), matrix.extent(1)});
    interruptibly_over({input.extent(0), input.extent(1), matrix.extent(1)},
                       [&] { dense_forward<T>(input.view, matrix.view, offset.view, function, y.view); });
    return y.take();
  });
}

py::object dense_backward_array(py::handle x, py::handle kernel, py::handle y, py::handle dy, py::handle activation,
                                py::handle need_x, py::handle dkernel, py::handle dbias) {
  const Activation function = activation_named(activation);
  const bool with_x = to_bool(need_x, "need_x");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<2>(x, "x", {{{"M"}, {"C"}}});
    const std::int64_t rows = input.extent(0);
    const std::int64_t width = input.extent(1);
    const auto matrix = reader.template contiguous<2>(kernel, "kernel", {{{"C", width}, {"U"}}});
    const std::int64_t units = matrix.extent(1);
    const auto output = reader.template contiguous<2>(y, "y", {{{"M", rows}, {"U", units}}});
    const auto gradient = reader.template contiguous<2>(dy, "dy", {{{"M", rows}, {"U", units}}});
    const auto dmatrix = optional_writable<T, 2>(reader, dkernel, "dkernel", {{{"C", width}, {"U", units}}});
    const auto doffset = optional_writable<T, 1>(reader, dbias, "dbias", {{{"U", units}}});
    Argument<T, 2> dx;
    if (with_x) dx = allocate<T, 2>({rows, width});
    interruptibly_over({rows, width, units}, [&] {
      dense_backward<T>(input.view, matrix.view, output.view, gradient.view, function, dx.view, dmatrix.view,
                        doffset.view);
    });
    return dx.take();
  });
}

}  // namespace

void bind_dense(py::module_& module) {
  module.def("dense_forward", &dense_forward_array, py::arg("x"), py::arg("kernel"), py::arg("bias"),
             py::arg("activation"));
  module.def("dense_backward", &dense_backward_array, py::arg("x"), py::arg("kernel"), py::arg("y"), py::arg("dy"),
             py::arg("activation"), py::arg("need_x"), py::arg("dkernel"), py::arg("dbias"));
}

}  // namespace lstmcore::bindings
