// The dot product of unsigned by signed bytes of processors without AVX-512: each lane adds four products. Signs are
// treated as in avx512_vnni.cpp.
#include "../int8_dot.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct AvxVnniDot : Int8Dot {
  using Left = __m256i;
  static constexpr bool row_start = false;
  static Sum first(const LowpFactors& f, Index, Index column) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(f.start + column));
  }
  static Left broadcast(const PackedGroup* from) { return _mm256_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Left a, Groups b) {
#if defined(__GNUC__)
    // Assembler, as in avx512_vnni.cpp; the operand from memory leaves registers to twelve sums.
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "m"(*b));
    return sum;
#else
    return _mm256_dpbusd_avx_epi32(sum, a, _mm256_loadu_si256(b));
#endif
  }
};

constexpr kernels::ProductUnit unit = vector_unit<AvxVnniDot>("avx_vnni", 4, 0x80808080u);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
