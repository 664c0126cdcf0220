// Gradients with respect to W, U and b of the gates: products of depth "some rows", added to sums.
#pragma once

#include "../packing/cell_weights.hpp"
#include "step_rows.hpp"

namespace lstmcore {

/// Sums of a direction.
template <class T>
struct GateSums {
  Buffer<T> x, h, bias;  ///< [columns][4 Hp]; empty: not wanted, or summed elsewhere
};

/// Some rows of a block, and where their products go.
template <class T>
struct SumPart {
  Index begin, depth;
  GateSums<T>& sums;
  bool accumulate, add;  ///< as in TransposedProduct
};

/// The elements that a task computes.
struct SumArea {
  Range blocks, x_columns, h_columns;
  bool with_bias;
};

/// Scratch for products in a lower precision: both factors of some rows, packed.
struct LowpGradient {
  Buffer<PackedGroup> left;        ///< [column of x or h][term][groups]
  Buffer<PackedGroup> transposed;  ///< [term][groups][columns] of a panel
  Buffer<PackedGroup> right;       ///< [block][term][groups][4 V]
  std::vector<float*> out;

  void prepare(const CellShape& shape);
};

/// Elements of scratch that `add_products` needs.
template <class T>
Index panel_scratch_size(const CellShape& shape);

/// Adds the products of some rows' gradients with x and h.
template <class T>
void add_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                  T* scratch);

/// The same in a lower precision; false if a factor cannot be split, which then counts as zero.
template <class T>
bool add_lowp_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                       LowpGradient& lowp);

/// Adds the products that `add_lowp_products` left out to `sums`.
template <class T>
void add_unsplit_products(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, const SumArea& area,
                          GateSums<T>& sums);

/// Adds some rows' gradients to the sums for the bias.
template <class T>
void add_bias(const CellShape& shape, const StepRows<T>& rows, const SumPart<T>& part, Range blocks);

/// Adds, or copies, some of the sums.
template <class T>
void add_sums(const CellShape& shape, const GateSums<T>& from, GateSums<T>& to, const SumArea& area, bool copy);

/// Blocks of hidden units whose panels the second-level cache holds together with what they are multiplied with.
Index blocks_at_once(const CellShape& shape, Index itemsize);

}  // namespace lstmcore
