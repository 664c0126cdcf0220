// The matrix product. Its micro-kernels compute tiles of a few rows by a few vectors of columns, with one running sum
// per element, over k in rising order. The bits of an element do not depend on the tile that it falls into.
#pragma once

#include "vector.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::OuterProduct;
using kernels::panel_vectors;
using kernels::Product;
using kernels::TransposedProduct;

/// Vectors of a strip of the right factor (`kernels::PanelLayout`): as wide as the tiles in which most rows are
/// computed. With 16 registers, six rows by two vectors load half as much of the factor per multiply-add as three rows
/// by four. If these strips are stored separately, a product takes 0.93 to 0.99 of the time that it takes with halves
/// of a panel of four vectors, because all rows use a strip while a cache holds it, and no half of a line waits there
/// for later use (AVX2, 64 x 768 x 2048: 0.95, 128 x 2048 x 4096: 0.95). Cutting k into blocks, with the sums in memory
/// in between, as BLIS and MLAS do, took 0.98 to 1.10 of the time.
constexpr int strip_vectors = vector_registers == 32 ? 4 : 2;

/// Strips of a panel.
constexpr int panel_strips = static_cast<int>(panel_vectors) / strip_vectors;

/// Rows of a tile that is `vectors` wide. Narrow tiles have more rows, so that there are always enough independent sums
/// to hide the latency of the multiply-add.
constexpr int tile_rows(int vectors) {
  if (vector_registers == 32) return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
  return vectors == 2 ? 6 : 8;
}

/// Strips that are computed together for a few rows, also to have enough independent sums.
constexpr int strips_together(int rows) {
  if (vector_registers == 32) return rows == 1 ? 4 : rows == 2 ? 3 : 1;
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

// The sums of a tile are in registers only if its loops are unrolled before GCC splits arrays into variables; else they
// go through the stack before and after every loop over k.
#if defined(__clang__)
#define LSTMCORE_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define LSTMCORE_UNROLL _Pragma("GCC unroll 24")
#else
#define LSTMCORE_UNROLL
#endif

/// Left factor, given by row pointers: element (r, k) at rows[r][k].
template <class T, int Rows>
struct ByRows {
  const T* row[Rows];
  explicit ByRows(const T* const* rows) {
    LSTMCORE_UNROLL
    for (int r = 0; r < Rows; ++r) row[r] = rows[r];
  }
  T operator()(int r, Index k) const { return row[r][k]; }
};

/// Left factor interleaved: element (r, k) at tile[k * width + r].
template <class T, int width>
struct Interleaved {
  const T* tile;
  T operator()(int r, Index k) const { return tile[k * width + r]; }
};

/// The running sums of `Rows` rows by `Strips` strips of `Vectors` vectors.
template <class T, int Rows, int Vectors, int Strips = 1>
struct Tile {
  using P = PacketOf<T>;
  static constexpr int lanes = lanes_of<T>;
  static constexpr int width = Vectors * Strips;
  P sum[Rows][width];

  /// start(r, v): the first value of row r, vector v.
  template <class Start>
  EIGEN_ALWAYS_INLINE void start(Start&& start) {
    LSTMCORE_UNROLL
    for (int r = 0; r < Rows; ++r) {
      LSTMCORE_UNROLL
      for (int v = 0; v < width; ++v) sum[r][v] = start(r, v);
    }
  }

  template <class Left>
  EIGEN_ALWAYS_INLINE void add_products(const Left& left, Index depth, const T* strip, Index strip_stride) {
    // Lines of the strip are prefetched this far ahead; the next rows find them in the first-level cache.
    constexpr Index ahead = strip_vectors == 4 ? 8 * Vectors * lanes : 16 * Vectors * lanes;
    for (Index k = 0; k < depth; ++k) {
      P right[width];
      LSTMCORE_UNROLL
      for (int s = 0; s < Strips; ++s) {
        LSTMCORE_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          right[s * Vectors + v] = ei::ploadu<P>(strip + s * strip_stride + v * lanes);
          if (static_cast<int>(sizeof(T)) * lanes * v % 64 == 0) {
            ei::prefetch(strip + s * strip_stride + v * lanes + ahead);
          }
        }
      }
      LSTMCORE_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Multiplier<P> a = multiplier<P>(left(r, k));
        LSTMCORE_UNROLL
        for (int v = 0; v < width; ++v) sum[r][v] = add_multiple(sum[r][v], a, right[v]);
      }
      strip += Vectors * lanes;
    }
  }

  /// finish(r, v, sum).
  template <class Finish>
  EIGEN_ALWAYS_INLINE void finish(Finish&& finish) const {
    LSTMCORE_UNROLL
    for (int r = 0; r < Rows; ++r) {
      LSTMCORE_UNROLL
      for (int v = 0; v < width; ++v) finish(r, v, sum[r][v]);
    }
  }
};

/// Height of the next tile when `rows` rows are left: at most `most`, and about the same for all tiles.
inline Index next_height(Index rows, Index most) {
  const Index tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

/// Columns of a full strip.
template <class T>
constexpr Index strip_width = strip_vectors * lanes_of<T>;

/// One tile. `columns`: those left from strip `strip` on.
template <class T, int Rows, int Vectors, int Strips>
void product_tile(const Product<T>& p, Index row, Index strip, Index columns) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const Index column = strip * strip_width<T>;
  T* const* out = p.out + row;
  Tile<T, Rows, Vectors, Strips> tile;
  const auto count = [&](int v) { return elements_of<T>(columns, v, tile.width); };
  if (p.accumulate) {
    tile.start([&](int r, int v) { return load_some<P>(out[r] + column + v * lanes, count(v)); });
  } else if (p.bias != nullptr) {
    tile.start([&](int, int v) { return ei::ploadu<P>(p.bias + column + v * lanes); });
  } else {
    tile.start([&](int, int) { return constant<P>(0.0); });
  }
  tile.add_products(ByRows<T, Rows>(p.a + row), p.depth, p.panels + p.depth * column, p.depth * strip_width<T>);
  tile.finish([&](int r, int v, const P& sum) { store_some(out[r] + column + v * lanes, sum, count(v)); });
}

template <class T>
using ProductTile = void (*)(const Product<T>&, Index row, Index strip, Index columns);

/// Null if a tile would not fit the registers.
template <class T, int Vectors, int Rows>
constexpr ProductTile<T> product_tile_or_null() {
  if constexpr (Rows <= tile_rows(Vectors)) {
    return &product_tile<T, Rows, Vectors, 1>;
  } else {
    return nullptr;
  }
}

template <class T, int Vectors>
struct ProductTiles {
  static constexpr ProductTile<T> by_rows[12] = {
      product_tile_or_null<T, Vectors, 1>(),  product_tile_or_null<T, Vectors, 2>(),
      product_tile_or_null<T, Vectors, 3>(),  product_tile_or_null<T, Vectors, 4>(),
      product_tile_or_null<T, Vectors, 5>(),  product_tile_or_null<T, Vectors, 6>(),
      product_tile_or_null<T, Vectors, 7>(),  product_tile_or_null<T, Vectors, 8>(),
      product_tile_or_null<T, Vectors, 9>(),  product_tile_or_null<T, Vectors, 10>(),
      product_tile_or_null<T, Vectors, 11>(), product_tile_or_null<T, Vectors, 12>()};
};

/// All rows against one strip.
template <class T, int Vectors>
void product_strip(const Product<T>& p, Index strip, Index columns) {
  if constexpr (Vectors <= strip_vectors) {
    for (Index row = 0; row < p.rows;) {
      const Index height = next_height(p.rows - row, tile_rows(Vectors));
      ProductTiles<T, Vectors>::by_rows[height - 1](p, row, strip, columns);
      row += height;
    }
  }
}

/// Few rows against several full strips at a time, from `strip` on. Returns the first strip that is left.
template <class T, int Rows>
Index product_together(const Product<T>& p, Index strip, Index end) {
  constexpr Index together = strips_together(Rows);
  if constexpr (together > 1) {
    for (; strip + together <= end; strip += together) {
      product_tile<T, Rows, strip_vectors, strips_together(Rows)>(p, 0, strip, together * strip_width<T>);
    }
  }
  return strip;
}

template <class T>
void product(const Product<T>& p) {
  constexpr Index lanes = lanes_of<T>, full = strip_width<T>;
  const Index strips = (p.columns + full - 1) / full, own_end = p.panel_end * panel_strips;
  const Index end = own_end < strips ? own_end : strips;
  const Index full_end = p.columns / full < end ? p.columns / full : end;  // strips before it have all their columns
  Index strip = p.panel_begin * panel_strips;
  if (p.rows == 1) strip = product_together<T, 1>(p, strip, full_end);
  if (p.rows == 2) strip = product_together<T, 2>(p, strip, full_end);
  if (p.rows == 3) strip = product_together<T, 3>(p, strip, full_end);
  for (; strip < end; ++strip) {
    const Index columns = p.columns - strip * full < full ? p.columns - strip * full : full;
    switch ((columns + lanes - 1) / lanes) {
      case 4:
        product_strip<T, 4>(p, strip, columns);
        break;
      case 3:
        product_strip<T, 3>(p, strip, columns);
        break;
      case 2:
        product_strip<T, 2>(p, strip, columns);
        break;
      default:
        product_strip<T, 1>(p, strip, columns);
        break;
    }
  }
}

/// Rows of a tile of the transposed product, whatever its width.
constexpr int transposed_rows = tile_rows(strip_vectors);

/// `interleaved` holds columns row .. row + Rows - 1 of a.
template <class T, int Rows, int Vectors>
void transposed_tile(const TransposedProduct<T>& p, const T* interleaved, Index row, Index strip, Index columns) {
  if constexpr (Vectors <= strip_vectors) {
    using P = PacketOf<T>;
    constexpr Index lanes = lanes_of<T>;
    const Index column = strip * strip_width<T>;
    T* const out = p.out + row * p.out_stride + column;
    Tile<T, Rows, Vectors> tile;
    const auto count = [&](int v) { return elements_of<T>(columns, v, tile.width); };
    if (p.accumulate) {
      tile.start([&](int r, int v) { return load_some<P>(out + r * p.out_stride + v * lanes, count(v)); });
    } else {
      // Prefetches the values to which the sums are added at the end.
      constexpr int line = 64 / static_cast<int>(sizeof(T));
      for (int r = 0; p.add && r < Rows; ++r) {
        for (int at = 0; at < Vectors * lanes_of<T>; at += line) ei::prefetch(out + r * p.out_stride + at);
      }
      tile.start([&](int, int) { return constant<P>(0.0); });
    }
    tile.add_products(Interleaved<T, transposed_rows>{interleaved}, p.depth, p.panels + p.depth * column, 0);
    tile.finish([&](int r, int v, const P& sum) {
      T* const to = out + r * p.out_stride + v * lanes;
      store_some(to, p.add ? ei::padd(load_some<P>(to, count(v)), sum) : sum, count(v));
    });
  }
}

/// `Rows` columns of a against all strips. They are copied side by side first, because in place each k is in another
/// cache line, and many of these lines may fall into the same sets of the cache.
template <class T, int Rows>
void transposed_rows_tile(const TransposedProduct<T>& p, Index row) {
  constexpr Index full = strip_width<T>;
  alignas(64) T interleaved[kernels::most_transposed_depth * transposed_rows];
  for (Index k = 0; k < p.depth; ++k) {
    for (int r = 0; r < Rows; ++r) interleaved[k * transposed_rows + r] = p.a[k][row + r];
  }
  const Index strips = (p.columns + full - 1) / full, own_end = p.panel_end * panel_strips;
  const Index end = own_end < strips ? own_end : strips;
  for (Index strip = p.panel_begin * panel_strips; strip < end; ++strip) {
    const Index columns = p.columns - strip * full < full ? p.columns - strip * full : full;
    switch ((columns + lanes_of<T> - 1) / lanes_of<T>) {
      case 4:
        transposed_tile<T, Rows, 4>(p, interleaved, row, strip, columns);
        break;
      case 3:
        transposed_tile<T, Rows, 3>(p, interleaved, row, strip, columns);
        break;
      case 2:
        transposed_tile<T, Rows, 2>(p, interleaved, row, strip, columns);
        break;
      default:
        transposed_tile<T, Rows, 1>(p, interleaved, row, strip, columns);
        break;
    }
  }
}

template <class T>
void transposed_product(const TransposedProduct<T>& p) {
  using Rows = void (*)(const TransposedProduct<T>&, Index row);
  static constexpr Rows by_rows[transposed_rows] = {&transposed_rows_tile<T, 1>, &transposed_rows_tile<T, 2>,
                                                    &transposed_rows_tile<T, 3>, &transposed_rows_tile<T, 4>,
                                                    &transposed_rows_tile<T, 5>, &transposed_rows_tile<T, 6>};
  for (Index row = p.row_begin; row < p.row_end;) {
    const Index height = next_height(p.row_end - row, transposed_rows);
    by_rows[height - 1](p, row);
    row += height;
  }
}

template <class T, int Rows>
void outer_rows(const OuterProduct<T>& p) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  for (Index unit = 0; unit < p.units; ++unit) {
    P factors[Rows];
    for (int k = 0; k < Rows; ++k) factors[k] = ei::pset1<P>(p.a[k][p.a_begin + unit]);
    T* const out = p.out + unit * p.out_stride;
    for (Index column = p.column_begin; column < p.column_end; column += lanes) {
      const Index count = p.column_end - column;
      P sum = p.accumulate ? load_some<P>(out + column, count) : constant<P>(0.0);
      for (int k = 0; k < Rows; ++k) sum = ei::pmadd(factors[k], load_some<P>(p.b[k] + column, count), sum);
      store_some(out + column, sum, count);
    }
  }
}

template <class T>
void outer_product(const OuterProduct<T>& p) {
  static_assert(kernels::most_outer_rows == 4, "one entry for each number of rows");
  using Rows = void (*)(const OuterProduct<T>&);
  static constexpr Rows by_rows[] = {&outer_rows<T, 1>, &outer_rows<T, 2>, &outer_rows<T, 3>, &outer_rows<T, 4>};
  by_rows[p.rows - 1](p);
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
