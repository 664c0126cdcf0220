#include <limits>
#include <lstmcore/lstm.hpp>
#include <lstmcore/ops.hpp>
#include <map>
#include <variant>

#include "arrays.hpp"
#include "bind.hpp"
#include "gil.hpp"

namespace lstmcore::bindings {

namespace {

// ---- small helpers --------------------------------------------------------------------------------------------------

template <class T, int Rank>
Argument<const T, Rank> optional(const Reader<T>& reader, py::handle value, const char* name, const Axes<Rank>& axes) {
  if (value.is_none()) return {};
  return reader.template contiguous<Rank>(value, name, axes);
}

template <class T, int Rank>
Argument<T, Rank> optional_writable(const Reader<T>& reader, py::handle value, const char* name,
                                    const Axes<Rank>& axes) {
  if (value.is_none()) return {};
  return reader.template writable<Rank>(value, name, axes);
}

Argument<const std::int64_t, 1> optional_lengths(py::handle lengths, std::int64_t batch) {
  if (lengths.is_none()) return {};
  return read_integers<1>(lengths, "lengths", {{{"N", batch}}});
}

template <class T, int Rank>
py::object result(Argument<T, Rank>&& argument) {
  return argument.owner ? std::move(argument.owner) : py::object(py::none());
}

/// A new array with the shape of `model`, and a view of it as one axis.
template <class T>
Argument<T, 1> allocate_like(const py::array& model) {
  py::array array(py::dtype::of<T>(), std::vector<py::ssize_t>(model.shape(), model.shape() + model.ndim()));
  View<T, 1> view(data_of<T>(array), {static_cast<std::int64_t>(array.size())});
  return {std::move(array), view};
}

py::array as_array(const py::object& owner) { return py::reinterpret_borrow<py::array>(owner); }

/// Runs `body` without the GIL.
template <class Body>
auto unlocked(Body&& body) {
  const WithoutGil released;
  return body();
}

std::int64_t to_steps(py::handle steps) {
  const std::int64_t count = to_int64(steps, "steps");
  if (count < 0) fail_value("steps: expected at least 0, got " + std::to_string(count));
  return count;
}

Activation to_activation(py::handle value) {
  if (!py::isinstance<py::str>(value)) fail_type("activation", "a string", value);
  const std::string name = py::str(value);
  if (name == "linear") return Activation::linear;
  if (name == "relu") return Activation::relu;
  if (name == "tanh") return Activation::tanh;
  if (name == "sigmoid") return Activation::sigmoid;
  if (name == "softmax") return Activation::softmax;
  fail_value("activation: expected linear, relu, tanh, sigmoid or softmax, got '" + name + "'");
}

// ---- embedding ------------------------------------------------------------------------------------------------------

py::object embedding_forward_array(py::handle table, py::handle ids) {
  return dispatch(element_of(table, "table"), [&](auto zero) {
    using T = decltype(zero);
    const auto rows = Reader<T>("table").template contiguous<2>(table, "table", {{{"V"}, {"E"}}});
    const auto tokens = read_integers<1>(ids, "ids", {{{"M"}}});
    check_size("ids", {tokens.extent(0), rows.extent(1)}, sizeof(T));
    auto y = allocate<T, 2>({tokens.extent(0), rows.extent(1)});
    unlocked([&] { embedding_forward<T>(rows.view, tokens.view, y.view); });
    return result(std::move(y));
  });
}

void embedding_backward_array(py::handle ids, py::handle dy, py::handle out) {
  dispatch(element_of(dy, "dy"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("dy");
    const auto tokens = read_integers<1>(ids, "ids", {{{"M"}}});
    const auto gradient = reader.template contiguous<2>(dy, "dy", {{{"M", tokens.extent(0)}, {"E"}}});
    const auto table = reader.template writable<2>(out, "out", {{{"V"}, {"E", gradient.extent(1)}}});
    unlocked([&] { embedding_backward<T>(tokens.view, gradient.view, table.view); });
  });
}

// ---- dense ----------------------------------------------------------------------------------------------------------

py::object dense_forward_array(py::handle x, py::handle kernel, py::handle bias, py::handle activation) {
  const Activation function = to_activation(activation);
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("x");
    const auto input = reader.template contiguous<2>(x, "x", {{{"M"}, {"C"}}});
    const auto matrix = reader.template contiguous<2>(kernel, "kernel", {{{"C", input.extent(1)}, {"U"}}});
    const auto offset = optional<T, 1>(reader, bias, "bias", {{{"U", matrix.extent(1)}}});
    check_size("x", {input.extent(0), matrix.extent(1)}, sizeof(T));
    auto y = allocate<T, 2>({input.extent(0), matrix.extent(1)});
    unlocked([&] { dense_forward<T>(input.view, matrix.view, offset.view, function, y.view); });
    return result(std::move(y));
  });
}

py::object dense_backward_array(py::handle x, py::handle kernel, py::handle y, py::handle dy, py::handle activation,
                                py::handle need_x, py::handle dkernel, py::handle dbias) {
  const Activation function = to_activation(activation);
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
    unlocked([&] {
      dense_backward<T>(input.view, matrix.view, output.view, gradient.view, function, dx.view, dmatrix.view,
                        doffset.view);
    });
    return result(std::move(dx));
  });
}

// ---- losses ---------------------------------------------------------------------------------------------------------

py::tuple softmax_cross_entropy_array(py::handle logits, py::handle targets, py::handle weights, py::handle scale,
                                      py::handle need_gradient) {
  const double factor = to_double(scale, "scale");
  const bool with_gradient = to_bool(need_gradient, "need_gradient");
  return dispatch(element_of(logits, "logits"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("logits");
    const auto scores = reader.template contiguous<2>(logits, "logits", {{{"M"}, {"U"}}});
    const std::int64_t rows = scores.extent(0);
    const std::int64_t classes = scores.extent(1);
    const auto importance = optional<T, 1>(reader, weights, "weights", {{{"M", rows}}});
    const bool distribution =
        py::isinstance<py::array>(targets) && py::reinterpret_borrow<py::array>(targets).dtype().kind() == 'f';
    Argument<const T, 2> distributions;
    Argument<const std::int64_t, 1> labels;
    if (distribution) {
      distributions = reader.template contiguous<2>(targets, "targets", {{{"M", rows}, {"U", classes}}});
    } else {
      labels = read_integers<1>(targets, "targets", {{{"M", rows}}});
    }
    Argument<T, 2> gradient;
    if (with_gradient) gradient = allocate<T, 2>({rows, classes});
    const double loss = unlocked([&] {
      return distribution
                 ? softmax_cross_entropy<T>(scores.view, distributions.view, importance.view, factor, gradient.view)
                 : softmax_cross_entropy<T>(scores.view, labels.view, importance.view, factor, gradient.view);
    });
    return py::make_tuple(loss, result(std::move(gradient)));
  });
}

py::tuple mean_squared_error_array(py::handle prediction, py::handle target, py::handle weights, py::handle scale,
                                   py::handle need_gradient) {
  const double factor = to_double(scale, "scale");
  const bool with_gradient = to_bool(need_gradient, "need_gradient");
  return dispatch(element_of(prediction, "prediction"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("prediction");
    const auto guess = reader.template contiguous<2>(prediction, "prediction", {{{"M"}, {"U"}}});
    const std::int64_t rows = guess.extent(0);
    const std::int64_t units = guess.extent(1);
    const auto truth = reader.template contiguous<2>(target, "target", {{{"M", rows}, {"U", units}}});
    const auto importance = optional<T, 1>(reader, weights, "weights", {{{"M", rows}}});
    Argument<T, 2> gradient;
    if (with_gradient) gradient = allocate<T, 2>({rows, units});
    const double loss =
        unlocked([&] { return mean_squared_error<T>(guess.view, truth.view, importance.view, factor, gradient.view); });
    return py::make_tuple(loss, result(std::move(gradient)));
  });
}

// ---- dropout and pooling --------------------------------------------------------------------------------------------

std::uint64_t mask_seed_of(py::handle seed, py::handle kind, py::handle cell) {
  const std::string name = py::str(kind);
  const std::map<std::string, MaskKind> kinds = {{"zoneout_h", MaskKind::zoneout_h},
                                                 {"zoneout_c", MaskKind::zoneout_c},
                                                 {"recurrent_dropout", MaskKind::recurrent_dropout},
                                                 {"input_dropout", MaskKind::input_dropout},
                                                 {"weight_dropout", MaskKind::weight_dropout}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) fail_value("kind: expected a kind of mask, got '" + name + "'");
  return mask_seed(to_uint64(seed, "seed"), found->second, to_int64(cell, "cell"));
}

py::object dropout_array(py::handle x, py::handle rate, py::handle seed) {
  const double fraction = to_double(rate, "rate");
  const std::uint64_t key = to_uint64(seed, "seed");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").flat(x, "x");
    auto y = allocate_like<T>(as_array(input.owner));
    unlocked([&] { dropout<T>(input.view, fraction, key, y.view); });
    return result(std::move(y));
  });
}

py::tuple max_over_time_forward_array(py::handle x, py::handle lengths) {
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    auto y = allocate<T, 2>({input.extent(0), input.extent(2)});
    auto argmax = allocate<std::int64_t, 2>({input.extent(0), input.extent(2)});
    unlocked([&] { max_over_time_forward<T>(input.view, rows.view, y.view, argmax.view); });
    return py::make_tuple(result(std::move(y)), result(std::move(argmax)));
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
    unlocked([&] { max_over_time_backward<T>(places.view, gradient.view, dx.view); });
    return result(std::move(dx));
  });
}

py::object mean_over_time_forward_array(py::handle x, py::handle lengths) {
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").template contiguous<3>(x, "x", {{{"N"}, {"T"}, {"C"}}});
    const auto rows = optional_lengths(lengths, input.extent(0));
    auto y = allocate<T, 2>({input.extent(0), input.extent(2)});
    unlocked([&] { mean_over_time_forward<T>(input.view, rows.view, y.view); });
    return result(std::move(y));
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
    unlocked([&] { mean_over_time_backward<T>(rows.view, gradient.view, dx.view); });
    return result(std::move(dx));
  });
}

// ---- attention ------------------------------------------------------------------------------------------------------

/// The arguments that forward and backward share.
template <class T>
struct AttentionArguments {
  Argument<const T, 3> keys, queries, values;
  Argument<const T, 1> v;
  Argument<const std::int64_t, 1> lengths, query_lengths;

  AttentionArguments(const Reader<T>& reader, py::handle keys_array, py::handle queries_array, py::handle values_array,
                     py::handle v_array, py::handle lengths_array, py::handle query_lengths_array)
      : keys(reader.template contiguous<3>(keys_array, "keys", {{{"N"}, {"T"}, {"U"}}})),
        queries(reader.template contiguous<3>(queries_array, "queries",
                                              {{{"N", keys.extent(0)}, {"S"}, {"U", keys.extent(2)}}})),
        values(reader.template contiguous<3>(values_array, "values",
                                             {{{"N", keys.extent(0)}, {"T", keys.extent(1)}, {"C"}}})),
        v(optional<T, 1>(reader, v_array, "v", {{{"U", keys.extent(2)}}})),
        lengths(optional_lengths(lengths_array, keys.extent(0))) {
    if (!query_lengths_array.is_none()) {
      query_lengths = read_integers<1>(query_lengths_array, "query_lengths", {{{"N", keys.extent(0)}}});
    }
  }
};

py::tuple attention_forward_array(py::handle keys, py::handle queries, py::handle values, py::handle v,
                                  py::handle scale, py::handle lengths, py::handle query_lengths) {
  const double factor = to_double(scale, "scale");
  return dispatch(element_of(keys, "keys"), [&](auto zero) {
    using T = decltype(zero);
    const AttentionArguments<T> given(Reader<T>("keys"), keys, queries, values, v, lengths, query_lengths);
    const std::int64_t rows = given.keys.extent(0), asked = given.queries.extent(1);
    check_size("queries", {rows, asked, given.keys.extent(1)}, sizeof(T));
    check_size("queries", {rows, asked, given.values.extent(2)}, sizeof(T));
    auto weights = allocate<T, 3>({rows, asked, given.keys.extent(1)});
    auto context = allocate<T, 3>({rows, asked, given.values.extent(2)});
    unlocked([&] {
      attention_forward<T>(given.keys.view, given.queries.view, given.values.view, given.v.view, factor,
                           given.lengths.view, given.query_lengths.view, weights.view, context.view);
    });
    return py::make_tuple(result(std::move(context)), result(std::move(weights)));
  });
}

py::tuple attention_backward_array(py::handle keys, py::handle queries, py::handle values, py::handle v,
                                   py::handle scale, py::handle lengths, py::handle query_lengths, py::handle weights,
                                   py::handle dcontext, py::handle dv) {
  const double factor = to_double(scale, "scale");
  return dispatch(element_of(keys, "keys"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("keys");
    const AttentionArguments<T> given(reader, keys, queries, values, v, lengths, query_lengths);
    const std::int64_t rows = given.keys.extent(0), asked = given.queries.extent(1), steps = given.keys.extent(1);
    const std::int64_t units = given.keys.extent(2), columns = given.values.extent(2);
    const auto shares = reader.template contiguous<3>(weights, "weights", {{{"N", rows}, {"S", asked}, {"T", steps}}});
    const auto slope =
        reader.template contiguous<3>(dcontext, "dcontext", {{{"N", rows}, {"S", asked}, {"C", columns}}});
    const auto dvector = optional_writable<T, 1>(reader, dv, "dv", {{{"U", units}}});
    auto dkeys = allocate<T, 3>({rows, steps, units});
    auto dqueries = allocate<T, 3>({rows, asked, units});
    auto dvalues = allocate<T, 3>({rows, steps, columns});
    unlocked([&] {
      attention_backward<T>(given.keys.view, given.queries.view, given.values.view, given.v.view, factor,
                            given.lengths.view, given.query_lengths.view, shares.view, slope.view, dkeys.view,
                            dqueries.view, dvalues.view, dvector.view);
    });
    return py::make_tuple(result(std::move(dkeys)), result(std::move(dqueries)), result(std::move(dvalues)));
  });
}

// ---- windows over time ----------------------------------------------------------------------------------------------

Windows to_windows(const char* size_name, std::int64_t size, py::handle strides, py::handle padding,
                   py::handle dilation_rate) {
  Windows windows;
  windows.size = size;
  windows.stride = to_int64(strides, "strides");
  windows.dilation = to_int64(dilation_rate, "dilation_rate");
  if (!py::isinstance<py::str>(padding)) fail_type("padding", "a string", padding);
  const std::string name = py::str(padding);
  const std::map<std::string, Padding> paddings = {
      {"valid", Padding::valid}, {"same", Padding::same}, {"causal", Padding::causal}};
  const auto found = paddings.find(name);
  if (found == paddings.end()) fail_value("padding: expected valid, same or causal, got '" + name + "'");
  windows.padding = found->second;
  // The engine calls them otherwise.
  const auto check_number = [](const char* argument, std::int64_t value) {
    if (value < 1 || value > std::numeric_limits<std::int32_t>::max()) {
      fail_value(std::string(argument) + ": expected 1 to 2147483647, got " + std::to_string(value));
    }
  };
  check_number(size_name, windows.size);
  check_number("strides", windows.stride);
  check_number("dilation_rate", windows.dilation);
  return windows;
}

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
  return result(std::move(counts));
}

py::object conv1d_forward_array(py::handle x, py::handle lengths, py::handle kernel, py::handle bias,
                                py::handle strides, py::handle padding, py::handle dilation_rate,
                                py::handle activation) {
  const Activation function = to_activation(activation);
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
    unlocked([&] { conv1d_forward<T>(input.view, rows.view, matrix.view, offset.view, windows, function, y.view); });
    return result(std::move(y));
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
    const Activation function = to_activation(activation);
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
    unlocked([&] { packed.forward(input.view, before, after, y.view); });
    return result(std::move(y));
  }

  Variant packed_;
};

py::object conv1d_backward_array(py::handle x, py::handle lengths, py::handle kernel, py::handle y, py::handle dy,
                                 py::handle strides, py::handle padding, py::handle dilation_rate,
                                 py::handle activation, py::handle need_x, py::handle dkernel, py::handle dbias) {
  const Activation function = to_activation(activation);
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
    unlocked([&] {
      conv1d_backward<T>(input.view, rows.view, matrix.view, output.view, gradient.view, windows, function, dx.view,
                         dmatrix.view, doffset.view);
    });
    return result(std::move(dx));
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
    unlocked([&] { max_pool1d_forward<T>(input.view, rows.view, windows, y.view, argmax.view); });
    return py::make_tuple(result(std::move(y)), result(std::move(argmax)));
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
    unlocked([&] { max_pool1d_backward<T>(places.view, gradient.view, dx.view); });
    return result(std::move(dx));
  });
}

// ---- layer normalization --------------------------------------------------------------------------------------------

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
    unlocked(
        [&] { layer_norm_forward<T>(input.view, rows.view, factor.view, summand.view, offset, y.view, moments.view); });
    return py::make_tuple(result(std::move(y)), result(std::move(moments)));
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
    unlocked([&] {
      layer_norm_backward<T>(input.view, rows.view, factor.view, means.view, gradient.view, dx.view, dfactor.view,
                             dsummand.view);
    });
    return result(std::move(dx));
  });
}

// ---- optimizer steps: arrays of any shape, all of the same ----------------------------------------------------------

void sgd_step_array(py::handle parameter, py::handle gradient, py::handle velocity, py::handle learning_rate,
                    py::handle momentum, py::handle nesterov) {
  const double rate = to_double(learning_rate, "learning_rate");
  const double inertia = to_double(momentum, "momentum");
  const bool ahead = to_bool(nesterov, "nesterov");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = as_array(values.owner);
    const auto slope = reader.flat_like(gradient, "gradient", model);
    Argument<T, 1> speed;
    if (!velocity.is_none()) speed = reader.writable_flat_like(velocity, "velocity", model);
    unlocked([&] { sgd_step<T>(values.view, slope.view, speed.view, rate, inertia, ahead); });
  });
}

void rmsprop_step_array(py::handle parameter, py::handle gradient, py::handle mean_square, py::handle learning_rate,
                        py::handle rho, py::handle epsilon) {
  const double rate = to_double(learning_rate, "learning_rate");
  const double decay = to_double(rho, "rho");
  const double offset = to_double(epsilon, "epsilon");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = as_array(values.owner);
    const auto slope = reader.flat_like(gradient, "gradient", model);
    const auto squares = reader.writable_flat_like(mean_square, "mean_square", model);
    unlocked([&] { rmsprop_step<T>(values.view, slope.view, squares.view, rate, decay, offset); });
  });
}

void adam_step_array(py::handle parameter, py::handle gradient, py::handle m, py::handle v, py::handle step,
                     py::handle learning_rate, py::handle beta1, py::handle beta2, py::handle epsilon,
                     py::handle weight_decay) {
  const std::int64_t count = to_int64(step, "step");
  const double rate = to_double(learning_rate, "learning_rate");
  const double decay1 = to_double(beta1, "beta1");
  const double decay2 = to_double(beta2, "beta2");
  const double offset = to_double(epsilon, "epsilon");
  const double shrinkage = to_double(weight_decay, "weight_decay");
  dispatch(element_of(parameter, "parameter"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("parameter");
    const auto values = reader.writable_flat(parameter, "parameter");
    const py::array model = as_array(values.owner);
    const auto slope = reader.flat_like(gradient, "gradient", model);
    const auto first = reader.writable_flat_like(m, "m", model);
    const auto second = reader.writable_flat_like(v, "v", model);
    unlocked([&] {
      adam_step<T>(values.view, slope.view, first.view, second.view, count, rate, decay1, decay2, offset, shrinkage);
    });
  });
}

double squared_norm_array(py::handle values) {
  return dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").flat(values, "values");
    return unlocked([&] { return squared_norm<T>(flat.view); });
  });
}

void scale_array(py::handle values, py::handle factor) {
  const double number = to_double(factor, "factor");
  dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").writable_flat(values, "values");
    unlocked([&] { scale<T>(flat.view, number); });
  });
}

void clip_array(py::handle values, py::handle limit) {
  const double number = to_double(limit, "limit");
  dispatch(element_of(values, "values"), [&](auto zero) {
    using T = decltype(zero);
    const auto flat = Reader<T>("values").writable_flat(values, "values");
    unlocked([&] { clip<T>(flat.view, number); });
  });
}

// ---- registration ---------------------------------------------------------------------------------------------------

void bind_layers(py::module_& module) {
  module.def("embedding_forward", &embedding_forward_array, py::arg("table"), py::arg("ids"));
  module.def("embedding_backward", &embedding_backward_array, py::arg("ids"), py::arg("dy"), py::arg("out"));
  module.def("dense_forward", &dense_forward_array, py::arg("x"), py::arg("kernel"), py::arg("bias"),
             py::arg("activation"));
  module.def("dense_backward", &dense_backward_array, py::arg("x"), py::arg("kernel"), py::arg("y"), py::arg("dy"),
             py::arg("activation"), py::arg("need_x"), py::arg("dkernel"), py::arg("dbias"));
  module.def("dropout", &dropout_array, py::arg("x"), py::arg("rate"), py::arg("seed"));
  module.def("mask_seed", &mask_seed_of, py::arg("seed"), py::arg("kind"), py::arg("cell"));
  module.def("max_over_time_forward", &max_over_time_forward_array, py::arg("x"), py::arg("lengths"));
  module.def("max_over_time_backward", &max_over_time_backward_array, py::arg("argmax"), py::arg("dy"),
             py::arg("steps"));
  module.def("mean_over_time_forward", &mean_over_time_forward_array, py::arg("x"), py::arg("lengths"));
  module.def("mean_over_time_backward", &mean_over_time_backward_array, py::arg("lengths"), py::arg("dy"),
             py::arg("steps"));
  module.def("attention_forward", &attention_forward_array, py::arg("keys"), py::arg("queries"), py::arg("values"),
             py::arg("v"), py::arg("scale"), py::arg("lengths"), py::arg("query_lengths"));
  module.def("attention_backward", &attention_backward_array, py::arg("keys"), py::arg("queries"), py::arg("values"),
             py::arg("v"), py::arg("scale"), py::arg("lengths"), py::arg("query_lengths"), py::arg("weights"),
             py::arg("dcontext"), py::arg("dv"));
}

void bind_windows(py::module_& module) {
  module.def("window_counts", &window_counts, py::arg("steps"), py::arg("size"), py::arg("strides"), py::arg("padding"),
             py::arg("dilation_rate"));
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
           "Return the outputs, with so many zeros before and after each sequence.");
  module.def("max_pool1d_forward", &max_pool1d_forward_array, py::arg("x"), py::arg("lengths"), py::arg("pool_size"),
             py::arg("strides"), py::arg("padding"));
  module.def("max_pool1d_backward", &max_pool1d_backward_array, py::arg("argmax"), py::arg("dy"), py::arg("steps"));
  module.def("layer_norm_forward", &layer_norm_forward_array, py::arg("x"), py::arg("lengths"), py::arg("gain"),
             py::arg("shift"), py::arg("epsilon"));
  module.def("layer_norm_backward", &layer_norm_backward_array, py::arg("x"), py::arg("lengths"), py::arg("gain"),
             py::arg("moments"), py::arg("dy"), py::arg("need_x"), py::arg("dgain"), py::arg("dshift"));
}

void bind_losses(py::module_& module) {
  module.def("softmax_cross_entropy", &softmax_cross_entropy_array, py::arg("logits"), py::arg("targets"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
  module.def("mean_squared_error", &mean_squared_error_array, py::arg("prediction"), py::arg("target"),
             py::arg("weights"), py::arg("scale"), py::arg("need_gradient"));
}

void bind_optimizers(py::module_& module) {
  module.def("sgd_step", &sgd_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("velocity"),
             py::arg("learning_rate"), py::arg("momentum"), py::arg("nesterov"));
  module.def("rmsprop_step", &rmsprop_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("mean_square"),
             py::arg("learning_rate"), py::arg("rho"), py::arg("epsilon"));
  module.def("adam_step", &adam_step_array, py::arg("parameter"), py::arg("gradient"), py::arg("m"), py::arg("v"),
             py::arg("step"), py::arg("learning_rate"), py::arg("beta1"), py::arg("beta2"), py::arg("epsilon"),
             py::arg("weight_decay"));
  module.def("squared_norm", &squared_norm_array, py::arg("values"));
  module.def("scale", &scale_array, py::arg("values"), py::arg("factor"));
  module.def("clip", &clip_array, py::arg("values"), py::arg("limit"));
}

}  // namespace

void bind_ops(py::module_& module) {
  bind_layers(module);
  bind_windows(module);
  bind_losses(module);
  bind_optimizers(module);
}

}  // namespace lstmcore::bindings
