// Windows over time, which convolution and pooling share.
#include "bind.hpp"
#include "op_arguments.hpp"

namespace lstmcore::bindings {

namespace {

py::object window_counts(py::handle steps, py::handle size, py::handle strides, py::handle padding,
                         py::handle dilation_rate) {
  const Windows windows = to_windows("size", to_int64(size, "size"), strides, padding, dilation_rate);
  const auto lengths = read_integers<1>(steps, "steps", {{{"N"}}});
  auto counts = allocate<std::int64_t, 1>({lengths.extent(0)});
  for (std::int64_t n = 0; n < lengths.extent(0); ++n) {
    const std::int64_t length = lengths.view.data[n];
    if (length < 0) fail_value("steps: expected numbers of at least 0, got " + std::to_string(length));
    counts.view.data[n] = windows.count(length);
  }
  return counts.take();
}

}  // namespace

void bind_windows(py::module_& module) {
  module.def("window_counts", &window_counts, py::arg("steps"), py::arg("size"), py::arg("strides"), py::arg("padding"),
             py::arg("dilation_rate"));
}

}  // namespace lstmcore::bindings
