// The cell: the gate equations on vectors of hidden units, forward and backward side by side, and one step of a layer
// (product, then cell, while the tile of pre-activations is still in the first-level cache).
#pragma once

#include <type_traits>

#include "lowp/factors.hpp"
#include "product.hpp"
#include "varied_cell.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// i, f, o = sigmoid(z), g = tanh(z); c = f c' + i g; h = o tanh(c). `gates` holds z, in the order i, f, g, o.
template <class T, bool Keep>
EIGEN_ALWAYS_INLINE void cell_forward(T* gates, const T* c_prev, T* c, T* h, T* y, Index units) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P i = vsigmoid(ei::ploadu<P>(gates));
  const P f = vsigmoid(ei::ploadu<P>(gates + lanes));
  const P g = vtanh(ei::ploadu<P>(gates + 2 * lanes));
  const P o = vsigmoid(ei::ploadu<P>(gates + 3 * lanes));
  const P cell = ei::pmadd(f, ei::ploadu<P>(c_prev), ei::pmul(i, g));
  const P output = ei::pmul(o, vtanh(cell));
  if (Keep) {
    ei::pstoreu(gates, i);
    ei::pstoreu(gates + lanes, f);
    ei::pstoreu(gates + 2 * lanes, g);
    ei::pstoreu(gates + 3 * lanes, o);
  }
  ei::pstoreu(c, cell);
  store_some(h, output, units);
  if (y != nullptr) store_some(y, output, units);
}

/// From dh and dc (by this step's h and c) and the gates i, f, g, o: the gradients by their pre-activations; dc becomes
/// the gradient by c'.
template <class T>
EIGEN_ALWAYS_INLINE void cell_backward(const T* gates, T* dgates, const T* c_prev, const T* c, const T* dy, const T* dh,
                                       T* dc, Index units) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P one = constant<P>(1.0);
  const P i = ei::ploadu<P>(gates);
  const P f = ei::ploadu<P>(gates + lanes);
  const P g = ei::ploadu<P>(gates + 2 * lanes);
  const P o = ei::ploadu<P>(gates + 3 * lanes);
  const P tanh_c = vtanh(ei::ploadu<P>(c));
  P d_h = ei::ploadu<P>(dh);
  if (dy != nullptr) d_h = ei::padd(d_h, load_some<P>(dy, units));
  const P d_tanh_c = ei::pmul(d_h, o);
  const P d_c = ei::pmadd(d_tanh_c, ei::psub(one, ei::pmul(tanh_c, tanh_c)), ei::ploadu<P>(dc));
  ei::pstoreu(dgates, ei::pmul(ei::pmul(d_c, g), ei::pmul(i, ei::psub(one, i))));
  ei::pstoreu(dgates + lanes, ei::pmul(ei::pmul(d_c, ei::ploadu<P>(c_prev)), ei::pmul(f, ei::psub(one, f))));
  ei::pstoreu(dgates + 2 * lanes, ei::pmul(ei::pmul(d_c, i), ei::psub(one, ei::pmul(g, g))));
  ei::pstoreu(dgates + 3 * lanes, ei::pmul(ei::pmul(d_h, tanh_c), ei::pmul(o, ei::psub(one, o))));
  ei::pstoreu(dc, ei::pmul(d_c, f));
}

template <class T>
EIGEN_ALWAYS_INLINE void plain_cell_forward(const StepForward<T>& s, Index row, Index block, T* gates) {
  const Index unit = block * lanes_of<T>;
  T* const y = s.y != nullptr ? s.y[row] + unit : nullptr;
  const Index units = s.hidden - unit;
  const T* const c_prev = s.c_prev[row] + unit;
  if (s.keep_gates) {
    cell_forward<T, true>(gates, c_prev, s.c[row] + unit, s.h[row] + unit, y, units);
  } else {
    cell_forward<T, false>(gates, c_prev, s.c[row] + unit, s.h[row] + unit, y, units);
  }
}

// GCC would compile it once more for every shape of tile that is known where it is called.
#if defined(__GNUC__) && !defined(__clang__)
#define LSTMCORE_NO_CLONE [[gnu::noclone]]
#else
#define LSTMCORE_NO_CLONE
#endif

/// The cells of a tile, whose pre-activations are in `gates`. Not a part of each tile: the code would be there once for
/// every shape.
template <class T>
LSTMCORE_NO_CLONE EIGEN_DONT_INLINE void cells_forward(const StepForward<T>& s, Index row, Index rows, Index block,
                                                       Index blocks, T* const* gates) {
  constexpr Index full = kernels::panel_vectors * lanes_of<T>;
  for (Index r = 0; r < rows; ++r) {
    for (Index b = 0; b < blocks; ++b) {
      if (s.extras.options != nullptr) {
        varied_cell_forward(s, row + r, block + b, gates[r] + b * full);
      } else {
        plain_cell_forward(s, row + r, block + b, gates[r] + b * full);
      }
    }
  }
}

/// One tile: `Rows` rows from `row`, `Blocks` blocks from `block`.
template <class T, int Rows, int Blocks>
void step_tile(const StepForward<T>& s, Index row, Index block) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  alignas(64) T scratch[Rows * Blocks * full];
  T* gates[Rows];
  for (int r = 0; r < Rows; ++r) {
    gates[r] = s.gates != nullptr ? s.gates[row + r] + (block - s.block_begin) * full : scratch + r * Blocks * full;
  }

  constexpr int strip = strip_vectors(Rows, vectors, Blocks);
  for (int first = 0; first < vectors; first += strip) {
    const Index offset = first * lanes;
    Tile<T, Rows, strip, Blocks> tile;
    if (s.x_depth > 0) {
      tile.start([&](int, int v) { return ei::ploadu<P>(s.bias + block * full + offset + v * lanes); });
      const Index stride = s.x_depth * full;
      const ByRows<T, Rows> x(s.x + row);
      tile.template add_products<vectors>(x, s.x_depth, s.x_panels + block * stride + offset, stride);
    } else {
      tile.start([&](int r, int v) { return ei::ploadu<P>(gates[r] + offset + v * lanes); });
    }
    const Index stride = s.h_depth * full;
    const ByRows<T, Rows> h(s.h_prev + row);
    tile.template add_products<vectors>(h, s.h_depth, s.h_panels + block * stride + offset, stride);
    tile.finish([&](int r, int v, const P& sum) { ei::pstoreu(gates[r] + offset + v * lanes, sum); });
  }

  cells_forward(s, row, Rows, block, Blocks, gates);
}

template <class T>
using StepTile = void (*)(const StepForward<T>&, Index row, Index block);

template <class T>
struct StepTiles {
  static constexpr int most_rows = tile_rows(kernels::panel_vectors);
  template <int Rows>
  static constexpr StepTile<T> tile() {
    if constexpr (Rows <= most_rows) {
      return &step_tile<T, Rows, 1>;
    } else {
      return nullptr;
    }
  }
  static constexpr StepTile<T> by_rows[6] = {tile<1>(), tile<2>(), tile<3>(), tile<4>(), tile<5>(), tile<6>()};
};

/// All rows against one block.
template <class T>
void step_block(const StepForward<T>& s, Index block) {
  for (Index row = 0; row < s.rows;) {
    const Index height = next_height(s.rows - row, StepTiles<T>::most_rows);
    StepTiles<T>::by_rows[height - 1](s, row, block);
    row += height;
  }
}

/// Whether the weights of a step are more than the first-level cache holds, but so few that what it does hold of them
/// is worth meeting again by turning round at the end: for one row, worth more than many sums at a time.
template <class T>
bool turning_pays(const StepForward<T>& s) {
  const Index blocks = s.block_end - s.block_begin;
  const Index bytes = blocks * panel_vectors * lanes_of<T> * (s.x_depth + s.h_depth) * static_cast<Index>(sizeof(T));
  return bytes > (24 << 10) && bytes < (192 << 10);
}

/// Factors from row `row` on and for one block.
inline kernels::LowpFactors factors_of(const kernels::LowpStep& lowp, const kernels::LowpFactors& all, Index row,
                                       Index block) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  kernels::LowpFactors own = all;
  own.a += row * own.a_stride;
  own.panels += block * lowp.terms * own.groups * full;
  if (own.a_scale != nullptr) own.a_scale += row;
  if (own.scale != nullptr) own.scale += block * full;
  if (own.start != nullptr) own.start += block * full;
  return own;
}

/// The products of some rows and one block on a unit for smaller numbers.
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

/// The same for a row with a factor that cannot be split: one product after the other, so that the sums have the order
/// that they have when the input part of many steps goes first.
inline void step_unsplit_row(const StepForward<float>& s, Index row, Index block, float* gates) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  const kernels::LowpStep& lowp = *s.lowp;
  const auto add = [&](const kernels::LowpFactors& factors, bool plain, const float* from, Index depth,
                       const float* panels, bool first) {
    const float* const bias = first ? s.bias + block * full : nullptr;
    if (!plain) {
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

inline void step_forward_lowp(const StepForward<float>& s) {
  constexpr Index full = kernels::panel_vectors * lanes_of<float>;
  constexpr Index most_rows = 32;
  const Index height = s.lowp->unit->tile_rows;
  alignas(64) float scratch[most_rows * full];
  float* gates[most_rows];
  for (Index turn = s.block_begin; turn < s.block_end; ++turn) {
    const Index block = s.backwards ? s.block_end - 1 - (turn - s.block_begin) : turn;
    for (Index row = 0, rows = 0; row < s.rows; row += rows) {
      rows = height == most_rows ? (s.rows - row < height ? s.rows - row : height) : next_height(s.rows - row, height);
      for (Index r = 0; r < rows; ++r) {
        gates[r] = s.gates != nullptr ? s.gates[row + r] + (block - s.block_begin) * full : scratch + r * full;
      }
      if (s.lowp->any_unsplit) {
        const auto plain = [&](Index r) {
          return (s.x_depth > 0 && s.lowp->x_unsplit[row + r] != 0) || s.lowp->h_unsplit[row + r] != 0;
        };
        for (Index r = 0, first = 0; r <= rows; ++r) {
          if (r < rows && !plain(r)) continue;
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

template <class T>
void step_forward(const StepForward<T>& s) {
  if constexpr (std::is_same_v<T, float>) {
    if (s.lowp != nullptr) {
      step_forward_lowp(s);
      return;
    }
  }
  Index block = s.block_begin;
  if (s.rows == 1 && !turning_pays(s)) {
    constexpr Index wide = wide_panels(1);
    for (; block + wide <= s.block_end; block += wide) step_tile<T, 1, wide>(s, 0, block);
  } else if (s.rows == 2 && wide_panels(2) > 1) {
    constexpr Index wide = wide_panels(2);
    for (; block + wide <= s.block_end; block += wide) step_tile<T, 2, wide>(s, 0, block);
  } else if (s.backwards) {
    for (block = s.block_end; block > s.block_begin; --block) step_block(s, block - 1);
    return;
  }
  for (; block < s.block_end; ++block) step_block(s, block);
}

template <class T>
void step_backward(const StepBackward<T>& s) {
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  for (Index row = 0; row < s.rows; ++row) {
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      if (s.extras.options != nullptr) {
        varied_cell_backward(s, row, block);
        continue;
      }
      const Index unit = block * lanes;
      cell_backward(s.gates[row] + block * full, s.dgates[row] + block * full, s.c_prev[row] + unit, s.c[row] + unit,
                    s.dy != nullptr ? s.dy[row] + unit : nullptr, s.dh[row] + unit, s.dc[row] + unit, s.hidden - unit);
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
