// Dual numbers on vectors: a value beside its tangent, the derivative along a direction. Equations written for them
// give both. Activations follow the rules of varied_cell.hpp: of a value, its slope; of a slope, how it bends.
#pragma once

#include "varied_cell.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class P>
struct Dual {
  P value, tangent;
};

template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator+(const Dual<P>& a, const Dual<P>& b) {
  return {ei::padd(a.value, b.value), ei::padd(a.tangent, b.tangent)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator-(const Dual<P>& a, const Dual<P>& b) {
  return {ei::psub(a.value, b.value), ei::psub(a.tangent, b.tangent)};
}
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> operator*(const Dual<P>& a, const Dual<P>& b) {
  return {ei::pmul(a.value, b.value), ei::pmadd(a.value, b.tangent, ei::pmul(a.tangent, b.value))};
}
/// a b + c, the value rounded as `pmadd` does.
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> multiply_add(const Dual<P>& a, const Dual<P>& b, const Dual<P>& c) {
  return {ei::pmadd(a.value, b.value, c.value),
          ei::pmadd(a.value, b.tangent, ei::pmadd(a.tangent, b.value, c.tangent))};
}

/// Of what nothing depends on.
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> fixed(const P& value) {
  return {value, ei::pzero(value)};
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

/// sum += the tangent.
template <class P>
EIGEN_ALWAYS_INLINE void add_tangent(ScalarOf<P>* sum, const Dual<P>& x) {
  ei::pstoreu(sum, ei::padd(ei::ploadu<P>(sum), x.tangent));
}

template <class P>
EIGEN_ALWAYS_INLINE Dual<P> bounded(const Dual<P>& x, ScalarOf<P> limit) {
  return {bounded(x.value, limit), inside(x.value, limit, x.tangent)};
}

/// `slope` where x is inside the bound, else 0.
template <class P>
EIGEN_ALWAYS_INLINE Dual<P> inside(const P& x, ScalarOf<P> limit, const Dual<P>& slope) {
  return {inside(x, limit, slope.value), inside(x, limit, slope.tangent)};
}

/// The derivative of `slope` by the function's value, from that value.
template <class P>
EIGEN_DONT_INLINE P bend(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P zero = ei::pzero(y), one = constant<P>(1.0), two = constant<P>(2.0);
  switch (function) {
    case LstmFunction::sigmoid:
      return ei::psub(one, ei::padd(y, y));
    case LstmFunction::tanh:
      return ei::pnegate(ei::padd(y, y));
    case LstmFunction::elu:
      return ei::pselect(ei::pcmp_lt(zero, y), zero, one);
    case LstmFunction::softsign: {
      // -2 (1 - |y|), with the sign of y.
      const P rest = ei::pmul(two, ei::psub(one, ei::pabs(y)));
      return ei::pselect(ei::pcmp_lt(zero, y), ei::pnegate(rest), rest);
    }
    case LstmFunction::softplus:
      return ei::psub(one, slope(LstmFunction::softplus, y, alpha, beta));  // exp(-y)
    case LstmFunction::scaled_tanh:
      return ei::pdiv(ei::pmul(ei::pset1<P>(-2 * beta), y), ei::pset1<P>(alpha));
    case LstmFunction::relu:
    case LstmFunction::leaky_relu:
    case LstmFunction::hard_sigmoid:
    case LstmFunction::affine:
    case LstmFunction::thresholded_relu:
    case LstmFunction::linear:
      break;
  }
  return zero;
}

/// An activation with its parameters and the bound of what it is applied to.
template <class P>
struct DualActivation {
  LstmFunction function;
  ScalarOf<P> alpha, beta, limit;

  /// Its value at x.
  EIGEN_ALWAYS_INLINE Dual<P> at(const Dual<P>& x) const {
    const P value = activate(function, bounded(x.value, limit), alpha, beta);
    return of(value, x.tangent);
  }
  /// Its value that is known already, from the tangent of what it was applied to.
  EIGEN_ALWAYS_INLINE Dual<P> of(const P& value, const P& tangent) const {
    return {value, ei::pmul(bounded_slope<LstmFunction::sigmoid>(function, value, alpha, beta, limit), tangent)};
  }
  /// The slope, from the value. Where the bound holds, it is 0 and stays 0.
  EIGEN_ALWAYS_INLINE Dual<P> slope_of(const Dual<P>& y) const {
    const P value = bounded_slope<LstmFunction::sigmoid>(function, y.value, alpha, beta, limit);
    // What holds y at a bound has left it no tangent.
    return {value, ei::pmul(bend(function, y.value, alpha, beta), y.tangent)};
  }
};

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
