// One step of a layer: products into the pre-activations of a tile, then the cell while they are still in the
// first-level cache.
#pragma once

#include <type_traits>

#include "cell_rows.hpp"
#include "lowp/step.hpp"
#include "one_row.hpp"
#include "product.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// Pre-activations of `Rows` rows from `row`, and of `Strips` strips from strip `strip` of block `block`; `gates` are
/// the rows of the block.
template <class T, int Rows, int Strips>
EIGEN_ALWAYS_INLINE void step_product(const StepForward<T>& s, Index row, Index block, Index strip, T* const* gates) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>, width = strip_width<T>;
  const Index column = strip * width, first = block * gates_at<T>(1) + column;
  T* to[Rows];
  LSTMCORE_UNROLL
  for (int r = 0; r < Rows; ++r) to[r] = gates[r] + column;
  Tile<T, Rows, strip_vectors, Strips> tile;
  if (s.x_depth > 0) {
    tile.start([&](int, int v) { return ei::ploadu<P>(s.bias + first + v * lanes); });
    tile.add_products(ByRows<T, Rows>(s.x + row), s.x_depth, s.x_panels + first * s.x_depth, width * s.x_depth);
  } else {
    tile.start([&](int r, int v) { return ei::ploadu<P>(to[r] + v * lanes); });
  }
  tile.add_products(ByRows<T, Rows>(s.h_prev + row), s.h_depth, s.h_panels + first * s.h_depth, width * s.h_depth);
  tile.finish([&](int r, int v, const P& sum) { ei::pstoreu(to[r] + v * lanes, sum); });
}

/// The rows of gates of a tile or chunk: the caller's, or in `scratch`.
template <class T>
EIGEN_ALWAYS_INLINE void locate_gates(const StepForward<T>& s, Index row, Index rows, Index block, Index blocks,
                                      T* scratch, T** gates) {
  for (Index r = 0; r < rows; ++r) {
    gates[r] =
        s.gates != nullptr ? s.gates[row + r] + gates_at<T>(block - s.block_begin) : scratch + r * gates_at<T>(blocks);
  }
}

/// One tile of few rows: `Rows` rows from `row`, `Blocks` blocks from `block`.
template <class T, int Rows, int Blocks>
void step_tile(const StepForward<T>& s, Index row, Index block) {
  alignas(64) T scratch[Rows * gates_at<T>(Blocks)];
  T* gates[Rows];
  locate_gates(s, row, Rows, block, Blocks, scratch, gates);
  step_product<T, Rows, Blocks * panel_strips>(s, row, block, 0, gates);
  cells_forward(s, row, Rows, block, Blocks, gates);
}

template <class T>
using StepStrip = void (*)(const StepForward<T>&, Index row, Index block, Index strip, T* const* gates);

template <class T, int Rows>
void step_strip(const StepForward<T>& s, Index row, Index block, Index strip, T* const* gates) {
  step_product<T, Rows, 1>(s, row, block, strip, gates);
}

template <class T>
struct StepStrips {
  static_assert(tile_rows(strip_vectors) == 6, "one entry for each number of rows");
  static constexpr StepStrip<T> by_rows[] = {&step_strip<T, 1>, &step_strip<T, 2>, &step_strip<T, 3>,
                                             &step_strip<T, 4>, &step_strip<T, 5>, &step_strip<T, 6>};
};

/// Number of tiles whose pre-activations are computed before their cells. If a block has several strips, there are
/// enough tiles that each strip is used often before the next one replaces it in the first-level cache.
constexpr Index chunk_tiles = panel_strips == 1 ? 1 : 8;
constexpr Index chunk_rows = chunk_tiles * tile_rows(strip_vectors);

/// All rows against one block.
template <class T>
void step_block(const StepForward<T>& s, Index block) {
  alignas(64) T scratch[chunk_rows * gates_at<T>(1)];
  T* gates[chunk_rows];
  for (Index begin = 0, end = 0; begin < s.rows; begin = end) {
    if (panel_strips > 1 && s.rows - begin <= 3) {
      if (s.rows - begin == 1) step_tile<T, 1, 1>(s, begin, block);
      if (s.rows - begin == 2) step_tile<T, 2, 1>(s, begin, block);
      if (s.rows - begin == 3) step_tile<T, 3, 1>(s, begin, block);
      return;
    }
    end = begin;
    for (Index tile = 0; tile < chunk_tiles && end < s.rows; ++tile) {
      end += next_height(s.rows - end, tile_rows(strip_vectors));
    }
    locate_gates(s, begin, end - begin, block, 1, scratch, gates);
    for (Index strip = 0; strip < panel_strips; ++strip) {
      for (Index row = begin, height = 0; row < end; row += height) {
        height = next_height(s.rows - row, tile_rows(strip_vectors));
        StepStrips<T>::by_rows[height - 1](s, row, block, strip, gates + (row - begin));
      }
    }
    cells_forward(s, begin, end - begin, block, 1, gates);
  }
}

/// Whether to reverse the order of the blocks at every step, so that weights that the first-level cache still holds are
/// used first. It pays where the weights of a step are larger than that cache, but not so large that it holds only a
/// small part of them: with 64 hidden units and a cache of 32 KiB, a step takes 0.58 instead of 0.76 microseconds.
template <class T>
bool turning_pays(const StepForward<T>& s) {
  const Index blocks = s.block_end - s.block_begin;
  const Index bytes = blocks * panel_vectors * lanes_of<T> * (s.x_depth + s.h_depth) * static_cast<Index>(sizeof(T));
  return bytes > (24 << 10) && bytes < (192 << 10);
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
  constexpr int together_2 = strips_together(2) / panel_strips;
  // A single block gains nothing from tiles for one row: it is bound by the latency of its additions and activations.
  if (s.rows == 1 && s.block_end - s.block_begin > 1) {
    return turning_pays(s) ? turning_row_step(s) : one_row_step(s);
  }
  if (s.rows == 2 && together_2 > 1) {
    for (; block + together_2 <= s.block_end; block += together_2) step_tile<T, 2, together_2>(s, 0, block);
  } else if (s.backwards) {
    for (block = s.block_end; block > s.block_begin; --block) step_block(s, block - 1);
    return;
  }
  for (; block < s.block_end; ++block) step_block(s, block);
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
