// Packing of a product's right factor into strips of columns (`PanelLayout`).
#pragma once

#include <algorithm>

#include "../kernels/kernel_table.hpp"

namespace lstmcore {

using kernels::Index;
using kernels::PanelLayout;

/// B[k][column] = at(k, column) for k < depth. `at` is not called for columns of padding.
template <class T, class At>
void pack_panels_from(Index depth, Index columns, PanelLayout layout, T* panels, At&& at) {
  for (Index first = 0; first < columns; first += layout.strip) {
    const Index width = layout.width(first, columns);
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
void pack_panels(const T* b, Index k_stride, Index column_stride, Index depth, Index columns, PanelLayout layout,
                 T* panels) {
  pack_panels_from(depth, columns, layout, panels,
                   [=](Index k, Index column) { return b[k * k_stride + column * column_stride]; });
}

}  // namespace lstmcore
