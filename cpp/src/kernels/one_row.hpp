// The step of one row, as in a stream. It reads every weight once, so that loads limit its speed: several blocks share
// each load of h, which also gives enough independent sums to hide the latency of the multiply-add.
#pragma once

#include "cell_rows.hpp"
#include "product.hpp"
#include "unroll.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// The pre-activations of `Blocks` blocks: one running sum per element.
template <class T, int Blocks>
struct RowSums {
  using P = PacketOf<T>;
  static constexpr int width = Blocks * static_cast<int>(panel_vectors);
  static constexpr Index lanes = lanes_of<T>;
  P sum[width];

  EIGEN_ALWAYS_INLINE explicit RowSums(const T* start) {
    unroll<width>([&](auto n) { sum[n] = ei::ploadu<P>(start + n * lanes); });
  }
  /// sum[strip][v] += a[k] * panels[strip][k][v], k in rising order. Nothing is prefetched, unlike in `Tile`: the
  /// weights are still in a cache from the last step, and prefetches would compete with the loads.
  EIGEN_ALWAYS_INLINE void add(const T* a, Index depth, const T* panels) {
    const Index stride = depth * strip_width<T>;
#if defined(__GNUC__)
#pragma GCC unroll 2
#endif
    for (Index k = 0; k < depth; ++k) {
      const Multiplier<P> factor = multiplier<P>(a[k]);
      unroll<width>([&](auto n) {
        constexpr int strip = n / strip_vectors, v = n % strip_vectors;
        sum[n] = add_multiple(sum[n], factor, ei::ploadu<P>(panels + strip * stride + v * lanes));
      });
      panels += strip_width<T>;
    }
  }
  EIGEN_ALWAYS_INLINE void store(T* to) const {
    unroll<width>([&](auto n) { ei::pstoreu(to + n * lanes, sum[n]); });
  }
};

/// `Blocks` blocks from `block`: products, then the cells, which are inlined so that the processor computes several at
/// a time.
template <class T, int Blocks>
void one_row_tile(const StepForward<T>& s, Index block) {
  constexpr Index full = panel_vectors * lanes_of<T>;
  alignas(64) T scratch[Blocks * full];
  T* const gates = s.gates != nullptr ? s.gates[0] + (block - s.block_begin) * full : scratch;
  RowSums<T, Blocks> sums(s.x_depth > 0 ? s.bias + block * full : gates);
  if (s.x_depth > 0) sums.add(s.x[0], s.x_depth, s.x_panels + block * s.x_depth * full);
  sums.add(s.h_prev[0], s.h_depth, s.h_panels + block * s.h_depth * full);
  sums.store(gates);
  if (s.extras.options == nullptr) {
    for (int b = 0; b < Blocks; ++b) plain_cell_forward<false>(s, 0, block + b, gates + b * full);
  } else if (only_fast(s)) {
    for (int b = 0; b < Blocks; ++b) plain_cell_forward<true>(s, 0, block + b, gates + b * full);
  } else {
    for (int b = 0; b < Blocks; ++b) varied_cell_forward(s, 0, block + b, gates + b * full);
  }
}

/// Blocks that are computed together at most: their sums fit into the registers.
constexpr Index most_row_blocks = vector_registers == 32 ? 4 : 3;

template <class T>
void one_row_tile(const StepForward<T>& s, Index block, Index blocks) {
  switch (blocks) {
    case 1:
      return one_row_tile<T, 1>(s, block);
    case 2:
      return one_row_tile<T, 2>(s, block);
    case 3:
      return one_row_tile<T, 3>(s, block);
    default:
      if constexpr (most_row_blocks == 4) return one_row_tile<T, 4>(s, block);
  }
}

/// For steps that gain by alternating the order of the blocks: rising, or falling if `s.backwards`. With small tiles,
/// whole ones are still in the first-level cache when the order is reversed. Two blocks per tile, and one tile of three
/// if the number of blocks is odd, are fastest with 16 registers (H 40 to 96); one block per tile if the cache cannot
/// hold two panels.
template <class T>
void turning_row_step(const StepForward<T>& s) {
  constexpr Index cache = 28 << 10;  // of the first level: 32 KiB, less room for other data
  const Index panel = panel_vectors * lanes_of<T> * (s.x_depth + s.h_depth) * static_cast<Index>(sizeof(T));
  const Index most = 2 * panel <= cache ? 2 : 1;
  for (Index first = s.block_begin, end = s.block_end; first < end;) {
    const Index left = end - first;
    const Index size = most == 2 && left > 3 && left % 2 == 1 ? 3 : left < most ? left : most;
    if (s.backwards) {
      end -= size;
      one_row_tile(s, end, size);
    } else {
      one_row_tile(s, first, size);
      first += size;
    }
  }
}

/// For other steps: as many blocks at a time as the registers hold, and a single one only if the row has no other. The
/// order alternates here too, for the second-level cache: with 128 features and 256 units, whose weights are one and a
/// half times as large as a cache of 1 MiB, a step would else find none of them there.
template <class T>
void one_row_step(const StepForward<T>& s) {
  for (Index first = s.block_begin, end = s.block_end; first < end;) {
    const Index left = end - first;
    Index size = left < most_row_blocks ? left : most_row_blocks;
    if (left > most_row_blocks && left < 2 * most_row_blocks) size = (left + 1) / 2;
    if (s.backwards) {
      end -= size;
      one_row_tile(s, end, size);
    } else {
      one_row_tile(s, first, size);
      first += size;
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
