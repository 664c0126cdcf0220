// Products of packed groups by a matrix unit, whose registers are tiles: 16 rows of 16 groups or sums. `Tiles` loads,
// multiplies and stores them, by the processor's instructions or by an emulation. The rest of this code is compiled for
// the baseline.
#pragma once

#include <cstddef>
#include <cstring>

#include "../unroll.hpp"
#include "table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::Index;
using kernels::LowpFactors;
using kernels::LowpProduct;
using kernels::PackedGroup;
using kernels::TermPair;

constexpr Index tile_side = 16;  // rows of a tile, and groups or sums of a row

/// The micro-kernel: `RowTiles` by `ColumnTiles` tiles of sums in the first four registers. Of the other four, with two
/// rows of tiles two hold tiles of the left factor and two of the right one; with one row, one and three, and tiles of
/// the right factor are loaded just before their use.
template <class Tiles, int RowTiles, int ColumnTiles>
struct MatrixTile {
  static constexpr int left = 4, right = RowTiles == 2 ? 6 : 5, right_tiles = 8 - right;
  static_assert(RowTiles * ColumnTiles <= 4 && RowTiles <= 2);

  static void load_left(const PackedGroup* from, Index stride) {
    unroll<RowTiles>([&](auto r) { Tiles::template load<left + r>(from + r * tile_side * stride, stride); });
  }

  /// Adds the products of groups [begin, end). `panel` points to the first column of these tiles.
  static void add_products(const LowpFactors& f, Index begin, Index end, const PackedGroup* a, const PackedGroup* panel,
                           Index width, int terms) {
    const kernels::TermPair* const pairs = kernels::term_pairs[terms - 1];
    const int count = kernels::term_pair_counts[terms - 1];
    for (Index k = begin; k < end; k += tile_side) {
      for (int pair = 0; pair < count; ++pair) {
        const TermPair now = pairs[pair];
        const bool new_left = pair == 0 || pairs[pair - 1].left != now.left;
        const bool new_right = pair == 0 || pairs[pair - 1].right != now.right;
        if (new_left) load_left(a + now.left * f.groups + k, f.a_stride);
        const PackedGroup* const from = panel + (now.right * f.groups + k) * width;
        unroll<ColumnTiles>([&](auto c) {
          constexpr int b = right + c % right_tiles;
          if (new_right || ColumnTiles > right_tiles) Tiles::template load<b>(from + c * tile_side, width);
          unroll<RowTiles>([&](auto r) { Tiles::template dot<r * ColumnTiles + c, left + r, b>(); });
        });
      }
    }
  }

  static void load_sums(const typename Tiles::Sum* from) {
    constexpr Index columns = ColumnTiles * tile_side;
    unroll<RowTiles * ColumnTiles>([&](auto t) {
      Tiles::template load<t>(from + (t / ColumnTiles * columns + t % ColumnTiles) * tile_side, columns);
    });
  }

  static void store_sums(typename Tiles::Sum* to) {
    constexpr Index columns = ColumnTiles * tile_side;
    unroll<RowTiles * ColumnTiles>([&](auto t) {
      Tiles::template store<t>(to + (t / ColumnTiles * columns + t % ColumnTiles) * tile_side, columns);
    });
  }

  /// Adds the sums to `total`, or, if not `add`, sets `total` to them; the sums in the tiles begin again with zeros.
  static void begin_again(typename Tiles::Sum* sums, typename Tiles::Sum* total, bool add) {
    constexpr Index count = RowTiles * ColumnTiles * tile_side * tile_side;
    store_sums(sums);
    for (Index at = 0; at < count; ++at) total[at] = add ? total[at] + sums[at] : sums[at];
    std::memset(sums, 0, count * sizeof *sums);
    load_sums(sums);
  }

  static void run(const LowpProduct& p, Index row, Index panel, Index width, Index first) {
    using Sum = typename Tiles::Sum;
    constexpr Index columns = ColumnTiles * tile_side;
    alignas(64) Sum sums[RowTiles * tile_side * columns], total[RowTiles * tile_side * columns];
    const Index begin = panel * p.panel_width + first;
    const Index rows = p.rows - row < RowTiles * tile_side ? p.rows - row : RowTiles * tile_side;
    const Index real = p.columns - begin < columns ? p.columns - begin : columns;
    float* const* const out = p.out + row;
    for (int index = 0; index < p.count; ++index) {
      const LowpFactors& f = p.factors[index];
      // Float sums continue from one pair of factors to the next; integer sums are scaled after each.
      if (index == 0 || Tiles::integer) {
        if constexpr (Tiles::integer) {
          std::memset(sums, 0, sizeof sums);
        } else {
          fill(p, out, rows, real, begin, sums);
        }
        load_sums(sums);
      }
      const PackedGroup* const left_groups = f.a + row * f.a_stride;
      const PackedGroup* const right_groups = f.panels + panel * p.terms * f.groups * p.panel_width + first;
      const Index at_once = Tiles::integer || p.terms == 1 ? f.groups : kernels::summed_groups;
      for (Index k = 0; k < f.groups; k += at_once) {
        if (k > 0) begin_again(sums, total, k > at_once);
        add_products(f, k, k + at_once < f.groups ? k + at_once : f.groups, left_groups, right_groups, width, p.terms);
      }
      if (f.groups > at_once) {
        begin_again(sums, total, true);
        if constexpr (!Tiles::integer) std::memcpy(sums, total, sizeof sums);
        load_sums(sums);
      }
      if (index + 1 < p.count && !Tiles::integer) continue;
      store_sums(sums);
      for (Index r = 0; r < rows; ++r) {
        if constexpr (Tiles::integer) {
          for (Index c = 0; c < real; ++c) {
            const float before = index > 0 || p.accumulate ? out[r][begin + c]
                                 : p.bias != nullptr       ? p.bias[begin + c]
                                                           : 0.0f;
            const float scale = f.a_scale[row + r] * f.scale[begin + c];
            out[r][begin + c] = before + static_cast<float>(sums[r * columns + c]) * scale;
          }
        } else if (p.add) {
          for (Index c = 0; c < real; ++c) out[r][begin + c] += sums[r * columns + c];
        } else {
          std::memcpy(out[r] + begin, sums + r * columns, static_cast<std::size_t>(real) * sizeof(float));
        }
      }
    }
  }

  /// The first values of the sums; zeros in rows and columns of padding.
  static void fill(const LowpProduct& p, float* const* out, Index rows, Index real, Index begin,
                   typename Tiles::Sum* sums) {
    constexpr Index columns = ColumnTiles * tile_side;
    if (!p.accumulate && p.bias == nullptr) {
      std::memset(sums, 0, RowTiles * tile_side * columns * sizeof(float));
      return;
    }
    for (Index r = 0; r < RowTiles * tile_side; ++r, sums += columns) {
      const Index filled = r < rows ? real : 0;
      if (filled > 0) {
        std::memcpy(sums, (p.accumulate ? out[r] : p.bias) + begin, static_cast<std::size_t>(real) * sizeof(float));
      }
      std::memset(sums + filled, 0, static_cast<std::size_t>(columns - filled) * sizeof(float));
    }
  }
};

template <class Tiles, int RowTiles, int ColumnTiles>
void matrix_tile(const LowpProduct& p, Index row, Index panel, Index width, Index first) {
  MatrixTile<Tiles, RowTiles, ColumnTiles>::run(p, row, panel, width, first);
}

template <class Tiles>
void matrix_product(const LowpProduct& p) {
  using Tile = void (*)(const LowpProduct&, Index, Index, Index, Index);
  static constexpr Tile single[] = {&matrix_tile<Tiles, 1, 1>, &matrix_tile<Tiles, 1, 2>, &matrix_tile<Tiles, 1, 3>,
                                    &matrix_tile<Tiles, 1, 4>};
  static constexpr Tile twin[] = {&matrix_tile<Tiles, 2, 1>, &matrix_tile<Tiles, 2, 2>};
  for (Index panel = p.panel_begin; panel < p.panel_end; ++panel) {
    const Index width = kernels::lowp_panel_width(panel * p.panel_width, p.columns, p.panel_width, tile_side);
    // Two columns of tiles for all rows, then the next two: the right factor comes from the second-level cache and is
    // read once, the left one from the first-level cache.
    Index row = 0;
    const Index paired = p.rows > tile_side ? (p.rows + tile_side - 1) / (2 * tile_side) * 2 * tile_side : 0;
    for (Index first = 0; first < width && paired > 0; first += 2 * tile_side) {
      const Index tiles = (width - first) / tile_side < 2 ? 1 : 2;
      for (row = 0; row < p.rows && row < paired; row += 2 * tile_side) twin[tiles - 1](p, row, panel, width, first);
    }
    for (row = paired; row < p.rows; row += tile_side) single[width / tile_side - 1](p, row, panel, width, 0);
  }
}

/// The product unit whose registers are `Tiles`.
template <class Tiles>
constexpr kernels::ProductUnit matrix_unit(const char* name) {
  const Index group = Tiles::integer ? 4 : 2;
  const double speed = Tiles::integer ? 28 : 14;
  return {name,          group,     tile_side, tile_side, tile_side,
          2 * tile_side, 0,         false,     speed,     &matrix_product<Tiles>,
          Tiles::begin,  Tiles::end};
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
