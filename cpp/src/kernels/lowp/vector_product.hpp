// Products of packed groups by dot-product instructions, each lane of which multiplies two groups element by element
// and adds the products to a sum. As in product.hpp, tiles have a few rows by a few vectors of columns and run over k
// in rising order.
#pragma once

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

/// The running sums of `Rows` rows by `Panels` panels of `Vectors` vectors. `Dot` is the instruction: types `Sum` and
/// `Groups` (a vector of operands), and `integer`, whether sums are to be scaled.
template <class Dot, int Rows, int Vectors, int Panels>
struct LowpTile {
  static constexpr int lanes = lanes_of<float>;
  static constexpr int width = Vectors * Panels;
  typename Dot::Sum sum[Rows][width];

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
        const typename Dot::Groups a = Dot::broadcast(left[r] + k);
        for (int v = 0; v < width; ++v) sum[r][v] = Dot::dot(sum[r][v], a, right[v]);
      }
      panel += Vectors * lanes;
    }
  }
};

template <class Dot, int Rows, int Vectors, int Panels>
void lowp_tile(const LowpProduct& p, Index row, Index panel, Index panel_columns) {
  using P = PacketOf<float>;
  constexpr Index lanes = lanes_of<float>;
  const Index first = panel * p.panel_width;
  float* const* out = p.out + row;
  LowpTile<Dot, Rows, Vectors, Panels> tile;
  const auto count = [&](int v) { return elements_of<float>(panel_columns, v, tile.width); };
  const auto start = [&](int r, int v, bool first_factors) {
    const Index column = first + v * lanes;
    if (p.accumulate || !first_factors) return load_some<P>(out[r] + column, count(v));
    return p.bias != nullptr ? ei::ploadu<P>(p.bias + column) : constant<P>(0.0);
  };
  for (int index = 0; index < p.count; ++index) {
    const LowpFactors& f = p.factors[index];
    const PackedGroup* left[Rows];
    for (int r = 0; r < Rows; ++r) left[r] = f.a + (row + r) * f.a_stride;
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < tile.width; ++v) {
        if constexpr (Dot::integer) {
          tile.sum[r][v] = f.start != nullptr ? Dot::load_sum(f.start + first + v * lanes) : Dot::zero();
        } else if (index == 0) {
          tile.sum[r][v] = start(r, v, true);
        }
      }
    }
    const Index panel_stride = p.terms * f.groups * p.panel_width;
    const PackedGroup* const right = f.panels + panel * panel_stride;
    // With several terms, all their products of a group are added before those of the next group. A sum over k that two
    // calls compute in turn (`accumulate`) then has the order, and the bits, of one call.
    const Index at_once = p.terms == 1 ? f.groups : 1;
    const kernels::TermPair* const pairs = kernels::term_pairs[p.terms - 1];
    for (Index k = 0; k < f.groups; k += at_once) {
      for (int pair = 0; pair < kernels::term_pair_counts[p.terms - 1]; ++pair) {
        const PackedGroup* const groups = right + (pairs[pair].right * f.groups + k) * Vectors * lanes;
        tile.add_products(left, pairs[pair].left * f.groups + k, at_once, groups, panel_stride);
      }
    }
    if constexpr (Dot::integer) {
      for (int r = 0; r < Rows; ++r) {
        const P of_row = ei::pset1<P>(f.a_scale[row + r]);
        for (int v = 0; v < tile.width; ++v) {
          const P scale = ei::pmul(of_row, ei::ploadu<P>(f.scale + first + v * lanes));
          const P sum = ei::padd(start(r, v, index == 0), ei::pmul(Dot::to_float(tile.sum[r][v]), scale));
          store_some(out[r] + first + v * lanes, sum, count(v));
        }
      }
    }
  }
  if constexpr (!Dot::integer) {
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < tile.width; ++v) {
        float* const to = out[r] + first + v * lanes;
        store_some(to, p.add ? ei::padd(load_some<P>(to, count(v)), tile.sum[r][v]) : tile.sum[r][v], count(v));
      }
    }
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

/// The unit of a dot-product instruction.
template <class Dot>
constexpr kernels::ProductUnit vector_unit(const char* name, Index group, PackedGroup flip) {
  const double speed = static_cast<double>(group);
  return {name, group, 1, 1, lanes_of<float>, lowp_tile_rows, flip, speed, &lowp_product<Dot>, nullptr, nullptr};
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
