// AVX-512's dot product of bfloat16 pairs: each lane adds two products.
#include "../vector_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

struct Bf16Dot {
  using Sum = __m512;
  using Groups = __m512bh;
  using Left = Groups;
  static constexpr bool integer = false, row_start = false;
  static Groups load(const PackedGroup* from) { return reinterpret_cast<Groups>(_mm512_loadu_si512(from)); }
  static Left broadcast(const PackedGroup* from) {
    return reinterpret_cast<Left>(_mm512_set1_epi32(static_cast<int>(*from)));
  }
  static Sum dot(Sum sum, Groups a, Groups b) { return _mm512_dpbf16_ps(sum, a, b); }
};

constexpr kernels::ProductUnit unit = vector_unit<Bf16Dot>("avx512_bf16", 2, 0);

}  // namespace

const kernels::ProductUnit& product_unit();
const kernels::ProductUnit& product_unit() { return unit; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
