// The vector type of this instruction set, through Eigen's packets.
#pragma once

#include <Eigen/Core>

#include "kernel_table.hpp"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define LSTMCORE_NEON
#endif

// The kernels are in anonymous namespaces, so that the linker cannot merge them with those of another instruction set.
namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

namespace ei = Eigen::internal;
using kernels::Index;

template <class T>
using PacketOf = typename ei::packet_traits<T>::type;

template <class T>
constexpr int lanes_of = ei::unpacket_traits<PacketOf<T>>::size;

#if defined(EIGEN_VECTORIZE_AVX512) || defined(EIGEN_VECTORIZE_NEON)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

template <class P>
using ScalarOf = typename ei::unpacket_traits<P>::type;

template <class P>
inline P constant(double value) {
  return ei::pset1<P>(static_cast<ScalarOf<P>>(value));
}

// A number that multiplies whole vectors, and sum + number * vector. NEON multiplies by one lane of a register, so the
// number is loaded as it is.
#if defined(LSTMCORE_NEON)
template <class P>
using Multiplier = ScalarOf<P>;
template <class P>
EIGEN_ALWAYS_INLINE Multiplier<P> multiplier(ScalarOf<P> number) {
  return number;
}
// Assembler, because GCC 12 copies the number into all lanes where a loop over k is unrolled, as for a step of one row,
// and then has too few registers for the sums.
EIGEN_ALWAYS_INLINE ei::Packet4f add_multiple(ei::Packet4f sum, float number, const ei::Packet4f& vector) {
  __asm__("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(sum) : "w"(vector), "w"(number));
  return sum;
}
EIGEN_ALWAYS_INLINE ei::Packet2d add_multiple(ei::Packet2d sum, double number, const ei::Packet2d& vector) {
  __asm__("fmla %0.2d, %1.2d, %2.d[0]" : "+w"(sum) : "w"(vector), "w"(number));
  return sum;
}
#else
template <class P>
using Multiplier = P;
template <class P>
EIGEN_ALWAYS_INLINE Multiplier<P> multiplier(ScalarOf<P> number) {
  return ei::pset1<P>(number);
}
template <class P>
EIGEN_ALWAYS_INLINE P add_multiple(const P& sum, const P& number, const P& vector) {
  return ei::pmadd(number, vector, sum);
}
#endif

/// Loads the first `count` (1..lanes) elements, with zeros in the other lanes; the store writes no other elements.
#if defined(EIGEN_VECTORIZE_AVX512)
template <class P>
inline P load_part(const ScalarOf<P>* from, Index count) {
  const auto mask = static_cast<unsigned short>((1u << count) - 1u);
  if constexpr (sizeof(ScalarOf<P>) == 4) {
    return _mm512_maskz_loadu_ps(mask, from);
  } else {
    return _mm512_maskz_loadu_pd(static_cast<unsigned char>(mask), from);
  }
}

template <class P>
inline void store_part(ScalarOf<P>* to, const P& value, Index count) {
  const auto mask = static_cast<unsigned short>((1u << count) - 1u);
  if constexpr (sizeof(ScalarOf<P>) == 4) {
    _mm512_mask_storeu_ps(to, mask, value);
  } else {
    _mm512_mask_storeu_pd(to, static_cast<unsigned char>(mask), value);
  }
}
#else
template <class P>
inline P load_part(const ScalarOf<P>* from, Index count) {
  alignas(64) ScalarOf<P> lanes[ei::unpacket_traits<P>::size] = {};
  for (Index lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
  return ei::pload<P>(lanes);
}

template <class P>
inline void store_part(ScalarOf<P>* to, const P& value, Index count) {
  alignas(64) ScalarOf<P> lanes[ei::unpacket_traits<P>::size];
  ei::pstore(lanes, value);
  for (Index lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
}
#endif

template <class P>
inline P load_some(const ScalarOf<P>* from, Index count) {
  return count >= ei::unpacket_traits<P>::size ? ei::ploadu<P>(from) : load_part<P>(from, count);
}

template <class P>
inline void store_some(ScalarOf<P>* to, const P& value, Index count) {
  if (count >= ei::unpacket_traits<P>::size) {
    ei::pstoreu(to, value);
  } else {
    store_part(to, value, count);
  }
}

/// Elements of vector v of a tile that is `vectors` wide and has `columns` columns left. Only its last vector can be
/// partial, so that the code of the others needs no test.
template <class T>
constexpr Index elements_of(Index columns, int v, int vectors) {
  return v + 1 < vectors ? lanes_of<T> : columns - v * lanes_of<T>;
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
