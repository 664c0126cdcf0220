// The two kinds of numbers that the equations of the cell are written for: `Value`, a vector, and `Dual`, a vector
// with its tangent, which is its derivative along one direction. The same equation then computes results or, with
// dual numbers, results and Jacobian-vector products.
#pragma once

#include "cell_functions.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class P>
struct Value {
  using Packet = P;
  P value;

  static EIGEN_ALWAYS_INLINE Value constant(const P& value) { return {value}; }
};

template <class P>
struct Dual {
  using Packet = P;
  P value, tangent;

  /// A value that does not depend on the direction: its tangent is zero.
  static EIGEN_ALWAYS_INLINE Dual constant(const P& value) { return {value, ei::pzero(value)}; }
};

template <class P>
EIGEN_ALWAYS_INLINE Value<P> operator+(const Value<P>& a, const Value<P>& b) {
  return {ei::padd(a.value, b.value)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator+(const Dual<P>& a, const Dual<P>& b) {
  return {ei::padd(a.value, b.value), ei::padd(a.tangent, b.tangent)};
}

template <class P>
EIGEN_ALWAYS_INLINE Value<P> operator-(const Value<P>& a, const Value<P>& b) {
  return {ei::psub(a.value, b.value)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator-(const Dual<P>& a, const Dual<P>& b) {
  return {ei::psub(a.value, b.value), ei::psub(a.tangent, b.tangent)};
}

template <class P>
EIGEN_ALWAYS_INLINE Value<P> operator*(const Value<P>& a, const Value<P>& b) {
  return {ei::pmul(a.value, b.value)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator*(const Dual<P>& a, const Dual<P>& b) {
  return {ei::pmul(a.value, b.value), ei::pmadd(a.value, b.tangent, ei::pmul(a.tangent, b.value))};
}

/// a b + c, rounded once where the instruction set can fuse the two operations.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> multiply_add(const Value<P>& a, const Value<P>& b, const Value<P>& c) {
  return {ei::pmadd(a.value, b.value, c.value)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> multiply_add(const Dual<P>& a, const Dual<P>& b, const Dual<P>& c) {
  return {ei::pmadd(a.value, b.value, c.value),
          ei::pmadd(a.value, b.tangent, ei::pmadd(a.tangent, b.value, c.tangent))};
}

/// x within [-limit, limit]; 0: no limit.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> bounded(const Value<P>& x, ScalarOf<P> limit) {
  return {bounded(x.value, limit)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> bounded(const Dual<P>& x, ScalarOf<P> limit) {
  return {bounded(x.value, limit), inside(x.value, limit, x.tangent)};
}

/// The gradient with respect to x from `gradient`, the one with respect to bounded(x): zero outside of the limits.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> inside(const Value<P>& x, ScalarOf<P> limit, const Value<P>& gradient) {
  return {inside(x.value, limit, gradient.value)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> inside(const Dual<P>& x, ScalarOf<P> limit, const Dual<P>& gradient) {
  return {inside(x.value, limit, gradient.value), inside(x.value, limit, gradient.tangent)};
}

template <class P>
EIGEN_ALWAYS_INLINE Value<P> load_value(const ScalarOf<P>* from) {
  return {ei::ploadu<P>(from)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> load_dual(const ScalarOf<P>* value, const ScalarOf<P>* tangent) {
  return {ei::ploadu<P>(value), ei::ploadu<P>(tangent)};
}
template <class P>
EIGEN_ALWAYS_INLINE void store_dual(ScalarOf<P>* value, ScalarOf<P>* tangent, const Dual<P>& x) {
  ei::pstoreu(value, x.value);
  ei::pstoreu(tangent, x.tangent);
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
