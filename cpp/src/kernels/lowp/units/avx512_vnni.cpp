// AVX-512's dot product of unsigned by signed bytes: four multiply-adds an element of a vector. The left factor is made
// unsigned by adding 128, which `LowpFactors::start` takes back.
#include "../int8_dot.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct VnniDot : Int8Dot {
  static Sum dot(Sum sum, Words a, Words b) {
#if defined(__GNUC__)
    // Of the intrinsic GCC 12 makes a copy of every sum at every step.
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
