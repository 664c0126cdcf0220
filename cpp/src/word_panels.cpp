#include "word_panels.hpp"

#include <algorithm>
#include <array>

namespace lstmcore {
namespace {

const kernels::WordKernels& word_kernels() { return active_table().words; }

}  // namespace

void WordPanels::prepare(const Arithmetic& arithmetic, Index depth, Index columns, Index lanes) {
  arithmetic_ = arithmetic;
  depth_ = depth;
  columns_ = columns;
  full_ = kernels::panel_vectors * lanes;
  words_ = arithmetic.words(depth);
  const Index padded = (panels() - 1) * full_ + width(panels() - 1);
  words_data_.resize(static_cast<std::size_t>(arithmetic.pieces * words_ * padded));
  if (!arithmetic.quantized()) return;
  scale_.resize(static_cast<std::size_t>(padded));
  start_.resize(static_cast<std::size_t>(padded));
}

bool WordPanels::fill(const float* panels, Index panel_begin, Index panel_end) {
  const Index lanes = full_ / kernels::panel_vectors;
  std::vector<const float*> rows(static_cast<std::size_t>(depth_));
  bool exact = true;
  for (Index panel = panel_begin; panel < panel_end; ++panel) {
    const Index rest = columns_ - panel * full_;
    const Index stride = std::min(full_, (rest + lanes - 1) / lanes * lanes);
    const float* const from = panels + panel * full_ * depth_;
    for (Index k = 0; k < depth_; ++k) rows[static_cast<std::size_t>(k)] = from + k * stride;
    exact = fill_panel(panel, rows.data()) && exact;
  }
  return exact;
}

bool WordPanels::fill_panel(Index panel, const float* const* rows) {
  constexpr float largest_scale =
      kernels::largest_split / 127.0f;  // beyond it a product of two scales might be infinite
  const Index real = std::min(full_, columns_ - panel * full_), columns = width(panel);
  Word* const to = words_data_.data() + panel * arithmetic_.pieces * words_ * full_;
  if (!arithmetic_.quantized()) {
    return word_kernels().split_panel(rows, depth_, 0, real, columns, arithmetic_.pieces, words_, to);
  }
  float* const scale = scale_.data() + panel * full_;
  const bool finite = word_kernels().quantize_panel(rows, depth_, 0, real, columns, words_, arithmetic_.unit->flip != 0,
                                                    to, scale, start_.data() + panel * full_);
  return finite && std::all_of(scale, scale + real, [](float own) { return own <= largest_scale; });
}

kernels::WordFactors WordPanels::factors(Index first_panel) const {
  kernels::WordFactors factors{};
  factors.words = words_;
  factors.panels = panel(first_panel);
  if (arithmetic_.quantized()) {
    factors.scale = scale_.data() + first_panel * full_;
    factors.start = arithmetic_.unit->flip != 0 ? start_.data() + first_panel * full_ : nullptr;
  }
  return factors;
}

void WordPanels::clear() {
  arithmetic_ = {};
  words_data_.clear();
  scale_.clear();
  start_.clear();
}

void LeftWords::prepare(const Arithmetic& arithmetic, Index rows, Index depth) {
  arithmetic_ = arithmetic;
  depth_ = depth;
  words_count_ = arithmetic.words(depth);
  stride_ = words_count_ * arithmetic.pieces;
  // Whole tiles are read, from any row on.
  const Index padded = rows + arithmetic.unit->row_multiple - 1;
  words_.resize(static_cast<std::size_t>(padded * stride_));
  scale_.resize(static_cast<std::size_t>(padded));
  // What no row is given to counts for nothing, but must be a number.
  std::fill_n(words_.data(), words_.size(), Word{0});
  std::fill_n(scale_.data(), scale_.size(), 0.0f);
  plain_.assign(static_cast<std::size_t>(rows), 0);
}

void LeftWords::set(Index row, const float* from) noexcept {
  Word* const to = words_.data() + row * stride_;
  bool exact = true;
  if (arithmetic_.quantized()) {
    const float scale = word_kernels().quantize_row(from, depth_, words_count_, arithmetic_.unit->flip, to);
    exact = scale >= 0;
    scale_.data()[row] = exact ? scale : 0.0f;
  } else {
    exact = word_kernels().split_row(from, depth_, arithmetic_.pieces, words_count_, to);
  }
  plain_[static_cast<std::size_t>(row)] = exact ? 0 : 1;
}

bool LeftWords::any_plain(Index rows) const noexcept {
  return std::find(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(rows), 1) !=
         plain_.begin() + static_cast<std::ptrdiff_t>(rows);
}

namespace {

/// One row as plain multiply-adds.
void multiply_plainly(const kernels::Product<float>& product, Index row, const WordPanels& right, Index first_panel) {
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
    word_kernels().add_dequantized(product.a[row], product.depth, right.panel(first_panel + panel),
                                   right.width(first_panel + panel), columns, right.scale(first_panel + panel), out);
  }
}

}  // namespace

void multiply_words(const kernels::Product<float>& product, const WordPanels& right, Index first_panel,
                    const LeftWords& left) {
  kernels::WordProduct words{};
  words.columns = product.columns;
  words.panel_width = right.panel_width();
  words.pieces = right.arithmetic().pieces;
  words.count = 1;
  words.bias = product.bias;
  words.accumulate = product.accumulate;
  words.panel_begin = product.panel_begin;
  words.panel_end = product.panel_end;
  const auto run = [&](Index first_row, Index rows) {
    if (rows == 0) return;
    words.rows = rows;
    words.out = product.out + first_row;
    words.factors[0] = right.factors(first_panel);
    left.add_to(words.factors[0], first_row);
    right.arithmetic().unit->product(words);
  };
  if (!left.any_plain(product.rows)) {
    run(0, product.rows);
    return;
  }
  for (Index row = 0, first = 0; row <= product.rows; ++row) {
    if (row < product.rows && !left.plain(row)) continue;
    run(first, row - first);
    if (row < product.rows) multiply_plainly(product, row, right, first_panel);
    first = row + 1;
  }
}

}  // namespace lstmcore
