// Products of packed groups by dot-product instructions, each lane of which multiplies two groups element by element
// and adds the products to a sum. As in product.hpp, tiles have a few rows by a few vectors of columns and run over k
// in rising order.
#pragma once

#include "../unroll.hpp"
#include "../vector.hpp"
#include "table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::LowpFactors;
using kernels::LowpProduct;
using kernels::PackedGroup;

/// Rows of a full tile, four vectors wide: as many sums as registers hold besides the operands.
constexpr int lowp_tile_rows = vector_registers == 32 ? 6 : 3;

/// The running sums of `Rows` rows by `Panels` panels of `Vectors` vectors. `Dot` is the instruction: types `Sum`,
/// `Groups` (a vector of operands) and `Left` (a group of the left factor, repeated), and `integer`: sums begin with
/// `Dot::first` and are then scaled.
template <class Dot, int Rows, int Vectors, int Panels>
struct LowpTile {
  static constexpr int lanes = lanes_of<float>;
  static constexpr int width = Vectors * Panels;
  typename Dot::Sum sum[Rows][width];

  static EIGEN_ALWAYS_INLINE PacketOf<float> to_float(const typename Dot::Sum& sum) { return Dot::to_float(sum); }

  /// Adds the products of `groups` groups, from group `first` of the left rows on; `panel` begins with that group.
  EIGEN_ALWAYS_INLINE void add_products(const PackedGroup* const* left, Index first, Index groups,
                                        const PackedGroup* panel, Index panel_stride) {
    constexpr Index ahead = 8 * Vectors * lanes;
    for (Index k = first; k < first + groups; ++k) {
      typename Dot::Groups right[width];
      for (int p = 0; p < Panels; ++p) {
        for (int v = 0; v < Vectors; ++v) {
          right[p * Vectors + v] = Dot::load(panel + p * panel_stride + v * lanes);
          if (4 * lanes * v % 64 == 0) {
            ei::prefetch(reinterpret_cast<const float*>(panel + p * panel_stride + v * lanes + ahead));
          }
        }
      }
      for (int r = 0; r < Rows; ++r) {
        const typename Dot::Left a = Dot::broadcast(left[r] + k);
        for (int v = 0; v < width; ++v) sum[r][v] = Dot::dot(sum[r][v], a, right[v]);
      }
      panel += Vectors * lanes;
    }
  }
};

/// The first values of a tile's sums, a vector at a time: those in `out`, the bias or zeros.
template <int Rows, int Width>
struct LowpStart {
  using P = PacketOf<float>;
  const float* from[Rows];
  bool of_out;

  EIGEN_ALWAYS_INLINE LowpStart(const LowpProduct& p, Index row, Index column, bool continues) : of_out(continues) {
    static constexpr float zeros[Width * lanes_of<float>] = {};
    for (int r = 0; r < Rows; ++r) {
      from[r] = of_out ? p.out[row + r] + column : p.bias != nullptr ? p.bias + column : zeros;
    }
  }
  /// `count`: elements of the vector that are in `out`; bias and zeros are whole vectors.
  EIGEN_ALWAYS_INLINE P operator()(int r, int v, Index count) const {
    const float* const at = from[r] + v * lanes_of<float>;
    return of_out ? load_some<P>(at, count) : ei::ploadu<P>(at);
  }
};

/// out = start + the tile's integer sums, scaled by row and column. `Whole`: all vectors are full. Unrolled: if
/// the sums are indexed by a loop, the compiler stores them first, and a product of 128 features takes a tenth longer.
template <bool Whole, class Tile, int Rows>
EIGEN_ALWAYS_INLINE void store_scaled(const LowpProduct& p, const LowpFactors& f, const Tile& tile, Index row,
                                      Index column, Index columns, const LowpStart<Rows, Tile::width>& start) {
  using P = PacketOf<float>;
  constexpr Index lanes = lanes_of<float>;
  unroll<Rows>([&](auto r) {
    const P of_row = ei::pset1<P>(f.a_scale[row + r]);
    float* const out = p.out[row + r] + column;
    unroll<Tile::width>([&](auto v) {
      const Index count = Whole ? lanes : elements_of<float>(columns, v, Tile::width);
      const P scale = ei::pmul(of_row, ei::ploadu<P>(f.scale + column + v * lanes));
      const P sum = ei::padd(start(r, v, count), ei::pmul(Tile::to_float(tile.sum[r][v]), scale));
      store_some(out + v * lanes, sum, count);
    });
  });
}

/// Adds the products of all terms of two factors. All products of a group are added before those of the next group: a
/// sum over k that two calls compute in turn (`accumulate`) then has the order, and the bits, of one call.
template <class Dot, int Rows, int Vectors, int Panels>
EIGEN_ALWAYS_INLINE void add_terms(const LowpProduct& p, const LowpFactors& f, Index panel,
                                   const PackedGroup* const* left, LowpTile<Dot, Rows, Vectors, Panels>& tile) {
  const Index panel_stride = p.terms * f.groups * p.panel_width;
  const PackedGroup* const right = f.panels + panel * panel_stride;
  const Index at_once = p.terms == 1 ? f.groups : 1;
  const kernels::TermPair* const pairs = kernels::term_pairs[p.terms - 1];
  for (Index k = 0; k < f.groups; k += at_once) {
    for (int pair = 0; pair < kernels::term_pair_counts[p.terms - 1]; ++pair) {
      const PackedGroup* const groups = right + (pairs[pair].right * f.groups + k) * Vectors * lanes_of<float>;
      tile.add_products(left, pairs[pair].left * f.groups + k, at_once, groups, panel_stride);
    }
  }
}

template <class Dot, int Rows, int Vectors, int Panels>
void lowp_tile(const LowpProduct& p, Index row, Index panel, Index panel_columns) {
  using P = PacketOf<float>;
  constexpr Index lanes = lanes_of<float>;
  using Tile = LowpTile<Dot, Rows, Vectors, Panels>;
  const Index first = panel * p.panel_width;
  const bool whole = panel_columns >= Tile::width * lanes;
  Tile tile;
  const auto count = [&](int v) { return elements_of<float>(panel_columns, v, tile.width); };
  for (int index = 0; index < p.count; ++index) {
    const LowpFactors& f = p.factors[index];
    const PackedGroup* left[Rows];
    for (int r = 0; r < Rows; ++r) left[r] = f.a + (row + r) * f.a_stride;
    const LowpStart<Rows, Tile::width> start(p, row, first, p.accumulate || index > 0);
    if constexpr (Dot::integer) {
      unroll<Rows>([&](auto r) {
        unroll<Tile::width>([&](auto v) { tile.sum[r][v] = Dot::first(f, row + r, first + v * lanes); });
      });
    } else if (index == 0) {
      unroll<Rows>([&](auto r) { unroll<Tile::width>([&](auto v) { tile.sum[r][v] = start(r, v, count(v)); }); });
    }
    if constexpr (Dot::integer) {
      const Index panel_stride = f.groups * p.panel_width;
      tile.add_products(left, 0, f.groups, f.panels + panel * panel_stride, panel_stride);
    } else {
      add_terms(p, f, panel, left, tile);
    }
    if constexpr (Dot::integer) {
      if (whole) {
        store_scaled<true>(p, f, tile, row, first, panel_columns, start);
      } else {
        store_scaled<false>(p, f, tile, row, first, panel_columns, start);
      }
    }
  }
  if constexpr (!Dot::integer) {
    unroll<Rows>([&](auto r) {
      unroll<Tile::width>([&](auto v) {
        float* const to = p.out[row + r] + first + v * lanes;
        store_some(to, p.add ? ei::padd(load_some<P>(to, count(v)), tile.sum[r][v]) : tile.sum[r][v], count(v));
      });
    });
  }
}

template <class Dot, int Vectors>
void lowp_panel(const LowpProduct& p, Index panel, Index panel_columns) {
  using Tile = void (*)(const LowpProduct&, Index, Index, Index);
  constexpr int four = lowp_tile_rows == 6 ? 4 : 1, five = lowp_tile_rows == 6 ? 5 : 1,
                six = lowp_tile_rows == 6 ? 6 : 1;  // 1: never used
  static constexpr Tile tiles[6] = {&lowp_tile<Dot, 1, Vectors, 1>,    &lowp_tile<Dot, 2, Vectors, 1>,
                                    &lowp_tile<Dot, 3, Vectors, 1>,    &lowp_tile<Dot, four, Vectors, 1>,
                                    &lowp_tile<Dot, five, Vectors, 1>, &lowp_tile<Dot, six, Vectors, 1>};
  for (Index row = 0; row < p.rows;) {
    const Index left = p.rows - row, count = (left + lowp_tile_rows - 1) / lowp_tile_rows;
    const Index height = (left + count - 1) / count;
    tiles[height - 1](p, row, panel, panel_columns);
    row += height;
  }
}

template <class Dot>
void lowp_product(const LowpProduct& p) {
  constexpr Index lanes = lanes_of<float>;
  constexpr Index full = 4 * lanes;
  constexpr int wide = vector_registers == 32 ? 4 : 2;  // panels that one row is computed on together
  const Index full_end = p.columns / full;
  Index panel = p.panel_begin;
  if (p.rows == 1) {
    for (; panel + wide <= (p.panel_end < full_end ? p.panel_end : full_end); panel += wide) {
      lowp_tile<Dot, 1, 4, wide>(p, 0, panel, wide * full);
    }
  }
  for (; panel < p.panel_end; ++panel) {
    const Index columns = p.columns - panel * full < full ? p.columns - panel * full : full;
    switch ((columns + lanes - 1) / lanes) {
      case 4:
        lowp_panel<Dot, 4>(p, panel, columns);
        break;
      case 3:
        lowp_panel<Dot, 3>(p, panel, columns);
        break;
      case 2:
        lowp_panel<Dot, 2>(p, panel, columns);
        break;
      default:
        lowp_panel<Dot, 1>(p, panel, columns);
        break;
    }
  }
}

/// The product unit of a dot-product instruction.
template <class Dot>
constexpr kernels::ProductUnit vector_unit(const char* name, Index group, PackedGroup flip) {
  const double speed = static_cast<double>(group);
  return {name,    group,  1, 1, lanes_of<float>, lowp_tile_rows, flip, Dot::row_start, speed, &lowp_product<Dot>,
          nullptr, nullptr};
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
