// Single steps on memory that Python holds, passed as addresses: a loop over a cell makes one call a step, and even an
// array's construction would be a noticeable part of it.
#include <pybind11/stl.h>

#include <lstmcore/cell.hpp>
#include <optional>

#include "bind.hpp"
#include "gil.hpp"
#include "lstm_arguments.hpp"
#include "packed.hpp"
#include "signals.hpp"
#include "tensors.hpp"

namespace lstmcore::bindings {

namespace {

using Address = std::uintptr_t;

/// Null for 0. PyTorch tells addresses as integers.
template <class T>
T* pointer_or_null(Address address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}
template <class T>
T* pointer(Address address, const char* name) {
  if (address == 0) fail_value(std::string(name) + ": expected the address of memory, got 0");
  return pointer_or_null<T>(address);
}

/// Computes steps with packed weights, as long as the memory that these were packed from is unchanged.
class PyCell {
 public:
  PyCell(const PyLstm& lstm, const py::list& originals, const py::list& copies)
      : cell_(cell_of(lstm, watched(originals, copies))) {
    for (const py::handle original : originals) originals_.push_back(py::cast<Address>(original));
  }

  static bool serves(const LstmConfig& config) { return LstmCell<float>::serves(config); }
  std::int64_t tape_width() const {
    return std::visit([](const auto& cell) { return cell.tape_width(); }, cell_);
  }
  std::int64_t gradient_width() const {
    return std::visit([](const auto& cell) { return cell.gradient_width(); }, cell_);
  }

  /// False if the weights' bytes are no longer those that were packed; what was written is then undefined.
  bool forward(std::int64_t batch, Address x, Address h, Address c, Address h_after, Address c_after, Address tape) {
    return std::visit(
        [&](const auto& cell) {
          using T = typename ElementOf<decltype(cell)>::type;
          const T *x_in = pointer<const T>(x, "x"), *h_in = pointer<const T>(h, "h"), *c_in = pointer<const T>(c, "c");
          T *h_out = pointer<T>(h_after, "h_after"), *c_out = pointer<T>(c_after, "c_after");
          const bool turn = turn_;
          turn_ = !turn;
          const WithoutGil released;
          return cell.forward(batch, x_in, h_in, c_in, h_out, c_out, pointer_or_null<T>(tape), turn);
        },
        cell_);
  }

  /// As `forward`, after a check of all tensors; None if some does not fit or is not the memory that was packed.
  std::optional<bool> step(const TensorReader& reader, py::handle x, py::handle h, py::handle c,
                           const py::tuple& weights, py::handle h_after, py::handle c_after, py::handle tape) {
    return std::visit(
        [&](const auto& cell) -> std::optional<bool> {
          using T = typename ElementOf<decltype(cell)>::type;
          const std::int64_t hidden = cell.config().hidden_size;
          const std::int64_t inputs = cell.config().input_size;
          const std::int64_t batch = reader.rows(x);
          if (batch < 1 || !same_memory<T>(reader, weights, inputs, hidden)) return std::nullopt;
          const T* x_in = reader.memory<T>(x, {batch, inputs});
          const T* h_in = reader.memory<T>(h, {batch, hidden});
          const T* c_in = reader.memory<T>(c, {batch, hidden});
          T* h_out = reader.memory<T>(h_after, {batch, hidden});
          T* c_out = reader.memory<T>(c_after, {batch, hidden});
          T* kept = tape.is_none() ? nullptr : reader.memory<T>(tape, {batch * cell.tape_width()});
          if (!x_in || !h_in || !c_in || !h_out || !c_out || (!kept && !tape.is_none())) return std::nullopt;
          const bool turn = turn_;
          turn_ = !turn;
          const WithoutGil released;
          return cell.forward(batch, x_in, h_in, c_in, h_out, c_out, kept, turn);
        },
        cell_);
  }

  void backward(std::int64_t batch, Address tape, Address dh, Address dc, Address dgates, Address dx, Address dh_before,
                Address dc_before) const {
    std::visit(
        [&](const auto& cell) {
          using T = typename ElementOf<decltype(cell)>::type;
          const T* tape_in = pointer<const T>(tape, "tape");
          T* dgates_out = pointer<T>(dgates, "dgates");
          const WithoutGil released;
          cell.backward(batch, tape_in, pointer_or_null<const T>(dh), pointer_or_null<const T>(dc), dgates_out,
                        pointer_or_null<T>(dx), pointer_or_null<T>(dh_before), pointer_or_null<T>(dc_before));
        },
        cell_);
  }

  void weight_gradients(const py::list& steps, const py::dict& gradients) const {
    std::visit([&](const auto& cell) { weight_gradients_of(cell, steps, gradients); }, cell_);
  }

 private:
  using Variant = std::variant<LstmCell<float>, LstmCell<double>>;
  template <class>
  struct ElementOf;
  template <template <class> class Of, class T>
  struct ElementOf<const Of<T>&> {
    using type = T;
  };

  /// Whether `weights` are w_ih, w_hh and perhaps two biases in the memory that was packed.
  template <class T>
  bool same_memory(const TensorReader& reader, const py::tuple& weights, std::int64_t inputs,
                   std::int64_t hidden) const {
    if (weights.size() != originals_.size()) return false;
    for (std::size_t index = 0; index < weights.size(); ++index) {
      const py::handle weight = weights[index];
      const T* memory = index >= 2 ? reader.memory<T>(weight, {4 * hidden})
                                   : reader.memory<T>(weight, {4 * hidden, index == 0 ? inputs : hidden});
      if (memory == nullptr || reinterpret_cast<Address>(memory) != originals_[index]) return false;
    }
    return true;
  }

  static std::vector<WatchedMemory> watched(const py::list& originals, const py::list& copies) {
    if (originals.size() != copies.size()) fail_value("copies: expected as many arrays as in originals");
    std::vector<WatchedMemory> watched;
    for (std::size_t index = 0; index < copies.size(); ++index) {
      const auto* original = pointer<const void>(py::cast<Address>(originals[index]), "originals");
      const py::array copy = as_array(copies[index], "copies", "numbers");
      if (!is_contiguous(copy)) fail_value("copies: expected contiguous arrays, got one that is not");
      watched.push_back({original, {copy.data(), static_cast<std::size_t>(copy.nbytes())}});
    }
    return watched;
  }

  static Variant cell_of(const PyLstm& lstm, std::vector<WatchedMemory> watched) {
    return std::visit(
        [&](const auto& engine) -> Variant {
          return LstmCell<typename ElementOf<decltype(engine)>::type>(engine, std::move(watched));
        },
        lstm.engine());
  }

  template <class T>
  static void weight_gradients_of(const LstmCell<T>& cell, const py::list& steps, const py::dict& gradients) {
    std::vector<LstmCellStep<T>> all;
    all.reserve(steps.size());
    std::int64_t rows = 0;
    for (const py::handle item : steps) {
      const auto [batch, x, h, dgates] = py::cast<std::tuple<std::int64_t, Address, Address, Address>>(item);
      rows += batch;
      all.push_back({batch, pointer<const T>(x, "x"), pointer<const T>(h, "h"), pointer<const T>(dgates, "dgates")});
    }
    std::vector<py::object> owners;
    const LstmWeightGradients<T> views = write_gradients<T>(gradients, lstm_parameters(cell.config()), owners);
    interruptibly_over({rows, cell.gradient_width(), cell.config().input_size + cell.config().hidden_size},
                       [&] { cell.weight_gradients(all, views.front()); });
  }

  Variant cell_;
  std::vector<Address> originals_;
  bool turn_ = false;  ///< changed while the GIL is held
};

}  // namespace

void bind_cell(py::module_& module) {
  py::class_<TensorReader>(module, "TensorReader", "Reads tensors of another library through DLPack's C functions.")
      .def(py::init<const py::capsule&, const py::tuple&>(), py::arg("functions"), py::arg("kinds"));
  py::class_<PyCell>(module, "LstmCell", "Single steps on memory given by its address.")
      .def(py::init<const PyLstm&, const py::list&, const py::list&>(), py::arg("lstm"), py::arg("originals"),
           py::arg("copies"))
      .def_static("serves", &PyCell::serves, py::arg("config"),
                  "Whether this class can compute single steps of a configuration.")
      .def_property_readonly("tape_width", &PyCell::tape_width, "Elements of a tape for each row.")
      .def_property_readonly("gradient_width", &PyCell::gradient_width, "Elements of dgates for each row.")
      .def("forward", &PyCell::forward, py::arg("batch"), py::arg("x"), py::arg("h"), py::arg("c"), py::arg("h_after"),
           py::arg("c_after"), py::arg("tape"), "Take a step, unless the weights have changed: then return False.")
      .def("step", &PyCell::step, py::arg("reader"), py::arg("x"), py::arg("h"), py::arg("c"), py::arg("weights"),
           py::arg("h_after"), py::arg("c_after"), py::arg("tape"),
           "Take a step with tensors; None if they do not fit, False if the weights have changed.")
      .def("backward", &PyCell::backward, py::arg("batch"), py::arg("tape"), py::arg("dh"), py::arg("dc"),
           py::arg("dgates"), py::arg("dx"), py::arg("dh_before"), py::arg("dc_before"),
           "Write the gradients of a step; addresses of 0 stand for what is absent.")
      .def("weight_gradients", &PyCell::weight_gradients, py::arg("steps"), py::arg("gradients"),
           "Write the weights' gradients, summed over steps (batch, x, h, dgates).");
}

}  // namespace lstmcore::bindings
