// The activation functions that a cell may have, on vectors: value, first and second derivative, and the bounds of
// their arguments. The derivatives follow from the function's value, because that is what the tape holds.
#pragma once

#include "activations.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// x within [-limit, limit]; NaN stays NaN. 0: no limit.
template <class P>
EIGEN_ALWAYS_INLINE P bounded(const P& x, ScalarOf<P> limit) {
  if (!(limit > 0)) return x;
  const P high = ei::pset1<P>(limit), low = ei::pnegate(high);
  return ei::pselect(ei::pcmp_lt(high, x), high, ei::pselect(ei::pcmp_lt(x, low), low, x));
}

/// `gradient` where x is within the limits, else 0.
template <class P>
EIGEN_ALWAYS_INLINE P inside(const P& x, ScalarOf<P> limit, const P& gradient) {
  if (!(limit > 0)) return gradient;
  return ei::pselect(ei::pcmp_lt(ei::pabs(x), ei::pset1<P>(limit)), gradient, ei::pzero(x));
}

/// log(1 + exp(x)) = max(x, 0) + log1p(u) with u = exp(-|x|); log1p(u) = 2 artanh(s) with s = u / (2 + u), at most 1/3,
/// whose series 2 s (1 + s^2/3 + s^4/5 + ...) gains about one decimal digit per term.
template <class P>
EIGEN_ALWAYS_INLINE P vsoftplus(const P& x) {
  constexpr int terms = sizeof(ScalarOf<P>) == 4 ? 8 : 18;
  const P zero = ei::pzero(x);
  const P u = vexp(ei::pnegate(ei::pabs(x)));
  const P s = ei::pdiv(u, ei::padd(constant<P>(2.0), u));
  const P square = ei::pmul(s, s);
  P series = constant<P>(1.0 / (2 * terms - 1));
  for (int term = terms - 1; term > 0; --term) series = ei::pmadd(series, square, constant<P>(1.0 / (2 * term - 1)));
  return ei::pmadd(ei::padd(s, s), series, ei::pselect(ei::pcmp_lt(x, zero), zero, x));
}

/// exp(x) - 1 for x <= 0, from t = tanh(x / 2): 2 t / (1 - t).
template <class P>
EIGEN_ALWAYS_INLINE P vexpm1_negative(const P& x) {
  const P t = vtanh(ei::pmul(x, constant<P>(0.5)));
  return ei::pdiv(ei::padd(t, t), ei::psub(constant<P>(1.0), t));
}

/// The function's value. For `alpha` and `beta`, see LstmActivation.
template <class P>
EIGEN_DONT_INLINE P activate(LstmFunction function, const P& x, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P a = ei::pset1<P>(alpha), b = ei::pset1<P>(beta), zero = ei::pzero(x), one = constant<P>(1.0);
  const P negative = ei::pcmp_lt(x, zero);
  switch (function) {
    case LstmFunction::sigmoid:
      return vsigmoid(x);
    case LstmFunction::tanh:
      return vtanh(x);
    case LstmFunction::relu:
      return ei::pselect(negative, zero, x);
    case LstmFunction::leaky_relu:
      return ei::pselect(negative, ei::pmul(a, x), x);
    case LstmFunction::elu:
      return ei::pselect(negative, ei::pmul(a, vexpm1_negative(ei::pselect(negative, x, zero))), x);
    case LstmFunction::hard_sigmoid: {
      const P line = ei::pmadd(a, x, b);
      return ei::pselect(ei::pcmp_lt(line, zero), zero, ei::pselect(ei::pcmp_lt(one, line), one, line));
    }
    case LstmFunction::softsign:
      return ei::pdiv(x, ei::padd(one, ei::pabs(x)));
    case LstmFunction::softplus:
      return vsoftplus(x);
    case LstmFunction::affine:
      return ei::pmadd(a, x, b);
    case LstmFunction::scaled_tanh:
      return ei::pmul(a, vtanh(ei::pmul(b, x)));
    case LstmFunction::thresholded_relu:
      return ei::pselect(ei::pcmp_lt(a, x), x, ei::pselect(ei::pcmp_eq(x, x), zero, x));
    case LstmFunction::fast_sigmoid:
      return vfast_sigmoid(x);
    case LstmFunction::fast_tanh:
      return vfast_tanh(x);
    case LstmFunction::linear:
      break;
  }
  return x;
}

/// The derivative, from the function's value. For the cheaper approximations it is that of the function they
/// approximate, within 5e-5 of their own.
template <class P>
EIGEN_DONT_INLINE P slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P a = ei::pset1<P>(alpha), zero = ei::pzero(y), one = constant<P>(1.0);
  const P positive = ei::pcmp_lt(zero, y);
  switch (function) {
    case LstmFunction::sigmoid:
    case LstmFunction::fast_sigmoid:
      return ei::pmul(y, ei::psub(one, y));
    case LstmFunction::tanh:
    case LstmFunction::fast_tanh:
      return ei::psub(one, ei::pmul(y, y));
    case LstmFunction::relu:
      return ei::pselect(positive, one, zero);
    case LstmFunction::leaky_relu:
      return ei::pselect(positive, one, a);
    case LstmFunction::elu:
      return ei::pselect(positive, one, ei::padd(y, a));
    case LstmFunction::hard_sigmoid:
      return ei::pselect(positive, ei::pselect(ei::pcmp_lt(y, one), a, zero), zero);
    case LstmFunction::softsign: {
      const P rest = ei::psub(one, ei::pabs(y));
      return ei::pmul(rest, rest);
    }
    case LstmFunction::softplus:
      return ei::pnegate(vexpm1_negative(ei::pnegate(y)));  // 1 - exp(-y)
    case LstmFunction::affine:
      return a;
    case LstmFunction::scaled_tanh: {
      // alpha beta (1 - (y / alpha)^2)
      const P share = ei::pdiv(y, a);
      return ei::pmul(ei::pmul(a, ei::pset1<P>(beta)), ei::psub(one, ei::pmul(share, share)));
    }
    case LstmFunction::thresholded_relu:
      return ei::pselect(ei::pcmp_eq(y, zero), zero, one);
    case LstmFunction::linear:
      break;
  }
  return one;
}

/// The same two functions where `usual`, sigmoid or tanh, is the most likely: it is inlined, since a call costs about
/// as much as some of the functions.
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P usually_activate(LstmFunction function, const P& x, ScalarOf<P> alpha, ScalarOf<P> beta) {
  if (function != usual) return activate(function, x, alpha, beta);
  return usual == LstmFunction::sigmoid ? vsigmoid(x) : vtanh(x);
}
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P usual_slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  if (function != usual) return slope(function, y, alpha, beta);
  const P one = constant<P>(1.0);
  return usual == LstmFunction::sigmoid ? ei::pmul(y, ei::psub(one, y)) : ei::psub(one, ei::pmul(y, y));
}

/// The derivative with respect to the unclipped argument, from the function's value y: zero where the argument was
/// clipped, which shows in y being the function's value at one of the limits.
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P bounded_slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta,
                                    ScalarOf<P> limit) {
  const P free = usual_slope<usual>(function, y, alpha, beta);
  if (!(limit > 0)) return free;
  const P high = activate(function, ei::pset1<P>(limit), alpha, beta);
  const P low = activate(function, ei::pset1<P>(-limit), alpha, beta);
  const P at_end = ei::por(ei::pcmp_eq(y, high), ei::pcmp_eq(y, low));
  return ei::pselect(at_end, ei::pzero(y), free);
}

/// The derivative of `slope` with respect to the function's value, from that value.
template <class P>
EIGEN_DONT_INLINE P bend(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P zero = ei::pzero(y), one = constant<P>(1.0), two = constant<P>(2.0);
  switch (function) {
    case LstmFunction::sigmoid:
    case LstmFunction::fast_sigmoid:
      return ei::psub(one, ei::padd(y, y));
    case LstmFunction::tanh:
    case LstmFunction::fast_tanh:
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

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
