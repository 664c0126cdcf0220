// The cell: the gate equations on vectors of hidden units, forward and backward side by side, and one step of a layer
// (product, then cell, while the tile of pre-activations is still in the first-level cache).
#pragma once

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

  if (s.extras.options != nullptr) {
    for (int r = 0; r < Rows; ++r) {
      for (int b = 0; b < Blocks; ++b) varied_cell_forward(s, row + r, block + b, gates[r] + b * full);
    }
    return;
  }
  for (int r = 0; r < Rows; ++r) {
    for (int b = 0; b < Blocks; ++b) {
      const Index unit = (block + b) * lanes;
      T* const y = s.y != nullptr ? s.y[row + r] + unit : nullptr;
      const Index units = s.hidden - unit;
      const T* const c_prev = s.c_prev[row + r] + unit;
      if (s.keep_gates) {
        cell_forward<T, true>(gates[r] + b * full, c_prev, s.c[row + r] + unit, s.h[row + r] + unit, y, units);
      } else {
        cell_forward<T, false>(gates[r] + b * full, c_prev, s.c[row + r] + unit, s.h[row + r] + unit, y, units);
      }
    }
  }
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

template <class T>
void step_forward(const StepForward<T>& s) {
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
