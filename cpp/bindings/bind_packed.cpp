// Packed weights: whole sequences, forward, and new tapes.
#include <lstmcore/fingerprint.hpp>
#include <vector>

#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"
#include "packed.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

PyLstm::PyLstm(const LstmConfig& config, py::handle weights, const std::string& precision)
    : engine_(pack(config, weights, precision_of(precision, "precision"))) {}

PyLstm::Engine PyLstm::pack(const LstmConfig& config, py::handle weights, Precision precision) {
  check_mapping(weights);
  const std::vector<LstmParameter> parameters = lstm_parameters(config);
  check_names(weights, parameters, "weights", parameters.size());
  const std::string& first = parameters.front().name;
  const py::object model = find_weight(weights, first);
  if (!model) fail_missing(weights, parameters, first);
  return dispatch(element_of(model, weight_name(first).c_str()), [&](auto zero) -> Engine {
    using T = decltype(zero);
    const HeldCells<const T> held = read_weights<T>(weights, parameters);
    const WithoutGil released;
    return Lstm<T>(config, held.cells, precision);
  });
}

std::string PyLstm::precision() const {
  return std::visit([](const auto& lstm) { return precision_name(lstm.precision()); }, engine_);
}

py::tuple PyLstm::forward(py::handle x, py::handle h, py::handle c, py::handle lengths, py::handle reset,
                          py::handle return_sequences, py::handle training, py::handle seed, py::handle mask,
                          py::handle recompute, py::handle random, py::handle time_major) const {
  const Options options{to_bool(return_sequences, "return_sequences"),
                        to_bool(training, "training"),
                        to_uint64(seed, "seed"),
                        to_int64(recompute, "recompute"),
                        to_bool(random, "random"),
                        to_bool(time_major, "time_major")};
  return std::visit([&](const auto& lstm) { return forward_of(lstm, x, h, c, lengths, reset, mask, options); },
                    engine_);
}

template <class T>
py::tuple PyLstm::forward_of(const Lstm<T>& lstm, py::handle x, py::handle h, py::handle c, py::handle lengths,
                             py::handle reset, py::handle mask, const Options& options) {
  const LstmConfig& config = lstm.config();
  const HeldSequence<T> held(config, x, h, c, lengths, reset, mask, options.training);
  const std::int64_t batch = held.batch();
  const std::int64_t steps = held.steps();
  LstmSequence<T> sequence = held.views(options.seed);
  sequence.recompute = options.recompute;
  sequence.random = options.random;
  Argument<T, 3> y;
  if (options.return_sequences) {
    y = allocate_sequences<T>({batch, steps, config.output_size()}, options.time_major);
  }
  Argument<T, 3> h_after = new_state(held.h, h_shape(config, batch));
  Argument<T, 3> c_after = new_state(held.c, c_shape(config, batch));
  const LstmState<T> state{h_after.view, c_after.view};
  std::shared_ptr<PyTape> tape;
  if (options.training) {
    tape = std::make_shared<PyTape>(lstm, batch, steps, options.return_sequences, options.time_major);
  }
  interruptibly(steps, [&] {
    if (tape) {
      lstm.forward(sequence, y.view, state, tape->template pending<T>().tape);
    } else {
      lstm.forward(sequence, y.view, state);
    }
  });
  return py::make_tuple(y.take(), h_after.take(), c_after.take(), std::move(tape));
}

std::shared_ptr<PyTape> PyLstm::begin(py::handle batch_size, py::handle h, py::handle c, py::handle expected_steps,
                                      py::handle seed) const {
  const std::int64_t batch = to_int64(batch_size, "batch_size");
  const std::int64_t steps = to_int64(expected_steps, "expected_steps");
  const std::uint64_t masks = to_uint64(seed, "seed");
  return std::visit([&](const auto& lstm) { return begin_of(lstm, batch, h, c, steps, masks); }, engine_);
}

template <class T>
std::shared_ptr<PyTape> PyLstm::begin_of(const Lstm<T>& lstm, std::int64_t batch, py::handle h, py::handle c,
                                         std::int64_t expected_steps, std::uint64_t seed) {
  const LstmConfig& config = lstm.config();
  const Reader<T> reader(weights_type);
  check_size("batch_size", {batch, config.num_layers, config.output_size()}, growing_tape_bytes<T>);
  Argument<const T, 3> h_before;
  Argument<const T, 3> c_before;
  if (!h.is_none()) h_before = reader.template strided<3>(h, "state h", state_axes(h_shape(config, batch)));
  if (!c.is_none()) c_before = reader.template strided<3>(c, "state c", state_axes(c_shape(config, batch)));
  auto tape = std::make_shared<PyTape>(lstm, batch, 0, true);
  lstm.begin(batch, {h_before.view, c_before.view}, tape->template pending<T>().tape, expected_steps, seed);
  return tape;
}

namespace {

/// The fingerprints of arrays from which weights were packed, to notice that they must be packed again.
class PyFingerprints {
 public:
  explicit PyFingerprints(const py::list& arrays) {
    for (const py::handle item : arrays) {
      const py::array array = as_array(item, "arrays", "numbers");
      if (!is_contiguous(array)) fail_value("arrays: expected contiguous ones, got one that is not");
      all_.emplace_back(array.data(), bytes_of(array));
    }
  }

  /// False where an array has another size or is not contiguous.
  bool match(const py::list& arrays) const {
    if (arrays.size() != all_.size()) fail_value("arrays: expected as many as before");
    for (std::size_t index = 0; index < all_.size(); ++index) {
      const py::array array = as_array(arrays[index], "arrays", "numbers");
      if (!is_contiguous(array) || bytes_of(array) != all_[index].bytes()) return false;
      constexpr std::size_t small = 1 << 18;  // bytes that take less time to read than to release the GIL
      if (bytes_of(array) <= small) {
        if (!all_[index].matches(array.data())) return false;
      } else {
        const WithoutGil released;
        if (!all_[index].matches(array.data())) return false;
      }
    }
    return true;
  }

 private:
  static std::size_t bytes_of(const py::array& array) { return static_cast<std::size_t>(array.nbytes()); }

  std::vector<Fingerprint> all_;
};

}  // namespace

void bind_packed(py::module_& module) {
  py::class_<PyFingerprints>(module, "Fingerprints", "What remains of arrays, to notice that one has changed.")
      .def(py::init<const py::list&>(), py::arg("arrays"))
      .def("match", &PyFingerprints::match, py::arg("arrays"), "Whether these arrays hold the same bytes.");
  py::class_<PyLstm>(module, "Lstm", "Packed weights; immutable.")
      .def(py::init<const LstmConfig&, py::handle, const std::string&>(), py::arg("config"), py::arg("weights"),
           py::arg("precision") = "fp32")
      .def_property_readonly("dtype", &PyLstm::dtype, "Element type of the weights.")
      .def_property_readonly("precision", &PyLstm::precision, "Name of the precision of products.")
      .def("forward", &PyLstm::forward, py::arg("x"), py::arg("h") = py::none(), py::arg("c") = py::none(),
           py::arg("lengths") = py::none(), py::arg("reset") = py::none(), py::arg("return_sequences") = true,
           py::arg("training") = false, py::arg("seed") = 0, py::arg("mask") = py::none(), py::arg("recompute") = 0,
           py::arg("random") = true, py::arg("time_major") = false, "Return y, h, c and, when training, a tape.")
      .def("begin", &PyLstm::begin, py::arg("batch_size"), py::arg("h") = py::none(), py::arg("c") = py::none(),
           py::arg("expected_steps") = 0, py::arg("seed") = 0, "Return a tape to append steps to.");
}

}  // namespace lstmcore::bindings
