#include "matrix_unit.hpp"

#include <atomic>
#include <cmath>
#include <cstring>
#include <type_traits>

#define LSTMCORE_ISA emulated
#include "../kernels/lowp/matrix_product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// Smaller results become zero: half a step below the least normal float, since they are rounded to a float's digits
/// first.
constexpr double least_kept = 0x1p-126 - 0x1p-151;

/// To the nearest float. A product of two bfloat16 numbers is exact in double. If its sum with a float is not exact
/// in double, it is too far from the middle between two floats for the first rounding to change the second.
inline float rounded(double value) {
  const double kept = std::fabs(value) < least_kept ? std::copysign(0.0, value) : value;
  return static_cast<float>(kept);
}

inline float without_subnormals(float value) {
  return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value;
}

inline float bfloat16(std::uint32_t bits) {
  const std::uint32_t shifted = bits << 16;
  float value;
  std::memcpy(&value, &shifted, sizeof value);
  return without_subnormals(value);
}

inline float added(float a, float b) {
  return rounded(static_cast<double>(without_subnormals(a)) + without_subnormals(b));
}

/// a + b, rounded to odd.
inline float added_to_odd(float a, float b) {
  const double x = without_subnormals(a), y = without_subnormals(b);
  const double sum = x + y, of_y = sum - x;
  const double lost = (x - (sum - of_y)) + (y - of_y);  // what the sum lacks, exactly (Knuth's TwoSum)
  if (std::fabs(sum) < 0x1p-126) return static_cast<float>(std::copysign(0.0, sum));
  const auto nearest = static_cast<float>(sum);
  const double beyond = (static_cast<double>(nearest) - sum) - lost;
  if (beyond == 0) return nearest;
  std::uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  if ((beyond > 0) == (nearest > 0)) --bits;
  bits |= 1u;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

inline std::int32_t wrapped(std::int64_t value) {
  const auto bits = static_cast<std::uint32_t>(value);
  std::int32_t result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

std::atomic<long> violations{0}, products{0};

struct Registers {
  PackedGroup tile[8][tile_side][tile_side];
  bool configured = false;
};

Registers& registers() {
  thread_local Registers own;
  return own;
}

struct EmulatedTiles {
  static void begin() {
    Registers& own = registers();
    if (own.configured) ++violations;
    own.configured = true;
    std::memset(own.tile, 0, sizeof own.tile);
  }
  static void end() {
    Registers& own = registers();
    if (!own.configured) ++violations;
    own.configured = false;
    // Use without a `begin` then shows in the results.
    std::memset(own.tile, 0x7B, sizeof own.tile);
  }
  static Registers& in_use() {
    Registers& own = registers();
    if (!own.configured) ++violations;
    return own;
  }
  template <int tile, class Element>
  static void load(const Element* from, Index stride) {
    static_assert(sizeof(Element) == 4 && tile >= 0 && tile < 8);
    Registers& own = in_use();
    for (Index row = 0; row < tile_side; ++row) {
      std::memcpy(own.tile[tile][row], from + row * stride, sizeof own.tile[tile][row]);
    }
  }
  template <int tile, class Element>
  static void store(Element* to, Index stride) {
    static_assert(sizeof(Element) == 4 && tile >= 0 && tile < 8);
    Registers& own = in_use();
    for (Index row = 0; row < tile_side; ++row) {
      std::memcpy(to + row * stride, own.tile[tile][row], sizeof own.tile[tile][row]);
    }
  }
};

using Tile = PackedGroup[tile_side][tile_side];

inline bool is_zero(const PackedGroup (&row)[tile_side]) {
  PackedGroup bits = 0;
  for (const PackedGroup group : row) bits |= group;
  return bits == 0;
}

/// How many groups of `left`'s rows and rows of `right` have to be multiplied. Most tests have small matrices, which
/// fill a part of a tile. Of the zeros beyond them, one group is multiplied, which turns a sum of -0 into +0; more of
/// them would change nothing.
Index used_depth(const Tile& left, const Tile& right) {
  PackedGroup bits[tile_side] = {};
  for (Index m = 0; m < tile_side; ++m) {
    for (Index k = 0; k < tile_side; ++k) bits[k] |= left[m][k];
  }
  Index depth = tile_side;
  while (depth > 0 && bits[depth - 1] == 0 && is_zero(right[depth - 1])) --depth;
  return depth < tile_side ? depth + 1 : depth;
}

/// Whether there is neither an infinity nor a NaN among the bfloat16 numbers of the first rows.
bool is_finite(const Tile& tile, Index rows) {
  for (Index row = 0; row < rows; ++row) {
    for (const PackedGroup group : tile[row]) {
      if ((group & 0x7F80u) == 0x7F80u || (group & 0x7F800000u) == 0x7F800000u) return false;
    }
  }
  return true;
}

/// TDPBF16PS: for each sum, the products of the even elements of the groups and those of the odd ones are added
/// separately, both from zero.
struct Bf16Tiles : EmulatedTiles {
  using Sum = float;
  static constexpr bool integer = false;
  template <int sum, int a, int b>
  static void dot() {
    Registers& own = in_use();
    products.fetch_add(1, std::memory_order_relaxed);
    const auto& left = own.tile[a];
    const auto& right = own.tile[b];
    const Index depth = used_depth(left, right);
    const bool finite = is_finite(right, depth);
    double even_b[tile_side][tile_side], odd_b[tile_side][tile_side];
    for (Index k = 0; k < depth; ++k) {
      for (Index n = 0; n < tile_side; ++n) {
        even_b[k][n] = bfloat16(right[k][n] & 0xFFFFu);
        odd_b[k][n] = bfloat16(right[k][n] >> 16);
      }
    }
    for (Index m = 0; m < tile_side; ++m) {
      float even[tile_side] = {}, odd[tile_side] = {}, before[tile_side];
      // Zeros times finite numbers leave both sums at zero.
      for (Index k = 0; k < depth && !(finite && is_zero(left[m])); ++k) {
        const double even_a = bfloat16(left[m][k] & 0xFFFFu), odd_a = bfloat16(left[m][k] >> 16);
        for (Index n = 0; n < tile_side; ++n) even[n] = rounded(even_a * even_b[k][n] + even[n]);
        for (Index n = 0; n < tile_side; ++n) odd[n] = rounded(odd_a * odd_b[k][n] + odd[n]);
      }
      std::memcpy(before, own.tile[sum][m], sizeof before);
      for (Index n = 0; n < tile_side; ++n) before[n] = added(before[n], added(even[n], odd[n]));
      std::memcpy(own.tile[sum][m], before, sizeof before);
    }
  }
};

/// TDPBSSD.
struct Int8Tiles : EmulatedTiles {
  using Sum = std::int32_t;
  static constexpr bool integer = true;
  template <int sum, int a, int b>
  static void dot() {
    Registers& own = in_use();
    products.fetch_add(1, std::memory_order_relaxed);
    const auto& left = own.tile[a];
    const auto& right = own.tile[b];
    const Index depth = used_depth(left, right);
    std::int16_t bytes_b[tile_side][4][tile_side];
    for (Index k = 0; k < depth; ++k) {
      for (int byte = 0; byte < 4; ++byte) {
        for (Index n = 0; n < tile_side; ++n) bytes_b[k][byte][n] = byte_of(right[k][n], byte);
      }
    }
    for (Index m = 0; m < tile_side; ++m) {
      if (is_zero(left[m])) continue;
      PackedGroup total[tile_side];  // unsigned, since sums wrap around
      std::memcpy(total, own.tile[sum][m], sizeof total);
      for (Index k = 0; k < depth; ++k) {
        for (int byte = 0; byte < 4; ++byte) {
          const std::int16_t byte_a = byte_of(left[m][k], byte);
          for (Index n = 0; n < tile_side; ++n) total[n] += static_cast<PackedGroup>(byte_a * bytes_b[k][byte][n]);
        }
      }
      std::memcpy(own.tile[sum][m], total, sizeof total);
    }
  }
  static std::int16_t byte_of(PackedGroup group, int byte) { return static_cast<std::int8_t>(group >> (8 * byte)); }
};

constexpr kernels::ProductUnit bf16 = matrix_unit<Bf16Tiles>("emulated");
constexpr kernels::ProductUnit int8 = matrix_unit<Int8Tiles>("emulated");

template <class Left>
std::int32_t dot_bytes(PackedGroup a, PackedGroup b, std::int32_t sum) {
  std::int64_t total = sum;
  for (int byte = 0; byte < 4; ++byte) {
    const auto left = static_cast<Left>(a >> (8 * byte));
    const auto right = static_cast<std::int8_t>(b >> (8 * byte));
    total += static_cast<std::int64_t>(left) * right;
  }
  return wrapped(total);
}

}  // namespace
}  // namespace LSTMCORE_ISA

namespace reference {

using kernels::PackedGroup;

const kernels::ProductUnit& emulated_matrix_unit(bool of_int8) { return of_int8 ? emulated::int8 : emulated::bf16; }
long matrix_unit_violations() { return emulated::violations; }
long matrix_unit_products() { return emulated::products; }

float multiply_add_bf16(std::uint16_t a, std::uint16_t b, float sum) {
  // With a single rounding, unlike the tiles' sums in double: an independent check of these.
  const float exact = std::fma(emulated::bfloat16(a), emulated::bfloat16(b), emulated::without_subnormals(sum));
  if (std::fabs(exact) > 0x1p-126f || !(std::fabs(exact) >= 0)) return exact;
  return emulated::rounded(static_cast<double>(emulated::bfloat16(a)) * emulated::bfloat16(b) +
                           emulated::without_subnormals(sum));
}

float add_flushed(float a, float b) {
  return emulated::without_subnormals(emulated::without_subnormals(a) + emulated::without_subnormals(b));
}

float dot_bf16(PackedGroup a, PackedGroup b, float sum) {
  const auto low = [](PackedGroup group) { return static_cast<std::uint16_t>(group & 0xFFFFu); };
  const auto high = [](PackedGroup group) { return static_cast<std::uint16_t>(group >> 16); };
  return multiply_add_bf16(low(a), low(b), multiply_add_bf16(high(a), high(b), sum));
}

float dot_bf16_to_odd(PackedGroup a, PackedGroup b, float sum) {
  // Products of two bfloat16 numbers are exact in float.
  const auto product = [](PackedGroup left, PackedGroup right) {
    return emulated::without_subnormals(emulated::bfloat16(left) * emulated::bfloat16(right));
  };
  const float both = emulated::added_to_odd(product(a & 0xFFFFu, b & 0xFFFFu), product(a >> 16, b >> 16));
  return emulated::added_to_odd(sum, both);
}

std::int32_t dot_unsigned_int8(PackedGroup a, PackedGroup b, std::int32_t sum) {
  return emulated::dot_bytes<std::uint8_t>(a, b, sum);
}
std::int32_t dot_int8(PackedGroup a, PackedGroup b, std::int32_t sum) {
  return emulated::dot_bytes<std::int8_t>(a, b, sum);
}

}  // namespace reference
}  // namespace lstmcore
