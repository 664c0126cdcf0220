// Layer normalization as a layer of its own, for one row, forward and backward. Sums run over four vectors of partial
// sums, and their bits do not depend on the row's address. The norms inside a cell are in `norms.hpp`.
#pragma once

#include <cmath>

#include "elementwise.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// The sum of n elements. value(k, count): a vector of the `count` elements from element k on, with zeros in the other
/// lanes.
template <class T, class Value>
EIGEN_ALWAYS_INLINE double sum_of_elements(Index n, Value&& value) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>, parts = 4;
  P sums[parts];
  for (P& sum : sums) sum = constant<P>(0.0);
  Index k = 0;
  for (; k + parts * lanes <= n; k += parts * lanes) {
    for (Index part = 0; part < parts; ++part) sums[part] = ei::padd(sums[part], value(k + part * lanes, lanes));
  }
  for (; k < n; k += lanes) sums[0] = ei::padd(sums[0], value(k, n - k < lanes ? n - k : lanes));
  return static_cast<double>(ei::predux(ei::padd(ei::padd(sums[0], sums[1]), ei::padd(sums[2], sums[3]))));
}

/// A number in the first `count` lanes and zeros in the others, so that lanes beyond the row add nothing.
template <class T>
class Repeated {
 public:
  explicit Repeated(T value) : whole_(ei::pset1<PacketOf<T>>(value)) { ei::pstore(lanes_, whole_); }
  PacketOf<T> first(Index count) const { return count >= lanes_of<T> ? whole_ : load_part<PacketOf<T>>(lanes_, count); }

 private:
  PacketOf<T> whole_;
  alignas(64) T lanes_[lanes_of<T>];
};

template <class T>
void normalize(const T* x, const T* gain, const T* shift, double epsilon, T* y, T* moments, Index n) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const double count = static_cast<double>(n);
  moments[0] =
      static_cast<T>(sum_of_elements<T>(n, [&](Index k, Index some) { return load_some<P>(x + k, some); }) / count);
  const Repeated<T> mean(moments[0]);
  const double squares = sum_of_elements<T>(n, [&](Index k, Index some) {
    const P difference = ei::psub(load_some<P>(x + k, some), mean.first(some));
    return ei::pmul(difference, difference);
  });
  moments[1] = static_cast<T>(1 / std::sqrt(squares / count + epsilon));
  const P middle = ei::pset1<P>(moments[0]), scale = ei::pset1<P>(moments[1]);
  for (Index k = 0; k < n; k += lanes) {
    P value = ei::pmul(ei::psub(load_some<P>(x + k, n - k), middle), scale);
    if (gain != nullptr) value = ei::pmul(value, load_some<P>(gain + k, n - k));
    if (shift != nullptr) value = ei::padd(value, load_some<P>(shift + k, n - k));
    store_some(y + k, value, n - k);
  }
}

/// With z = (x - mean) scale and g = dy gain: dx = scale (g - mean of g - z * mean of g z).
template <class T>
void normalize_backward(const T* x, const T* gain, const T* moments, const T* dy, T* dx, T* dgain, T* dshift, Index n) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P middle = ei::pset1<P>(moments[0]), scale = ei::pset1<P>(moments[1]);
  const auto normalized = [&](Index k, Index some) {
    return ei::pmul(ei::psub(load_some<P>(x + k, some), middle), scale);
  };
  const auto slope = [&](Index k, Index some) {
    const P gradient = load_some<P>(dy + k, some);
    return gain == nullptr ? gradient : ei::pmul(gradient, load_some<P>(gain + k, some));
  };
  for (Index k = 0; k < n; k += lanes) {
    const P gradient = load_some<P>(dy + k, n - k);
    store_some(dgain + k, ei::pmadd(gradient, normalized(k, n - k), load_some<P>(dgain + k, n - k)), n - k);
    store_some(dshift + k, ei::padd(gradient, load_some<P>(dshift + k, n - k)), n - k);
  }
  if (dx == nullptr) return;
  const double count = static_cast<double>(n);
  const P mean = constant<P>(sum_of_elements<T>(n, slope) / count);
  // In lanes beyond the row, slope is zero, and so is the product.
  const P tilt = constant<P>(
      sum_of_elements<T>(n, [&](Index k, Index some) { return ei::pmul(slope(k, some), normalized(k, some)); }) /
      count);
  for (Index k = 0; k < n; k += lanes) {
    const P rest = ei::psub(ei::psub(slope(k, n - k), mean), ei::pmul(normalized(k, n - k), tilt));
    store_some(dx + k, ei::pmul(rest, scale), n - k);
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
