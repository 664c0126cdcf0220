#include "lowp_panels.hpp"

#include <algorithm>
#include <array>

namespace lstmcore {
namespace {

const kernels::LowpKernels& lowp_kernels() { return active_table().lowp; }

}  // namespace

void LowpPanels::prepare(const Arithmetic& arithmetic, Index depth, Index columns, kernels::PanelLayout layout) {
  arithmetic_ = arithmetic;
  depth_ = depth;
  columns_ = columns;
  layout_ = layout;
  full_ = kernels::panel_vectors * layout.lanes;
  groups_ = arithmetic.groups(depth);
  const Index padded = (panels() - 1) * full_ + width(panels() - 1);
  data_.resize(static_cast<std::size_t>(arithmetic.terms * groups_ * padded));
  if (!arithmetic.quantized()) return;
  scale_.resize(static_cast<std::size_t>(padded));
  start_.resize(static_cast<std::size_t>(padded));
}

bool LowpPanels::fill(const float* panels, Index panel_begin, Index panel_end) {
  std::vector<float> values(static_cast<std::size_t>(depth_ * full_));
  std::vector<const float*> rows(static_cast<std::size_t>(depth_));
  for (Index k = 0; k < depth_; ++k) rows[static_cast<std::size_t>(k)] = values.data() + k * full_;
  bool exact = true;
  for (Index panel = panel_begin; panel < panel_end; ++panel) {
    const float* from = panels + panel * full_ * depth_;
    for (Index first = 0; first < std::min(full_, columns_ - panel * full_); first += layout_.strip) {
      const Index width = layout_.width(panel * full_ + first, columns_);
      for (Index k = 0; k < depth_; ++k, from += width) std::copy_n(from, width, values.data() + k * full_ + first);
    }
    exact = fill_panel(panel, rows.data()) && exact;
  }
  return exact;
}

bool LowpPanels::fill_panel(Index panel, const float* const* rows) {
  // The product of two larger scales might be infinite.
  constexpr float largest_scale = kernels::largest_split / 127.0f;
  const Index real = std::min(full_, columns_ - panel * full_), columns = width(panel);
  PackedGroup* const to = data_.data() + panel * arithmetic_.terms * groups_ * full_;
  if (!arithmetic_.quantized()) {
    return lowp_kernels().split_panel(rows, depth_, 0, real, columns, arithmetic_.terms, groups_, to);
  }
  float* const scale = scale_.data() + panel * full_;
  const bool finite = lowp_kernels().quantize_panel(
      rows, depth_, 0, real, columns, groups_, arithmetic_.unit->flip != 0, to, scale, start_.data() + panel * full_);
  return finite && std::all_of(scale, scale + real, [](float of_column) { return of_column <= largest_scale; });
}

kernels::LowpFactors LowpPanels::factors(Index first_panel) const {
  kernels::LowpFactors factors{};
  factors.groups = groups_;
  factors.panels = panel(first_panel);
  if (arithmetic_.quantized()) {
    factors.scale = scale_.data() + first_panel * full_;
    factors.start = arithmetic_.unit->flip != 0 ? start_.data() + first_panel * full_ : nullptr;
  }
  return factors;
}

void LowpPanels::clear() {
  arithmetic_ = {};
  data_.clear();
  scale_.clear();
  start_.clear();
}

void LowpRows::prepare(const Arithmetic& arithmetic, Index rows, Index depth) {
  arithmetic_ = arithmetic;
  depth_ = depth;
  row_groups_ = arithmetic.groups(depth);
  stride_ = row_groups_ * arithmetic.terms;
  // A unit reads whole tiles, which may begin at any row.
  const Index padded = rows + arithmetic.unit->row_multiple - 1;
  groups_.resize(static_cast<std::size_t>(padded * stride_));
  scale_.resize(static_cast<std::size_t>(padded));
  start_.resize(static_cast<std::size_t>(padded));
  // Rows of padding do not change any result, but must be valid numbers.
  std::fill_n(groups_.data(), groups_.size(), PackedGroup{0});
  std::fill_n(scale_.data(), scale_.size(), 0.0f);
  std::fill_n(start_.data(), start_.size(), 0);
  unsplit_.assign(static_cast<std::size_t>(rows), 0);
}

void LowpRows::set(Index row, const float* from) noexcept {
  PackedGroup* const to = groups_.data() + row * stride_;
  bool exact = true;
  if (arithmetic_.quantized()) {
    const kernels::ProductUnit& unit = *arithmetic_.unit;
    std::int32_t* const start = unit.row_start ? start_.data() + row : nullptr;
    const float scale = lowp_kernels().quantize_row(from, depth_, row_groups_, unit.flip, to, start);
    exact = scale >= 0;
    scale_.data()[row] = exact ? scale : 0.0f;
  } else {
    exact = lowp_kernels().split_row(from, depth_, arithmetic_.terms, row_groups_, to);
  }
  unsplit_[static_cast<std::size_t>(row)] = exact ? 0 : 1;
}

bool LowpRows::any_unsplit(Index rows) const noexcept {
  return std::find(unsplit_.begin(), unsplit_.begin() + static_cast<std::ptrdiff_t>(rows), 1) !=
         unsplit_.begin() + static_cast<std::ptrdiff_t>(rows);
}

namespace {

/// One row in float32; quantized panels are multiplied as the floats that their numbers stand for.
void multiply_unsplit(const kernels::Product<float>& product, Index row, const LowpPanels& right, Index first_panel) {
  if (product.panels != nullptr) {
    kernels::Product<float> single = product;
    single.rows = 1;
    single.a += row;
    single.out += row;
    active_kernels<float>().product(single);
    return;
  }
  const Index full = right.panel_width();
  for (Index panel = product.panel_begin; panel < product.panel_end; ++panel) {
    const Index first = panel * full, columns = std::min(full, product.columns - first);
    float* const out = product.out[row] + first;
    if (!product.accumulate) {
      for (Index column = 0; column < columns; ++column) {
        out[column] = product.bias != nullptr ? product.bias[first + column] : 0.0f;
      }
    }
    lowp_kernels().add_dequantized(product.a[row], product.depth, right.panel(first_panel + panel),
                                   right.width(first_panel + panel), columns, right.scale(first_panel + panel), out);
  }
}

}  // namespace

void multiply_lowp(const kernels::Product<float>& product, const LowpPanels& right, Index first_panel,
                   const LowpRows& left) {
  kernels::LowpProduct lowp{};
  lowp.columns = product.columns;
  lowp.panel_width = right.panel_width();
  lowp.terms = right.arithmetic().terms;
  lowp.count = 1;
  lowp.bias = product.bias;
  lowp.accumulate = product.accumulate;
  lowp.panel_begin = product.panel_begin;
  lowp.panel_end = product.panel_end;
  const auto run = [&](Index first_row, Index rows) {
    if (rows == 0) return;
    lowp.rows = rows;
    lowp.out = product.out + first_row;
    lowp.factors[0] = right.factors(first_panel);
    left.add_to(lowp.factors[0], first_row);
    right.arithmetic().unit->product(lowp);
  };
  if (!left.any_unsplit(product.rows)) {
    run(0, product.rows);
    return;
  }
  for (Index row = 0, first = 0; row <= product.rows; ++row) {
    if (row < product.rows && !left.unsplit(row)) continue;
    run(first, row - first);
    if (row < product.rows) multiply_unsplit(product, row, right, first_panel);
    first = row + 1;
  }
}

}  // namespace lstmcore
