// AVX-512's dot product of unsigned by signed bytes: each lane adds four products. The left factor is made
// unsigned by adding 128; `LowpFactors::start` subtracts what that adds to the sums.
#include "../int8_dot.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct VnniDot : Int8Dot {
  using Left = Groups;
  static Sum first(const LowpFactors& f, Index, Index column) { return _mm512_loadu_si512(f.start + column); }
  static Left broadcast(const PackedGroup* from) { return _mm512_set1_epi32(static_cast<int>(*from)); }
  static Sum dot(Sum sum, Groups a, Groups b) {
#if defined(__GNUC__)
    // Assembler, because GCC 12 copies every sum at every step of the intrinsic.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#else
    return _mm512_dpbusd_epi32(sum, a, b);
#endif
  }
};

constexpr kernels::ProductUnit unit = vector_unit<VnniDot>("avx512_vnni", 4, 0x80808080u);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
