// What layers with a bias and an activation share: activations, forward and backward, and the bias itself.
#pragma once

#include <algorithm>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "elements.hpp"

namespace lstmcore::ops {

inline void check_activation(Activation activation) {
  require(activation >= Activation::linear && activation <= Activation::softmax,
          "activation: expected linear, relu, tanh, sigmoid or softmax, got number ", static_cast<int>(activation));
}

/// values = activation(values), in place, for some rows of `units` elements.
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

/// dz = y * (dy - sum of dy * y), the softmax's Jacobian applied to dy; dz may be dy.
template <class T>
void softmax_backward(const T* y, const T* dy, T* dz, std::int64_t units) {
  double sum = 0;
  for (std::int64_t u = 0; u < units; ++u) sum += static_cast<double>(dy[u]) * static_cast<double>(y[u]);
  const T shift = static_cast<T>(sum);
  for (std::int64_t u = 0; u < units; ++u) dz[u] = y[u] * (dy[u] - shift);
}

/// The gradient with respect to the pre-activations of some rows; not called for a linear layer.
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
  const double cost = policy::cost::summed * static_cast<double>(rows);
  parallel_shares(units, cost, line_elements<T>, [&](Range share, const InterruptWatch& watch) {
    const std::int64_t begin = share.begin, count = share.size();
    std::fill_n(sums + begin, count, T(0));
    const double row_cost = policy::cost::summed * static_cast<double>(count);
    in_pieces(watch, {0, rows}, row_cost, 1, [&](std::int64_t first, std::int64_t some) {
      for (std::int64_t m = first; m < first + some; ++m) {
        const T* const row = z + m * units + begin;
        if (count >= kernels.lanes) {
          kernels.add(row, sums + begin, count);
        } else {
          for (std::int64_t u = 0; u < count; ++u) sums[begin + u] += row[u];
        }
      }
    });
  });
}

/// A bias padded with zeros to whole vectors, as products need it; empty if it is absent.
template <class T>
Buffer<T> whole_vectors(const View<const T, 1>& bias) {
  const std::int64_t units = bias.shape[0], lanes = active_kernels<T>().lanes;
  const std::int64_t padded = bias ? (units + lanes - 1) / lanes * lanes : 0;
  Buffer<T> result(static_cast<std::size_t>(padded));
  if (bias) std::fill(std::copy_n(bias.data, units, result.data()), result.data() + padded, T(0));
  return result;
}

}  // namespace lstmcore::ops
