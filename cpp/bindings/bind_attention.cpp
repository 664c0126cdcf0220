// Attention: each query's weighted mean of the values.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

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
    const AttentionArguments<T> arguments(Reader<T>("keys"), keys, queries, values, v, lengths, query_lengths);
    const std::int64_t rows = arguments.keys.extent(0), query_count = arguments.queries.extent(1);
    check_size("queries", {rows, query_count, arguments.keys.extent(1)}, sizeof(T));
    check_size("queries", {rows, query_count, arguments.values.extent(2)}, sizeof(T));
    auto weights = allocate<T, 3>({rows, query_count, arguments.keys.extent(1)});
    auto context = allocate<T, 3>({rows, query_count, arguments.values.extent(2)});
    interruptibly_over({weights.view.size(), arguments.keys.extent(2) + arguments.values.extent(2)}, [&] {
      attention_forward<T>(arguments.keys.view, arguments.queries.view, arguments.values.view, arguments.v.view, factor,
                           arguments.lengths.view, arguments.query_lengths.view, weights.view, context.view);
    });
    return py::make_tuple(context.take(), weights.take());
  });
}

py::tuple attention_backward_array(py::handle keys, py::handle queries, py::handle values, py::handle v,
                                   py::handle scale, py::handle lengths, py::handle query_lengths, py::handle weights,
                                   py::handle dcontext, py::handle dv) {
  const double factor = to_double(scale, "scale");
  return dispatch(element_of(keys, "keys"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("keys");
    const AttentionArguments<T> arguments(reader, keys, queries, values, v, lengths, query_lengths);
    const std::int64_t rows = arguments.keys.extent(0), query_count = arguments.queries.extent(1),
                       steps = arguments.keys.extent(1);
    const std::int64_t units = arguments.keys.extent(2), columns = arguments.values.extent(2);
    const auto attention_weights =
        reader.template contiguous<3>(weights, "weights", {{{"N", rows}, {"S", query_count}, {"T", steps}}});
    const auto gradient =
        reader.template contiguous<3>(dcontext, "dcontext", {{{"N", rows}, {"S", query_count}, {"C", columns}}});
    const auto dvector = optional_writable<T, 1>(reader, dv, "dv", {{{"U", units}}});
    auto dkeys = allocate<T, 3>({rows, steps, units});
    auto dqueries = allocate<T, 3>({rows, query_count, units});
    auto dvalues = allocate<T, 3>({rows, steps, columns});
    interruptibly_over({attention_weights.view.size(), units + columns}, [&] {
      attention_backward<T>(arguments.keys.view, arguments.queries.view, arguments.values.view, arguments.v.view,
                            factor, arguments.lengths.view, arguments.query_lengths.view, attention_weights.view,
                            gradient.view, dkeys.view, dqueries.view, dvalues.view, dvector.view);
    });
    return py::make_tuple(dkeys.take(), dqueries.take(), dvalues.take());
  });
}

}  // namespace

void bind_attention(py::module_& module) {
  module.def("attention_forward", &attention_forward_array, py::arg("keys"), py::arg("queries"), py::arg("values"),
             py::arg("v"), py::arg("scale"), py::arg("lengths"), py::arg("query_lengths"));
  module.def("attention_backward", &attention_backward_array, py::arg("keys"), py::arg("queries"), py::arg("values"),
             py::arg("v"), py::arg("scale"), py::arg("lengths"), py::arg("query_lengths"), py::arg("weights"),
             py::arg("dcontext"), py::arg("dv"));
}

}  // namespace lstmcore::bindings
