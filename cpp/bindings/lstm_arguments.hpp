// Arguments of the LSTM's functions as views, together with the arrays that own their memory: weights by name,
// sequences, states, gradients.
#pragma once

#include <algorithm>
#include <cstring>
#include <lstmcore/lstm.hpp>
#include <vector>

#include "arrays.hpp"

namespace lstmcore::bindings {

// What an argument must share its element type with, as errors name it.
constexpr const char* weights_type = "the weights";
constexpr const char* tape_type = "the tape";

// More bytes than a row's step takes for each unit of a layer's output. `check_size` refuses what could not be counted.

/// In a tape: gates, c and h, twice over.
template <class T>
constexpr std::int64_t tape_bytes = 12 * static_cast<std::int64_t>(sizeof(T));
/// In a tape that steps are appended to: a buffer that grows takes twice what it needs.
template <class T>
constexpr std::int64_t growing_tape_bytes = 2 * tape_bytes<T>;
/// In a stream.
template <class T>
constexpr std::int64_t stream_bytes = 16 * static_cast<std::int64_t>(sizeof(T));

// ---- weights by name ------------------------------------------------------------------------------------------------

inline std::string weight_name(const std::string& name, const char* what = "weights") {
  return std::string(what) + "['" + name + "']";
}

/// weights[name], or a null object.
inline py::object find_weight(py::handle weights, const std::string& name) {
  auto value = py::reinterpret_steal<py::object>(PyObject_GetItem(weights.ptr(), py::str(name).ptr()));
  if (!value) {
    if (PyErr_ExceptionMatches(PyExc_KeyError) == 0) throw py::error_already_set();
    PyErr_Clear();
  }
  return value;
}

inline void check_mapping(py::handle weights, const char* what = "weights") {
  if (PyDict_Check(weights.ptr()) != 0) return;
  if (PyMapping_Check(weights.ptr()) == 0 || !py::hasattr(weights, "keys")) {
    fail_type(what, "a mapping from names to NumPy arrays", weights);
  }
}

/// Throws ValueError if `weights` has a name that no parameter has. A dict of `expected` entries is not searched: if it
/// had such a name, it would lack a parameter, which the caller reports.
inline void check_names(py::handle weights, const std::vector<LstmParameter>& parameters, const char* what = "weights",
                        std::size_t expected = 0) {
  if (PyDict_CheckExact(weights.ptr()) && static_cast<std::size_t>(PyDict_GET_SIZE(weights.ptr())) == expected) return;
  for (const py::handle key : weights) {
    const std::string name = py::str(key);
    const bool known = std::any_of(parameters.begin(), parameters.end(),
                                   [&](const LstmParameter& parameter) { return parameter.name == name; });
    if (!known) {
      std::string names;
      for (const LstmParameter& parameter : parameters) names.append(names.empty() ? "" : ", ").append(parameter.name);
      fail_value(std::string(what) + ": expected no names but " + names + ", got '" + name + "'");
    }
  }
}

[[noreturn]] inline void fail_missing(py::handle weights, const std::vector<LstmParameter>& parameters,
                                      const std::string& name) {
  check_names(weights, parameters);  // a misspelt name is the better explanation
  fail_value("weights: expected an array named '" + name + "', got none");
}

/// Views of the weights of all cells, or (Element not const) of arrays for their gradients, and the arrays themselves.
template <class Element>
struct HeldCells {
  std::vector<LstmCellWeights<Element>> cells;
  std::vector<py::object> owners;

  explicit HeldCells(const std::vector<LstmParameter>& parameters)
      : cells(static_cast<std::size_t>(parameters.back().cell) + 1) {}

  /// Stores the argument that read(axes, name) returns as the view of this parameter.
  template <class Read>
  void put(const LstmParameter& parameter, Read&& read, const char* what = "weights") {
    const std::string name = weight_name(parameter.name, what);
    cells[static_cast<std::size_t>(parameter.cell)].visit(parameter.tensor, [&](auto& view) {
      auto argument = read(axes_of<std::decay_t<decltype(view)>::rank>(parameter), name.c_str());
      view = argument.view;
      owners.push_back(std::move(argument.owner));
    });
  }

 private:
  template <int Rank>
  static Axes<Rank> axes_of(const LstmParameter& parameter) {
    Axes<Rank> axes;
    const bool of_units = parameter.tensor == LstmTensor::gain_c || parameter.tensor == LstmTensor::bias_c;
    const char* const rows = of_units || parameter.gates == 1 ? "H" : "4H";
    axes[0] = {parameter.tensor == LstmTensor::peephole ? "3H" : rows, parameter.shape[0]};
    if constexpr (Rank == 2) {
      axes[1] = {parameter.tensor == LstmTensor::weight_ih ? "C" : "H", parameter.shape[1]};
      if (parameter.tensor == LstmTensor::weight_hr) axes[0].letter = "P";
    }
    return axes;
  }
};

template <class Axes>
constexpr int rank_of = static_cast<int>(std::tuple_size_v<std::decay_t<Axes>>);

template <class T>
HeldCells<const T> read_weights(py::handle weights, const std::vector<LstmParameter>& parameters) {
  const std::string first = weight_name(parameters.front().name);
  const Reader<T> reader(first.c_str());
  HeldCells<const T> held(parameters);
  for (const LstmParameter& parameter : parameters) {
    const py::object value = find_weight(weights, parameter.name);
    if (!value) fail_missing(weights, parameters, parameter.name);
    held.put(parameter, [&](const auto& axes, const char* name) {
      return reader.template strided<rank_of<decltype(axes)>>(value, name, axes);
    });
  }
  return held;
}

/// New arrays for the gradients of all weights, by name.
template <class T>
py::dict allocate_gradients(const std::vector<LstmParameter>& parameters) {
  py::dict gradients;
  for (const LstmParameter& parameter : parameters) {
    const auto& shape = parameter.shape;
    gradients[py::str(parameter.name)] =
        shape.size() == 1 ? allocate<T, 1>({shape[0]}).owner : allocate<T, 2>({shape[0], shape[1]}).owner;
  }
  return gradients;
}

/// The arrays of the mapping `gradients`, to write into; absent for weights that it does not name.
template <class T>
LstmWeightGradients<T> write_gradients(py::handle gradients, const std::vector<LstmParameter>& parameters,
                                       std::vector<py::object>& owners) {
  if (gradients.is_none()) return {};
  check_mapping(gradients);
  const Reader<T> reader(tape_type);
  HeldCells<T> held(parameters);
  std::size_t found = 0;
  for (const LstmParameter& parameter : parameters) {
    const py::object value = find_weight(gradients, parameter.name);
    if (!value) continue;
    ++found;
    held.put(parameter, [&](const auto& axes, const char* name) {
      return reader.template writable<rank_of<decltype(axes)>>(value, name, axes);
    });
  }
  check_names(gradients, parameters, "weights", found);
  owners = std::move(held.owners);
  return std::move(held.cells);
}

// ---- states ---------------------------------------------------------------------------------------------------------

/// Shapes of h and c.
inline std::array<std::int64_t, 3> h_shape(const LstmConfig& config, std::int64_t batch) {
  return {config.num_layers * config.directions(), batch, config.state_size()};
}
inline std::array<std::int64_t, 3> c_shape(const LstmConfig& config, std::int64_t batch) {
  return {config.num_layers * config.directions(), batch, config.hidden_size};
}

inline Axes<3> state_axes(const std::array<std::int64_t, 3>& shape) {
  return {{{"layers*D", shape[0]}, {"N", shape[1]}, {"H", shape[2]}}};
}

template <class T>
void copy(const View<const T, 3>& from, const View<T, 3>& to) {
  for (std::int64_t i = 0; i < from.shape[0]; ++i) {
    for (std::int64_t j = 0; j < from.shape[1]; ++j) {
      const T* source = from.data + i * from.stride[0] + j * from.stride[1];
      T* target = to.data + i * to.stride[0] + j * to.stride[1];
      for (std::int64_t k = 0; k < from.shape[2]; ++k) target[k] = source[k * from.stride[2]];
    }
  }
}

/// A new array for a state: a copy of `initial`, or zeros if that is absent.
template <class T>
Argument<T, 3> new_state(const Argument<const T, 3>& initial, const std::array<std::int64_t, 3>& shape) {
  Argument<T, 3> state = allocate<T, 3>(shape);
  if (initial.view) {
    copy(initial.view, state.view);
  } else {
    std::fill_n(state.view.data, state.view.size(), T(0));
  }
  return state;
}

// ---- sequences ------------------------------------------------------------------------------------------------------

/// x, its initial state, and which of its steps are valid.
template <class T>
struct HeldSequence {
  Argument<const T, 3> x, h, c;
  Argument<const std::int64_t, 1> lengths;
  Argument<const bool, 2> reset, mask;

  HeldSequence(const LstmConfig& config, py::handle x_in, py::handle h_in, py::handle c_in, py::handle lengths_in,
               py::handle reset_in, py::handle mask_in, bool with_tape) {
    const Reader<T> reader(weights_type);
    x = reader.template strided<3>(x_in, "x", {{{"N"}, {"T"}, {"C", config.input_size}}});
    check_sizes(config, with_tape);
    if (!h_in.is_none()) h = reader.template strided<3>(h_in, "state h", state_axes(h_shape(config, batch())));
    if (!c_in.is_none()) c = reader.template strided<3>(c_in, "state c", state_axes(c_shape(config, batch())));
    if (!lengths_in.is_none()) lengths = read_integers<1>(lengths_in, "lengths", {{{"N", batch()}}});
    const Axes<2> axes{{{"N", batch()}, {"T", steps()}}};
    if (!reset_in.is_none()) reset = read_bools<2>(reset_in, "reset", axes);
    if (!mask_in.is_none()) mask = read_bools<2>(mask_in, "mask", axes);
  }

  std::int64_t batch() const { return x.extent(0); }
  std::int64_t steps() const { return x.extent(1); }
  LstmSequence<T> views(std::uint64_t seed) const {
    LstmSequence<T> sequence(x.view);
    sequence.lengths = lengths.view;
    sequence.reset = reset.view;
    sequence.mask = mask.view;
    sequence.seed = seed;
    return sequence;
  }

 private:
  /// A broadcast x may be far larger than memory: the bytes of x, of the output and of the tape must at least be
  /// countable.
  void check_sizes(const LstmConfig& config, bool with_tape) const {
    const auto bytes_each = static_cast<std::int64_t>(sizeof(T));
    check_size("x", {batch(), steps(), config.input_size}, bytes_each);
    check_size("x", {batch(), steps(), config.output_size()}, bytes_each);
    if (with_tape) check_size("x", {batch(), steps(), config.num_layers, config.output_size()}, tape_bytes<T>);
  }
};

/// A new array (N, T, width); with `time_major` its memory is laid out as (T, N, width).
template <class T>
Argument<T, 3> allocate_sequences(const std::array<std::int64_t, 3>& shape, bool time_major) {
  if (!time_major) return allocate<T, 3>(shape);
  const Argument<T, 3> by_time = allocate<T, 3>({shape[1], shape[0], shape[2]});
  const View<T, 3> view(by_time.view.data, shape, {shape[2], shape[0] * shape[2], 1});
  return {by_time.owner.attr("swapaxes")(0, 1), view};
}

// ---- gradients ------------------------------------------------------------------------------------------------------

/// Throws ValueError if the tape's backward has run.
template <class Tape>
void check_unused(const Tape& tape) {
  if (tape.ready()) return;
  fail_value("tape: expected one whose backward has not run yet, got one that was used already");
}

/// Gradients with respect to y, h and c, or their tangents, each of which may be None.
template <class T>
struct HeldOutputGradients {
  Argument<const T, 3> y, h, c;

  HeldOutputGradients(const LstmConfig& config, std::int64_t batch, std::int64_t steps,
                      const std::array<py::handle, 3>& values, const std::array<const char*, 3>& names) {
    const Reader<T> reader(tape_type);
    const Axes<3> axes{{{"N", batch}, {"T", steps}, {"D*H", config.output_size()}}};
    if (!values[0].is_none()) y = reader.template rows<3>(values[0], names[0], axes);
    if (!values[1].is_none()) {
      h = reader.template strided<3>(values[1], names[1], state_axes(h_shape(config, batch)));
    }
    if (!values[2].is_none()) {
      c = reader.template strided<3>(values[2], names[2], state_axes(c_shape(config, batch)));
    }
  }
  LstmOutputGradients<T> views() const { return {y.view, h.view, c.view}; }
};

/// New arrays for the gradients with respect to x, h and c, or for their tangents.
template <class T>
struct HeldInputGradients {
  Argument<T, 3> x, h, c;

  HeldInputGradients(const LstmConfig& config, std::int64_t batch, std::int64_t steps, bool need_x, bool need_state,
                     bool time_major = false) {
    if (need_x) x = allocate_sequences<T>({batch, steps, config.input_size}, time_major);
    if (!need_state) return;
    h = allocate<T, 3>(h_shape(config, batch));
    c = allocate<T, 3>(c_shape(config, batch));
  }
  LstmInputGradients<T> views(LstmWeightGradients<T> weights) const {
    return {x.view, h.view, c.view, std::move(weights)};
  }
};

}  // namespace lstmcore::bindings
