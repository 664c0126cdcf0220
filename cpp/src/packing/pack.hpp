// Packing of a product's right factor into panels of 4 V columns; the last one has only as many vectors as it needs.
#pragma once

#include <algorithm>

#include "../kernels/kernel_table.hpp"

namespace lstmcore {

using kernels::Index;

/// Columns of panel `panel`, padded to whole vectors.
inline Index panel_width(Index panel, Index columns, Index lanes) {
  const Index full = kernels::panel_vectors * lanes;
  const Index rest = columns - panel * full;
  return std::min(full, (rest + lanes - 1) / lanes * lanes);
}

/// B[k][column] = at(k, column) for k < depth. `at` is not called for columns of padding.
template <class T, class At>
void pack_panels_from(Index depth, Index columns, Index lanes, T* panels, At&& at) {
  const Index full = kernels::panel_vectors * lanes;
  for (Index first = 0; first < columns; first += full) {
    const Index width = panel_width(first / full, columns, lanes);
    const Index real = std::min(width, columns - first);
    for (Index k = 0; k < depth; ++k) {
      for (Index column = 0; column < real; ++column) panels[column] = at(k, first + column);
      std::fill(panels + real, panels + width, T(0));
      panels += width;
    }
  }
}

/// From a strided matrix: B[k][column] = b[k * k_stride + column * column_stride].
template <class T>
void pack_panels(const T* b, Index k_stride, Index column_stride, Index depth, Index columns, Index lanes, T* panels) {
  pack_panels_from(depth, columns, lanes, panels,
                   [=](Index k, Index column) { return b[k * k_stride + column * column_stride]; });
}

}  // namespace lstmcore
