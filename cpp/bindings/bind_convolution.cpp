// Convolution over time, with a kernel packed for each call or once.
#include <variant>

#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

py::object conv1d_forward_array(py::handle x, py::handle lengths, py::handle kernel, py::handle bias,
                                py::handle strides, py::handle padding, py::handle dilation_rate,
                                py::handle activation) {
  const Activation function = activation_named(activation);
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    const auto matrix = reader.template contiguous<3>(kernel, "kernel", {{{"K"}, {"C", input.extent(2)}, {"F"}}});
    const auto offset = optional<T, 1>(reader, bias, "bias", {{{"F", matrix.extent(2)}}});
    if (matrix.extent(0) < 1) fail_value("kernel: expected at least one step, got none");
    const Windows windows = to_windows("kernel", matrix.extent(0), strides, padding, dilation_rate);
    const std::int64_t outputs = windows.count(input.extent(1));
    check_size("x", {input.extent(0), outputs, matrix.extent(2)}, sizeof(T));
    auto y = allocate<T, 3>({input.extent(0), outputs, matrix.extent(2)});
    interruptibly_over({input.extent(0), outputs, matrix.view.size()}, [&] {
      conv1d_forward<T>(input.view, rows.view, matrix.view, offset.view, windows, function, y.view);
    });
    return y.take();
  });
}

py::object conv1d_backward_array(py::handle x, py::handle lengths, py::handle kernel, py::handle y, py::handle dy,
                                 py::handle strides, py::handle padding, py::handle dilation_rate,
                                 py::handle activation, py::handle need_x, py::handle dkernel, py::handle dbias) {
  const Activation function = activation_named(activation);
  const bool with_x = to_bool(need_x, "need_x");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const std::int64_t batch = input.extent(0);
    const std::int64_t width = input.extent(2);
    const auto rows = optional_lengths(lengths, batch);
    const auto matrix = reader.template contiguous<3>(kernel, "kernel", {{{"K"}, {"C", width}, {"F"}}});
    const std::int64_t size = matrix.extent(0);
    const std::int64_t filters = matrix.extent(2);
    if (size < 1) fail_value("kernel: expected at least one step, got none");
    const Windows windows = to_windows("kernel", size, strides, padding, dilation_rate);
    const Axes<3> outputs = {{{"N", batch}, {"windows", windows.count(input.extent(1))}, {"F", filters}}};
    const auto output = reader.template contiguous<3>(y, "y", outputs);
    const auto gradient = reader.template contiguous<3>(dy, "dy", outputs);
    const auto dmatrix =
        optional_writable<T, 3>(reader, dkernel, "dkernel", {{{"K", size}, {"C", width}, {"F", filters}}});
    const auto doffset = optional_writable<T, 1>(reader, dbias, "dbias", {{{"F", filters}}});
    Argument<T, 3> dx;
    if (with_x) dx = allocate<T, 3>(input.view.shape);
    interruptibly_over({gradient.view.size(), size, width}, [&] {
      conv1d_backward<T>(input.view, rows.view, matrix.view, output.view, gradient.view, windows, function, dx.view,
                         dmatrix.view, doffset.view);
    });
    return dx.take();
  });
}

/// A convolution with its kernel packed once.
class PyConvolution {
 public:
  PyConvolution(py::handle kernel, py::handle bias, py::handle strides, py::handle dilation_rate, py::handle activation)
      : packed_(make(kernel, bias, strides, dilation_rate, activation)) {}

  py::object forward(py::handle x, py::handle before, py::handle after) const {
    const std::int64_t front = to_int64(before, "before"), back = to_int64(after, "after");
    return std::visit([&](const auto& packed) { return forward_of(packed, x, front, back); }, packed_);
  }

 private:
  using Variant = std::variant<PackedConvolution<float>, PackedConvolution<double>>;

  static Variant make(py::handle kernel, py::handle bias, py::handle strides, py::handle dilation_rate,
                      py::handle activation) {
    const Activation function = activation_named(activation);
    return dispatch(element_of(kernel, "kernel"), [&](auto zero) -> Variant {
      using T = decltype(zero);
      const Reader<T> reader("kernel");
      const auto matrix = reader.template contiguous<3>(kernel, "kernel", {{{"K"}, {"C"}, {"F"}}});
      const auto offset = optional<T, 1>(reader, bias, "bias", {{{"F", matrix.extent(2)}}});
      if (matrix.extent(0) < 1) fail_value("kernel: expected at least one step, got none");
      const Windows windows = to_windows("kernel", matrix.extent(0), strides, py::str("valid"), dilation_rate);
      return PackedConvolution<T>(matrix.view, offset.view, windows.stride, windows.dilation, function);
    });
  }

  template <class T>
  static py::object forward_of(const PackedConvolution<T>& packed, py::handle x, std::int64_t before,
                               std::int64_t after) {
    const std::int64_t features = packed.kernel_shape()[1], filters = packed.kernel_shape()[2];
    const auto input = Reader<T>("kernel").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C", features}}});
    const std::int64_t outputs = packed.count(input.extent(1), before, after);
    check_size("x", {input.extent(0), outputs, filters}, sizeof(T));
    auto y = allocate<T, 3>({input.extent(0), outputs, filters});
    interruptibly_over({y.view.size(), packed.kernel_shape()[0], features},
                       [&] { packed.forward(input.view, before, after, y.view); });
    return y.take();
  }

  Variant packed_;
};

}  // namespace

void bind_convolution(py::module_& module) {
  module.def("conv1d_forward", &conv1d_forward_array, py::arg("x"), py::arg("lengths"), py::arg("kernel"),
             py::arg("bias"), py::arg("strides"), py::arg("padding"), py::arg("dilation_rate"), py::arg("activation"));
  module.def("conv1d_backward", &conv1d_backward_array, py::arg("x"), py::arg("lengths"), py::arg("kernel"),
             py::arg("y"), py::arg("dy"), py::arg("strides"), py::arg("padding"), py::arg("dilation_rate"),
             py::arg("activation"), py::arg("need_x"), py::arg("dkernel"), py::arg("dbias"));
  py::class_<PyConvolution>(module, "PackedConv1d", "A convolution with its kernel packed once.")
      .def(py::init<py::handle, py::handle, py::handle, py::handle, py::handle>(), py::arg("kernel"),
           py::arg("bias") = py::none(), py::arg("strides") = 1, py::arg("dilation_rate") = 1,
           py::arg("activation") = "linear")
      .def("forward", &PyConvolution::forward, py::arg("x"), py::arg("before") = 0, py::arg("after") = 0,
           "Return the outputs, with this many zeros before and after each sequence.");
}

}  // namespace lstmcore::bindings
