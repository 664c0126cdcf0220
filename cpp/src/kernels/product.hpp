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

/// Vectors of sums that the registers hold besides the operands.
constexpr int most_sums = vector_registers == 32 ? 24 : 12;

/// Rows of a tile that is `vectors` wide. Narrow tiles have more rows, so that there are always enough independent sums
/// to hide the latency of the multiply-add. With 16 registers, four vectors are computed in two strips: six rows by two
/// vectors load half as much of the panel per multiply-add as three rows by four.
constexpr int tile_rows(int vectors) {
  if (vector_registers == 32) return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
  return vectors == 4 ? 6 : vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
}

/// Width of the strips, in vectors, in which a tile of `rows` rows is computed.
constexpr int strip_vectors(int rows, int vectors, int panels) {
  return rows * vectors * panels <= most_sums ? vectors : vectors % 2 == 0 ? vectors / 2 : 1;
}

/// Panels that are computed together for one row or two, also to have enough independent sums.
constexpr int wide_panels(int rows) {
  if (vector_registers == 32) return rows == 1 ? 4 : rows == 2 ? 3 : 1;
  return rows == 1 ? 2 : 1;
}

/// Left factor by row pointers: element (r, k) at rows[r][k].
template <class T, int Rows>
struct ByRows {
  const T* row[Rows];
  explicit ByRows(const T* const* rows) {
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

/// The running sums of `Rows` rows by `Panels` panels of `Vectors` vectors.
template <class T, int Rows, int Vectors, int Panels = 1>
struct Tile {
  using P = PacketOf<T>;
  static constexpr int lanes = lanes_of<T>;
  static constexpr int width = Vectors * Panels;
  P sum[Rows][width];

  /// start(r, v): the first value of row r, vector v.
  template <class Start>
  EIGEN_ALWAYS_INLINE void start(Start&& start) {
    for (int r = 0; r < Rows; ++r)
      for (int v = 0; v < width; ++v) sum[r][v] = start(r, v);
  }

  /// `panel` may be a strip of a panel whose rows are `PanelVectors` wide.
  template <int PanelVectors = Vectors, class Left>
  EIGEN_ALWAYS_INLINE void add_products(const Left& left, Index depth, const T* panel, Index panel_stride) {
    // Lines of the panel are prefetched so far ahead; the next rows find them in the first-level cache.
    constexpr Index ahead = 8 * PanelVectors * lanes;
    for (Index k = 0; k < depth; ++k) {
      P right[width];
      for (int p = 0; p < Panels; ++p) {
        for (int v = 0; v < Vectors; ++v) {
          right[p * Vectors + v] = ei::ploadu<P>(panel + p * panel_stride + v * lanes);
          if (static_cast<int>(sizeof(T)) * lanes * v % 64 == 0) {
            ei::prefetch(panel + p * panel_stride + v * lanes + ahead);
          }
        }
      }
      for (int r = 0; r < Rows; ++r) {
        const P a = ei::pset1<P>(left(r, k));
        for (int v = 0; v < width; ++v) sum[r][v] = ei::pmadd(a, right[v], sum[r][v]);
      }
      panel += PanelVectors * lanes;
    }
  }

  /// finish(r, v, sum).
  template <class Finish>
  EIGEN_ALWAYS_INLINE void finish(Finish&& finish) const {
    for (int r = 0; r < Rows; ++r)
      for (int v = 0; v < width; ++v) finish(r, v, sum[r][v]);
  }
};

/// Height of the next tile when `rows` rows are left: at most `most`, and all tiles about the same.
inline Index next_height(Index rows, Index most) {
  const Index tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

template <class T, int Rows, int Vectors, int Panels>
void product_tile(const Product<T>& p, Index row, Index panel, Index panel_columns) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = panel_vectors * lanes;
  constexpr int strip = strip_vectors(Rows, Vectors, Panels);
  static_assert(Panels == 1 || strip == Vectors, "several panels are not cut into strips");
  const ByRows<T, Rows> left(p.a + row);
  T* const* out = p.out + row;
  for (int first = 0; first < Vectors; first += strip) {
    const Index column = panel * full + first * lanes;
    const Index columns = panel_columns - first * lanes;
    Tile<T, Rows, strip, Panels> tile;
    const auto count = [&](int v) { return elements_of<T>(columns, v, tile.width); };
    if (p.accumulate) {
      tile.start([&](int r, int v) { return load_some<P>(out[r] + column + v * lanes, count(v)); });
    } else if (p.bias != nullptr) {
      tile.start([&](int, int v) { return ei::ploadu<P>(p.bias + column + v * lanes); });
    } else {
      tile.start([&](int, int) { return constant<P>(0.0); });
    }
    const T* const from = p.panels + p.depth * panel * full + first * lanes;
    tile.template add_products<Vectors>(left, p.depth, from, p.depth * full);
    tile.finish([&](int r, int v, const P& sum) { store_some(out[r] + column + v * lanes, sum, count(v)); });
  }
}

template <class T>
using ProductTile = void (*)(const Product<T>&, Index row, Index panel, Index panel_columns);

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

/// All rows against one panel.
template <class T, int Vectors>
void product_panel(const Product<T>& p, Index panel, Index panel_columns) {
  for (Index row = 0; row < p.rows;) {
    const Index height = next_height(p.rows - row, tile_rows(Vectors));
    ProductTiles<T, Vectors>::by_rows[height - 1](p, row, panel, panel_columns);
    row += height;
  }
}

template <class T>
void product(const Product<T>& p) {
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = panel_vectors * lanes;
  const Index full_end = p.columns / full;  // panels before this one have all their columns
  Index panel = p.panel_begin;
  if (p.rows <= 2) {
    const Index wide = wide_panels(static_cast<int>(p.rows));
    for (; wide > 1 && panel + wide <= (p.panel_end < full_end ? p.panel_end : full_end); panel += wide) {
      if (p.rows == 1) product_tile<T, 1, 4, wide_panels(1)>(p, 0, panel, wide * full);
      if (p.rows == 2) product_tile<T, 2, 4, wide_panels(2)>(p, 0, panel, wide * full);
    }
  }
  for (; panel < p.panel_end; ++panel) {
    const Index columns = p.columns - panel * full < full ? p.columns - panel * full : full;
    switch ((columns + lanes - 1) / lanes) {
      case 4:
        product_panel<T, 4>(p, panel, columns);
        break;
      case 3:
        product_panel<T, 3>(p, panel, columns);
        break;
      case 2:
        product_panel<T, 2>(p, panel, columns);
        break;
      default:
        product_panel<T, 1>(p, panel, columns);
        break;
    }
  }
}

/// Rows of a tile of the transposed product, whatever its width.
constexpr int transposed_rows = tile_rows(panel_vectors);

/// `left` holds columns row .. row + Rows - 1 of a, interleaved.
template <class T, int Rows, int Vectors>
void transposed_tile(const TransposedProduct<T>& p, const T* interleaved, Index row, Index panel, Index panel_columns) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int strip = strip_vectors(Rows, Vectors, 1);
  const Interleaved<T, transposed_rows> left{interleaved};
  const Index panel_column = panel * panel_vectors * lanes;
  for (int first = 0; first < Vectors; first += strip) {
    const Index columns = panel_columns - first * lanes;
    T* const out = p.out + row * p.out_stride + panel_column + first * lanes;
    Tile<T, Rows, strip> tile;
    const auto count = [&](int v) { return elements_of<T>(columns, v, tile.width); };
    if (p.accumulate) {
      tile.start([&](int r, int v) { return load_some<P>(out + r * p.out_stride + v * lanes, count(v)); });
    } else {
      tile.start([&](int, int) { return constant<P>(0.0); });
    }
    tile.template add_products<Vectors>(left, p.depth, p.panels + p.depth * panel_column + first * lanes, 0);
    tile.finish([&](int r, int v, const P& sum) {
      T* const to = out + r * p.out_stride + v * lanes;
      store_some(to, p.add ? ei::padd(load_some<P>(to, count(v)), sum) : sum, count(v));
    });
  }
}

/// `Rows` columns of a against all panels. They are copied side by side first, because in place each k is in another
/// cache line, and many of these lines may fall into the same sets of the cache.
template <class T, int Rows>
void transposed_rows_tile(const TransposedProduct<T>& p, Index row) {
  constexpr Index full = panel_vectors * lanes_of<T>;
  alignas(64) T interleaved[kernels::most_transposed_depth * transposed_rows];
  for (Index k = 0; k < p.depth; ++k) {
    for (int r = 0; r < Rows; ++r) interleaved[k * transposed_rows + r] = p.a[k][row + r];
  }
  for (Index panel = p.panel_begin; panel < p.panel_end; ++panel) {
    const Index columns = p.columns - panel * full < full ? p.columns - panel * full : full;
    switch ((columns + lanes_of<T> - 1) / lanes_of<T>) {
      case 4:
        transposed_tile<T, Rows, 4>(p, interleaved, row, panel, columns);
        break;
      case 3:
        transposed_tile<T, Rows, 3>(p, interleaved, row, panel, columns);
        break;
      case 2:
        transposed_tile<T, Rows, 2>(p, interleaved, row, panel, columns);
        break;
      default:
        transposed_tile<T, Rows, 1>(p, interleaved, row, panel, columns);
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
