// The factors of products of a lower precision, packed, and such products.
#pragma once

#include <type_traits>
#include <vector>

#include "../kernels/kernel_table.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "../runtime/units.hpp"

namespace lstmcore {

using kernels::Index;
using kernels::PackedGroup;

/// A right factor: panels of packed groups. Empty if the products are computed in float32.
class LowpPanels {
 public:
  LowpPanels() = default;
  /// Allocates panels, which `fill` then makes from a packed factor of floats with that layout.
  void prepare(const Arithmetic& arithmetic, Index depth, Index columns, kernels::PanelLayout layout);
  /// Panels [panel_begin, panel_end). False if a value cannot be split or quantized.
  bool fill(const float* panels, Index panel_begin, Index panel_end);

  explicit operator bool() const { return static_cast<bool>(arithmetic_); }
  const Arithmetic& arithmetic() const { return arithmetic_; }
  Index panels() const { return (columns_ + full_ - 1) / full_; }
  Index depth() const { return depth_; }
  /// The right factor of a product that begins with panel `first_panel`; `LowpRows::add_to` adds the left one.
  kernels::LowpFactors factors(Index first_panel = 0) const;
  Index panel_width() const { return full_; }
  const PackedGroup* panel(Index index) const { return data_.data() + index * arithmetic_.terms * groups_ * full_; }
  const float* scale(Index panel) const { return scale_.data() + panel * full_; }
  Index width(Index panel) const {
    return kernels::lowp_panel_width(panel * full_, columns_, full_, arithmetic_.unit->column_multiple);
  }
  std::size_t bytes() const { return data_.bytes() + scale_.bytes() + start_.bytes(); }
  /// Frees the memory; from now on, products are computed in float32.
  void clear();

 private:
  bool fill_panel(Index panel, const float* const* rows);

  Arithmetic arithmetic_;
  Index depth_ = 0, columns_ = 0, groups_ = 0, full_ = 0;
  kernels::PanelLayout layout_{};
  Buffer<PackedGroup> data_;
  Buffer<float> scale_;
  Buffer<std::int32_t> start_;
};

/// Rows of a left factor. A row that cannot be split or quantized holds zeros and is flagged as unsplit; its products
/// are computed in float32.
class LowpRows {
 public:
  void prepare(const Arithmetic& arithmetic, Index rows, Index depth);
  /// For products with `right`; does nothing if that is empty.
  void prepare(const LowpPanels& right, Index rows) {
    if (right) prepare(right.arithmetic(), rows, right.depth());
  }
  void set(Index row, const float* from) noexcept;
  void set(const float* const* from, Index rows) noexcept {
    for (Index row = 0; row < rows; ++row) set(row, from[row]);
  }
  bool unsplit(Index row) const { return unsplit_[static_cast<std::size_t>(row)] != 0; }
  /// Whether one of the first `rows` rows is.
  bool any_unsplit(Index rows) const noexcept;
  const char* unsplit() const { return unsplit_.data(); }
  /// Completes `factors` with the rows from `first_row` on.
  void add_to(kernels::LowpFactors& factors, Index first_row = 0) const {
    factors.a = groups_.data() + first_row * stride_;
    factors.a_stride = stride_;
    factors.a_scale = scale_.data() + first_row;
    factors.a_start = start_.data() + first_row;
  }

 private:
  Arithmetic arithmetic_;
  Index depth_ = 0, row_groups_ = 0, stride_ = 0;
  Buffer<PackedGroup> groups_;
  Buffer<float> scale_;
  Buffer<std::int32_t> start_;
  std::vector<char> unsplit_;
};

/// Sets the rows of a left factor; other types than float have no products of a lower precision.
template <class T>
void set_rows(LowpRows& left, const T* const* from, Index rows) noexcept {
  if constexpr (std::is_same_v<T, float>) left.set(from, rows);
}
template <class T>
void set_rows(LowpRows& left, T* const* from, Index rows) noexcept {
  if constexpr (std::is_same_v<T, float>) left.set(from, rows);
}

/// A product whose left rows are in `left` already and whose first panel is panel `first_panel` of `right`. It also
/// needs the floats, for unsplit rows; of `right` they may be missing (`product.panels` null) if it is quantized.
void multiply_lowp(const kernels::Product<float>& product, const LowpPanels& right, Index first_panel,
                   const LowpRows& left);

/// The product in the precision of `right`, or in float32 if that is empty. `left` is scratch for as many rows.
template <class T>
void multiply(const kernels::Product<T>& product, const LowpPanels& right, LowpRows& left, Index first_panel = 0) {
  if constexpr (std::is_same_v<T, float>) {
    if (right) {
      left.set(product.a, product.rows);
      multiply_lowp(product, right, first_panel, left);
      return;
    }
  }
  active_kernels<T>().product(product);
}

}  // namespace lstmcore
