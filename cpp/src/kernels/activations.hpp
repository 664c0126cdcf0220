// exp, sigmoid and tanh on vectors: relative error below 4e-7 (float) and a few units in the last place (double) over
// the whole range; and cheaper approximations of the last two. NaN stays NaN.
#pragma once

#include "vector.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// 2^n where `biased` holds 1.5 * 2^m + bias + n (m: mantissa bits): its low bits are the exponent field.
#if defined(EIGEN_VECTORIZE_AVX512)
inline ei::Packet16f power_of_two(const ei::Packet16f& biased, const ei::Packet16f&) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(biased), 23));
}
inline ei::Packet8d power_of_two(const ei::Packet8d& biased, const ei::Packet8d&) {
  return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(biased), 52));
}
#elif defined(EIGEN_VECTORIZE_AVX2)
inline ei::Packet8f power_of_two(const ei::Packet8f& biased, const ei::Packet8f&) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(biased), 23));
}
inline ei::Packet4d power_of_two(const ei::Packet4d& biased, const ei::Packet4d&) {
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(biased), 52));
}
#elif defined(EIGEN_VECTORIZE_SSE2) && !defined(EIGEN_VECTORIZE_AVX)
inline ei::Packet4f power_of_two(const ei::Packet4f& biased, const ei::Packet4f&) {
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(biased), 23));
}
inline ei::Packet2d power_of_two(const ei::Packet2d& biased, const ei::Packet2d&) {
  return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(biased), 52));
}
#elif defined(LSTMCORE_NEON)
inline ei::Packet4f power_of_two(const ei::Packet4f& biased, const ei::Packet4f&) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(biased), 23));
}
inline ei::Packet2d power_of_two(const ei::Packet2d& biased, const ei::Packet2d&) {
  return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(biased), 52));
}
#else
template <class P>
inline P power_of_two(const P&, const P& n) {
  return ei::pldexp(constant<P>(1.0), n);
}
#endif

/// The constants of exp for a type: the limits between which its result is a normal number; ln 2 as the sum of two
/// parts, the first of which has so few bits that n * part is exact; and a polynomial f, highest power first, with
/// exp(r) = 1 + r f(r) for |r| <= ln 2 / 2. It is fitted to minimize the largest relative error, which is 2e-9 in float
/// and 2e-17 in double.
template <class T>
struct ExpTraits;

template <>
struct ExpTraits<float> {
  static constexpr double lowest = -87.33654, highest = 88.37626;
  static constexpr double magic = 12582912.0 + 127.0;
#ifdef EIGEN_VECTORIZE_FMA
  // A fused multiply-add does not round n * ln 2, so one part is enough.
  static constexpr double ln2_high = 0.6931471805599453, ln2_low = 0.0;
#else
  static constexpr double ln2_high = 0.693359375, ln2_low = -2.12194440054690583e-4;
#endif
  static constexpr double f[] = {0.00138435573, 0.00837423659, 0.0416680075, 0.166664303, 0.499999942, 1.0};
};

template <>
struct ExpTraits<double> {
  static constexpr double lowest = -708.39, highest = 709.43;
  static constexpr double magic = 6755399441055744.0 + 1023.0;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  static constexpr double f[] = {2.5114934610018159e-08,
                                 2.7626496520756762e-07,
                                 2.7557226219496293e-06,
                                 2.480150401178851e-05,
                                 0.00019841269905489619,
                                 0.0013888888932753383,
                                 0.008333333333312978,
                                 0.041666666666572386,
                                 0.16666666666666691,
                                 0.50000000000000056,
                                 1.0};
};

/// exp(sign * x) = power * (1 + product) for lowest <= sign * x <= highest.
template <class P>
struct ReducedExp {
  P power;    ///< 2^n
  P product;  ///< r f(r)
};

template <int sign, class P>
inline ReducedExp<P> reduced_exp(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  const P magic = constant<P>(Traits::magic);
  const P biased = ei::pmadd(x, constant<P>(sign * 1.4426950408889634), magic);
  const P n = ei::psub(biased, magic);
  P r = ei::pmadd(n, constant<P>(-sign * Traits::ln2_high), x);  // sign * (reduced argument)
  if (Traits::ln2_low != 0.0) r = ei::pmadd(n, constant<P>(-sign * Traits::ln2_low), r);
  constexpr int terms = static_cast<int>(sizeof(Traits::f) / sizeof(double));
  // With sign -1, r is the negated reduced argument: the sign is moved into the coefficients.
  const auto coefficient = [](int term) {
    const bool odd_power = (terms - 1 - term) % 2 == 1;
    return constant<P>(sign < 0 && !odd_power ? -Traits::f[term] : Traits::f[term]);
  };
  P f = coefficient(0);
  for (int term = 1; term < terms; ++term) f = ei::pmadd(f, r, coefficient(term));
  return {power_of_two(biased, n), ei::pmul(f, r)};
}

/// NaN stays NaN: Eigen's minimum and maximum return their first argument if it is NaN.
template <class P>
inline P clamp(const P& x, double low, double high) {
  return ei::pmin(ei::pmax(x, constant<P>(low)), constant<P>(high));
}

/// exp(x); 0 below the smallest normal result, infinity above the largest.
template <class P>
inline P vexp(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  const ReducedExp<P> e = reduced_exp<1>(clamp(x, Traits::lowest, Traits::highest));
  const P value = ei::pmul(ei::padd(e.product, constant<P>(1.0)), e.power);
  const P infinity = constant<P>(Eigen::NumTraits<double>::infinity());
  const P not_small = ei::pselect(ei::pcmp_lt(x, constant<P>(Traits::lowest)), ei::pzero(x), value);
  return ei::pselect(ei::pcmp_lt(constant<P>(Traits::highest), x), infinity, not_small);
}

/// 1 / (1 + exp(-x)). Eigen's `logistic` is wrong by up to 7e-4 for strongly negative arguments.
template <class P>
inline P vsigmoid(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  const P one = constant<P>(1.0);
  const ReducedExp<P> e = reduced_exp<-1>(clamp(x, -Traits::highest, -Traits::lowest));
  return ei::pdiv(one, ei::pmadd(ei::padd(e.product, one), e.power, one));
}

/// tanh in float: the rational approximation that Eigen uses, an odd polynomial over an even one. At the limit, which
/// depends on how multiply-adds are rounded, it reaches 1.
template <class P>
inline P vtanh_of(const P& x, float) {
#ifdef EIGEN_VECTORIZE_FMA
  constexpr double limit = 7.99881172180175781;
#else
  constexpr double limit = 7.90531110763549805;
#endif
  const P limited = clamp(x, -limit, limit);
  const P z = ei::pmul(limited, limited);
  P p = constant<P>(-2.76076847742355e-16);
  p = ei::pmadd(p, z, constant<P>(2.00018790482477e-13));
  p = ei::pmadd(p, z, constant<P>(-8.60467152213735e-11));
  p = ei::pmadd(p, z, constant<P>(5.12229709037114e-08));
  p = ei::pmadd(p, z, constant<P>(1.48572235717979e-05));
  p = ei::pmadd(p, z, constant<P>(6.37261928875436e-04));
  p = ei::pmadd(p, z, constant<P>(4.89352455891786e-03));
  P q = constant<P>(1.19825839466702e-06);
  q = ei::pmadd(q, z, constant<P>(1.18534705686654e-04));
  q = ei::pmadd(q, z, constant<P>(2.26843463243900e-03));
  q = ei::pmadd(q, z, constant<P>(4.89352518554385e-03));
  return ei::pmul(limited, ei::pdiv(p, q));
}

/// tanh in double: m / (m + 2) with m = exp(2 x) - 1, which for small x is the polynomial alone, so that no digits
/// cancel and no branch is needed.
template <class P>
inline P vtanh_of(const P& x, double) {
  const P one = constant<P>(1.0);
  const P limited = clamp(x, -22.0, 22.0);  // where tanh rounds to 1
  const ReducedExp<P> e = reduced_exp<1>(ei::padd(limited, limited));
  const P m = ei::pmadd(e.power, e.product, ei::psub(e.power, one));
  return ei::pdiv(m, ei::padd(m, constant<P>(2.0)));
}

template <class P>
inline P vtanh(const P& x) {
  return vtanh_of(x, ScalarOf<P>());
}

/// tanh x = x P(x^2) / Q(x^2), the cheaper approximation: fitted to minimize the largest absolute error, 1.02e-5, among
/// those that rise up to the limit and reach 1 - 1e-6 there, so that rounding never takes it beyond 1. Its derivative
/// differs from 1 - tanh^2 by at most 5e-5. The division is not replaced by an approximate reciprocal, which is not the
/// same on every processor.
struct FastTanh {
  static constexpr double limit = 6.1;
  static constexpr double p[] = {0.9999540214298578, 0.11352077489227884, 0.001437330937520413};
  static constexpr double q[] = {1.0, 0.4467145159758759, 0.01713556587772853, 5.1602638939356574e-05};
};

/// factor * tanh(scale * x). Powers of two change no bits of the coefficients. Even and odd terms are summed separately
/// to shorten the chain of operations.
template <class P>
inline P fast_tanh_of(const P& x, double scale, double factor) {
  const P limited = clamp(x, -FastTanh::limit / scale, FastTanh::limit / scale);
  const double s2 = scale * scale;
  const P z = ei::pmul(limited, limited), z2 = ei::pmul(z, z);
  const P q_low = ei::pmadd(z, constant<P>(FastTanh::q[1] * s2), constant<P>(FastTanh::q[0]));
  const P q_high = ei::pmadd(z, constant<P>(FastTanh::q[3] * s2 * s2 * s2), constant<P>(FastTanh::q[2] * s2 * s2));
  const P p_high = ei::pmadd(z, constant<P>(factor * FastTanh::p[2] * scale * s2 * s2),
                             constant<P>(factor * FastTanh::p[1] * scale * s2));
  const P p_low = ei::pmul(limited, constant<P>(factor * FastTanh::p[0] * scale));
  return ei::pdiv(ei::pmadd(ei::pmul(limited, z), p_high, p_low), ei::pmadd(z2, q_high, q_low));
}

template <class P>
inline P vfast_tanh(const P& x) {
  return fast_tanh_of(x, 1.0, 1.0);
}

/// 1/2 + tanh(x / 2) / 2: half the error of `vfast_tanh`.
template <class P>
inline P vfast_sigmoid(const P& x) {
  return ei::padd(constant<P>(0.5), fast_tanh_of(x, 0.5, 0.5));
}

/// y = function(x) over n elements; the last partial vector goes through the same vector code.
template <class T, class Function>
inline void map_elements(const T* x, T* y, Index n, Function function) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  Index k = 0;
  for (; k + lanes <= n; k += lanes) ei::pstoreu(y + k, function(ei::ploadu<P>(x + k)));
  if (k < n) store_part(y + k, function(load_part<P>(x + k, n - k)), n - k);
}

template <class T>
void exp_elements(const T* x, T* y, Index n) {
  map_elements(x, y, n, [](const PacketOf<T>& value) { return vexp(value); });
}

template <class T>
void sigmoid_elements(const T* x, T* y, Index n) {
  map_elements(x, y, n, [](const PacketOf<T>& value) { return vsigmoid(value); });
}

template <class T>
void tanh_elements(const T* x, T* y, Index n) {
  map_elements(x, y, n, [](const PacketOf<T>& value) { return vtanh(value); });
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
