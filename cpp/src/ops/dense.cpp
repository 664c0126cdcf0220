#include <algorithm>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "activate.hpp"
#include "products.hpp"

namespace lstmcore {
namespace {

template <class T>
void check_factors(const View<const T, 2>& x, const View<const T, 2>& kernel, Activation activation) {
  require_contiguous("x", x);
  require_contiguous("kernel", kernel);
  require(kernel.shape[0] >= 1 && kernel.shape[1] >= 1,
          "kernel: expected at least one feature and one unit, got shape ", shape_text(kernel));
  require(x.shape[1] == kernel.shape[0], "x: expected shape (M, ", kernel.shape[0], ") for a kernel of shape ",
          shape_text(kernel), ", got ", shape_text(x));
  ops::check_activation(activation);
}

}  // namespace

template <class T>
void dense_forward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 1> bias, Activation activation,
                   View<T, 2> y) {
  const EngineFloats floats;
  check_factors(x, kernel, activation);
  const std::int64_t rows = x.shape[0], units = kernel.shape[1];
  require_array_or_none("bias", bias, {units});
  require_array("y", y, {rows, units});
  if (rows == 0) return;
  const auto padded_bias = ops::whole_vectors(bias);
  const auto factor = ops::Factor<T>::plain(kernel);
  factor.multiply(ops::PlainRows<const T>{x.data, kernel.shape[0]}, rows, bias ? padded_bias.data() : nullptr,
                  ops::PlainRows<T>{y.data, units}, [&](std::int64_t begin, std::int64_t end) {
                    ops::activate(activation, y.data + begin * units, end - begin, units);
                  });
}

template <class T>
void dense_backward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 2> y, View<const T, 2> dy,
                    Activation activation, View<T, 2> dx, View<T, 2> dkernel, View<T, 1> dbias) {
  const EngineFloats floats;
  check_factors(x, kernel, activation);
  const std::int64_t rows = x.shape[0], features = kernel.shape[0], units = kernel.shape[1];
  require_array("y", y, {rows, units});
  require_array("dy", dy, {rows, units});
  require_array_or_none("dx", dx, {rows, features});
  require_array_or_none("dkernel", dkernel, kernel.shape);
  require_array_or_none("dbias", dbias, {units});

  const bool linear = activation == Activation::linear;
  Buffer<T> gradients(static_cast<std::size_t>(linear ? 0 : rows * units));
  if (!linear) {
    ops::parallel_ranges(rows, policy::cost::activated * static_cast<double>(units), 1,
                         [&](std::int64_t begin, std::int64_t count) {
                           ops::activate_backward(activation, y.data + begin * units, dy.data + begin * units,
                                                  gradients.data() + begin * units, count, units);
                         });
  }
  const T* const dz = linear ? dy.data : gradients.data();
  if (dx && rows > 0) {
    const auto transposed = ops::Factor<T>::transposed(kernel);
    transposed.multiply(ops::PlainRows<const T>{dz, units}, rows, nullptr, ops::PlainRows<T>{dx.data, features},
                        [](std::int64_t, std::int64_t) {});
  }
  if (dkernel) {
    if (rows == 0) std::fill_n(dkernel.data, features * units, T(0));
    ops::TransposedMultiply<T>(features, units, rows, dkernel.data)
        .run(ops::PlainRows<const T>{x.data, features}, ops::PlainRows<const T>{dz, units});
  }
  if (dbias) ops::sum_rows(dz, rows, units, dbias.data);
}

template void dense_forward<float>(View<const float, 2>, View<const float, 2>, View<const float, 1>, Activation,
                                   View<float, 2>);
template void dense_forward<double>(View<const double, 2>, View<const double, 2>, View<const double, 1>, Activation,
                                    View<double, 2>);
template void dense_backward<float>(View<const float, 2>, View<const float, 2>, View<const float, 2>,
                                    View<const float, 2>, Activation, View<float, 2>, View<float, 2>, View<float, 1>);
template void dense_backward<double>(View<const double, 2>, View<const double, 2>, View<const double, 2>,
                                     View<const double, 2>, Activation, View<double, 2>, View<double, 2>,
                                     View<double, 1>);

}  // namespace lstmcore
