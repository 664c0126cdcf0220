// Dot products of groups of four int8 numbers with the instructions that every processor of this instruction set has.
#pragma once

#include <cstring>

#include "vector_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

#if defined(EIGEN_VECTORIZE_AVX512)
/// The instruction multiplies unsigned by signed bytes, so a b is computed as |a| (sign(a) b). The sum of two such
/// products fits 16 bits, since neither factor is ever -128.
struct Int8Dot {
  using Sum = __m512i;
  using Groups = __m512i;
  static constexpr bool integer = true;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum load_sum(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static Groups load(const PackedGroup* from) { return _mm512_loadu_si512(from); }
  static Groups broadcast(const PackedGroup* from) { return _mm512_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Groups a, Groups b) {
    const Groups signed_b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    const Groups pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed_b);
    return ei::padd(ei::Packet16i(sum), ei::Packet16i(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))));
  }
  static PacketOf<float> to_float(Sum sum) { return _mm512_cvtepi32_ps(sum); }
};
#elif defined(EIGEN_VECTORIZE_AVX2)
/// As above.
struct Int8Dot {
  using Sum = __m256i;
  using Groups = __m256i;
  static constexpr bool integer = true;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum load_sum(const std::int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static Groups load(const PackedGroup* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static Groups broadcast(const PackedGroup* from) { return _mm256_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Groups a, Groups b) {
    const Groups pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return ei::padd(ei::Packet8i(sum), ei::Packet8i(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
  }
  static PacketOf<float> to_float(Sum sum) { return _mm256_cvtepi32_ps(sum); }
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
  static constexpr bool integer = true;
  static Sum zero() { return Sum{}; }
  static Sum load_sum(const std::int32_t* from) {
    Sum sum;
    std::memcpy(&sum, from, sizeof sum);
    return sum;
  }
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
