// The border to units that multiply numbers smaller than float. Factors are made of words: 32 bits that hold as many
// successive elements along k as fit, two bfloat16 or four int8, so that one instruction multiplies and adds a word of
// one factor by a word of the other. A float is split into pieces, whose products are summed up.
#pragma once

#include <cstdint>

namespace lstmcore::kernels {

using Index = std::int64_t;
using Word = std::uint32_t;

constexpr int most_pieces = 3;

/// Larger numbers are not split or quantized, so that no sum of products of two that are is infinite on the way to one
/// that is finite.
constexpr float largest_split = 0x1p55f;

/// Which piece of the left factor meets which of the right one, in the order of the sums: from one to the next only one
/// of the two changes.
struct PiecePair {
  int left, right;
};
constexpr PiecePair piece_pairs[most_pieces][6] = {
    {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};
constexpr int piece_pair_counts[most_pieces] = {1, 3, 6};

/// Two factors. Rows and panels have `words` words of each piece; those beyond the depth hold zeros.
struct WordFactors {
  Index words;
  const Word* a;  // [row][piece][words]; rows are there up to a multiple of the unit's `row_multiple`
  Index a_stride;
  const Word* panels;  // [panel][piece][words][panel's columns]
  // int8 only: what a sum is multiplied with, and where it starts.
  const float* a_scale;       // by row
  const float* scale;         // by column
  const std::int32_t* start;  // by column, or null
};

/// Words of the depth after which a matrix unit's sums of several pieces begin again, to be added up: every addition to
/// a long sum rounds more.
constexpr Index summed_words = 256;

/// out[r][0..columns) = start + the products of one or two pairs of factors, one after the other. Compare Product.
struct WordProduct {
  Index rows;
  Index columns;
  Index panel_width;  // columns of a full panel
  int pieces;
  int count;  // of `factors`
  WordFactors factors[2];
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
  Index word_multiple;    // rows of words are padded to it
  Index row_multiple;     // rows of a left factor are
  Index column_multiple;  // the last panel is narrowed to it
  Index tile_rows;        // rows that it likes to work on together
  Word flip;              // what words of the left factor are xored with: the unit takes unsigned numbers there
  double speed;           // products in the time of one multiply-add of floats, about
  void (*product)(const WordProduct&);
  void (*begin)();  // on each thread before products, and after them; or null
  void (*end)();
};

/// Making factors. Rows are given by pointers, `depth` of them for a panel.
struct WordKernels {
  /// One row of a left factor, [piece][words]. False, and zeros, if a value cannot be split: not finite or above 2^55.
  bool (*split_row)(const float* from, Index depth, int pieces, Index words, Word* to);
  /// Columns [first, first + real) of `depth` rows as a panel `width` wide, [piece][words][width]. A value that cannot
  /// be split is a zero there.
  bool (*split_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, int pieces,
                      Index words, Word* to);
  /// The same in int8: returns the scale, or a negative number if a value is not finite or above 2^55. Of a panel all
  /// finite values can be quantized.
  float (*quantize_row)(const float* from, Index depth, Index words, Word flip, Word* to);
  bool (*quantize_panel)(const float* const* rows, Index depth, Index first, Index real, Index width, Index words,
                         bool unsigned_left, Word* to, float* scale, std::int32_t* start);
  /// out[column] += sum over k of a[k] times the int8 numbers of a panel times their scales, for a row that cannot be
  /// quantized.
  void (*add_dequantized)(const float* a, Index depth, const Word* panel, Index width, Index columns,
                          const float* scale, float* out);
  ProductUnit int8;  // of the plain instruction set
};

/// Columns of the panel that begins at column `first`.
constexpr Index word_panel_width(Index first, Index columns, Index panel_width, Index multiple) {
  const Index rest = (columns - first + multiple - 1) / multiple * multiple;
  return rest < panel_width ? rest : panel_width;
}

}  // namespace lstmcore::kernels
