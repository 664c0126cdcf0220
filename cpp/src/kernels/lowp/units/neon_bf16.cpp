// ARM's dot product of bfloat16 pairs, of ARMv8.6 and of some processors before it: each lane adds the two products,
// and then the sum of both to its own. It rounds to odd, whatever the floating-point mode.
#include "../vector_product.hpp"
#include "neon_group.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct NeonBf16Dot {
  using Sum = float32x4_t;
  using Groups = uint32x4_t;
  using Left = NeonGroup;
  static constexpr bool integer = false, row_start = false;
  static Groups load(const PackedGroup* from) { return vld1q_u32(from); }
  static Left broadcast(const PackedGroup* from) { return load_group(from); }
  static Sum dot(Sum sum, Left a, Groups b) {
    __asm__("bfdot %0.4s, %1.8h, %2.2h[0]" : "+w"(sum) : "w"(b), "w"(a));
    return sum;
  }
};

constexpr kernels::ProductUnit unit = vector_unit<NeonBf16Dot>("neon_bf16", 2, 0);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
