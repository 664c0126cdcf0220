// Captures of amplifiers: what a file holds, and streams that play it.
#include <lstmcore/capture.hpp>

#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

Capture capture_of(const py::bytes& contents) {
  try {
    return parse_capture(std::string(contents));
  } catch (const std::runtime_error& error) {
    fail_value(error.what());
  }
}

py::array_t<float> copied(const std::vector<float>& values, std::vector<py::ssize_t> shape) {
  return py::array_t<float>(std::move(shape), values.data());
}

/// The arrays of a layer by the names that they have in models.
py::dict layer_arrays(const CaptureLayer& layer) {
  using namespace py::literals;
  const auto in = static_cast<py::ssize_t>(layer.input_size), out = static_cast<py::ssize_t>(layer.output_size);
  if (!layer.recurrent)
    return py::dict("kernel"_a = copied(layer.kernel, {in, out}), "bias"_a = copied(layer.bias, {out}));
  return py::dict("weight_ih_l0"_a = copied(layer.weight_ih, {4 * out, in}),
                  "weight_hh_l0"_a = copied(layer.weight_hh, {4 * out, out}),
                  "bias_l0"_a = copied(layer.bias, {4 * out}), "h"_a = copied(layer.h, {1, 1, out}),
                  "c"_a = copied(layer.c, {1, 1, out}));
}

/// ("lstm" or the dense layer's activation, arrays) of every layer.
py::list layers_of(const Capture& capture) {
  py::list layers;
  for (const CaptureLayer& layer : capture.layers) {
    const char* const kind = layer.recurrent ? "lstm" : activation_name(layer.activation);
    layers.append(py::make_tuple(kind, layer_arrays(layer)));
  }
  return layers;
}

class PyCaptureStream {
 public:
  explicit PyCaptureStream(const Capture& capture) : stream_(capture) {}

  py::object process(py::handle x) {
    const auto samples = Reader<float>("the capture").contiguous<1>(x, "x", {{{"samples"}}});
    auto y = allocate<float, 1>({samples.extent(0)});
    const Claim claim(taken_, "stream");
    play(samples.extent(0), [&](std::int64_t begin, std::int64_t count) {
      stream_.process(samples.view.data + begin, y.view.data + begin, count);
    });
    return y.take();
  }

  void set_control(py::handle index, py::handle value) {
    const std::int64_t at = to_int64(index, "index");
    if (at < 0 || at >= stream_.controls()) {
      fail_value("index: expected a control below " + std::to_string(stream_.controls()) + ", got " +
                 std::to_string(at));
    }
    const auto number = static_cast<float>(to_double(value, "value"));
    const Claim claim(taken_, "stream");
    stream_.set_control(at, number);
  }

  void reset() {
    const Claim claim(taken_, "stream");
    stream_.reset();
  }

  void settle(py::handle count) {
    const std::int64_t samples = to_int64(count, "count");
    if (samples < 0) fail_value("count: expected at least 0, got " + std::to_string(samples));
    const Claim claim(taken_, "stream");
    play(samples, [&](std::int64_t, std::int64_t part) { stream_.settle(part); });
  }

 private:
  /// Calls body(begin, count) for all samples, part by part. If a signal handler ends it, the state is as it was
  /// before.
  template <class Body>
  void play(std::int64_t samples, Body&& body) {
    state_.resize(static_cast<std::size_t>(stream_.state_size()));
    stream_.get_state(state_.data());
    interruptibly_in_ranges(samples, body, [&] { stream_.set_state(state_.data()); });
  }

  CaptureStream stream_;
  std::vector<float> state_;  ///< before the call that runs
  std::atomic<bool> taken_{false};
};

}  // namespace

void bind_capture(py::module_& module) {
  py::class_<Capture>(module, "Capture", "What the file of a capture holds.")
      .def(py::init(&capture_of), py::arg("contents"))
      .def_property_readonly("format", [](const Capture& capture) { return capture_format_name(capture.format); })
      .def_property_readonly("name", [](const Capture& capture) { return capture.name; })
      .def_property_readonly("sample_rate", [](const Capture& capture) { return capture.sample_rate; })
      .def_property_readonly("input_size", [](const Capture& capture) { return capture.input_size; })
      .def_property_readonly("skip", [](const Capture& capture) { return capture.skip; })
      .def_property_readonly("input_gain", [](const Capture& capture) { return capture.input_gain; })
      .def_property_readonly("output_gain", [](const Capture& capture) { return capture.output_gain; })
      .def_property_readonly("levels",
                             [](const Capture& capture) {
                               const auto value = [](const std::optional<double>& level) -> py::object {
                                 if (level) return py::float_(*level);
                                 return py::none();
                               };
                               return py::make_tuple(value(capture.loudness), value(capture.input_level),
                                                     value(capture.output_level));
                             })
      .def_property_readonly("layers", &layers_of);
  module.attr("most_capture_bytes") = most_capture_bytes;
  py::class_<PyCaptureStream>(module, "CaptureStream", "Plays a capture.")
      .def(py::init<const Capture&>(), py::arg("capture"))
      .def("process", &PyCaptureStream::process, py::arg("x"))
      .def("set_control", &PyCaptureStream::set_control, py::arg("index"), py::arg("value"))
      .def("reset", &PyCaptureStream::reset)
      .def("settle", &PyCaptureStream::settle, py::arg("count"));
}

}  // namespace lstmcore::bindings
