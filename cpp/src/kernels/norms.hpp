// The equations of the cell's layer norms (Ba et al. 2016) for one row, over values or dual numbers: statistics, normed
// values, and the gradient with respect to what was normed. `normalize.hpp` has layer normalization as a layer of its
// own, whose sums are in double and may have any length; here rows come in blocks of hidden units, and sums in T
// are computed for four rows at once.
#pragma once

#include <algorithm>
#include <cmath>

#include "numbers.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// 1 for the real hidden units of a block, 0 for those that only fill its vector.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> real_units(Index hidden, Index block) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P one = constant<P>(1.0);
  if (hidden - block * lanes >= lanes) return one;
  alignas(64) T real[lanes] = {};
  store_part(real, one, hidden - block * lanes);
  return ei::pload<P>(real);
}

/// Visits the vectors of a row of blocks of `Vectors` vectors, without the first `Skip` of each block: visit(v, at,
/// real), where `at` is the vector's first element and `real` is `real_units`, or null in blocks without padding.
template <class T, int Vectors, int Skip, class Visit>
EIGEN_ALWAYS_INLINE void visit_row(Index blocks, Index hidden, Visit&& visit) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const bool whole = hidden == blocks * lanes;
  for (Index block = 0; block < blocks - (whole ? 0 : 1); ++block) {
    for (int v = Skip; v < Vectors; ++v) visit(v, (block * Vectors + v) * lanes, static_cast<const P*>(nullptr));
  }
  if (whole) return;
  const P real = real_units<T>(hidden, blocks - 1);
  for (int v = Skip; v < Vectors; ++v) visit(v, ((blocks - 1) * Vectors + v) * lanes, &real);
}

/// The sum of all elements of some vectors.
template <class P, int Vectors>
EIGEN_ALWAYS_INLINE Value<ScalarOf<P>> sum_of(const Value<P> (&sums)[Vectors]) {
  P sum = sums[0].value;
  for (int v = 1; v < Vectors; ++v) sum = ei::padd(sum, sums[v].value);
  return {ei::predux(sum)};
}
template <class P, int Vectors>
EIGEN_ALWAYS_INLINE Dual<ScalarOf<P>> sum_of(const Dual<P> (&sums)[Vectors]) {
  P value = sums[0].value, tangent = sums[0].tangent;
  for (int v = 1; v < Vectors; ++v) {
    value = ei::padd(value, sums[v].value);
    tangent = ei::padd(tangent, sums[v].tangent);
  }
  return {ei::predux(value), ei::predux(tangent)};
}

/// Scalars in all lanes of a vector.
template <class T>
EIGEN_ALWAYS_INLINE Value<PacketOf<T>> spread(const Value<T>& x) {
  return {ei::pset1<PacketOf<T>>(x.value)};
}
template <class T>
EIGEN_ALWAYS_INLINE Dual<PacketOf<T>> spread(const Dual<T>& x) {
  return {ei::pset1<PacketOf<T>>(x.value), ei::pset1<PacketOf<T>>(x.tangent)};
}

/// Times a constant.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> scaled_by(const Value<P>& x, const P& factor) {
  return {ei::pmul(x.value, factor)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> scaled_by(const Dual<P>& x, const P& factor) {
  return {ei::pmul(x.value, factor), ei::pmul(x.tangent, factor)};
}
template <class T>
EIGEN_ALWAYS_INLINE Value<T> divided_by(const Value<T>& sum, T inverse_count) {
  return {sum.value * inverse_count};
}
template <class T>
EIGEN_ALWAYS_INLINE Dual<T> divided_by(const Dual<T>& sum, T inverse_count) {
  return {sum.value * inverse_count, sum.tangent * inverse_count};
}

/// sum + a b. Values fuse the two operations and dual numbers do not; the bits of the results depend on it.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> add_product(const Value<P>& sum, const Value<P>& a, const Value<P>& b) {
  return multiply_add(a, b, sum);
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> add_product(const Dual<P>& sum, const Dual<P>& a, const Dual<P>& b) {
  return sum + a * b;
}

/// Mean and scale = 1 / sqrt(variance + epsilon) of a row whose units of padding are 0: to[0] and to[1]. Two passes,
/// since a single one loses all digits where the mean is far from zero. `Skip` is 1 where the gate i is left out, as
/// with coupled gates: a template argument, so that the sums stay in registers.
template <class T, int Vectors, int Skip>
struct RowStatistics {
  using P = PacketOf<T>;
  const Index blocks, hidden;
  const T inverse_count, epsilon;

  RowStatistics(Index row_blocks, Index row_hidden, T eps)
      : blocks(row_blocks),
        hidden(row_hidden),
        inverse_count(T(1) / static_cast<T>((Vectors - Skip) * row_hidden)),
        epsilon(eps) {}

  EIGEN_ALWAYS_INLINE void put_mean(const T* row, T* to) const {
    Value<P> sums[Vectors];
    for (Value<P>& sum : sums) sum.value = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(blocks, hidden,
                                [&](int v, Index at, const P*) { sums[v] = sums[v] + load_value<P>(row + at); });
    to[0] = sum_of(sums).value * inverse_count;
  }

  EIGEN_ALWAYS_INLINE void put_scale(const T* row, T* to) const {
    const P mean = ei::pset1<P>(to[0]);
    Value<P> sums[Vectors];
    for (Value<P>& sum : sums) sum.value = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(blocks, hidden, [&](int v, Index at, const P* real) {
      P distance = ei::psub(ei::ploadu<P>(row + at), mean);
      if (real != nullptr) distance = ei::pmul(distance, *real);
      sums[v].value = ei::pmadd(distance, distance, sums[v].value);
    });
    to[1] = T(1) / std::sqrt(sum_of(sums).value * inverse_count + epsilon);
  }

  /// Their tangents: d scale = -scale^3 * the mean of (x - mean) d(x - mean). `statistics` are the row's own.
  EIGEN_ALWAYS_INLINE void put_tangents(const T* row, const T* row_tangent, const T* statistics, T* to) const {
    Value<P> sums[Vectors], products[Vectors];
    for (int v = 0; v < Vectors; ++v) sums[v].value = products[v].value = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(
        blocks, hidden, [&](int v, Index at, const P*) { sums[v] = sums[v] + load_value<P>(row_tangent + at); });
    to[0] = sum_of(sums).value * inverse_count;
    const P mean = ei::pset1<P>(statistics[0]), mean_tangent = ei::pset1<P>(to[0]);
    visit_row<T, Vectors, Skip>(blocks, hidden, [&](int v, Index at, const P* real) {
      P distance = ei::psub(ei::ploadu<P>(row + at), mean);
      if (real != nullptr) distance = ei::pmul(distance, *real);
      const P distance_tangent = ei::psub(ei::ploadu<P>(row_tangent + at), mean_tangent);
      products[v].value = ei::pmadd(distance, distance_tangent, products[v].value);
    });
    const T scale = statistics[1];
    to[1] = -scale * scale * scale * (sum_of(products).value * inverse_count);
  }
};

/// Mean and scale of a row, in all lanes.
template <class V>
struct Norm {
  V mean, scale;

  EIGEN_ALWAYS_INLINE V of(const V& x) const { return (x - mean) * scale; }
};

/// From what RowStatistics stored.
template <class T>
EIGEN_ALWAYS_INLINE Norm<Value<PacketOf<T>>> norm_of(const T* statistics) {
  return {spread(Value<T>{statistics[0]}), spread(Value<T>{statistics[1]})};
}
template <class T>
EIGEN_ALWAYS_INLINE Norm<Dual<PacketOf<T>>> norm_of(const T* statistics, const T* tangents) {
  return {spread(Dual<T>{statistics[0], tangents[0]}), spread(Dual<T>{statistics[1], tangents[1]})};
}

/// Turns the gradients of a row with respect to gain * normed into those with respect to what was normed:
/// scale (g - mean of g - normed * mean of g normed), with g the gradients times the gains. Units of padding have none.
template <class S>
struct NormGradient {
  S mean, along, scale;  ///< Value or Dual of a scalar

  /// scaled(at) and normed(at): the vectors g and normed, from element `at` of the row on.
  template <int Vectors, int Skip, class Scaled, class Normed>
  EIGEN_ALWAYS_INLINE void take(Scaled&& scaled, Normed&& normed, Index blocks, Index hidden, const S& row_scale) {
    using T = decltype(S::value);
    using V = decltype(spread(row_scale));
    using P = PacketOf<T>;
    V sums[Vectors], products[Vectors];
    for (int v = 0; v < Vectors; ++v) sums[v] = products[v] = V::constant(constant<P>(0.0));
    visit_row<T, Vectors, Skip>(blocks, hidden, [&](int v, Index at, const P*) {
      const V g = scaled(at);
      sums[v] = sums[v] + g;
      products[v] = add_product(products[v], g, normed(at));
    });
    const T inverse_count = T(1) / static_cast<T>((Vectors - Skip) * hidden);
    mean = divided_by(sum_of(sums), inverse_count);
    along = divided_by(sum_of(products), inverse_count);
    scale = row_scale;
  }

  /// Of one vector.
  template <class V>
  EIGEN_ALWAYS_INLINE V of(const V& scaled, const V& normed) const {
    return spread(scale) * (scaled - spread(mean) - normed * spread(along));
  }
};

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
