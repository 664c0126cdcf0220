#include <algorithm>
#include <lstmcore/ops.hpp>

#include "../buffer.hpp"
#include "../check.hpp"
#include "../isa/isa.hpp"
#include "elements.hpp"
#include "products.hpp"

namespace lstmcore {
namespace {

/// values = activation(values) for some rows of `units`.
template <class T>
void activate(Activation activation, T* values, std::int64_t rows, std::int64_t units) {
  const auto& kernels = active_kernels<T>();
  switch (activation) {
    case Activation::linear:
      break;
    case Activation::relu:
      kernels.relu(values, values, rows * units);
      break;
    case Activation::tanh:
      kernels.tanh(values, values, rows * units);
      break;
    case Activation::sigmoid:
      kernels.sigmoid(values, values, rows * units);
      break;
    case Activation::softmax:
      for (std::int64_t m = 0; m < rows; ++m) kernels.softmax(values + m * units, values + m * units, units);
      break;
  }
}

/// dz = y * (dy - sum of dy * y), the softmax's Jacobian applied to dy.
template <class T>
void softmax_backward(const T* y, const T* dy, T* dz, std::int64_t units) {
  double sum = 0;
  for (std::int64_t u = 0; u < units; ++u) sum += static_cast<double>(dy[u]) * static_cast<double>(y[u]);
  const T shift = static_cast<T>(sum);
  for (std::int64_t u = 0; u < units; ++u) dz[u] = y[u] * (dy[u] - shift);
}

/// The gradient by the pre-activations of some rows; not called for a linear layer.
template <class T>
void activate_backward(Activation activation, const T* y, const T* dy, T* dz, std::int64_t rows, std::int64_t units) {
  const auto& kernels = active_kernels<T>();
  switch (activation) {
    case Activation::linear:
      break;
    case Activation::relu:
      kernels.relu_backward(y, dy, dz, rows * units);
      break;
    case Activation::tanh:
      kernels.tanh_backward(y, dy, dz, rows * units);
      break;
    case Activation::sigmoid:
      kernels.sigmoid_backward(y, dy, dz, rows * units);
      break;
    case Activation::softmax:
      for (std::int64_t m = 0; m < rows; ++m) softmax_backward(y + m * units, dy + m * units, dz + m * units, units);
      break;
  }
}

/// sums[u] = sum over m, in order, of z[m][u].
template <class T>
void sum_rows(const T* z, std::int64_t rows, std::int64_t units, T* sums) {
  const auto& kernels = active_kernels<T>();
  const double cost = 4.0 * static_cast<double>(rows);
  ops::parallel_ranges(units, cost, ops::line_elements<T>, [&](std::int64_t begin, std::int64_t count) {
    std::fill_n(sums + begin, count, T(0));
    for (std::int64_t m = 0; m < rows; ++m) {
      const T* const row = z + m * units + begin;
      if (count >= kernels.lanes) {
        kernels.add(row, sums + begin, count);
      } else {
        for (std::int64_t u = 0; u < count; ++u) sums[begin + u] += row[u];
      }
    }
  });
}

template <class T>
void check_factors(const View<const T, 2>& x, const View<const T, 2>& kernel, Activation activation) {
  require_contiguous("x", x);
  require_contiguous("kernel", kernel);
  require(kernel.shape[0] >= 1 && kernel.shape[1] >= 1,
          "kernel: expected at least one feature and one unit, got shape ", shape_text(kernel));
  require(x.shape[1] == kernel.shape[0], "x: expected shape (M, ", kernel.shape[0], ") for a kernel of shape ",
          shape_text(kernel), ", got ", shape_text(x));
  require(activation >= Activation::linear && activation <= Activation::softmax,
          "activation: expected linear, relu, tanh, sigmoid or softmax, got number ", static_cast<int>(activation));
}

}  // namespace

template <class T>
void dense_forward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 1> bias, Activation activation,
                   View<T, 2> y) {
  check_factors(x, kernel, activation);
  const std::int64_t rows = x.shape[0], units = kernel.shape[1];
  require_array_or_none("bias", bias, {units});
  require_array("y", y, {rows, units});
  if (rows == 0) return;
  const std::int64_t lanes = active_kernels<T>().lanes, padded = (units + lanes - 1) / lanes * lanes;
  Buffer<T> padded_bias(static_cast<std::size_t>(bias ? padded : 0));
  if (bias) {
    std::copy_n(bias.data, units, padded_bias.data());
    std::fill(padded_bias.data() + units, padded_bias.data() + padded, T(0));
  }
  const auto factor = ops::Factor<T>::plain(kernel);
  factor.multiply(x.data, rows, bias ? padded_bias.data() : nullptr, y.data, [&](std::int64_t begin, std::int64_t end) {
    activate(activation, y.data + begin * units, end - begin, units);
  });
}

template <class T>
void dense_backward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 2> y, View<const T, 2> dy,
                    Activation activation, View<T, 2> dx, View<T, 2> dkernel, View<T, 1> dbias) {
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
    ops::parallel_ranges(rows, 20.0 * static_cast<double>(units), 1, [&](std::int64_t begin, std::int64_t count) {
      activate_backward(activation, y.data + begin * units, dy.data + begin * units, gradients.data() + begin * units,
                        count, units);
    });
  }
  const T* const dz = linear ? dy.data : gradients.data();
  if (dx && rows > 0) {
    const auto transposed = ops::Factor<T>::transposed(kernel);
    transposed.multiply(dz, rows, nullptr, dx.data, [](std::int64_t, std::int64_t) {});
  }
  if (dkernel) {
    if (rows == 0) std::fill_n(dkernel.data, features * units, T(0));
    ops::TransposedMultiply<T>(x.data, features, dz, units, rows, dkernel.data).run();
  }
  if (dbias) sum_rows(dz, rows, units, dbias.data);
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
