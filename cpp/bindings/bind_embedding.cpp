// Embedding: rows of a table by number.
#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

py::object embedding_forward_array(py::handle table, py::handle ids) {
  return dispatch(element_of(table, "table"), [&](auto zero) {
    using T = decltype(zero);
    const auto rows = Reader<T>("table").template contiguous<2>(table, "table", {{{"V"}, {"E"}}});
    const auto tokens = read_integers<1>(ids, "ids", {{{"M"}}});
    check_size("ids", {tokens.extent(0), rows.extent(1)}, sizeof(T));
    auto y = allocate<T, 2>({tokens.extent(0), rows.extent(1)});
    interruptibly_over({y.view.size()}, [&] { embedding_forward<T>(rows.view, tokens.view, y.view); });
    return y.take();
  });
}

void embedding_backward_array(py::handle ids, py::handle dy, py::handle out) {
  dispatch(element_of(dy, "dy"), [&](auto zero) {
    using T = decltype(zero);
    const Reader<T> reader("dy");
    const auto tokens = read_integers<1>(ids, "ids", {{{"M"}}});
    const auto gradient = reader.template contiguous<2>(dy, "dy", {{{"M", tokens.extent(0)}, {"E"}}});
    const auto table = reader.template writable<2>(out, "out", {{{"V"}, {"E", gradient.extent(1)}}});
    interruptibly_over({tokens.extent(0) + table.extent(0), table.extent(1)},
                       [&] { embedding_backward<T>(tokens.view, gradient.view, table.view); });
  });
}

}  // namespace

void bind_embedding(py::module_& module) {
  module.def("embedding_forward", &embedding_forward_array, py::arg("table"), py::arg("ids"));
  module.def("embedding_backward", &embedding_backward_array, py::arg("ids"), py::arg("dy"), py::arg("out"));
}

}  // namespace lstmcore::bindings
