// exp, sigmoid and tanh on vectors: relative error below 4e-7 (float) and a few units in the last place (double) over
// the whole range; NaN stays NaN.
#pragma once

#include "vector.hpp"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

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
#elif defined(EIGEN_VECTORIZE_SSE2)
inline ei::Packet4f power_of_two(const ei::Packet4f& biased, const ei::Packet4f&) {
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(biased), 23));
}
inline ei::Packet2d power_of_two(const ei::Packet2d& biased, const ei::Packet2d&) {
  return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(biased), 52));
}
#else
template <class P>
inline P power_of_two(const P&, const P& n) {
  return ei::pldexp(constant<P>(1.0), n);
}
#endif

/// What exp needs to know of a type: limits of the argument whose result is a normal number, ln 2 in two parts of which
/// the first has so few bits that n * part is exact, and a polynomial for (exp(r) - 1 - r) / r^2 on |r| <= ln 2 / 2.
template <class T>
struct ExpTraits;

template <>
struct ExpTraits<float> {
  static constexpr double lowest = -87.33654, highest = 88.37626;
  static constexpr double magic = 12582912.0 + 127.0;
  static constexpr double ln2_high = 0.693359375, ln2_low = -2.12194440e-4;
  static constexpr double coefficients[] = {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                                            4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1};
};

template <>
struct ExpTraits<double> {
  static constexpr double lowest = -708.39, highest = 709.43;
  static constexpr double magic = 6755399441055744.0 + 1023.0;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  // Taylor's, 1/13! ... 1/2!: the first one left out is below 2^-57 on this interval.
  static constexpr double coefficients[] = {1.6059043836821613e-10, 2.08767569878681e-9,    2.505210838544172e-8,
                                            2.755731922398589e-7,   2.7557319223985893e-6, 2.48015873015873e-5,
                                            1.984126984126984e-4,   1.388888888888889e-3,  8.333333333333333e-3,
                                            4.1666666666666664e-2,  1.6666666666666666e-1, 0.5};
};

/// exp(x) for lowest <= x <= highest.
template <class P>
inline P exp_in_range(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  const P magic = constant<P>(Traits::magic);
  const P biased = ei::pmadd(x, constant<P>(1.4426950408889634), magic);
  const P n = ei::psub(biased, magic);
  const P r = ei::pmadd(n, constant<P>(-Traits::ln2_low), ei::pmadd(n, constant<P>(-Traits::ln2_high), x));
  P sum = constant<P>(Traits::coefficients[0]);
  constexpr int terms = static_cast<int>(sizeof(Traits::coefficients) / sizeof(double));
  for (int term = 1; term < terms; ++term) sum = ei::pmadd(sum, r, constant<P>(Traits::coefficients[term]));
  const P value = ei::padd(ei::pmadd(ei::pmul(r, r), sum, r), constant<P>(1.0));
  return ei::pmul(value, power_of_two(biased, n));
}

template <class P>
inline P keep_nan(const P& x, const P& value) {
  return ei::pselect(ei::pcmp_eq(x, x), value, x);
}

template <class P>
inline P clamp(const P& x, double low, double high) {
  return ei::pmin(ei::pmax(x, constant<P>(low)), constant<P>(high));
}

/// exp(x); 0 below the smallest normal result, infinity above the largest.
template <class P>
inline P vexp(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  P value = exp_in_range(clamp(x, Traits::lowest, Traits::highest));
  value = ei::pselect(ei::pcmp_lt(x, constant<P>(Traits::lowest)), ei::pzero(x), value);
  value = ei::pselect(ei::pcmp_lt(constant<P>(Traits::highest), x), constant<P>(Eigen::NumTraits<double>::infinity()), value);
  return keep_nan(x, value);
}

/// 1 / (1 + exp(-x)).
template <class P>
inline P vsigmoid(const P& x) {
  using Traits = ExpTraits<ScalarOf<P>>;
  const P one = constant<P>(1.0);
  const P e = exp_in_range(clamp(ei::pnegate(x), Traits::lowest, Traits::highest));
  return keep_nan(x, ei::pdiv(one, ei::padd(one, e)));
}

/// tanh in float: Eigen's rational approximation.
template <class P>
inline P vtanh_of(const P& x, float) {
  return keep_nan(x, ei::generic_fast_tanh_float(x));
}

/// tanh in double: 1 - 2 / (exp(2 |x|) + 1), and near zero, where that cancels, a rational approximation (Cephes).
template <class P>
inline P vtanh_of(const P& x, double) {
  const P one = constant<P>(1.0), two = constant<P>(2.0);
  const P magnitude = ei::pabs(x);
  const P e = exp_in_range(ei::pmin(ei::pmul(two, magnitude), constant<P>(45.0)));
  const P large = ei::psub(one, ei::pdiv(two, ei::padd(e, one)));
  const P z = ei::pmul(x, x);
  P p = constant<P>(-9.64399179425052238628e-1);
  p = ei::pmadd(p, z, constant<P>(-9.92877231001918586564e1));
  p = ei::pmadd(p, z, constant<P>(-1.61468768441708447952e3));
  P q = ei::padd(z, constant<P>(1.12811678491632931402e2));
  q = ei::pmadd(q, z, constant<P>(2.23548839060100448583e3));
  q = ei::pmadd(q, z, constant<P>(4.84406305325125486048e3));
  const P small = ei::pmadd(ei::pmul(x, z), ei::pdiv(p, q), x);
  const P signed_large = ei::pselect(ei::pcmp_lt(x, ei::pzero(x)), ei::pnegate(large), large);
  return keep_nan(x, ei::pselect(ei::pcmp_lt(magnitude, constant<P>(0.625)), small, signed_large));
}

template <class P>
inline P vtanh(const P& x) {
  return vtanh_of(x, ScalarOf<P>());
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
