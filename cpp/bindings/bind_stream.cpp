// Streams: one step at a time, for inference.
#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"
#include "packed.hpp"

namespace lstmcore::bindings {

namespace {

/// Multiplications of a step below which releasing the GIL costs more time than other threads gain by it.
constexpr double multiplications_to_release = 1 << 16;

class PyStream {
 public:
  PyStream(const PyLstm& lstm, py::handle batch_size) : PyStream(lstm, to_int64(batch_size, "batch_size")) {}

  py::object step(py::handle x, py::handle out) {
    return std::visit([&](auto& stream) { return step_of(stream, x, out); }, stream_);
  }

  void reset(py::handle row) {
    const Claim claim(taken_, "stream");
    if (row.is_none()) {
      std::visit([](auto& stream) { stream.reset(); }, stream_);
      return;
    }
    const std::int64_t index = to_int64(row, "row");
    if (index < 0 || index >= batch_) {
      fail_value("row: expected 0 to " + std::to_string(batch_ - 1) + ", got " + std::to_string(index));
    }
    std::visit([=](auto& stream) { stream.reset(index); }, stream_);
  }

  py::tuple get_state() {
    const Claim claim(taken_, "stream");
    return std::visit([&](const auto& stream) { return get_state_of(stream); }, stream_);
  }

  void set_state(py::handle h, py::handle c) {
    const Claim claim(taken_, "stream");
    std::visit([&](auto& stream) { set_state_of(stream, h, c); }, stream_);
  }

  std::int64_t batch_size() const { return batch_; }
  py::dtype dtype() const { return dtype_of(stream_); }

 private:
  using Variant = std::variant<LstmStream<float>, LstmStream<double>>;

  PyStream(const PyLstm& lstm, std::int64_t batch)
      : stream_(std::visit([=](const auto& engine) { return make(engine, batch); }, lstm.engine())), batch_(batch) {
    const LstmConfig& config =
        std::visit([](const auto& stream) -> const LstmConfig& { return stream.config(); }, stream_);
    layers_ = config.num_layers;
    input_size_ = config.input_size;
    hidden_size_ = config.hidden_size;
    state_size_ = config.state_size();
    const double depth = static_cast<double>(input_size_ + layers_ * state_size_);
    holds_gil_ = 4.0 * depth * static_cast<double>(hidden_size_ * batch_) < multiplications_to_release;
  }

  template <class T>
  static Variant make(const Lstm<T>& lstm, std::int64_t batch) {
    check_size("batch_size", {batch, lstm.config().num_layers, lstm.config().hidden_size}, stream_bytes<T>);
    return LstmStream<T>(lstm, batch);
  }

  template <class T>
  py::object step_of(LstmStream<T>& stream, py::handle x, py::handle out) {
    const Reader<T> reader(weights_type);
    py::array input = reader.array(x, "x");
    const bool one_row = input.ndim() == 1 && batch_ == 1;
    check_step_shape(input, "x", one_row, "C", input_size_);
    input = contiguous<T>(input);
    py::array output;
    if (out.is_none()) {
      output = py::reinterpret_steal<py::array>(one_row ? allocate<T, 1>({state_size_}).owner.release()
                                                        : allocate<T, 2>({batch_, state_size_}).owner.release());
    } else {
      output = py::reinterpret_borrow<py::array>(reader.writable_flat(out, "out").owner);
      check_step_shape(output, "out", one_row, "H", state_size_);
      check_apart(input, output);
    }
    const T* from = data_of<const T>(input);
    T* to = data_of<T>(output);
    const Claim claim(taken_, "stream");
    if (holds_gil_) {
      stream.step(from, to);
    } else {
      const WithoutGil released;
      stream.step(from, to);
    }
    return std::move(output);
  }

  void check_step_shape(const py::array& array, const char* name, bool one_row, const char* letter,
                        std::int64_t width) const {
    if (one_row) {
      check_shape<1>(array, name, {{{letter, width}}});
    } else {
      check_shape<2>(array, name, {{{"N", batch_}, {letter, width}}});
    }
  }

  static void check_apart(const py::array& x, const py::array& out) {
    const auto begin = [](const py::array& array) { return reinterpret_cast<std::uintptr_t>(array.data()); };
    const auto end = [&](const py::array& array) { return begin(array) + static_cast<std::uintptr_t>(array.nbytes()); };
    if (begin(x) < end(out) && begin(out) < end(x)) {
      fail_value("out: expected memory apart from that of x, got arrays that overlap");
    }
  }

  template <class T>
  py::tuple get_state_of(const LstmStream<T>& stream) const {
    Argument<T, 3> h = allocate<T, 3>({layers_, batch_, state_size_});
    Argument<T, 3> c = allocate<T, 3>({layers_, batch_, hidden_size_});
    stream.get_state({h.view, c.view});
    return py::make_tuple(h.take(), c.take());
  }

  template <class T>
  void set_state_of(LstmStream<T>& stream, py::handle h, py::handle c) {
    const Reader<T> reader(weights_type);
    const auto axes = [&](std::int64_t width) { return Axes<3>{{{"layers", layers_}, {"N", batch_}, {"H", width}}}; };
    const Argument<const T, 3> h_new = reader.template strided<3>(h, "state h", axes(state_size_));
    const Argument<const T, 3> c_new = reader.template strided<3>(c, "state c", axes(hidden_size_));
    stream.set_state({h_new.view, c_new.view});
  }

  Variant stream_;
  std::int64_t batch_;
  std::int64_t layers_ = 0;
  std::int64_t input_size_ = 0;
  std::int64_t hidden_size_ = 0;
  std::int64_t state_size_ = 0;
  bool holds_gil_ = true;
  std::atomic<bool> taken_{false};
};

}  // namespace

void bind_stream(py::module_& module) {
  py::class_<PyStream>(module, "LstmStream", "One step at a time.")
      .def(py::init<const PyLstm&, py::handle>(), py::arg("lstm"), py::arg("batch_size") = 1)
      .def("step", &PyStream::step, py::arg("x"), py::arg("out") = py::none(), "Return the last layer's h.")
      .def("reset", &PyStream::reset, py::arg("row") = py::none(), "Zero the state of every row, or of one.")
      .def("get_state", &PyStream::get_state, "Return copies of h and c.")
      .def("set_state", &PyStream::set_state, py::arg("h"), py::arg("c"), "Set h and c.")
      .def_property_readonly("batch_size", &PyStream::batch_size, "N.")
      .def_property_readonly("dtype", &PyStream::dtype, "Element type of the weights.");
}

}  // namespace lstmcore::bindings
