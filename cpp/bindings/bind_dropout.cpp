// Dropout, and the seeds of the masks inside an LSTM.
#include <lstmcore/lstm.hpp>

#include "bind.hpp"
#include "op_arguments.hpp"
#include "signals.hpp"

namespace lstmcore::bindings {

namespace {

constexpr Named<MaskKind> mask_kinds[] = {{"zoneout_h", MaskKind::zoneout_h},
                                          {"zoneout_c", MaskKind::zoneout_c},
                                          {"recurrent_dropout", MaskKind::recurrent_dropout},
                                          {"input_dropout", MaskKind::input_dropout},
                                          {"weight_dropout", MaskKind::weight_dropout}};

std::uint64_t mask_seed_of(py::handle seed, py::handle kind, py::handle cell) {
  const std::string name = py::str(kind);
  const MaskKind* const found = find_named(mask_kinds, name);
  if (found == nullptr) fail_value("kind: expected a kind of mask, got '" + name + "'");
  return mask_seed(to_uint64(seed, "seed"), *found, to_int64(cell, "cell"));
}

py::object dropout_array(py::handle x, py::handle rate, py::handle seed) {
  const double fraction = to_double(rate, "rate");
  const std::uint64_t key = to_uint64(seed, "seed");
  return dispatch(element_of(x, "x"), [&](auto zero) {
    using T = decltype(zero);
    const auto input = Reader<T>("x").flat(x, "x");
    auto y = allocate_like<T>(input.array());
    interruptibly_over({input.view.size()}, [&] { dropout<T>(input.view, fraction, key, y.view); });
    return y.take();
  });
}

}  // namespace

void bind_dropout(py::module_& module) {
  module.def("dropout", &dropout_array, py::arg("x"), py::arg("rate"), py::arg("seed"));
  module.def("mask_seed", &mask_seed_of, py::arg("seed"), py::arg("kind"), py::arg("cell"));
}

}  // namespace lstmcore::bindings
