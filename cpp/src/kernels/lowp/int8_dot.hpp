// Dot products of groups of four int8 numbers with the instructions that every processor of this instruction set has.
#pragma once

#include <cstring>

#include "vector_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

// Instructions of x86 multiply unsigned by signed bytes, so a b is computed as |a| times b with a's sign. The sum of
// two such products fits into 16 bits, since neither factor is ever -128.

#if defined(EIGEN_VECTORIZE_AVX512)
struct Int8Dot {
  using Sum = __m512i;
  using Groups = __m512i;
  using Left = __m512i;
  static constexpr bool integer = true, row_start = false;
  static Sum first(const LowpFactors&, Index, Index) { return _mm512_setzero_si512(); }
  static Groups load(const PackedGroup* from) { return _mm512_loadu_si512(from); }
  static Left broadcast(const PackedGroup* from) { return _mm512_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Left a, Groups b) {
    const Groups signed_b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    const Groups pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed_b);
    return ei::padd(ei::Packet16i(sum), ei::Packet16i(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))));
  }
  static PacketOf<float> to_float(Sum sum) { return _mm512_cvtepi32_ps(sum); }
};
#elif defined(EIGEN_VECTORIZE_AVX2)
/// For negative a, -b is ~b + 1: an exclusive or, which every vector port of a processor computes, while the
/// instruction that changes signs competes with the multiplications for theirs. What the 1 contributes, the sum of all
/// these |a|, is the first value of the row's sums. ~b may be -128: two products with |a| up to 127 still fit.
struct Int8Dot {
  using Sum = __m256i;
  using Groups = const __m256i*;
  /// A group, repeated: magnitudes, and all ones where a number is negative.
  struct Left {
    __m256i magnitude, negative;
  };
  static constexpr bool integer = true, row_start = true;
  static Sum first(const LowpFactors& f, Index row, Index) { return _mm256_set1_epi32(f.a_start[row]); }
  static Groups load(const PackedGroup* from) { return reinterpret_cast<Groups>(from); }
  static Left broadcast(const PackedGroup* from) {
    const __m256i a = _mm256_set1_epi32(static_cast<int>(*from)), magnitude = _mm256_abs_epi8(a);
    return {magnitude, _mm256_cmpgt_epi8(magnitude, a)};
  }
  static Sum dot(Sum sum, const Left& a, Groups b) {
    const __m256i ones = _mm256_set1_epi16(1);
#if defined(__GNUC__)
    // Assembler, because GCC 12 reorders the instructions of a tile until sums have no register left. With twelve sums,
    // these operands take exactly sixteen.
    __m256i pairs;
    __asm__("vpxor %3, %2, %1\n\tvpmaddubsw %1, %4, %1\n\tvpmaddwd %5, %1, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sum), "=&x"(pairs)
            : "x"(a.negative), "m"(*b), "x"(a.magnitude), "x"(ones));
    return sum;
#else
    const __m256i pairs = _mm256_maddubs_epi16(a.magnitude, _mm256_xor_si256(a.negative, _mm256_loadu_si256(b)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
#endif
  }
  static PacketOf<float> to_float(Sum sum) { return _mm256_cvtepi32_ps(sum); }
};
#elif defined(LSTMCORE_NEON)
/// Four instructions for sixteen products: two multiply, one adds neighbours in 16 bits, one adds these to the sums.
struct Int8Dot {
  using Sum = int32x4_t;
  using Groups = int8x16_t;
  using Left = int8x16_t;
  static constexpr bool integer = true, row_start = false;
  static Sum first(const LowpFactors&, Index, Index) { return vdupq_n_s32(0); }
  static Groups load(const PackedGroup* from) { return vreinterpretq_s8_u32(vld1q_u32(from)); }
  static Left broadcast(const PackedGroup* from) { return vreinterpretq_s8_u32(vld1q_dup_u32(from)); }
  static Sum dot(Sum sum, Left a, Groups b) {
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
  }
  static PacketOf<float> to_float(Sum sum) { return vcvtq_f32_s32(sum); }
};
#else
/// Byte by byte.
struct Int8Dot {
  static constexpr int lanes = lanes_of<float>;
  struct Sum {
    std::int32_t lane[lanes];
  };
  struct Groups {
    std::int8_t byte[4 * lanes];
  };
  using Left = Groups;
  static constexpr bool integer = true, row_start = false;
  static Sum first(const LowpFactors&, Index, Index) { return Sum{}; }
  static Groups load(const PackedGroup* from) {
    Groups loaded;
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }
  static Groups broadcast(const PackedGroup* from) {
    Groups repeated;
    for (int lane = 0; lane < lanes; ++lane) std::memcpy(repeated.byte + 4 * lane, from, 4);
    return repeated;
  }
  static Sum dot(Sum sum, const Groups& a, const Groups& b) {
    for (int lane = 0; lane < lanes; ++lane) {
      for (int k = 4 * lane; k < 4 * lane + 4; ++k) sum.lane[lane] += a.byte[k] * b.byte[k];
    }
    return sum;
  }
  static PacketOf<float> to_float(const Sum& sum) {
    float values[lanes];
    for (int lane = 0; lane < lanes; ++lane) values[lane] = static_cast<float>(sum.lane[lane]);
    return ei::ploadu<PacketOf<float> >(values);
  }
};
#endif

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
