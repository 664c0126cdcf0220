// The interface of products of a lower precision: factors, and the units that multiply them. A factor consists of
// packed groups: 32 bits that hold two bfloat16 or four int8 neighbours along k, because the instructions of all units
// multiply a group of one factor by a group of the other and add up the products. A float is split into one to three
// bfloat16 terms, of which it is the sum; the products of the terms are added.
#pragma once

#include <cstdint>

namespace lstmcore::kernels {

using Index = std::int64_t;
using PackedGroup = std::uint32_t;

constexpr int most_terms = 3;

/// Larger numbers are not split or quantized. Without them no sum of products becomes infinite on its way to a finite
/// result.
constexpr float largest_split = 0x1p55f;

/// Which term of the left factor is multiplied by which of the right one, in the order of the sums. From one pair to
/// the next only one of the two changes, so that only one tile is loaded.
struct TermPair {
  int left, right;
};
constexpr TermPair term_pairs[most_terms][6] = {
    {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};
constexpr int term_pair_counts[most_terms] = {1, 3, 6};

/// The two factors of a product. Rows and panels have `groups` groups of each term; those beyond the depth hold zeros.
struct LowpFactors {
  Index groups;
  const PackedGroup* a;  // [row][term][groups]; padded to a multiple of the unit's `row_multiple` rows
  Index a_stride;
  const PackedGroup* panels;  // [panel][term][groups][panel's columns]
  // int8 only: the factors of a sum, and its first value.
  const float* a_scale;         // by row
  const float* scale;           // by column
  const std::int32_t* start;    // by column, or null
  const std::int32_t* a_start;  // by row, for units with `row_start`: the first value instead
};

/// Groups (two bfloat16 each) after which a matrix unit's sums of several terms begin again; the partial sums are then
/// added. Every addition to a long sum rounds once more, and three terms add six times: with a single sum, products of
/// depth 8192 had 1.7 times the error of PyTorch's float32.
constexpr Index summed_groups = 256;

/// out[r][0..columns) = start + the products of one or two pairs of factors, the second one added to the first. Compare
/// Product.
struct LowpProduct {
  Index rows;
  Index columns;
  Index panel_width;  // columns of a full panel
  int terms;
  int count;  // of `factors`
  LowpFactors factors[2];
  float* const* out;
  const float* bias;  // by column, for whole vectors; null: zeros
  bool accumulate;    // start from the values in `out` instead
  Index panel_begin, panel_end;
  bool add;  // the sums begin with zeros and are added to the values in `out`
};

/// An implementation of such products. The order of each element's sum does not depend on the other rows or columns.
struct ProductUnit {
  const char* name;
  Index group;            // elements of a packed group
  Index group_multiple;   // the depth is padded to a multiple of this many groups
  Index row_multiple;     // the rows of a left factor are padded to a multiple of this
  Index column_multiple;  // the width of the last panel is a multiple of this
  Index tile_rows;        // rows of a full tile
  PackedGroup flip;       // groups of the left factor are xored with this, for a unit that expects unsigned numbers
  bool row_start;         // sums begin with the sum of the magnitudes of the left row's negative numbers
  double speed;           // approximate: products in the time of one multiply-add of floats
  void (*product)(const LowpProduct&);
  void (*begin)();  // called by each thread before its products, and `end` after them; or null
  void (*end)();
};

/// The kernels that make factors (`factors.hpp`).
struct LowpKernels {
  /// One row of a left factor, [term][groups]. If it has NaN, an infinity or a magnitude above 2^55, it cannot be
  /// split: the result is false, and the groups are zeros.
  bool (*split_row)(const float* from, Index depth, int terms, Index groups, PackedGroup* to);
  /// A panel of a right factor, [term][groups][width], from columns [first, first + real) of `depth` rows. Returns
  /// false if a value cannot be split; it is replaced by zero.
  bool (*split_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, int terms,
                      Index groups, PackedGroup* to);
  /// The same in int8. A row: returns its scale, or a negative number if it cannot be quantized, under the same
  /// conditions; stores the sum of the magnitudes of its negative numbers in `start`, unless null. A panel: returns
  /// false if a value is not finite; with `unsigned_left`, `start` subtracts from a column's sums what the 128 added to
  /// each number of the left factor contributes.
  float (*quantize_row)(const float* from, Index depth, Index groups, PackedGroup flip, PackedGroup* to,
                        std::int32_t* start);
  bool (*quantize_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, Index groups,
                         bool unsigned_left, PackedGroup* to, float* scale, std::int32_t* start);
  /// out[column] += sum over k of a[k] times the float that the panel's int8 number stands for: the product of a row
  /// that cannot be quantized.
  void (*add_dequantized)(const float* a, Index depth, const PackedGroup* panel, Index width, Index columns,
                          const float* scale, float* out);
  ProductUnit int8;  // by instructions of the instruction set itself
};

/// Width of the panel that begins at column `first`: a multiple of `multiple`.
constexpr Index lowp_panel_width(Index first, Index columns, Index panel_width, Index multiple) {
  const Index rest = (columns - first + multiple - 1) / multiple * multiple;
  return rest < panel_width ? rest : panel_width;
}

}  // namespace lstmcore::kernels
