// One step of a layer whose products are of a lower precision: the unit's products into the pre-activations of a tile,
// then the cell.
#pragma once

#include <algorithm>

#include "../cell_rows.hpp"
#include "../product.hpp"
#include "factors.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// `all` from row `row` on, for one block.
inline kernels::LowpFactors factors_of(const kernels::LowpStep& lowp, const kernels::LowpFactors& all, Index row,
                                       Index block) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  kernels::LowpFactors own = all;
  own.a += row * own.a_stride;
  own.panels += block * lowp.terms * own.groups * full;
  if (own.a_scale != nullptr) own.a_scale += row;
  if (own.a_start != nullptr) own.a_start += row;
  if (own.scale != nullptr) own.scale += block * full;
  if (own.start != nullptr) own.start += block * full;
  return own;
}

/// The pre-activations of some rows and one block, computed by the unit.
inline void step_lowp_product(const StepForward<float>& s, Index row, Index rows, Index block, float* const* gates) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  const kernels::LowpStep& lowp = *s.lowp;
  kernels::LowpProduct p{};
  p.rows = rows;
  p.columns = full;
  p.panel_width = full;
  p.terms = lowp.terms;
  p.out = gates;
  p.panel_end = 1;
  if (s.x_depth > 0) {
    p.bias = s.bias + block * full;
    p.factors[p.count++] = factors_of(lowp, lowp.x, row, block);
  } else {
    p.accumulate = true;
  }
  p.factors[p.count++] = factors_of(lowp, lowp.h, row, block);
  lowp.unit->product(p);
}

/// The same for a row whose x or h cannot be split: each of the two products by the unit or in float32. They are
/// computed one after the other, so that the sums have the same order as when the input part of many steps is computed
/// first.
inline void step_unsplit_row(const StepForward<float>& s, Index row, Index block, float* gates) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  const kernels::LowpStep& lowp = *s.lowp;
  const auto add = [&](const kernels::LowpFactors& factors, bool unsplit, const float* from, Index depth,
                       const float* panels, bool first) {
    const float* const bias = first ? s.bias + block * full : nullptr;
    if (!unsplit) {
      kernels::LowpProduct p{1,      full, full,   lowp.terms, 1, {factors_of(lowp, factors, row, block), {}},
                             &gates, bias, !first, 0,          1, false};
      lowp.unit->product(p);
    } else if (panels != nullptr) {
      product(
          kernels::Product<float>{1, depth, full, &from, panels + block * depth * full, &gates, bias, !first, 0, 1});
    } else {
      if (first) std::memcpy(gates, bias, static_cast<std::size_t>(full) * sizeof(float));
      add_dequantized(from, depth, factors.panels + block * factors.groups * full, full, full,
                      factors.scale + block * full, gates);
    }
  };
  if (s.x_depth > 0) add(lowp.x, lowp.x_unsplit[row] != 0, s.x[row], s.x_depth, s.x_panels, true);
  add(lowp.h, lowp.h_unsplit[row] != 0, s.h_prev[row], s.h_depth, s.h_panels, false);
}

/// A step computed by the unit, the rows of several tiles at a time: with AVX2, whose tiles have three rows, one tile
/// at a time took 5 % longer. Unsplit rows among them are computed one by one, the rows between them together.
inline void step_forward_lowp(const StepForward<float>& s) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  constexpr Index most_rows = 32;
  const Index height = s.lowp->unit->tile_rows, together = most_rows / height * height;
  alignas(64) float scratch[most_rows * full];
  float* gates[most_rows];
  for (Index turn = s.block_begin; turn < s.block_end; ++turn) {
    const Index block = s.backwards ? s.block_end - 1 - (turn - s.block_begin) : turn;
    for (Index row = 0, rows = 0; row < s.rows; row += rows) {
      rows = height == most_rows ? std::min(s.rows - row, height) : next_height(s.rows - row, together);
      for (Index r = 0; r < rows; ++r) {
        gates[r] = s.gates != nullptr ? s.gates[row + r] + (block - s.block_begin) * full : scratch + r * full;
      }
      if (s.lowp->any_unsplit) {
        const auto unsplit = [&](Index r) {
          return (s.x_depth > 0 && s.lowp->x_unsplit[row + r] != 0) || s.lowp->h_unsplit[row + r] != 0;
        };
        for (Index r = 0, first = 0; r <= rows; ++r) {
          if (r < rows && !unsplit(r)) continue;
          if (first < r) step_lowp_product(s, row + first, r - first, block, gates + first);
          if (r < rows) step_unsplit_row(s, row + r, block, gates[r]);
          first = r + 1;
        }
      } else {
        step_lowp_product(s, row, rows, block, gates);
      }
      cells_forward(s, row, rows, block, 1, gates);
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
