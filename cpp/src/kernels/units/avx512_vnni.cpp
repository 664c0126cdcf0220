// AVX-512's dot product of unsigned by signed bytes: four multiply-adds an element of a vector. The left factor is made
// unsigned by adding 128, which `WordFactors::start` takes back.
#include "../word_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct Int8Dot {
  using Sum = __m512i;
  using Words = __m512i;
  static constexpr bool integer = true;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum load_sum(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static Words load(const Word* from) { return _mm512_loadu_si512(from); }
  static Words broadcast(const Word* from) { return _mm512_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Words a, Words b) {
#if defined(__GNUC__)
    // Of the intrinsic GCC 12 makes a copy of every sum at every step.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#else
    return _mm512_dpbusd_epi32(sum, a, b);
#endif
  }
  static PacketOf<float> to_float(Sum sum) { return _mm512_cvtepi32_ps(sum); }
};

constexpr kernels::ProductUnit unit = vector_unit<Int8Dot>("avx512_vnni", 4, 0x80808080u);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
