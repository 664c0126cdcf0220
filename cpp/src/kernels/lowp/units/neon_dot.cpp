// ARM's dot product of signed bytes, of ARMv8.2 and later: each lane adds four products.
#include "../int8_dot.hpp"
#include "neon_group.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct NeonDot : Int8Dot {
  using Left = NeonGroup;
  static Left broadcast(const PackedGroup* from) { return load_group(from); }
  static Sum dot(Sum sum, Left a, Groups b) {
    __asm__("sdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(b), "w"(a));
    return sum;
  }
};

constexpr kernels::ProductUnit unit = vector_unit<NeonDot>("neon_dot", 4, 0);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
