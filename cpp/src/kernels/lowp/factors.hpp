// Factors of products of a lower precision: rows and panels of floats, split into bfloat16 terms or quantized to int8,
// in packed groups.
#pragma once

#include <cmath>
#include <cstring>

#include "../vector.hpp"
#include "table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::PackedGroup;

inline PackedGroup bits_of(float value) {
  PackedGroup bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float float_of(PackedGroup bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Whether a number can be split or quantized. `magnitude`: its bits without the sign, which are ordered as the numbers
/// are; those of infinity and NaN are the largest.
inline bool can_be_split(PackedGroup magnitude) { return magnitude <= bits_of(kernels::largest_split); }

/// The nearest bfloat16, ties to even, as the upper half of a float's bits.
inline PackedGroup round_to_bfloat16(PackedGroup bits) { return (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u; }

/// Each term is the bfloat16 nearest to what remains after the previous terms; the subtraction is exact.
template <int Terms>
bool split_row_in(const float* from, Index depth, Index groups, PackedGroup* to) {
  std::uint16_t* const halves = reinterpret_cast<std::uint16_t*>(to);
  PackedGroup largest = 0;
  for (Index k = 0; k < depth; ++k) {
    float rest = from[k];
    const PackedGroup magnitude = bits_of(rest) & 0x7FFFFFFFu;
    largest = largest < magnitude ? magnitude : largest;
    for (int term = 0; term < Terms; ++term) {
      const PackedGroup rounded = round_to_bfloat16(bits_of(rest));
      halves[2 * term * groups + k] = static_cast<std::uint16_t>(rounded >> 16);
      rest -= float_of(rounded);
    }
  }
  for (int term = 0; term < Terms; ++term) {
    std::memset(halves + 2 * term * groups + depth, 0, static_cast<std::size_t>(2 * groups - depth) * 2);
  }
  if (can_be_split(largest)) return true;
  std::memset(to, 0, static_cast<std::size_t>(Terms * groups) * sizeof(PackedGroup));
  return false;
}

inline bool split_row(const float* from, Index depth, int terms, Index groups, PackedGroup* to) {
  static_assert(kernels::most_terms == 3, "one line for each number of terms");
  if (terms == 1) return split_row_in<1>(from, depth, groups, to);
  if (terms == 2) return split_row_in<2>(from, depth, groups, to);
  return split_row_in<3>(from, depth, groups, to);
}

/// The same for the columns of a panel, where a group holds two rows: the even one in its lower half.
template <int Terms>
bool split_panel_in(const float* const* rows, Index depth, Index first, Index real, Index width, Index groups,
                    PackedGroup* to) {
  static constexpr float zeros[4 * lanes_of<float>] = {};
  PackedGroup largest = 0;
  for (Index group = 0; group < groups; ++group) {
    const Index k = 2 * group;
    const float* const even = k < depth ? rows[k] + first : zeros;
    const float* const odd = k + 1 < depth ? rows[k + 1] + first : zeros;
    PackedGroup* const row = to + group * width;
    for (Index column = 0; column < real; ++column) {
      float rest_even = even[column], rest_odd = odd[column];
      const PackedGroup magnitude_even = bits_of(rest_even) & 0x7FFFFFFFu,
                        magnitude_odd = bits_of(rest_odd) & 0x7FFFFFFFu;
      const PackedGroup magnitude = magnitude_even < magnitude_odd ? magnitude_odd : magnitude_even;
      largest = largest < magnitude ? magnitude : largest;
      rest_even = can_be_split(magnitude_even) ? rest_even : 0.0f;
      rest_odd = can_be_split(magnitude_odd) ? rest_odd : 0.0f;
      for (int term = 0; term < Terms; ++term) {
        const PackedGroup rounded_even = round_to_bfloat16(bits_of(rest_even));
        const PackedGroup rounded_odd = round_to_bfloat16(bits_of(rest_odd));
        row[term * groups * width + column] = (rounded_even >> 16) | rounded_odd;
        rest_even -= float_of(rounded_even);
        rest_odd -= float_of(rounded_odd);
      }
    }
    for (int term = 0; term < Terms; ++term) {
      for (Index column = real; column < width; ++column) row[term * groups * width + column] = 0;
    }
  }
  return can_be_split(largest);
}

inline bool split_panel(const float* const* rows, Index depth, Index first, Index real, Index width, int terms,
                        Index groups, PackedGroup* to) {
  static_assert(kernels::most_terms == 3, "one line for each number of terms");
  if (terms == 1) return split_panel_in<1>(rows, depth, first, real, width, groups, to);
  if (terms == 2) return split_panel_in<2>(rows, depth, first, real, width, groups, to);
  return split_panel_in<3>(rows, depth, first, real, width, groups, to);
}

/// The scale of numbers up to `largest`, rounded up to 16 binary digits: its product with an int8 number is then a
/// float without rounding, so quantizing the weights of a quantized model again returns the same integers.
inline float scale_of(float largest) {
  const float scale = largest / 127.0f;
  return float_of((bits_of(scale) + 0xFFu) & 0xFFFFFF00u);
}

/// With a smaller scale, 1 / scale would overflow; such rows and columns are stored as zeros.
constexpr float least_scale = 1e-37f;

/// value * inverse, rounded to the nearest integer; the magnitude of the product is at most 2^22.
inline std::int32_t quantized(float value, float inverse) {
  // The addition rounds to nearest, ties to even: the sum's unit in the last place is one.
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23
  return static_cast<std::int32_t>(bits_of(value * inverse + shift) - bits_of(shift));
}

/// Bytes of `from`, and, if `Summed`, the sum of the magnitudes of the negative ones.
template <bool Summed>
std::int32_t quantize_bytes(const float* from, Index depth, float inverse, std::uint8_t flip, std::uint8_t* to) {
  std::int32_t negative = 0;
  for (Index k = 0; k < depth; ++k) {
    const std::int32_t number = quantized(from[k], inverse);
    to[k] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(number) ^ flip);
    if (Summed) negative -= number < 0 ? number : 0;
  }
  return negative;
}

/// No number becomes -128, so that the dot products of `int8_dot.hpp` fit into 16 bits.
inline float quantize_row(const float* from, Index depth, Index groups, PackedGroup flip, PackedGroup* to,
                          std::int32_t* start) {
  PackedGroup largest = 0;
  for (Index k = 0; k < depth; ++k) {
    const PackedGroup magnitude = bits_of(from[k]) & 0x7FFFFFFFu;
    largest = largest < magnitude ? magnitude : largest;
  }
  std::uint8_t* const bytes = reinterpret_cast<std::uint8_t*>(to);
  const auto flip_byte = static_cast<std::uint8_t>(flip & 0xFFu);
  const bool finite = can_be_split(largest);
  const float scale = finite ? scale_of(float_of(largest)) : 0.0f;
  const bool tiny = scale < least_scale;
  const float inverse = tiny ? 0.0f : 1.0f / scale;
  const Index count = finite ? depth : 0;
  if (start != nullptr) {
    *start = quantize_bytes<true>(from, count, inverse, flip_byte, bytes);
  } else {
    quantize_bytes<false>(from, count, inverse, flip_byte, bytes);
  }
  std::memset(bytes + count, flip_byte, static_cast<std::size_t>(4 * groups - count));
  return !finite ? -1.0f : tiny ? 0.0f : scale;
}

inline bool quantize_panel(const float* const* rows, Index depth, Index first, Index real, Index width, Index groups,
                           bool unsigned_left, PackedGroup* to, float* scale, std::int32_t* start) {
  bool finite = true;
  std::memset(to, 0, static_cast<std::size_t>(groups * width) * sizeof(PackedGroup));
  for (Index column = 0; column < width; ++column) {
    scale[column] = 0.0f;
    start[column] = 0;
    if (column >= real) continue;
    PackedGroup largest = 0;
    for (Index k = 0; k < depth; ++k) {
      const PackedGroup magnitude = bits_of(rows[k][first + column]) & 0x7FFFFFFFu;
      largest = largest < magnitude ? magnitude : largest;
    }
    if (largest >= 0x7F800000u) {
      finite = false;
      continue;
    }
    const float column_scale = scale_of(float_of(largest));
    if (column_scale < least_scale) continue;
    const float inverse = 1.0f / column_scale;
    std::int32_t sum = 0;
    for (Index k = 0; k < depth; ++k) {
      const std::int32_t number = quantized(rows[k][first + column], inverse);
      sum += number;
      to[k / 4 * width + column] |= (static_cast<PackedGroup>(number) & 0xFFu) << (8 * (k % 4));
    }
    scale[column] = column_scale;
    if (unsigned_left) start[column] = -128 * sum;
  }
  return finite;
}

inline void add_dequantized(const float* a, Index depth, const PackedGroup* panel, Index width, Index columns,
                            const float* scale, float* out) {
  for (Index k = 0; k < depth; ++k) {
    for (Index column = 0; column < columns; ++column) {
      const auto byte = static_cast<std::int8_t>(panel[k / 4 * width + column] >> (8 * (k % 4)));
      out[column] += a[k] * (static_cast<float>(byte) * scale[column]);
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
