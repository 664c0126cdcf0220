// The border to units that multiply numbers smaller than float. Factors are made of groups: 32 bits that hold as many
// successive elements along k as fit, two bfloat16 or four int8, so that one instruction multiplies and adds a word of
// one factor by a word of the other. A float is split into terms, whose products are summed up.
#pragma once

#include <cstdint>

namespace lstmcore::kernels {

using Index = std::int64_t;
using PackedGroup = std::uint32_t;

constexpr int most_terms = 3;

/// Larger numbers are not split or quantized, so that no sum of products of two that are is infinite on the way to one
/// that is finite.
constexpr float largest_split = 0x1p55f;

/// Which term of the left factor meets which of the right one, in the order of the sums: from one to the next only one
/// of the two changes.
struct TermPair {
  int left, right;
};
constexpr TermPair term_pairs[most_terms][6] = {
    {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};
constexpr int term_pair_counts[most_terms] = {1, 3, 6};

/// Two factors. Rows and panels have `groups` groups of each term; those beyond the depth hold zeros.
struct LowpFactors {
  Index groups;
  const PackedGroup* a;  // [row][term][groups]; rows are there up to a multiple of the unit's `row_multiple`
  Index a_stride;
  const PackedGroup* panels;  // [panel][term][groups][panel's columns]
  // int8 only: what a sum is multiplied with, and where it starts.
  const float* a_scale;       // by row
  const float* scale;         // by column
  const std::int32_t* start;  // by column, or null
};

/// Words of the depth after which a matrix unit's sums of several terms begin again, to be added up: every addition to
/// a long sum rounds more.
constexpr Index summed_groups = 256;

/// out[r][0..columns) = start + the products of one or two pairs of factors, one after the other. Compare Product.
struct LowpProduct {
  Index rows;
  Index columns;
  Index panel_width;  // columns of a full panel
  int terms;
  int count;  // of `factors`
  LowpFactors factors[2];
  float* const* out;
  const float* bias;  // by column, for whole vectors; null: zeros
  bool accumulate;    // instead of that, from what is in `out`
  Index panel_begin, panel_end;
  bool add;  // the sums begin with zeros and are added to what is in `out`
};

/// What computes such products. Every element is summed in an order that does not depend on the other rows or columns.
struct ProductUnit {
  const char* name;
  Index group;            // elements of a word
  Index group_multiple;   // rows of groups are padded to it
  Index row_multiple;     // rows of a left factor are
  Index column_multiple;  // the last panel is narrowed to it
  Index tile_rows;        // rows that it likes to work on together
  PackedGroup flip;       // what groups of the left factor are xored with: the unit takes unsigned numbers there
  double speed;           // products in the time of one multiply-add of floats, about
  void (*product)(const LowpProduct&);
  void (*begin)();  // on each thread before products, and after them; or null
  void (*end)();
};

/// Making factors. Rows are given by pointers, `depth` of them for a panel.
struct LowpKernels {
  /// One row of a left factor, [term][groups]. False, and zeros, if a value cannot be split: not finite or above 2^55.
  bool (*split_row)(const float* from, Index depth, int terms, Index groups, PackedGroup* to);
  /// Columns [first, first + real) of `depth` rows as a panel `width` wide, [term][groups][width]. A value that cannot
  /// be split is a zero there.
  bool (*split_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, int terms,
                      Index groups, PackedGroup* to);
  /// The same in int8: returns the scale, or a negative number if a value is not finite or above 2^55. Of a panel all
  /// finite values can be quantized.
  float (*quantize_row)(const float* from, Index depth, Index groups, PackedGroup flip, PackedGroup* to);
  bool (*quantize_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, Index groups,
                         bool unsigned_left, PackedGroup* to, float* scale, std::int32_t* start);
  /// out[column] += sum over k of a[k] times the int8 numbers of a panel times their scales, for a row that cannot be
  /// quantized.
  void (*add_dequantized)(const float* a, Index depth, const PackedGroup* panel, Index width, Index columns,
                          const float* scale, float* out);
  ProductUnit int8;  // of the plain instruction set
};

/// Columns of the panel that begins at column `first`.
constexpr Index lowp_panel_width(Index first, Index columns, Index panel_width, Index multiple) {
  const Index rest = (columns - first + multiple - 1) / multiple * multiple;
  return rest < panel_width ? rest : panel_width;
}

}  // namespace lstmcore::kernels
