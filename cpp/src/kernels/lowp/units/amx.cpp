// The matrix unit of x86: tiles of 16 rows of 64 bytes. In assembler, because the intrinsics take the numbers of tiles
// only as literals, not as template arguments.
#include "../matrix_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// All eight tiles have their full size.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

struct TileMemory {
  static void begin() {
    static constexpr TileConfiguration configuration{};
    __asm__ volatile("ldtilecfg %0" : : "m"(configuration));
  }
  static void end() { __asm__ volatile("tilerelease" : :); }
  template <int tile, class Element>
  static void load(const Element* from, Index stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride * 4), "i"(tile) : "memory");
  }
  template <int tile, class Element>
  static void store(Element* to, Index stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride * 4), "i"(tile) : "memory");
  }
};

struct Bf16Tiles : TileMemory {
  using Sum = float;
  static constexpr bool integer = false;
  template <int sum, int a, int b>
  static void dot() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(a), "i"(b));
  }
};

struct Int8Tiles : TileMemory {
  using Sum = std::int32_t;
  static constexpr bool integer = true;
  template <int sum, int a, int b>
  static void dot() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(a), "i"(b));
  }
};

constexpr kernels::ProductUnit bf16 = matrix_unit<Bf16Tiles>("amx");
constexpr kernels::ProductUnit int8 = matrix_unit<Int8Tiles>("amx");

}  // namespace

const kernels::ProductUnit& product_unit(bool of_int8);
const kernels::ProductUnit& product_unit(bool of_int8) { return of_int8 ? int8 : bf16; }

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
